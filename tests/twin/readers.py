"""A reader at the public pages of a twin, who has a keyboard, no mouse and no JavaScript; and axe-core, which looks at each page."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from email import message_from_bytes, policy
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from local.browser import Missed, Page
from local.environments import environment, install
from tests.emulated_google import left_out

LOCK = Path(__file__).with_name("axe.txt")
MOST = 60  # presses of Tab
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def axe() -> str:
    """The source of axe-core, which only a strict run installs; else the test is left out."""
    if os.environ.get("STRICT") == "1":
        list(install({"axe": LOCK}))
    found = next(environment("axe", LOCK).glob("lib/python*/site-packages/axe_playwright_python/axe.min.js"), None)
    if found is None:
        sentence = "axe-core is not installed; STRICT=1 installs it."
        left_out.add(f"Left out: the accessibility of the public pages. {sentence}")
        pytest.skip(sentence)
    return found.read_text()


class Reader:
    """`page` has its scripts off; `axe`: the source of axe-core, "" to look at nothing."""

    def __init__(self, page: Page, url: str, state: Path, axe: str, pictures: Path | None = None) -> None:
        self.page, self.url, self._state, self._axe, self._pictures = page, url, state, axe, pictures

    async def go(self, url: str) -> None:
        await self.page.go(url)

    async def tab(self, selector: str) -> None:
        """Press Tab until the element has the focus, which must be seen. Raises Missed."""
        for _ in range(MOST):
            if await self.page.ask(f"document.activeElement?.matches({json.dumps(selector)})"):
                outline = await self.page.ask("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{selector} shows no focus"
                return
            await self.page.press("Tab")
        raise Missed(f"No Tab leads to {selector} on {await self.text()}")

    async def write(self, selector: str, text: str) -> None:
        await self.tab(selector)
        await self.page.write(text)

    async def press(self, selector: str, key: str = "Enter") -> None:
        """Press a key at an element, and wait for the next page where it leads to one."""
        await self.tab(selector)
        await self.page.ask("document.documentElement.dataset.old = 'yes'")
        await self.page.press(key)
        if key == "Enter":
            gone = "document.readyState == 'complete' && !document.documentElement.dataset.old"
            await self.page.until("the next page is there", lambda: self.page.ask(gone))

    async def tick(self, selector: str) -> None:
        await self.press(selector, "Space")

    async def title(self) -> str:
        return str(await self.page.ask("document.querySelector('h1').innerText"))

    async def text(self) -> str:
        return str(await self.page.ask("document.body.innerText"))

    async def looked_at(self, name: str) -> None:
        """The page as axe sees it, its size and its language. Raises AssertionError with what is wrong."""
        wide = await self.page.ask("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"{name} scrolls sideways"
        assert await self.page.ask("document.documentElement.lang"), f"{name} has no language"
        loaded = await self.page.ask("performance.getEntriesByType('resource').map(one => one.name)")
        assert [one for one in loaded if not one.startswith("data:")] == [], f"{name} loads {loaded}"
        size = await self.page.ask("performance.getEntriesByType('navigation')[0].decodedBodySize")
        assert 0 < size < 20_000, f"{name} has {size:,} bytes"
        if self._pictures:
            (self._pictures / f"{name}.png").write_bytes(await self.page.picture())
        if self._axe:
            options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
            await self.page.scripts(True)  # for axe's own timers: the page was loaded without
            found = await self.page.ask(f"(async () => {{ {self._axe}; return axe.run(document, {json.dumps(options)}) }})()")
            await self.page.scripts(False)
            assert found, f"axe does not run on {name}"
            told = [f"{one['id']}: {one['help']} ({[node['html'] for node in one['nodes']][:3]})" for one in found["violations"]]
            assert told == [], f"{name}: {told}"

    async def mail(self, address: str, number: int = 1) -> str:
        """The HTML of the newest mail to an address, once there are so many."""

        async def arrived() -> Any:
            with closing(sqlite3.connect(f"file:{self._state / 'mailbox.db'}?mode=ro", uri=True, timeout=30)) as db:
                mails = db.execute("SELECT source FROM mail WHERE rcpt = ? ORDER BY id", (address,)).fetchall()
            return mails if len(mails) >= number else None

        found = await self.page.until(f"{address} has {number} mails", arrived)
        message = message_from_bytes(found[-1][0], policy=policy.default)
        body = message.get_body(("html",))
        assert body
        return str(body.get_content())

    @staticmethod
    def link(mail: str, part: str) -> str:
        """The first link of a mail that has `part` in it."""
        found = next((unescape(link) for link in re.findall(r'href="([^"]+)"', mail) if part in unescape(link)), None)
        assert found, f"no link with {part} in {mail[:2000]}"
        return found
