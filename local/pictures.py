"""The starter mails as readers see them, on a desk and on a phone, by day and by night: drawn by Chromium, to be looked at.

    .venv/bin/python -m local.pictures

Chromium is told what to do over a pair of pipes, in its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), since
its command line draws no window narrower than 500 pixels and knows no colour scheme.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import itertools
import json
import os
import shutil
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from local import seed, starting
from shared.links import Links
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

FOLDER = Path(".twin/pictures")
WIDTHS = (1280, 360)  # CSS pixels
THEMES = ("light", "dark")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")  # of the program
MISSING = "The pictures need Chromium: install it (on Debian: apt-get install chromium) and try again."
SECONDS = 120.0  # for all of them
_READER = {"name": "Ada", "language": "en", "country": "PT", "tags": ["vip"]}
_URL = "https://news.lumen.example"
_PIPED = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'  # the protocol runs on the descriptors 3 and 4
_LARGEST = 1 << 26  # bytes of one answer


def mails() -> dict[str, tuple[str, str]]:
    """Each starter's file name, with the text and the HTML of the mail that one reader gets of it."""
    found: dict[str, tuple[str, str]] = {}
    links = Links(_URL, Tokens([b"pictures".ljust(32)]))
    ref = MailRef("C-0001", "0" * 32)
    for file in sorted(starting.TEMPLATES.iterdir()):
        system = file.stem == "confirm"
        source = Source(
            name=file.name, data=file.read_bytes(), campaign=ref.campaign, identity=seed.IDENTITY, bulk=not system, tracked=False
        )
        extra = {"confirm_url": f"{_URL}/subscribe/confirm/"} if system else {}
        reader = Recipient(ref, "ada@example.com", {} if system else _READER, extra)
        data = compile(source, links).splice(reader, "Mon, 23 Nov 2026 10:00:00 +0000")
        text, page = email.message_from_bytes(data, policy=email.policy.SMTP).iter_parts()
        found[file.name] = (text.get_content().replace("\r\n", "\n"), page.get_content())
    return found


class Page:
    """A tab of a running Chromium."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin and process.stdout
        self._in, self._out = process.stdin, process.stdout
        self._ids = itertools.count(1)
        self._session: dict[str, str] = {}
        self._frame = ""

    async def open(self) -> None:
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self._frame = (await self._call("Page.getFrameTree"))["frameTree"]["frame"]["id"]

    async def draw(self, html: str, width: int, theme: str) -> bytes:
        """A PNG of the whole page, `width` CSS pixels wide; phones get two pixels for one. Raises RuntimeError."""
        phone = width < 600
        size = {"width": width, "height": 640, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        await self._call("Emulation.setDeviceMetricsOverride", **size)
        await self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        await self._call("Page.setDocumentContent", frameId=self._frame, html=html)
        content = (await self._call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": content["width"], "height": content["height"], "scale": 1}
        answer = await self._call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return b64decode(answer["data"])

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        call = {"id": next(self._ids), "method": method, "params": parameters, **self._session}
        self._in.write(json.dumps(call).encode() + b"\0")
        await self._in.drain()
        while True:
            try:
                answer = json.loads((await self._out.readuntil(b"\0"))[:-1])
            except asyncio.IncompleteReadError:
                raise RuntimeError("Chromium ended before the last picture: start it by hand to see why.") from None
            if answer.get("id") != call["id"]:
                continue  # an event
            if "error" in answer:
                raise RuntimeError(f"Chromium refused {method}: {answer['error']['message']}")
            found: dict[str, Any] = answer["result"]
            return found


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Page]:
    """A tab of a Chromium of its own, which ends with the block."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none to stay in; the pages are our own
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            _PIPED,
            "sh",
            program,
            *options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LARGEST,
        )
        try:
            page = Page(process)
            await page.open()
            yield page
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def draw(program: str, folder: Path) -> list[Path]:
    """Every starter at each width and theme, as <starter>-<width>-<theme>.png in `folder`. Raises RuntimeError, TimeoutError."""
    drawn: list[Path] = []
    async with asyncio.timeout(SECONDS), chromium(program) as page:
        for (name, (_, html)), width, theme in itertools.product(mails().items(), WIDTHS, THEMES):
            file = folder / f"{Path(name).stem}-{width}-{theme}.png"
            file.write_bytes(await page.draw(html, width, theme))
            drawn.append(file)
    return drawn


def main() -> int:
    """The exit code."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        print(MISSING, file=sys.stderr)
        return 1
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(*asyncio.run(draw(program, FOLDER)), sep="\n")
    except (RuntimeError, TimeoutError) as error:
        print(str(error) or f"Chromium took more than {SECONDS:g} seconds: try again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
