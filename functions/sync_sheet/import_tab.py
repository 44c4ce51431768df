"""The Import tab, a tick at a time: as many of the rows that wait as its time allows, in the tab's order, and the next tick the rest.

A row that was answered is known by its answer, so a tick that is cut off does again, with the same answers, what it had not written down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.errors import BadInput
from shared.logs import metric
from shared.model.paths import Paths
from shared.ports import Clock, Sheet, Store

from . import erased, imports
from .answers import Answers

PROGRESS = "rows done."  # how a notice on the Dashboard ends while an import is on its way
Tell = Callable[[Sequence[str]], Awaitable[None]]  # lines into Activity


@dataclass(frozen=True, slots=True)
class Taken:
    """What a tick did: how many rows it took, whether somebody came, and what the Dashboard is to say."""

    rows: int = 0
    came: bool = False
    notices: tuple[str, ...] = ()


@dataclass
class ImportTab:
    store: Store
    sheet: Sheet
    clock: Clock
    paths: Paths
    pepper: bytes
    # digest of a tab in which nothing waits -> notices
    _quiet: dict[int, tuple[str, ...]] = field(default_factory=dict, init=False)

    async def tick(self, tab: list[list[str]], answers: Answers, until: int, going: bool, tell: Tell) -> Taken:
        """Answer rows until it is `until` (ms), at most MOST. `going`: whether the Dashboard says that an import is on its way. A tab
        that is as it was when nothing waited is left alone. A header that cannot be trusted is a notice."""
        digest = await asyncio.to_thread(_digest, tab, answers.shown)
        if digest in self._quiet:
            return Taken(notices=self._quiet[digest])
        held = answers.of_import()
        try:
            known = {id: of for id, (_, of) in held.items()}
            filled, waiting = await asyncio.to_thread(imports.pending, tab, known)
            notices = tuple(notice for notice in (imports.without_id(tab),) if notice)
        except BadInput as error:
            return Taken(notices=(str(error),))
        if not waiting:
            self._quiet = {digest: notices}
            return Taken(notices=notices)
        answers.trim(row["ID"] for row in filled)
        found = await self._take(filled, waiting[: imports.MOST], answers, until)
        await self._blank(tab, waiting, found)
        good = sum(not answer.startswith("Rejected") for answer in found.values())
        left = sum(row["ID"] not in found for row in waiting)
        metric("import", {"import_accepted": good, "import_rejected": len(found) - good}, left=left)
        lines = [f"Import: {good} accepted, {len(found) - good} rejected" + (f", {left} still to do." if left else ".")]
        if going and not left:
            every = {id: answer for id, (answer, _) in held.items()} | found
            lines.append(f"Import: all {len(filled):,} rows done: {imports.totals(every[row['ID']] for row in filled)}.")
        await tell(lines)
        await answers.write(self.sheet)
        if left:
            notices = (f"Import: {len(filled) - left:,} of {len(filled):,} {PROGRESS}", *notices)
        return Taken(len(found), good > 0, notices)

    async def _blank(self, tab: list[list[str]], waiting: Sequence[imports.Row], found: Mapping[str, str]) -> None:
        """Take out of the tab whose addresses were erased before they were pasted. Until that is done the rows wait for their answers."""
        theirs = {imports.spelling(row["Email"]) for row in waiting if imports.of_erased(found.get(row["ID"], ""))}
        if theirs - {imports.ERASED}:
            await erased.blank(self.sheet, tab, erased.spelled(theirs))

    async def _take(
        self, filled: Sequence[imports.Row], waiting: Sequence[imports.Row], answers: Answers, until: int
    ) -> dict[str, str]:
        """Id -> answer. All but the last of them are written."""
        first = await asyncio.to_thread(imports.firsts, filled)
        found: dict[str, str] = {}
        for at in range(0, len(waiting), imports.CHUNK):
            if at and self.clock.now() >= until:
                break
            if at and at % imports.ANSWERS == 0:
                await answers.write(self.sheet)
            rows = waiting[at : at + imports.CHUNK]
            taken = await imports.take(self.store, self.paths, self.pepper, rows, first, imports.TAB, self.clock.now())
            for row in rows:
                if answer := taken.get(row["ID"]):
                    blanked = {**row, "Email": imports.ERASED, "Name": ""} if imports.of_erased(answer) else row
                    answers.put(row["ID"], answer, imports.digest(blanked))
            found |= taken
        return found


def _digest(*tables: Sequence[Sequence[str]]) -> int:
    return hash(tuple(tuple(tuple(row) for row in table) for table in tables))
