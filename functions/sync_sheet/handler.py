"""The ops Sheet, both ways; the only writer of the workbook. Called by Cloud Scheduler.

Reads the Import tab and answers each row, and imports files; writes Results, Dashboard, Providers, Subscribers, Suppressions and
Activity from the store. The Sheet is a view: a tab is rewritten only when it differs, so a tick in which nothing happened makes no
write call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.logs import log
from shared.model import console
from shared.model.cells import quote, short, stored
from shared.model.moments import CLOCK, moment
from shared.model.paths import SYSTEM, Paths
from shared.ports import Clock, Drive, Merge, Minimum, Rows, Sheet, Store

from . import imports, preflight, segments, tabs
from .answers import Answers
from .erased import Erased
from .import_files import ImportFiles
from .import_tab import PROGRESS, ImportTab, Taken
from .reports import Reports
from .settings_tab import SettingsTab
from .spotted import concealed
from .tabs import Cell, Tally
from .templates import Templates
from .workbook import HEADERS, Book, ensure

SHEETS = "sheets"  # what an Unavailable of its adapter calls it
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
    drive: Drive | None = None  # where CSV files are; `folder`: that of the templates
    folder: str = ""
    _known: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict, init=False)
    _campaigns: tabs.Campaigns = field(default_factory=tabs.Campaigns, init=False)
    _reports: Reports = field(default_factory=Reports, init=False)
    _templates: Templates = field(default_factory=Templates, init=False)
    # SHEETS when it did at the last tick, and no outage is left to tell
    _answers: set[str] = field(default_factory=set, init=False)
    _untold: list[list[str]] = field(default_factory=list, init=False)  # lines that Activity did not take yet

    @cached_property
    def _import_tab(self) -> ImportTab:
        return ImportTab(self.store, self.sheet, self.clock, self.paths, self.pepper)

    @cached_property
    def _import_files(self) -> ImportFiles | None:
        if not (self.drive and self.folder):
            return None
        return ImportFiles(self.store, self.sheet, self.clock, self.paths, self.pepper, self.drive, self.folder)

    @cached_property
    def _settings_tab(self) -> SettingsTab:
        return SettingsTab(self.store, self.paths, self.drive)

    @cached_property
    def _erased(self) -> Erased:
        return Erased(self.store, self.sheet, self.paths, self.pepper, self._import_files)

    async def handle(self) -> None:
        """One tick. Raises Unavailable when the Sheet does not answer: the next tick shows what this one could not, and Activity says how
        long that took."""
        began = self.clock.now()
        try:
            zone = await self._tick()
        except Unavailable as error:
            if error.service == SHEETS:
                self._answers.clear()
                await self.store.commit([Merge(self.paths.console, {"outage": Minimum(began)})])
            raise
        if not self._answers:
            await self._caught_up(zone)

    async def _caught_up(self, zone: str) -> None:
        """Tell of an outage that is over, whichever process noted it: once, by whoever takes the note away."""
        found, now = await self.store.get(self.paths.console, ["outage"]), self.clock.now()
        if found and (since := found.data.get("outage")):
            try:
                await self.store.commit([Merge(self.paths.console, {"outage": None}, if_version=found.version)])
            except Conflict:  # another tick was faster: the next one looks again
                return
            minutes = round((now - since) / 60_000)
            how_long = f"{minutes} minutes" if minutes > 1 else "a minute"
            await self._tell([f"Google Sheets did not answer for {how_long}; caught up at {moment(now, zone, CLOCK)}."], zone)
        self._answers.add(SHEETS)

    async def _tick(self) -> str:
        """The workbook's time zone."""
        tenant = await self.store.get(self.paths.tenant, ["face"])
        book = await ensure(self.sheet)
        zone, results, dashboard = book.zone, book.rows[console.RESULTS], book.rows[console.DASHBOARD]
        notices: list[str] = []
        updates: dict[str, Rows] = {}
        stale: list[str] = []
        try:
            notices += tabs.unusable(book.rows[console.CAMPAIGNS])
        except BadInput as error:
            notices.append(str(error))
        seen = await self._erased.tick(book)
        came = await self._import(book, notices)
        if self._import_files and (imported := self._import_files.table(zone)) is not None:
            self._differ(console.IMPORTS, imported, book.rows[console.IMPORTS], updates, stale)
        files = self._import_files.listed if self._import_files else None
        face = await self._settings_tab.tick(tenant, book, files)
        notices += face.notices
        for tab, answers in face.answers.items():
            self._differ(tab, answers, book.rows[tab], updates, stale)
        updates |= face.fills
        try:
            held, now = book.rows[console.SEGMENT_RESULTS], self.clock.now()
            counted = await segments.run(self.store, self.paths, book.rows[console.SEGMENTS], zone, now)
            self._differ(console.SEGMENT_RESULTS, counted, held, updates, stale)
        except BadInput as error:
            notices.append(str(error))
        rows, lines, part = await self._results(results, zone, notices)
        notices += [f"In Results and in the numbers above, {part}."] if part else []
        people = await Tally(self.refresh, self._known).people(self.store, self.paths, self.clock.now(), came)
        self._differ(console.RESULTS, [*rows, *([[f"… {part}"]] if part else [])], results, updates, stale)
        self._differ(console.PREFLIGHT, preflight.table(self._campaigns.held, zone), book.rows[console.PREFLIGHT], updates, stale)
        known = await self._templates.table(self.store, self.paths, self._campaigns.held, zone)
        self._differ(console.TEMPLATES, known, book.rows[console.TEMPLATES], updates, stale)
        ways = await tabs.providers(self.store, self.paths, zone, self.clock.now())
        self._differ(console.PROVIDERS, ways, book.rows[console.PROVIDERS], updates, stale)
        if broken_down := await self._reports.changed(self.store, self.paths, self.sheet, self.clock.now(), book.mended):
            self._differ(console.REPORTS, *broken_down, updates, stale)
        board = tabs.dashboard(people, rows, notices)
        changed = self._differ(console.DASHBOARD, board, dashboard, updates, stale)
        if book.mended or self._erased.some or (changed and _people(dashboard) != _people(_text(board))):
            for tab, shown in (
                (console.SUBSCRIBERS, await tabs.subscribers(self.store, self.paths, zone)),
                (console.SUPPRESSIONS, await tabs.suppressions(self.store, self.paths, zone)),
            ):
                updates[f"{tab}!A2"] = shown
                stale.append(f"{tab}!A{len(shown) + 2}:Z")
        await self._tell([*seen, *face.lines, *lines], zone)
        if updates:
            await self.sheet.write({place: cells for place, cells in updates.items() if cells})
        if stale:
            await self.sheet.clear(stale)
        self._reports.written()
        await self._erased.told()
        return zone

    async def _tell(self, lines: Sequence[str], zone: str) -> None:
        """Add lines to Activity, before what they tell is written: then a tick cut off in between tells them twice, never not at all.
        An Activity that does not answer stops nothing else; the next tick tells it."""
        when = moment(self.clock.now(), zone)
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

    async def _import(self, book: Book, notices: list[str]) -> bool:
        """Go on with the Import tab, then with files, in the time that a tick has for both; whether somebody came."""

        async def tell(lines: Sequence[str]) -> None:
            await self._tell(lines, book.zone)

        until = self.clock.now() + imports.BUDGET
        answers = Answers(book.rows[console.IMPORT_RESULTS])
        going = any(row[-1].startswith("Import: ") and row[-1].endswith(PROGRESS) for row in book.rows[console.DASHBOARD] if row)
        pasted = await self._import_tab.tick(book.rows[console.IMPORT], answers, until, going, tell)
        most, files = imports.MOST - pasted.rows, self._import_files
        filed = await files.tick(answers, until, most, tell) if files else Taken()
        notices += [*pasted.notices, *filed.notices]
        return pasted.came or filed.came

    async def _results(
        self, shown: Sequence[Sequence[str]], zone: str, notices: list[str]
    ) -> tuple[list[list[Cell]], list[str], str]:
        """The Results rows, a line for Activity for each campaign whose answer changed, and what is left out, "" for nothing; problems of
        system mails go to `notices`."""
        before = {row[0]: row for row in shown[1:] if row}
        tally = Tally(self.refresh, self._known)
        rows: list[list[Cell]] = []
        lines: list[str] = []
        found = await self._campaigns.read(self.store, self.paths, self.refresh, self.clock.now())
        for system in (one for one in found if one.id in SYSTEM):
            notices += [f"The {system.id} mail: {system.data['answer']}"] if system.data.get("answer") else []
        campaigns, part = tabs.newest([one for one in found if one.id not in SYSTEM])
        for campaign in campaigns:
            answer = campaign.data.get("answer", "")
            was = before.get(campaign.id, [])
            row = await tabs.result(self.store, self.paths, tally, campaign, zone, was, self.clock.now())
            rows.append(row)
            if answer and _text([row])[0][1:3] != list(was[1:3]):
                lines.append(f"{campaign.id} {short(concealed(campaign.data.get('row', {}).get('name', '')))}: {answer}")
        return rows, lines, part

    def _differ(
        self, tab: str, rows: Sequence[Sequence[Cell]], shown: Sequence[Sequence[str]], updates: dict[str, Rows], stale: list[str]
    ) -> bool:
        """Plan what makes `tab` show `rows`; whether anything differs."""
        if _text(rows) == [list(row) for row in shown[1:]]:
            return False
        updates[f"{quote(tab)}!A2"] = _padded(rows, len(HEADERS[tab]))
        if len(shown) - 1 > len(rows):
            stale.append(f"{quote(tab)}!A{len(rows) + 2}:Z")
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
    names = ("Mailable", "Waiting", "Unsubscribed", "Bounced", "Erased", "Complained")
    return [list(row) for row in rows if row and row[0].startswith(names)]
