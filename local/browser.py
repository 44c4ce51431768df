"""A Chromium of our own, and what a person does with it at the twin's pages: to draw pictures, and to walk through a marketer's week.

Chromium is told what to do over a pair of pipes, in its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), since
its command line draws no window narrower than 500 pixels and knows no colour scheme.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")  # of the program
ROOT: Final = Path(__file__).parents[1]
SECONDS: Final = 120.0  # until what is waited for has to be there
_LOADED = "document.readyState == 'complete'"
_PIPED = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'  # the protocol runs on the descriptors 3 and 4
_LARGEST = 1 << 26  # bytes of one answer
_KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "Space": (32, " ")}  # name -> Windows virtual key code, text
_CELL = "document.getElementById('c{row}-{column}')"
_ROWS = "[...document.querySelectorAll('#grid tbody tr')].map(row => [...row.cells].slice(1).map(cell => cell.textContent))"
_PASTE = """(() => {{
  const data = new DataTransfer();
  data.setData("text/plain", {text});
  document.getElementById("grid").dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: data, bubbles: true }}));
}})()"""
_CHOOSE = """(() => {{
  const field = document.querySelector("#grid td.open select");
  field.value = {text};
  field.dispatchEvent(new Event("change", {{ bubbles: true }}));
  return field.value;
}})()"""


def program() -> str | None:
    """Where a Chromium is, None for nowhere."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Missed(Exception):
    """A page did not come to show what was waited for; the message says what it shows."""


class Page:
    """A tab of a running Chromium. What Chromium refuses raises RuntimeError."""

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

    # --- pictures

    async def draw(self, html: str, width: int, theme: str) -> bytes:
        """A PNG of the whole document, `width` CSS pixels wide; phones get two pixels for one."""
        await self.size(width, 640, theme)
        await self._call("Page.setDocumentContent", frameId=self._frame, html=html)
        return await self.picture()

    async def size(self, width: int, height: int, theme: str = "light") -> None:
        """Of the window, in CSS pixels."""
        phone = width < 600
        shape = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        await self._call("Emulation.setDeviceMetricsOverride", **shape)
        await self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    async def picture(self, box: Mapping[str, float] | None = None, **how: Any) -> bytes:
        """Of the whole page, or a box of it (x, y, width, height in CSS pixels). `how`: format and quality, else PNG."""
        content = (await self._call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": content["width"], "height": content["height"], **(box or {}), "scale": 1}
        answer = await self._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True, **({"format": "png"} | how))
        return b64decode(answer["data"])

    # --- reading and doing

    async def scripts(self, allowed: bool) -> None:
        """Whether the pages loaded from now on may run any; what `ask` asks is no script of theirs."""
        await self._call("Emulation.setScriptExecutionDisabled", value=not allowed)

    async def go(self, url: str) -> None:
        """Load a page. Raises Missed when it does not answer."""
        found = await self._call("Page.navigate", url=url)
        if error := found.get("errorText"):
            raise Missed(f"{url}: {error}")
        await self.until(f"{url} is loaded", lambda: self.ask(f"location.href == {json.dumps(url)} && {_LOADED}"))

    async def ask(self, expression: str) -> Any:
        """What JavaScript on the page comes to; None while the page changes."""
        found = await self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return None if "exceptionDetails" in found else found["result"].get("value")

    async def until(
        self, what: str, done: Callable[[], Awaitable[Any]], shown: Callable[[], Awaitable[str]] | None = None
    ) -> Any:
        """What `done` gives once it is true of the page. Raises Missed, with what `shown` says, after SECONDS."""
        end = time.monotonic() + SECONDS
        while not (found := await done()):
            if time.monotonic() > end:
                said = await (shown() if shown else self.ask("document.body.innerText"))
                raise Missed(f"After {SECONDS:g} seconds it is not so that {what}. There is: {said}")
            await asyncio.sleep(0.3)
        return found

    async def click(self, element: str) -> None:
        """Click into the middle of an element, which a JavaScript expression gives. Raises Missed when there is none."""
        middle = f"(() => {{ const one = {element}; one.scrollIntoView({{ block: 'center', inline: 'center' }}); "
        middle += "const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        place = await self.ask(middle)
        if place is None:
            raise Missed(f"The page has no {element}: {await self.ask('document.body.innerText')}")
        for kind in ("mousePressed", "mouseReleased"):
            await self._call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def press(self, key: str) -> None:
        """A key of _KEYS."""
        code, text = _KEYS[key]
        pressed = {"key": text if text == " " else key, "code": key, "windowsVirtualKeyCode": code}
        await self._call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **pressed)
        await self._call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def write(self, text: str) -> None:
        """Type into the field that has the focus, over what it holds."""
        await self.ask("document.activeElement.select?.()")
        await self._call("Input.insertText", text=text)

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


class Person:
    """Somebody at the pages of the twin at `url`. A row of a tab is called by what its first cell shows, a column by its header."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    # --- the Sheet

    async def tab(self, name: str) -> list[list[str]]:
        """Open a tab of the Sheet; what its cells show."""
        await self.page.go(f"{self.url}/sheet?tab={quote(name)}")
        await self.page.until(f"{name} is shown", self.cells)
        return await self.cells()

    async def cells(self) -> list[list[str]]:
        """What the open tab shows, with the header first; [] while there is nothing yet."""
        found = await self.page.ask(_ROWS) or []
        return found if any(map(any, found[:1])) else []

    async def row(self, name: str) -> dict[str, str]:
        """Header -> what the row shows; {} while there is no such row."""
        header, *rows = await self.cells() or [[]]
        return next((dict(zip(header, row, strict=True)) for row in rows if row[0] == name), {})

    async def wait(self, name: str, **wanted: str | Sequence[str]) -> dict[str, str]:
        """The row once each of these columns shows one of these words in it. Raises Missed, with the row."""
        columns = {column.replace("_", " "): [words] if isinstance(words, str) else words for column, words in wanted.items()}

        async def fits() -> dict[str, str]:
            row = await self.row(name)
            return row if all(any(word in row.get(column, "") for word in words) for column, words in columns.items()) else {}

        async def shown() -> str:
            return f"{name}: { ({header: text for header, text in (await self.row(name)).items() if text}) }"

        found: dict[str, str] = await self.page.until(f"{name} shows {columns}", fits, shown)
        return found

    async def type(self, name: str | int, **texts: str) -> None:
        """Type into cells of a row: click, Enter, the text, Enter. `name` may be the row's number, for one that is empty."""
        for header, text in texts.items():
            await self.select(name, header.replace("_", " "))
            await self.page.press("Enter")
            await self.page.until("the cell is open", lambda: self.page.ask("!!document.querySelector('#grid td.open input')"))
            await self.page.write(text)
            await self.page.press("Enter")
            await self._saved()

    async def choose(self, name: str, header: str, word: str) -> None:
        """Choose a word from a cell's list."""
        await self.select(name, header)
        await self.page.until("the list is open", lambda: self.page.ask("!!document.querySelector('#grid td.open select')"))
        if await self.page.ask(_CHOOSE.format(text=json.dumps(word))) != word:
            raise Missed(f"The list of {header} has no {word}.")
        await self._saved()

    async def become(self, who: str) -> None:
        """Choose who edits, where cells are protected."""
        await self.page.until(f"{who} is among the people", lambda: self.page.ask(f"sheet.people.includes({json.dumps(who)})"))
        await self.page.ask(f"you.value = {json.dumps(who)}; sessionStorage.setItem('you', you.value); refresh(true)")

    async def paste(self, name: str, header: str, text: str) -> None:
        """Paste rows of cells, as a spreadsheet copies them, with their first cell into this one."""
        await self.select(name, header)
        await self.page.ask(_PASTE.format(text=json.dumps(text)))
        await self._saved()

    async def select(self, name: str | int, header: str) -> None:
        """Click a cell."""
        cells = await self.cells()
        rows = [name] if isinstance(name, int) else [n for n, row in enumerate(cells, 1) if row[0] == name]
        if len(rows) != 1 or cells[0].count(header) != 1:
            raise Missed(f"There are {len(rows)} rows called {name} and {cells[0].count(header)} columns called {header}.")
        await self.page.click(_CELL.format(row=rows[0], column=cells[0].index(header) + 1))

    async def _saved(self) -> None:
        await self.page.until("the edit is saved", lambda: self.page.ask("writing === 0 && !editor"))
        if told := await self.page.ask("document.getElementById('told').textContent"):
            raise Missed(told)

    # --- the other pages

    async def save(self, template: str, text: str) -> None:
        """Write a template's whole text in its editor, and save it."""
        await self.page.go(f"{self.url}/templates/{quote(template)}")
        await self.page.click("document.querySelector('textarea')")
        await self.page.write(text)
        await self.button("Save")
        await self.page.until("it is saved", lambda: self.page.ask("location.search == '?saved'"))

    async def button(self, label: str) -> None:
        await self.page.click(f"[...document.querySelectorAll('button')].find(one => one.textContent == {json.dumps(label)})")

    async def hours(self, hours: int) -> None:
        """Move the twin's clock forward by one of the choices that its start page has."""
        await self.page.go(f"{self.url}/")
        before = await self.page.ask("document.querySelector('form.line b').textContent")
        await self.page.ask(f"document.querySelector('select[name=hours]').value = '{hours}'")
        await self.button("Advance")
        text = "document.querySelector('form.line b')?.textContent"
        await self.page.until(
            "the clock has moved", lambda: self.page.ask(f"![undefined, {json.dumps(before)}].includes({text})")
        )

    async def mail(self, query: str, number: int = 1) -> str:
        """The text of the newest mail that the mailbox finds, once it finds so many."""
        links = "[...document.querySelectorAll('.mails a')].map(one => one.href)"

        async def found() -> Any:
            await self.page.go(f"{self.url}/mailbox?q={quote(query)}")
            mails = await self.page.ask(links) or []
            return mails if len(mails) >= number else None

        newest, *_ = await self.page.until(f"the mailbox has {number} of {query}", found)
        await self.page.go(f"{newest}?view=text")
        return str(await self.page.ask("document.querySelector('main').innerText"))


@contextmanager
def twin(state: Path, tick: int = 3, **environ: str) -> Iterator[str]:
    """The URL of a twin in a process of its own that ticks every `tick` seconds, on the port that the folder `state` had before. Raises
    Missed."""
    file = state / "port"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(file.read_text()) if file.exists() else probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "local",
        "run",
        "--state",
        str(state),
        "--port",
        str(port),
        "--tick",
        str(tick),
        "--until-eof",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdin and running.stdout
        if not any("local twin" in line for line in iter(running.stdout.readline, "")):  # it may install things before
            raise Missed(f"The twin did not start. Its log is {state / 'twin.log'}.")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.stdin.close()  # which ends it
            running.wait(60)


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
