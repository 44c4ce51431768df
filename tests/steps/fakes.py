"""Fakes of the ports for the steps' tests. The store is the real one on SQLite; `FaultyStore` stands in front of it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from local.google.docs import exported
from shared.errors import ConfigError, Conflict, Denied, NotFound, Unavailable
from shared.model.cells import stored
from shared.model.look import Look
from shared.pages.faces import Faces, Shown
from shared.ports import (
    DOCUMENT,
    Document,
    File,
    Filter,
    Guarded,
    Location,
    Outcome,
    Outgoing,
    Rows,
    Secret,
    Stop,
    Store,
    Workbook,
    Write,
)

NOW = 1_800_000_000_000  # 2027-01-15 08:00 UTC
DAY = 86_400_000
HOUR = 3_600_000


class FakeClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> int:
        return self.time

    def advance(self, milliseconds: int) -> None:
        self.time += milliseconds


class FakeGeo:
    """Knows the addresses in `places`, and keeps which ones were asked for."""

    def __init__(self) -> None:
        self.places: dict[str, Location] = {}
        self.asked: list[str] = []

    def locate(self, address: str) -> Location:
        self.asked.append(address)
        return self.places.get(address, Location())


class FixedFaces(Faces):
    """What pages are drawn with, without a store. `shown` may be replaced."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown

    async def get(self) -> Shown:
        return self.shown


class RecordingBus:
    """Keeps what is published. `failing`: every call raises Unavailable; `calls` counts the publishes tried."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.failing = False
        self.calls = 0

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        self.calls += 1
        await self.check()
        self.messages += [(topic, json.loads(json.dumps(message))) for message in messages]

    async def check(self) -> None:
        if self.failing:
            raise Unavailable("the bus")

    def take(self, topic: str) -> list[dict[str, Any]]:
        """The messages of a topic so far, which are then forgotten."""
        found = [message for name, message in self.messages if name == topic]
        self.messages = [(name, message) for name, message in self.messages if name != topic]
        return found


class FakeSecrets:
    def __init__(self, **values: list[bytes]) -> None:
        self.values = values

    async def get(self, name: str) -> list[Secret]:
        try:
            return [Secret(value) for value in self.values[name.replace("-", "_")]]
        except KeyError:
            raise ConfigError(f"secret {name} is missing") from None


_RANGE = re.compile(r"(?:'(?P<quoted>.+)'|(?P<tab>[^!]+))!(?P<left>[A-Z])(?P<top>\d*)(?::(?P<right>[A-Z])(?P<bottom>\d*))?")


class FakeSheet:
    """A workbook of plain cells. `changes` holds (verb, range) of every write; formulas are kept apart and show nothing."""

    def __init__(self, zone: str = "Europe/Lisbon") -> None:
        self.zone = zone
        self.tabs: dict[str, list[list[str]]] = {}
        self.formulas: dict[str, Rows] = {}
        self.changes: list[tuple[str, str]] = []
        self.looks: dict[str, str] = {}
        self.down = False

    async def workbook(self) -> Workbook:
        self._answer()
        worn = {tab: version for tab, version in self.looks.items() if tab in self.tabs}
        return Workbook(self.zone, {tab: n for n, tab in enumerate(self.tabs)}, worn)

    async def dress(self, looks: Mapping[str, Look], version: str) -> None:
        self._answer()
        for tab, look in looks.items():
            self.changes.append(("dress", tab))
            rows = self.tabs.setdefault(tab, [[line] for line in look.lines])
            for at, line in look.added([row[0] if row else "" for row in rows]):
                rows.insert(at, [line])
            self.looks[tab] = version

    async def add_tabs(self, titles: Sequence[str], columns: Mapping[str, int] | None = None) -> None:
        self._answer()
        for title in titles:
            self.changes.append(("add", title))
            self.tabs.setdefault(title, [])

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        self._answer()
        return [self.rows(place) for place in ranges]

    async def guarded(self, tabs: Sequence[str]) -> dict[str, Guarded]:
        self._answer()
        return {tab: Guarded(0, self.rows(f"{tab}!A1:Z"), self.rows(f"{tab}!A1:Z")) for tab in tabs}

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        self._answer()
        for place, rows in updates.items():
            self.changes.append(("write", place))
            if formulas and str(rows[0][0]).startswith("="):
                self.formulas[place] = rows
            else:
                self.put(place, rows)

    async def append(self, tab: str, rows: Rows) -> None:
        self._answer()
        self.changes.append(("append", tab))
        self.put(f"{tab}!A{len(self.rows(f'{tab}!A1:Z')) + 1}", rows)

    async def clear(self, ranges: Sequence[str]) -> None:
        self._answer()
        for place in ranges:
            self.changes.append(("clear", place))
            cells, left, top, right, bottom = self._place(place)
            for row in cells[top:bottom]:
                row[left:right] = [""] * len(row[left:right])

    def rows(self, place: str) -> list[list[str]]:
        """What a read shows: text, without trailing empty cells and rows."""
        cells, left, top, right, bottom = self._place(place)
        found = [list(row[left:right]) for row in cells[top:bottom]]
        for row in found:
            while row and not row[-1]:
                row.pop()
        while found and not found[-1]:
            found.pop()
        return found

    def put(self, place: str, rows: Rows) -> None:
        cells, left, top, _, _ = self._place(place)
        for y, row in enumerate(rows, top):
            while len(cells) <= y:
                cells.append([])
            line = cells[y]
            line += [""] * (left + len(row) - len(line))
            line[left : left + len(row)] = [str(stored(cell)) for cell in row]

    def _place(self, place: str) -> tuple[list[list[str]], int, int, int, int]:
        match = _RANGE.fullmatch(place)
        assert match, f"not a range: {place}"
        cells = self.tabs[match["quoted"] or match["tab"]]
        right = ord(match["right"] or match["left"]) - 64
        return cells, ord(match["left"]) - 65, int(match["top"] or 1) - 1, right, int(match["bottom"] or 100_000)

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("Google Sheets")


class FakeDrive:
    """A folder of text files; the file's id is its name."""

    def __init__(self, **files: str) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}
        self.down = False
        for name, text in files.items():
            self.put(f"{name}.md", text)

    def put(self, name: str, text: str) -> None:
        version = self.files.get(name, (b"", 0))[1] + 1
        self.files[name] = (text.encode(), version)

    async def list(self, folder: str) -> list[File]:
        self._answer()
        return [
            File(name, name, "text/markdown", str(version), "2027-01-01T00:00:00Z", "", len(data))
            for name, (data, version) in sorted(self.files.items())
        ]

    async def download(self, file: str) -> bytes:
        self._answer()
        if file not in self.files:
            raise NotFound(file)
        return self.files[file][0]

    async def edited(self, file: str) -> tuple[str, str]:
        self._answer()
        return "", "1"

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("Google Drive")


class Folder(FakeDrive):
    """As its parent, with places ("pages/check.md", or `places`: a file's id -> its folder), Google Docs, and what was fetched.
    `refusing`: a file's id -> the error of its download."""

    def __init__(self, **files: str) -> None:
        super().__init__(**files)
        self.places: dict[str, str] = {}
        self.docs: set[str] = set()
        self.fetched: list[str] = []
        self.refusing: dict[str, Exception] = {}

    async def list(self, folder: str) -> list[File]:
        found = []
        for file in await super().list(folder):
            place, _, name = file.name.rpartition("/")
            mime = DOCUMENT if file.id in self.docs else file.mime
            found.append(replace(file, name=name, folder=self.places.get(file.id, place), mime=mime))
        return sorted(found, key=lambda file: (file.folder, file.name))

    async def download(self, file: str) -> bytes:
        self.fetched.append(file)
        if file in self.refusing:
            raise self.refusing[file]
        data = await super().download(file)
        return exported(data.decode()).encode() if file in self.docs else data

    def touch(self, name: str) -> None:
        """Another version of the same bytes."""
        self.put(name, self.files[name][0].decode())


class Died(BaseException):
    """The process ends here: no handler of ours may catch it."""


@dataclass(repr=False)
class FakeSender:
    """Answers as scripted, else `sent`. `accepted` is what the far side really took, in order.

    `answers`: address -> outcomes, used up in turn. `meanwhile` runs inside `send`, before anything is accepted.
    """

    window: int = 5
    form: Literal["wire", "letter"] = "wire"
    accepted: list[str] = field(default_factory=list)
    mails: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Outcome]] = field(default_factory=dict)
    meanwhile: Callable[[list[str]], Awaitable[None]] | None = None
    down: bool = False
    denied: str = ""
    calls: int = 0

    async def ready(self) -> None:
        if self.denied:
            raise Denied(self.denied)
        if self.down:
            raise Unavailable("the mail server")

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Stop | None = None) -> list[Outcome]:
        self.calls += 1
        come = stop and stop.come  # a real one looks before each mail
        if self.meanwhile:
            await self.meanwhile([mail.recipient for mail in mails])
        return [Outcome("unsent") if come else self._one(mail) for mail in mails]

    def _one(self, mail: Outgoing) -> Outcome:
        script = self.answers.get(mail.recipient)
        outcome = script.pop(0) if script else Outcome("sent", "250")
        if outcome.kind in ("sent", "unknown"):
            self.accepted.append(mail.recipient)
        self.mails[mail.recipient] = mail.data
        return outcome

    async def close(self) -> None:
        return


Fault = Literal["refused", "lost", "conflict", "died", "died after", ""]
WRITING = frozenset({"commit", "write_many"})


class FaultyStore:
    """A Store some of whose calls fail: `plan(verb)` names the fault of each, "" for none.

    refused: Unavailable, nothing applied · lost: applied, then Unavailable · conflict: applied, then Conflict, as when a client
    repeats its own write after a lost reply · died, died after: the process ends before, or after, the write.
    """

    def __init__(self, store: Store, plan: Callable[[str], Fault]) -> None:
        self._store, self._plan = store, plan

    async def _call(self, verb: str, work: Callable[[], Awaitable[Any]], path: str = "") -> Any:
        fault = self._plan(verb)
        if fault == "refused":
            raise Unavailable("the store")
        if fault == "died":
            raise Died
        found = await work()
        if fault == "died after":
            raise Died
        if fault == "conflict" and verb == "commit":
            raise Conflict(path, "version")
        if fault in ("lost", "conflict"):
            raise Unavailable("the store", "reply lost")
        return found

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        found: Document | None = await self._call("get", lambda: self._store.get(path, fields))
        return found

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        found: list[Document | None] = await self._call("get_many", lambda: self._store.get_many(paths, fields))
        return found

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        found: list[Document] = await self._call("page", lambda: self._store.page(collection, filter, after, limit, fields))
        return found

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        return int(await self._call("count", lambda: self._store.count(collection, filter)))

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        found: list[str] = await self._call("commit", lambda: self._store.commit(writes), writes[0].path)
        return found

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        try:
            found: list[str | Conflict | Unavailable] = await self._call("write_many", lambda: self._store.write_many(writes))
            return found
        except Unavailable as error:
            return [error] * len(writes)


def nth(n: int, fault: Fault, verbs: frozenset[str] = WRITING) -> Callable[[str], Fault]:
    """A plan: the n-th call of `verbs` (from 0) fails, once."""
    seen = -1

    def plan(verb: str) -> Fault:
        nonlocal seen
        seen += verb in verbs
        return fault if verb in verbs and seen == n else ""

    return plan
