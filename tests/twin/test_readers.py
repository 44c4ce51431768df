"""A reader's whole life on the public pages, in each language, wide and narrow, light and dark, by keyboard, without JavaScript; axe-core
looks at every page on the way."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

from local import browser, seed
from local.pictures import MISSING
from shared.model import console
from tests.emulated_google import left_out
from tests.twin.readers import Reader, axe

LIFE = 600.0  # seconds that a slow machine may take
LIVES = (  # language, pixels, theme
    ("en", 1280, "light"),
    ("fr", 360, "dark"),
    ("de", 360, "light"),
    ("es", 1280, "dark"),
)
FILLING = 2.2  # seconds: nobody fills in a form faster
TOPICS = [["coffee", "Coffee", "New roasts, twice a month."], ["events", "Events", ""]]


@pytest.mark.slow
async def test_a_readers_life(tmp_path: Path) -> None:
    program = browser.program()
    if program is None:
        left_out.add(f"Left out: a reader's life on the public pages. {MISSING}")
        pytest.skip(MISSING)
    source = axe()
    pictures = Path(os.environ["PICTURES"]) if os.environ.get("PICTURES") else None
    state = tmp_path / "state"
    with browser.twin(state) as url:
        async with asyncio.timeout(LIFE), browser.chromium(program) as page:
            await _settings(url)
            await page.scripts(False)
            for language, width, theme in LIVES:
                await page.size(width, 800, theme)
                await _life(Reader(page, url, state, source, pictures), language, width)


async def _settings(url: str) -> None:
    """Topics and the archive, as a marketer types them; until the form shows the topics."""

    def asked(path: str, body: object = None) -> bytes:
        headers = {"content-type": "application/json", "authorization": "Bearer marketer"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url + path, data, headers, method="GET" if data is None else "PUT")
        with urllib.request.urlopen(asked) as answer:
            found: bytes = answer.read()
            return found

    values = f"/v4/spreadsheets/{seed.SHEET}/values"
    names: list[str] = []
    while "Public archive" not in names:
        await asyncio.sleep(1)
        with suppress(HTTPError):  # while there is no such tab
            found = json.loads(await asyncio.to_thread(asked, f"{values}/{console.SETTINGS}!A1:A40"))
            names = ["".join(row) for row in found.get("values", ())]
    place = f"{console.SETTINGS}!B{names.index('Public archive') + 1}"
    await asyncio.to_thread(asked, f"{values}/{place}?valueInputOption=RAW", {"values": [["yes"]]})
    await asyncio.to_thread(asked, f"{values}/{console.TOPICS}!A2?valueInputOption=RAW", {"values": TOPICS})
    while b"topic.coffee" not in await asyncio.to_thread(asked, "/subscribe"):
        await asyncio.sleep(1)


async def _life(reader: Reader, language: str, width: int) -> None:
    address, at = f"{language}{width}@reader.example", f"{language}-{width}"

    await reader.go(f"{reader.url}/subscribe?lang={language}")
    await reader.looked_at(f"sign-up-{at}")
    await reader.write("#email", "nobody@nowhere")
    await asyncio.sleep(FILLING)
    await reader.press("main form button")
    await reader.looked_at(f"sign-up-wrong-{at}")
    assert await reader.page.ask("document.querySelector('[role=alert]').innerText")
    await reader.write("#email", address)
    await reader.tick("input[name='topic.coffee']")
    await reader.page.ask("document.getElementById('website').value = 'filled in by a robot'")
    await reader.press("main form button")
    await reader.looked_at(f"once-{at}")
    await asyncio.sleep(FILLING)
    await reader.press("main form button")
    await reader.looked_at(f"check-{at}")

    await reader.go(reader.link(await reader.mail(address), "/subscribe/confirm/") + f"?lang={language}")
    await reader.looked_at(f"confirm-{at}")
    await reader.press("main form button")
    await reader.looked_at(f"confirmed-{at}")

    welcome = await reader.mail(address, 2)
    await reader.go(reader.link(welcome, "/unsubscribe/preferences/"))
    assert await reader.page.ask("document.documentElement.lang") == language
    assert await reader.page.ask("document.querySelector(\"[name='topic.coffee']\").checked")
    assert not await reader.page.ask("document.querySelector(\"[name='topic.events']\").checked")
    await reader.looked_at(f"preferences-{at}")
    await reader.tick("input[name='topic.events']")
    await reader.press("button[value=save]")
    await reader.looked_at(f"preferences-saved-{at}")
    assert await reader.page.ask("document.querySelector(\"[name='topic.events']\").checked")
    await reader.press("button[value=pause]")
    await reader.looked_at(f"preferences-paused-{at}")
    assert await reader.page.ask("!!document.querySelector('button[value=resume]')")

    await reader.press("a[href*='/unsubscribe/export/']")
    await reader.looked_at(f"export-{at}")
    await reader.press("main form button")
    await reader.looked_at(f"exported-{at}")
    assert address not in await reader.text()

    await reader.go(reader.link(welcome, "/unsubscribe/preferences/").replace("/preferences/", "/keep/"))
    assert await reader.page.ask("document.documentElement.lang") == language
    await reader.looked_at(f"keep-{at}")
    await reader.press("main form button")
    await reader.looked_at(f"kept-{at}")

    leave = reader.link(welcome, "/unsubscribe/")
    await reader.go(leave.replace("/preferences/", "/") + f"?lang={language}")
    await reader.looked_at(f"leave-{at}")
    await reader.press("main form button")
    await reader.looked_at(f"left-{at}")
    await reader.tick("input[name=reason]")
    await reader.press("main form button")
    await reader.looked_at(f"reason-{at}")

    await reader.go(f"{reader.url}/unsubscribe?lang={language}")
    await reader.looked_at(f"access-{at}")
    await reader.write("#email", address)
    await asyncio.sleep(FILLING)
    await reader.press("main form button")
    await reader.looked_at(f"access-told-{at}")

    await reader.go(reader.link(welcome, "/unsubscribe/preferences/").replace("/preferences/", "/erase/") + f"?lang={language}")
    await reader.looked_at(f"erase-{at}")
    await reader.tick("input[name=sure]")
    await reader.press("main form button")
    await reader.looked_at(f"erased-{at}")

    await reader.go(f"{reader.url}/archive?lang={language}")
    await reader.looked_at(f"archive-{at}")
