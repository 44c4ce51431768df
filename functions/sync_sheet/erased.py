"""Who was erased leaves the workbook, too, although people own its rows: a person's right goes before.

The note of an erasure (shared/model/erasure.py) waits until a tick has done so: in the Import tab the person's address gives way to a
word and the name to nothing, Imports says which file in Drive holds the address, and the tabs that show readers are drawn anew. Of
files the system can only tell: it may not change them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final

from shared.errors import BadInput
from shared.logs import log
from shared.model import console
from shared.model.address import MAX_TYPED, sid_of
from shared.model.cells import quote, runs
from shared.model.paths import Paths
from shared.ports import Document, Filter, Merge, Rows, Sheet, Store

from .imports import ERASED, spelling

if TYPE_CHECKING:
    from .import_files import ImportFiles

MOST: Final = 1_000  # erasures a tick
Find = Callable[[Sequence[str]], list[int]]  # cells of the column Email -> numbers of those that are meant


@dataclass
class Erased:
    """`files`: None where there is no folder of files."""

    store: Store
    sheet: Sheet
    paths: Paths
    pepper: bytes
    files: ImportFiles | None
    _notes: Sequence[Document] = field(default=(), init=False)  # of this tick, of which nothing is left in the workbook but views

    async def tick(self, tab: list[list[str]]) -> list[list[str]]:
        """Take who was erased since the last tick out of the Import tab, and tell of their files; the tab then. A read when nobody was."""
        self._notes = ()
        notes = await self.store.page(self.paths.erasures, Filter(equals=("told", False)), limit=MOST, fields=["files"])
        if not notes:
            return tab
        sids = {found.id for found in notes}
        try:
            tab = [
                [*row]
                for row in await blank(self.sheet, tab, lambda emails: owned(emails, sids, self.pepper, self.paths.tenant_id))
            ]
        except BadInput:
            log("WARNING", "who was erased is left in Import until its columns can be told", people=len(notes))
            return tab
        files = {name for found in notes for name in found.data.get("files", ())}
        if self.files is None or not files or await self.files.mark(files):
            self._notes = notes
        return tab

    @property
    def some(self) -> bool:
        """Whether the tabs that show readers are to be drawn anew."""
        return bool(self._notes)

    async def told(self) -> None:
        """They are. A note that was changed meanwhile is looked at again."""
        if self._notes:
            writes = [Merge(found.path, {"told": True}, if_version=found.version) for found in self._notes]
            await self.store.write_many(writes)


async def blank(sheet: Sheet, tab: Sequence[Sequence[str]], find: Find) -> Sequence[Sequence[str]]:
    """Blank the rows that `find` means; the Import tab then. Where there are some the tab is read again right before, since people sort
    it. Raises BadInput for a header that cannot be trusted."""
    if not await asyncio.to_thread(_rows, tab, find):
        return tab
    [fresh] = await sheet.read([f"{quote(console.IMPORT)}!A1:Z"])
    rows = await asyncio.to_thread(_rows, fresh, find)
    updates: dict[str, Rows] = {}
    for row, at in _elsewhere(fresh, rows):
        updates[f"{quote(console.IMPORT)}!{ascii_uppercase[at]}{row + 1}"] = [[""]]
        fresh[row][at] = ""
    for name, cell in (("Email", ERASED), ("Name", "")):
        at = _column(fresh, name)
        for run in runs(rows):
            updates[f"{quote(console.IMPORT)}!{ascii_uppercase[at]}{run[0] + 1}"] = [[cell] for _ in run]
        for row in rows:
            fresh[row][at : at + 1] = [cell] if at < len(fresh[row]) else []
    if updates:
        await sheet.write(updates)
        log("INFO", "rows of Import were blanked: their owners had them erased", rows=len(rows))
    return fresh


def owned(emails: Sequence[str], sids: Collection[str], pepper: bytes, tenant: str) -> list[int]:
    """Those that are addresses of these people. A tenth of a second for ten thousand rows."""
    found = []
    for n, email in enumerate(emails):
        if "@" in email and len(email) <= MAX_TYPED:
            with suppress(ValueError):  # it is no address
                if sid_of(pepper, tenant, spelling(email)) in sids:
                    found.append(n)
    return found


def spelled(emails: Sequence[str], spellings: Collection[str]) -> list[int]:
    """Those that are spelled so, see `imports.spelling`."""
    return [n for n, email in enumerate(emails) if "@" in email and spelling(email) in spellings]


def _rows(tab: Sequence[Sequence[str]], find: Find) -> list[int]:
    """Numbers of rows from 0, the header counted. Raises BadInput."""
    at, _ = _column(tab, "Email"), _column(tab, "Name")
    return [n + 1 for n in find([row[at] if at < len(row) else "" for row in tab[1:]])]


def _elsewhere(tab: Sequence[Sequence[str]], rows: Sequence[int]) -> list[tuple[int, int]]:
    """Where else in these rows, by row and column from 0, their address stands: in what was typed as the source of a consent, say."""
    email = _column(tab, "Email")
    spelled = {row: tab[row][email].strip().casefold() for row in rows}
    return [
        (row, at) for row, text in spelled.items() for at, cell in enumerate(tab[row]) if at != email and text in cell.casefold()
    ]


def _column(tab: Sequence[Sequence[str]], name: str) -> int:
    header = [cell.strip() for cell in tab[0]] if tab else []
    if header.count(name) != 1:
        raise BadInput(name)  # what is wrong with the tab is told where it is read
    return header.index(name)
