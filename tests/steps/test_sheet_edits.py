"""People edit the workbook while the system reads and writes it: whatever they do, nobody's cell is changed, a command is done once and
only where a row asked for it, and an answer stands beside its own id.

A model that knows only what stands in the cells judges random histories. More of them:

    SHEET_EDITS=2000 .venv/bin/python -m pytest tests/steps/test_sheet_edits.py
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from functions.sync_sheet import imports
from functions.sync_sheet.workbook import FORMS, HEADERS, lookup, place
from local.google.a1 import Area
from local.google.rest import Refused
from local.google.store import SheetsStore, Tab
from local.google.values import Cell, typed
from shared.errors import BadInput
from shared.model import batch, console
from shared.model.cells import stored
from shared.model.look import Look
from shared.model.ref import MailRef
from shared.ports import Delete, Guarded, Outcome, Outgoing, Rows, Store, Workbook, Write

from .fakes import FakeSender
from .world import World

BOOK = "book"
CAMPAIGNS, IMPORT = console.CAMPAIGNS, console.IMPORT
FORM = {CAMPAIGNS: FORMS[CAMPAIGNS], IMPORT: FORMS[IMPORT]}
COMMANDS = {console.RETRY.lower(), console.RESEND.lower()}
MOVES = {  # what a campaign's document becomes by a row -> what the row must have said
    "scheduled": {"go"},
    "running": {"go", *COMMANDS},
    "paused": {"pause"},
    "cancelled": {"cancel"},
}
READERS = ("a@example.com", "b@example.com", "c@example.com")
Grid = dict[tuple[int, int], Cell]
View = dict[str, str]  # id -> what Wanted says, of the rows that say one thing


class EmulatedSheet:
    """The Sheet port straight on the emulator's cells. `between` runs after each call, given how many came before it in this tick."""

    def __init__(self, store: SheetsStore, between: Callable[[int], None] = lambda n: None) -> None:
        self._store, self._between, self._calls = store, between, 0

    async def _done(self) -> None:
        self._between(self._calls)
        self._calls += 1
        await asyncio.sleep(0)  # a turn for the other tick

    async def workbook(self) -> Workbook:
        found = Workbook(self._store.properties(BOOK)[1], {tab.title: tab.id for tab in self._store.tabs(BOOK)})
        await self._done()
        return found

    async def add_tabs(self, titles: Sequence[str], columns: Mapping[str, int] | None = None) -> None:
        there = {tab.title for tab in self._store.tabs(BOOK)}
        for title in titles:
            if title not in there:
                self._store.add_tab(BOOK, title, frozen=1)
        await self._done()

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        try:
            found = [self._store.read(BOOK, self._store.area(BOOK, place)) for place in ranges]
        except Refused as refusal:
            raise BadInput(refusal.message) from None
        await self._done()
        return [[[str(cell) for cell in row] for row in rows] for rows in found]

    async def guarded(self, tabs: Sequence[str]) -> dict[str, Guarded]:
        raise AssertionError("no campaign here needs approval")

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        cells = [
            (self._store.area(BOOK, place), [[cell if formulas else stored(cell) for cell in row] for row in rows])
            for place, rows in updates.items()
        ]
        for area, rows in cells:
            tab = self._store.tab(BOOK, area.tab)
            if area.top + len(rows) > tab.rows:  # as the adapter does when Google refuses it
                self._store.update_tab(BOOK, replace(tab, rows=area.top + len(rows)))
        self._store.write(BOOK, cells, "USER_ENTERED" if formulas else "RAW")
        await self._done()

    async def append(self, tab: str, rows: Rows) -> None:
        self._store.append(BOOK, Area(tab), [[stored(cell) for cell in row] for row in rows], "RAW")
        await self._done()

    async def dress(self, looks: Mapping[str, Look], version: str) -> None:
        await self._done()

    async def clear(self, ranges: Sequence[str]) -> None:
        self._store.clear(BOOK, [self._store.area(BOOK, place) for place in ranges])
        await self._done()


class Watched:
    """A store that tells `seen` every document that a commit changed."""

    def __init__(self, store: Store, seen: Callable[[Write], None]) -> None:
        self._store, self._seen = store, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        found = await self._store.commit(writes)
        for write in writes:
            self._seen(write)
        return found


class Mailbox(FakeSender):
    """Counts what was taken by campaign, send and reader. The first mail of each campaign to the last of READERS is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self.refused: set[str] = set()

    def _one(self, mail: Outgoing) -> Outcome:
        ref = MailRef.parse(mail.ref)
        if mail.recipient == READERS[-1] and ref.campaign not in self.refused:
            self.refused.add(ref.campaign)
            return Outcome("recipient", "550")
        self.taken[mail.ref] += 1
        return Outcome("sent", "250")


# --- what people do ---

_ROWS, _COLUMNS = st.integers(2, 8), st.integers(1, 12)
_TABS = st.sampled_from([CAMPAIGNS, CAMPAIGNS, CAMPAIGNS, IMPORT])
_WORDS: dict[str, Sequence[str]] = {
    "ID": ("C-0001", "C-0002", "C-0003", "c-0001", "", "7", "not an id", "confirm"),
    "Name": ("Spring", "Zoë & co", ""),
    "Template": ("letter", "letter", "no such"),
    "Schedule": ("", "", "2027-01-15 12:00", "soon"),
    "Wanted": (*console.WANTED, "Go", "Go", "go ", "Perhaps", ""),
    "Rate": ("", "", "6000", "fast"),
    "Email": ("x@example.com", "y@example.com", "z@example.com", "nobody", ""),
    "Consent source": ("fair 2026", ""),
}
_IMPORT_IDS = ("I-0001", "I-0002", "i-0001", "7", "my contact", "")


def _cells() -> st.SearchStrategy[Any]:
    choose = [
        st.tuples(st.just("type"), st.just(tab), _ROWS, st.just(name), st.sampled_from(words))
        for tab in (CAMPAIGNS, IMPORT)
        for name, words in (_WORDS | ({"ID": _IMPORT_IDS} if tab == IMPORT else {})).items()
        if name in FORM[tab].typed
    ]
    wanted = st.tuples(
        st.just("type"), st.just(CAMPAIGNS), st.integers(2, 4), st.just("Wanted"), st.sampled_from(_WORDS["Wanted"])
    )
    return st.one_of(*choose, wanted, wanted, wanted)


EDITS: st.SearchStrategy[Any] = st.one_of(
    _cells(),
    _cells(),
    st.tuples(st.just("sort"), _TABS, _COLUMNS, st.booleans(), st.booleans()),
    st.tuples(st.just("insert"), _TABS, _ROWS),
    st.tuples(st.just("delete"), _TABS, _ROWS),
    st.tuples(st.just("paste"), _TABS, _ROWS, _ROWS),
    st.tuples(st.just("move"), _TABS, st.integers(1, 18), st.integers(1, 18)),
    st.tuples(st.just("own"), _TABS, st.sampled_from(["My notes", "My notes", "Wanted", "Answer"])),
    st.tuples(st.just("head"), _TABS, _COLUMNS, st.sampled_from(["ID", "Wanted", "My own", ""])),
    st.tuples(st.just("rename"), _TABS),
    st.tuples(st.just("undo")),
)
DURING = st.none() | st.tuples(st.integers(0, 4), EDITS)


class Edits(RuleBasedStateMachine):
    """People at the workbook, and ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World.on(self.folder)
        self.world.sender = self.mailbox = Mailbox()
        self.book = SheetsStore(self.folder / "sheet.db")
        self.loop = asyncio.Runner()
        self.before: list[tuple[str, Grid]] = []  # what undo brings back
        self.away: str = ""  # a tab that has another name just now
        self.asked: defaultdict[str, list[str]] = defaultdict(list)  # id -> what its row said, each change
        self.begun: Counter[tuple[str, str]] = Counter()  # (id, command) -> how often it was done
        self.moments: list[View] = []  # what stood there during this tick

    def teardown(self) -> None:
        self.loop.close()
        self.world.store.close()
        self.book.close()
        shutil.rmtree(self.folder)

    @initialize()
    def made(self) -> None:
        """A small workbook as sync_sheet makes it, and readers."""
        self.book.create_spreadsheet(BOOK, "Pipeline", "Europe/Lisbon", list(HEADERS))
        for tab, header in HEADERS.items():
            self.book.write(BOOK, [(Area(tab), [list(header)])], "RAW")
        for tab, form in FORM.items():
            for n in range(2, 7):
                shown = [lookup(n, *place(form, name)) for name in form.results]
                row = [f"{form.prefix}-{n - 1:04d}", *[""] * (len(form.typed) - 1), *shown]
                self.book.write(BOOK, [(Area(tab, n), [row])], "USER_ENTERED")
        self.type(CAMPAIGNS, 2, "Template", "letter")
        self.type(CAMPAIGNS, 3, "Template", "letter")
        for line, address in ((2, "x@example.com"), (3, "y@example.com")):
            self.type(IMPORT, line, "Email", address)
            self.type(IMPORT, line, "Consent source", "fair 2026")
        self.loop.run(self.world.add(*READERS))
        self.choose("C-0001", "Go")

    # --- edits ---

    @rule(edit=EDITS)
    def edit(self, edit: tuple[Any, ...]) -> None:
        verb, *given = edit
        getattr(self, verb)(*given)
        self.look()

    def grid(self, tab: str) -> Grid:
        return dict(self.book.cells(BOOK, tab))

    def put(self, tab: str, grid: Grid, undoing: bool = False) -> None:
        """A tab as a person leaves it."""
        if not undoing:
            self.before.append((tab, self.grid(tab)))
        rows: list[list[str]] = []
        for (row, column), cell in sorted(grid.items()):
            rows += [[] for _ in range(row - len(rows))]
            line = rows[row - 1]
            line += [""] * (column - len(line))
            line[column - 1] = f"'{cell.text}" if cell.kind == "s" else cell.text
        with self.book.change():
            self.book.clear(BOOK, [Area(tab)])
            self.book.write(BOOK, [(Area(tab), rows)], "USER_ENTERED")

    def here(self, tab: str) -> bool:
        return tab != self.away

    def type(self, tab: str, row: int, name: str, text: str) -> None:
        """Into the column with that header."""
        grid = self.grid(tab) if self.here(tab) else {}
        columns = [column for (top, column), cell in grid.items() if top == 1 and cell.text == name]
        if columns:
            cell = typed(text)
            self.put(tab, grid | {(row, columns[0]): cell} if cell else self._without(tab, row, columns[0]))

    def _without(self, tab: str, row: int, column: int) -> Grid:
        return {place: cell for place, cell in self.grid(tab).items() if place != (row, column)}

    def sort(self, tab: str, column: int, down: bool, results: bool) -> None:
        """All columns, or only those that were selected: the typed ones."""
        if not self.here(tab):
            return
        if results:
            self.before.append((tab, self.grid(tab)))
            self.book.sort(BOOK, tab, column, down)
            return
        grid = self.grid(tab)
        width = len(FORM[tab].typed)
        rows = sorted({row for row, at in grid if row > 1 and at <= width})
        key = {row: grid[row, column].text.casefold() if (row, column) in grid else "" for row in rows}
        order = sorted((row for row in rows if key[row]), key=lambda row: key[row], reverse=down) + [
            row for row in rows if not key[row]
        ]
        target = dict(zip(order, range(2, len(order) + 2), strict=True))
        kept = {place: cell for place, cell in grid.items() if place[0] == 1 or place[1] > width}
        for (row, at), cell in grid.items():
            if row > 1 and at <= width:
                kept[target[row], at] = _copied(cell, row, target[row])
        self.put(tab, kept)

    def insert(self, tab: str, row: int) -> None:
        if self.here(tab):
            self.before.append((tab, self.grid(tab)))
            self.book.insert_rows(BOOK, tab, row)

    def delete(self, tab: str, row: int) -> None:
        if self.here(tab):
            self.before.append((tab, self.grid(tab)))
            self.book.delete_rows(BOOK, tab, row)

    def paste(self, tab: str, source: int, target: int) -> None:
        """A whole row over another, its id too."""
        if self.here(tab):
            grid = {place: cell for place, cell in self.grid(tab).items() if place[0] != target or source == target}
            copied = {(target, at): _copied(cell, source, target) for (row, at), cell in self.grid(tab).items() if row == source}
            self.put(tab, grid | copied)

    def move(self, tab: str, source: int, target: int) -> None:
        """A column to another place; references follow it."""
        if not self.here(tab):
            return
        width = max(column for _, column in self.grid(tab))
        order = list(range(1, width + 1))
        if source <= width and target <= width:
            order.insert(target - 1, order.pop(source - 1))
        new = {old: at for at, old in enumerate(order, 1)}

        def follow(cell: Cell) -> Cell:
            moved = re.sub(r"(?<![!:])\$([A-Z])(?=\d)", lambda found: f"${chr(64 + new[ord(found[1]) - 64])}", cell.text)
            return Cell("f", moved) if cell.kind == "f" else cell

        self.put(tab, {(row, new[column]): follow(cell) for (row, column), cell in self.grid(tab).items()})

    def own(self, tab: str, name: str) -> None:
        """A column of a person's own, with something in it."""
        if self.here(tab):
            right = max(column for _, column in self.grid(tab)) + 1
            if right <= 24:
                self.put(tab, self.grid(tab) | {(1, right): Cell("s", name), (2, right): Cell("s", "my words")})

    def head(self, tab: str, column: int, name: str) -> None:
        """Another header."""
        if self.here(tab):
            self.put(tab, self.grid(tab) | {(1, column): Cell("s", name)} if name else self._without(tab, 1, column))

    def rename(self, tab: str) -> None:
        """A tab of theirs; or, when one is renamed already, back, taking away what was made in its place."""
        tabs = {found.title: found for found in self.book.tabs(BOOK)}
        if self.away:
            if self.away in tabs:
                self.book.delete_tab(BOOK, tabs[self.away].id)
            self._name(tabs[f"Old {self.away}"], self.away)
            self.away = ""
        else:
            self._name(tabs[tab], f"Old {tab}")
            self.away = tab

    def _name(self, tab: Tab, title: str) -> None:
        self.book.update_tab(BOOK, replace(tab, title=title))

    def undo(self) -> None:
        if self.before and self.here(self.before[-1][0]):
            self.put(*self.before.pop(), undoing=True)

    # --- ticks ---

    @rule(during=DURING)
    def launch(self, during: tuple[int, Any] | None) -> None:
        self.tick([self._launch(during)])
        view, doubled = self.view()
        if during is None:
            for id in doubled - view.keys():
                found = self.loop.run(self.world.data(self.world.paths.campaign(id)))
                assert found.get("active") or "stands in" in found["answer"], f"{id} is not told that its id stands there twice"

    @rule(during=DURING)
    def sync(self, during: tuple[int, Any] | None) -> None:
        self.tick([self._sync(during)])
        if during is None:
            self.told()

    @rule(first=st.booleans(), second=st.booleans(), during=DURING)
    def at_once(self, first: bool, second: bool, during: tuple[int, Any] | None) -> None:
        self.tick([self._launch(during) if first else self._sync(during), self._launch(None) if second else self._sync(None)])

    @rule()
    def work(self) -> None:
        """The workers' turn, and a minute."""
        for message in self.world.bus.take(batch.TOPIC):
            self.loop.run(self.world.send_batch().handle(message))
        self.world.clock.advance(60_000)
        for ref, times in self.mailbox.taken.items():
            assert times == 1, f"{ref} got a mail twice"
            assert "go" in self.asked[MailRef.parse(ref).campaign], f"{ref} got a mail that nobody asked for"

    @rule(
        id=st.sampled_from(["C-0001", "C-0001", "C-0002"]), word=st.sampled_from(["Go", console.RETRY, console.RESEND, "Draft"])
    )
    def choose(self, id: str, word: str) -> None:
        """What people mostly do, and the time it takes."""
        self.edit(("type", CAMPAIGNS, self.row_of(id), "Wanted", word))
        for _ in range(2):
            self.launch(None)
            self.work()

    @rule(edit=EDITS)
    def regret(self, edit: tuple[Any, ...]) -> None:
        """An edit that is undone after a tick."""
        self.edit(edit)
        self.launch(None)
        self.edit(("undo",))
        self.launch(None)

    @rule(id=st.sampled_from(["C-0001", "C-0001", "C-0002"]))
    def blunder(self, id: str) -> None:
        """A whole row copied, its id too."""
        self.regret(("paste", CAMPAIGNS, self.row_of(id), 9))

    def row_of(self, id: str) -> int:
        """The first row with this id; else one where nothing stands."""
        grid = self.grid(CAMPAIGNS) if self.here(CAMPAIGNS) else {}
        return min((row for (row, _), cell in grid.items() if cell.text == id), default=10)

    def sheet(self, during: tuple[int, Any] | None) -> EmulatedSheet:
        def between(n: int) -> None:
            if during and n == during[0]:
                self.edit(during[1])

        return EmulatedSheet(self.book, between)

    async def _launch(self, during: tuple[int, Any] | None) -> None:
        step = self.world.launch(Watched(self.world.store, self.seen))
        await replace(step, sheet=self.sheet(during)).handle()

    async def _sync(self, during: tuple[int, Any] | None) -> None:
        await replace(self.world.sync_sheet(), sheet=self.sheet(during)).handle()

    def tick(self, steps: Sequence[Any]) -> None:
        self.moments = []
        self.look()

        async def together() -> None:
            for error in await asyncio.gather(*steps, return_exceptions=True):
                if isinstance(error, BaseException) and not (isinstance(error, BadInput) and "parse range" in str(error)):
                    raise error  # a tab that is renamed between two calls ends a tick: the next one makes it good

        self.loop.run(together())
        for tab, left in self.left.items():
            found = self.grid(tab)
            assert all(found.get(place) == cell for place, cell in left.items()), f"what stood in {tab} was changed"
            assert all(_ours(tab, cell) for place, cell in found.items() if place not in left), f"{tab} was written into"

    # --- the model ---

    def look(self) -> None:
        """Note what stands there now."""
        self.left = {tab: self.grid(tab) for tab in FORM if self.here(tab)}
        view, _ = self.view()
        self.moments.append(view)
        for id, wanted in view.items():
            if self.asked[id][-1:] != [wanted]:
                self.asked[id].append(wanted)

    def table(self, tab: str) -> list[dict[str, str]]:
        """The rows that say anything; none when a header is missing or stands there twice."""
        if tab not in {found.title for found in self.book.tabs(BOOK)}:
            return []
        top, *rows = self.book.read(BOOK, Area(tab)) or [[]]
        if any(top.count(name) != 1 for name in FORM[tab].fields) or any(top.count(name) > 1 for name in FORM[tab].options):
            return []
        found = [dict(zip(top, [*row, *[""] * (len(top) - len(row))], strict=True)) for row in rows]
        return [row for row in found if row["ID"] and any(row[name] for name in FORM[tab].typed[1:] if name in row)]

    def view(self) -> tuple[View, set[str]]:
        """What is asked of each campaign, and the ids of those of whom more than one row speaks."""
        rows = [row for row in self.table(CAMPAIGNS) if re.fullmatch(r"(?!confirm)[A-Za-z0-9-]+", row["ID"])]
        times = Counter(row["ID"].casefold() for row in rows)
        wanted = {row["ID"]: row["Wanted"].strip().lower() for row in rows if times[row["ID"].casefold()] == 1}
        return wanted, {row["ID"] for row in rows} - wanted.keys()

    def seen(self, write: Write) -> None:
        """A document that launch changed: a campaign's state by its row only when that row said so."""
        collection, _, id = write.path.rpartition("/")
        data = {} if isinstance(write, Delete) else write.data
        if collection != self.world.paths.campaigns or "row" not in data or data.get("state") not in MOVES:
            return
        said = {view[id] for view in self.moments if id in view}
        assert said & MOVES[data["state"]], f"{id} became {data['state']}, its row said {said}"
        wanted = data["row"]["wanted"]
        if data.get("preparing"):
            self.begun[id, wanted] += 1
            assert self.begun[id, wanted] <= self.asked[id].count(wanted), f"{id}: {wanted} was done more often than asked"

    def told(self) -> None:
        """After a tick of sync_sheet that nobody disturbed."""
        documents = self.loop.run(self.world.all(self.world.paths.campaigns))
        campaigns = defaultdict(set)
        for found in documents:
            if found.data["kind"] == "campaign":
                campaigns[found.id.casefold()].add((found.data["state"], str(stored(found.data.get("answer", "")))))
        for beside, cells in self.shown(CAMPAIGNS):
            if {"State", "Answer"} <= cells.keys():
                there = campaigns.get(beside.casefold(), {("", "")})
                assert (cells["State"], cells["Answer"]) in there, f"beside {beside} stands {cells}, it is {there}"
        rows = self.table(IMPORT)
        answers = dict(self.shown(IMPORT))
        times = Counter(row["ID"].casefold() for row in rows)
        for row in rows:
            id, good = row["ID"], "@" in row["Email"] and bool(row["Consent source"])
            answer = answers.get(id, {}).get("Answer")
            if answer is None:
                continue
            if times[id.casefold()] > 1:
                assert answer.startswith("Rejected: The id"), f"{id} stands there twice: {answer}"
            elif good:
                assert answer.startswith(("Imported", "Updated", "Rejected: The same address")), f"{id}: {answer}"
                assert self.loop.run(self.world.subscriber(row["Email"]))["status"] == "confirmed"
            else:
                assert answer.startswith("Rejected") and "same address" not in answer, f"{id}: {answer}"
        notices = {row[1] for row in self.book.read(BOOK, Area(console.DASHBOARD)) if row[0] == "Notice"}
        for tab in FORM:
            top = self.book.read(BOOK, Area(tab))[0]
            if any(top.count(name) != 1 for name in FORM[tab].fields):
                assert any(notice.startswith(f"{tab}: the column") for notice in notices), (
                    f"{tab} is not read, and nobody says so"
                )

    def shown(self, tab: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Each row's id and what its lookups show, while headers and lookups are whole."""
        if not self.here(tab):
            return
        grid = self.grid(tab)
        names = {column: cell.text for (row, column), cell in grid.items() if row == 1}
        at = {name: column for column, name in names.items() if list(names.values()).count(name) == 1}
        if "ID" not in at:
            return
        for row in sorted({row for row, _ in grid if row > 1}):
            id = self.cell(tab, row, at["ID"])
            looked = {name: grid.get((row, at[name])) for name in FORM[tab].results if name in at}
            if id:
                whole = [name for name, cell in looked.items() if cell and f"${chr(64 + at['ID'])}{row}=" in cell.text]
                yield id, {name: self.cell(tab, row, at[name]) for name in whole}

    def cell(self, tab: str, row: int, column: int) -> str:
        return str((self.book.read(BOOK, Area(tab, row, column, row, column)) or [[""]])[0][0])


def _copied(cell: Cell, source: int, target: int) -> Cell:
    """A formula means its own row wherever it is put."""
    if cell.kind != "f":
        return cell
    return Cell("f", re.sub(rf"(\$[A-Z]){source}(?=\D)", rf"\g<1>{target}", cell.text))


def _ours(tab: str, cell: Cell) -> bool:
    """What sync_sheet mends a tab with."""
    numbered = re.fullmatch(rf"{FORM[tab].prefix}-\d{{4}}", cell.text)
    return cell.kind == "f" or bool(numbered) or cell.text in HEADERS[tab]


def test_ids_of_contacts_that_a_lookup_takes_for_one_are_told_apart_by_nobody() -> None:
    rows = [[id, address, "", "", "", "fair"] for id, address in (("I-0001", "x@example.com"), ("i-0001", "y@example.com"))]
    filled, _ = imports.pending([console.IMPORT_FIELDS, *rows], {})
    assert ["stands in 2 rows" in row["Problem"] for row in filled] == [True, True]


TestEdits = Edits.TestCase
TestEdits.settings = settings(
    max_examples=int(os.environ.get("SHEET_EDITS", "6")),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
