"""Who was erased leaves the workbook, too, although people own its rows: a person's right goes before.

The note of an erasure (shared/model/erasure.py) waits until a tick has done so. In Import a row whose Email holds nobody else loses address
and name; elsewhere in the fields of that tab, and in the answers to it, a word takes the address's place, however it is written
(spotted.py). Imports says which file in Drive holds the address, and the tabs that show readers are drawn anew. In the other tabs what
people wrote may decide what a campaign does, and in columns of their own beside the fields of Import it may be a formula, so nothing is
changed there: Activity says in which cells the address stands. Files are only told of, too.

People sort Import while it is looked through. What was found is found again at once in a second read, right before the write; a third
one says whether the write went where it should.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final, TypeAlias

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.logs import log
from shared.model import console
from shared.model.address import MAX_TYPED, sid_of
from shared.model.cells import quote, runs, short
from shared.model.paths import Paths
from shared.ports import Document, Filter, Merge, Rows, Sheet, Store

from .imports import ERASED, spelling
from .spotted import Spot, Theirs, concealed, replaced, spots
from .workbook import HEADERS, VIEWS, Book

if TYPE_CHECKING:
    from .import_files import ImportFiles

MOST: Final = 1_000  # erasures a tick
OTHERS: Final = 20  # tabs of people's own that are looked through, a call each
ROWS: Final = 20_000  # rows of each of them
NAMED: Final = 10  # cells of a tab that Activity names
NOTHING: Final[Mapping[int, str]] = {}
DRAWN: Final = (console.SUBSCRIBERS, console.SUPPRESSIONS)  # anew, from what is left in the store
Tab: TypeAlias = list[list[str]]
Changes: TypeAlias = dict[tuple[int, int], str]  # (row, column), from 0 -> what the cell is to say
Cells: TypeAlias = tuple[tuple[str, str], ...]  # of a row of Import: (field, text)


class Disturbed(Conflict):
    """Import was changed while we wrote into it. `tab`: as it is now; `rows`: which of it may not say what they should, from 1."""

    def __init__(self, tab: Tab, rows: Sequence[int]) -> None:
        super().__init__(console.IMPORT, "version")
        self.tab, self.rows = tab, rows


@dataclass
class Erased:
    """`files`: None where there is no folder of files."""

    store: Store
    sheet: Sheet
    paths: Paths
    pepper: bytes
    files: ImportFiles | None
    _notes: Sequence[Document] = field(default=(), init=False)  # of this tick, of which nothing is left in the workbook but views

    async def tick(self, book: Book) -> list[str]:
        """Take who was erased since the last tick out of Import and its answers, in the Sheet and in `book`, and tell of their files; lines
        for Activity about the other tabs. A read of the store when nobody was; else one of each tab that the tick has not read, too."""
        self._notes = ()
        notes = await self.store.page(self.paths.erasures, Filter(equals=("told", False)), limit=MOST, fields=["files"])
        if not notes:
            return []
        theirs = owned({found.id for found in notes}, self.pepper, self.paths.tenant_id)
        try:
            book.rows[console.IMPORT] = await blank(self.sheet, book.rows[console.IMPORT], theirs)
        except BadInput:
            log("WARNING", "who was erased is left in Import until its columns can be told", people=len(notes))
            return []
        except Disturbed as error:
            book.rows[console.IMPORT] = error.tab
            return [_disturbed(error.rows)] if error.rows else []
        await self._answers(book.rows[console.IMPORT_RESULTS], theirs)
        files = {name for found in notes for name in found.data.get("files", ())}
        if self.files is None or not files or await self.files.mark(files):
            self._notes = notes
            return [line async for line in self._elsewhere(book, theirs)]
        return []

    @property
    def some(self) -> bool:
        """Whether the tabs that show readers are to be drawn anew."""
        return bool(self._notes)

    async def told(self) -> None:
        """They are. A note that was changed meanwhile is looked at again."""
        if self._notes:
            writes = [Merge(found.path, {"told": True}, if_version=found.version) for found in self._notes]
            await self.store.write_many(writes)

    async def _answers(self, tab: Tab, theirs: Theirs) -> None:
        """An id that was an address stands in Import results as well, which nobody but us writes."""
        if changes := await asyncio.to_thread(_words, tab, theirs):
            await self.sheet.write(_updates(console.IMPORT_RESULTS, changes))
            _change(tab, changes)

    async def _elsewhere(self, book: Book, theirs: Theirs) -> AsyncIterator[str]:
        """A line about each other tab in which the address stands, and about columns of people's own in Import."""
        if cells := await asyncio.to_thread(_beside, book.rows[console.IMPORT], theirs):
            yield _line(console.IMPORT, cells)
        known = [tab for tab in HEADERS if tab not in (console.IMPORT, console.IMPORT_RESULTS, *VIEWS)]
        for tab in known:
            if cells := await asyncio.to_thread(_places, book.rows[tab], theirs):
                yield _line(tab, cells)
        unread = [tab for tab in book.tabs if tab not in HEADERS or (tab in VIEWS and tab not in DRAWN)]
        for tab in unread[:OTHERS]:
            try:
                [rows] = await self.sheet.read([f"{quote(tab)}!A1:Z{ROWS}"])
            except (BadInput, NotFound, Unavailable) as error:
                log("WARNING", f"a tab was not looked through for who was erased: {error}")
                yield f"{_named(tab)} may hold the address of somebody who was erased: it could not be read."
                continue
            if cells := await asyncio.to_thread(_places, rows, theirs):
                yield _line(tab, cells)
        if len(unread) > OTHERS:
            yield f"Only {OTHERS} of {len(unread)} tabs of your own were looked through for the address of somebody who was erased."


async def blank(sheet: Sheet, tab: Tab, theirs: Theirs) -> Tab:
    """Take people out of the Import tab; the tab then. Where there are some it is read again right before and after, since people sort it.
    Raises BadInput for a header that cannot be trusted, Disturbed when the write may have gone elsewhere, or did not take all out."""
    known = Known(theirs)
    if not await asyncio.to_thread(known.changes, tab):
        return tab
    place = f"{quote(console.IMPORT)}!A1:Z"
    [fresh] = await sheet.read([place])
    changes = await asyncio.to_thread(known.changes, fresh)
    if not changes:
        return fresh
    await sheet.write(_updates(console.IMPORT, changes))
    rows = sorted({row for row, _ in changes})
    log("INFO", "rows of Import were blanked: their owners had them erased", rows=len(rows))
    _change(fresh, changes)
    [after] = await sheet.read([place])
    wrong = [row + 1 for row in rows if _said(after, row) != _said(fresh, row)]
    left = await asyncio.to_thread(known.changes, after)
    if wrong or left:
        log("ERROR", "Import was changed while who was erased was taken out: it is looked at again", rows=len(wrong))
        raise Disturbed(after, wrong)
    return after


def owned(sids: Collection[str], pepper: bytes, tenant: str) -> Theirs:
    """Those that are addresses of these people. Two seconds for a hundred thousand of them."""

    @lru_cache(maxsize=1 << 14)
    def theirs(address: str) -> bool:
        if len(address) <= MAX_TYPED:
            with suppress(ValueError):  # it is no address
                return sid_of(pepper, tenant, spelling(address)) in sids
        return False

    return theirs


def spelled(spellings: Collection[str]) -> Theirs:
    """Those that are spelled so, see `imports.spelling`."""
    return lambda address: spelling(address) in spellings


@dataclass
class Known:
    """What rows of Import are to say, by what they say: so the second look at a hundred thousand is short."""

    theirs: Theirs
    _verdicts: dict[Cells, Mapping[int, str]] = field(default_factory=dict, init=False)

    def changes(self, tab: Tab) -> Changes:
        """What is to change in the fields of the tab. Raises BadInput."""
        for name in ("Email", "Name"):
            _column(tab, name)
        fields = _fields(tab)
        found: Changes = {}
        for number, row in enumerate(tab):
            cells = _cells(row, fields)
            if (verdict := self._verdicts.get(cells)) is None:
                verdict = self._verdicts[cells] = _verdict(cells, self.theirs)
            if verdict:
                found |= {(number, at): verdict[place] for place, (at, _) in enumerate(_filled(row, fields)) if place in verdict}
        return found


def _fields(tab: Tab) -> list[tuple[int, str]]:
    return [(at, cell.strip()) for at, cell in enumerate(tab[0]) if cell.strip() in console.IMPORT_FIELDS] if tab else []


def _filled(row: Sequence[str], fields: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    return [(at, name) for at, name in fields if at < len(row) and row[at]]


def _cells(row: Sequence[str], fields: Iterable[tuple[int, str]]) -> Cells:
    return tuple((name, row[at]) for at, name in _filled(row, fields))


def _verdict(cells: Cells, theirs: Theirs) -> Mapping[int, str]:
    """Place among the cells of a row -> what is to stand there."""
    seen = list(_found([text for _, text in cells], theirs))
    if not seen:
        return NOTHING
    alone = any(cells[at][0] == "Email" and not others for at, _, others in seen)
    found = {at: "" if alone and not others else replaced(cells[at][1], meant, ERASED) for at, meant, others in seen}
    if alone:
        found |= {at: ERASED if name == "Email" else "" for at, (name, _) in enumerate(cells) if name in ("Email", "Name")}
    return found


def _beside(tab: Tab, theirs: Theirs) -> list[str]:
    """The cells of Import in columns that are neither fields nor answers in which an address stands."""
    ours = {at for at, cell in enumerate(tab[0]) if cell.strip() in HEADERS[console.IMPORT]} if tab else set()
    return _places(tab, theirs, ours)


def _words(tab: Tab, theirs: Theirs) -> Changes:
    """A word in the place of each address."""
    return {
        (number, at): replaced(row[at], meant, ERASED) for number, row in enumerate(tab) for at, meant, _ in _found(row, theirs)
    }


def _places(tab: Tab, theirs: Theirs, but: Collection[int] = ()) -> list[str]:
    """The cells in which an address stands, as people name them."""
    return [f"{ascii_uppercase[at]}{number}" for number, row in enumerate(tab, 1) for at, _, _ in _found(row, theirs, but)]


def _found(row: Sequence[str], theirs: Theirs, but: Collection[int] = ()) -> Iterator[tuple[int, list[Spot], bool]]:
    """Of each cell that holds an address of theirs: its column, where, and whether it holds somebody else's, too."""
    for at, cell in enumerate(row):
        seen = list(spots(cell, theirs)) if at not in but else []
        if meant := [spot for spot in seen if spot.found]:
            yield at, meant, len(meant) < len(seen)


def _updates(tab: str, changes: Changes) -> dict[str, Rows]:
    """Neighbours below one another in one range."""
    updates: dict[str, Rows] = {}
    for at in sorted({at for _, at in changes}):
        for run in runs(row for row, column in changes if column == at):
            updates[f"{quote(tab)}!{ascii_uppercase[at]}{run[0] + 1}"] = [[changes[row, at]] for row in run]
    return updates


def _change(tab: Tab, changes: Changes) -> None:
    """As a read shows it then: without empty cells at the end of a row."""
    for (row, at), text in changes.items():
        tab[row][at] = text
    for row in {row for row, _ in changes}:
        while tab[row] and not tab[row][-1]:
            tab[row].pop()


def _said(tab: Tab, row: int) -> Cells:
    return _cells(tab[row], _fields(tab)) if row < len(tab) else ()


def _disturbed(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    where = f"row{'s' * (len(rows) > 1)} {', '.join(map(str, islice(rows, NAMED)))}{more}"
    return f"{console.IMPORT}, {where}: the tab was changed just when who was erased was taken out of it. Compare with the version history."


def _line(tab: str, cells: Sequence[str]) -> str:
    more = f" and {len(cells) - NAMED} more" if len(cells) > NAMED else ""
    where = f"{', '.join(islice(cells, NAMED))}{more}"
    return f"{_named(tab)}, {where}: the address of somebody who was erased stands there. The system changes nothing there: take it out."


def _named(tab: str) -> str:
    return short(concealed(tab))


def _column(tab: Sequence[Sequence[str]], name: str) -> int:
    header = [cell.strip() for cell in tab[0]] if tab else []
    if header.count(name) != 1:
        raise BadInput(name)  # what is wrong with the tab is told where it is read
    return header.index(name)
