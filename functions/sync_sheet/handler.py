"""The ops Sheet, both ways; the only writer of the workbook. Called by Cloud Scheduler.

Reads the Import tab and answers each row; writes Results, Dashboard, Providers, Subscribers, Suppressions and Activity from the
store. The Sheet is a view: a tab is rewritten only when it differs, so a tick in which nothing happened makes no write call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import BadInput, NotFound, Unavailable
from shared.logs import log, metric
from shared.model import console
from shared.model.cells import quote, short, stored
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.ports import Clock, Document, Rows, Sheet, Store

from . import imports, tabs
from .reports import Reports
from .tabs import Cell, Tally
from .workbook import HEADERS, ensure

UNTOLD = 1000  # lines kept for an Activity that does not answer


@dataclass(frozen=True)
class SyncSheet:
    """The step's dependencies. `pepper` makes subscriber ids; `refresh`: see Tally."""

    store: Store
    sheet: Sheet
    clock: Clock
    paths: Paths
    pepper: bytes
    refresh: int = 600_000
    _known: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict, init=False)
    _reports: Reports = field(default_factory=Reports, init=False)
    _untold: list[list[str]] = field(default_factory=list, init=False)  # lines that Activity did not take yet

    async def handle(self) -> None:
        """One tick. Raises Unavailable when the Sheet does not answer: the next tick shows what this one could not."""
        book = await ensure(self.sheet)
        zone, results, dashboard = book.zone, book.rows[console.RESULTS], book.rows[console.DASHBOARD]
        notices: list[str] = []
        try:
            notices += tabs.unusable(book.rows[console.CAMPAIGNS])
        except BadInput as error:
            notices.append(str(error))
        try:
            await self._import(book.rows[console.IMPORT], book.rows[console.IMPORT_RESULTS], zone)
        except BadInput as error:
            notices.append(str(error))
        rows, lines = await self._results(results, zone, notices)
        people = await tabs.counts(self.store, self.paths)
        updates: dict[str, Rows] = {}
        stale: list[str] = []
        self._differ(console.RESULTS, rows, results, updates, stale)
        ways = await tabs.providers(self.store, self.paths, zone, self.clock.now())
        self._differ(console.PROVIDERS, ways, book.rows[console.PROVIDERS], updates, stale)
        if broken_down := await self._reports.changed(self.store, self.paths, self.sheet, self.clock.now(), book.mended):
            self._differ(console.REPORTS, *broken_down, updates, stale)
        board = tabs.dashboard(people, rows, notices)
        changed = self._differ(console.DASHBOARD, board, dashboard, updates, stale)
        if book.mended or (changed and _people(dashboard) != _people(_text(board))):
            for tab, shown in (
                (console.SUBSCRIBERS, await tabs.subscribers(self.store, self.paths, zone)),
                (console.SUPPRESSIONS, await tabs.suppressions(self.store, self.paths, zone)),
            ):
                updates[f"{tab}!A2"] = shown
                stale.append(f"{tab}!A{len(shown) + 2}:Z")
        await self._tell(lines, zone)
        if updates:
            await self.sheet.write({place: cells for place, cells in updates.items() if cells})
        if stale:
            await self.sheet.clear(stale)
        self._reports.written()

    async def _tell(self, lines: Sequence[str], zone: str) -> None:
        """Add lines to Activity, before what they tell is written: then a tick cut off in between tells them twice, never not at all.
        An Activity that does not answer stops nothing else; the next tick tells it."""
        when = tabs.moment(self.clock.now(), zone)
        held = {line for _, line in self._untold}
        telling = [*self._untold, *([when, line] for line in lines if line not in held)]
        self._untold.clear()
        try:
            if telling:
                await self.sheet.append(console.ACTIVITY, telling)
        except Unavailable as error:
            self._untold[:] = telling[-UNTOLD:]
            log("WARNING", f"left to the next tick: {error}", lines=len(telling))
        except (BadInput, NotFound) as error:
            log("ERROR", f"Activity takes no lines: {error}", lines=len(telling))

    async def _import(self, contacts: Sequence[Sequence[str]], answered: Sequence[Sequence[str]], zone: str) -> None:
        """Answer a chunk of rows. Raises BadInput for a header that cannot be trusted."""
        order = {row[0]: list(row) for row in answered[1:] if len(row) == 3}
        filled, waiting = await asyncio.to_thread(imports.pending, contacts, {id: row[2] for id, row in order.items()})
        if not waiting:
            return
        answers = await imports.run(self.store, self.paths, self.pepper, filled, waiting, self.clock.now())
        order |= {id: [id, answer, digest] for id, (answer, digest) in answers.items()}
        good = sum(answer.startswith(imports.DONE) for answer, _ in answers.values())
        left = len(waiting) - len(answers)
        metric("import", {"import_accepted": good, "import_rejected": len(answers) - good}, left=left)
        line = f"Import: {good} accepted, {len(answers) - good} rejected" + (f", {left} still to do." if left else ".")
        await self._tell([line], zone)
        await self.sheet.write({f"{quote(console.IMPORT_RESULTS)}!A2": list(order.values())})

    async def _results(self, shown: Sequence[Sequence[str]], zone: str, notices: list[str]) -> tuple[list[list[Cell]], list[str]]:
        """The Results rows, and a line for Activity for each campaign whose answer changed; problems of system mails go to `notices`."""
        before = {row[0]: row for row in shown[1:] if row}
        tally = Tally(self.refresh, self._known)
        rows: list[list[Cell]] = []
        lines: list[str] = []
        for campaign in await self._campaigns():
            answer = campaign.data.get("answer", "")
            if campaign.id in (CONFIRM, WELCOME):
                notices += [f"The {campaign.id} mail: {answer}"] if answer else []
                continue
            was = before.get(campaign.id, [])
            row = await tabs.result(self.store, self.paths, tally, campaign, zone, was, self.clock.now())
            rows.append(row)
            if answer and _text([row])[0][1:3] != list(was[1:3]):
                lines.append(f"{campaign.id} {short(campaign.data.get('row', {}).get('name', ''))}: {answer}")
        return rows, lines

    async def _campaigns(self) -> list[Document]:
        found: list[Document] = []
        while True:
            page = await self.store.page(self.paths.campaigns, after=found[-1].id if found else "", fields=tabs.FIELDS)
            found += page
            if len(page) < 300:
                return found

    def _differ(
        self, tab: str, rows: Sequence[Sequence[Cell]], shown: Sequence[Sequence[str]], updates: dict[str, Rows], stale: list[str]
    ) -> bool:
        """Plan what makes `tab` show `rows`; whether anything differs."""
        if _text(rows) == [list(row) for row in shown[1:]]:
            return False
        updates[f"{tab}!A2"] = _padded(rows, len(HEADERS[tab]))
        if len(shown) - 1 > len(rows):
            stale.append(f"{tab}!A{len(rows) + 2}:Z")
        return True


def _text(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """Rows as Sheets shows them: text, without trailing empty cells."""
    found = [[str(stored(cell)) for cell in row] for row in rows]
    for row in found:
        while row and row[-1] == "":
            row.pop()
    return found


def _padded(rows: Sequence[Sequence[Cell]], width: int) -> list[list[Cell]]:
    return [[*row, *[""] * (width - len(row))] for row in rows]


def _people(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The Dashboard's rows that count subscribers."""
    names = ("Mailable", "Waiting", "Unsubscribed", "Bounced", "Complained")
    return [list(row) for row in rows if row and row[0].startswith(names)]
