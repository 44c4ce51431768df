"""The tick: rows of the Campaigns tab become campaigns, campaigns become batches, and nothing that waits is forgotten.

Called by Cloud Scheduler. Publishes to send-requests (consumed by send_batch) and privacy-requests (by privacy). Every part can be cut off
at any point and done again: a template is kept by its hash, batches are created under fixed ids, and a campaign's document changes only
from the version read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.links import Links
from shared.logs import log
from shared.mail.assets import Assets
from shared.model import console
from shared.model.campaign import answered
from shared.model.moments import CLOCK, moment
from shared.model.paths import CONFIRM, SYSTEM, TEST, WELCOME, MailTests, Paths
from shared.model.provider import Provider
from shared.model.tenant import Tenant
from shared.paging import every
from shared.ports import Bus, Clock, Create, Document, Drive, File, Filter, Merge, Objects, Sheet, Store, Write

from . import approval, listing, recent, rows, sends, testing
from .allowance import Allowances
from .feeds import Read
from .freeze import letters
from .pages import Pages
from .preflight import Checks, thawed
from .preflight_report import checked
from .regular import Regular
from .release import Singles
from .rows import Row
from .segment import rule_of
from .start import Start
from .sweep import settle, sweep
from .system import SystemMails
from .templates import Templates
from .tick import Tick
from .wishes import unseen, wish

PREPARING: Final = 45_000  # ms of a tick for the cuts that take more than one
ENOUGH: Final = 90_000  # ms after which a tick begins no more of them; it is ended after 170 s


@dataclass(frozen=True)
class Launch:
    """The step's dependencies. `providers`: the ways out for mail as far as they have limits, () for none. `pepper` makes subscriber
    ids; without one no test mail goes out, since nobody could say who must not be mailed. `assets`, `feed`: see `Start`. `regular`:
    None where no other step is asked to run."""

    store: Store
    bus: Bus
    clock: Clock
    objects: Objects
    sheet: Sheet
    drive: Drive
    links: Links
    paths: Paths
    tenant: Tenant
    providers: Sequence[Provider] = ()
    checks: Checks = field(default_factory=Checks)
    pepper: bytes = field(default=b"", repr=False)
    assets: Assets | None = None
    feed: Read | None = None
    regular: Regular | None = None
    _templates: Templates = field(default_factory=Templates, init=False)
    _pages: Pages = field(default_factory=Pages, init=False)

    @cached_property
    def _start(self) -> Start:
        stores = self.store, self.objects, self.drive, self.links, self.paths
        return Start(*stores, self.tenant, self.checks, self.pepper, self.assets, self.feed)

    @cached_property
    def _system(self) -> SystemMails:
        return SystemMails(self.store, self.paths, self._start)

    async def handle(self) -> None:
        """One tick. A Sheet or Drive that does not answer stops new campaigns, never those on their way."""
        if self.regular:  # first: whatever befalls a campaign, erasures are finished
            await self.regular.ask(self.clock.now())
        await self.links.tokens.fresh()
        now, files = self.clock.now(), None
        allowances = await Allowances.open(self.store, self.paths, self.providers, now)
        tick = Tick(self.store, self.bus, self.objects, self.paths, allowances, self.clock)
        needed = self.tenant.approval
        gate = approval.Gate(self.sheet, self.drive, self.tenant.sheet, needed) if needed else None
        try:
            workbook = await self.sheet.workbook()
            files = await self.drive.list(self.tenant.folder)
            await self._system.keep(files, now)
            if console.CAMPAIGNS in workbook.tabs:  # else sync_sheet makes it at its next tick
                await self._rows(workbook.zone, files, tick, gate)
        except (Unavailable, NotFound) as error:
            log("ERROR", f"the Sheet or the Drive folder cannot be read: {error}")
        except BadInput as error:  # a header that cannot be trusted
            log("WARNING", str(error))
        for system in SYSTEM:
            async with _left_to_the_next(system):
                await sweep(self.store, self.bus, self.paths, system, now, Singles(self.store))
                if system in (CONFIRM, WELCOME):  # of the others nothing tells what became of one that is unknown
                    await settle(self.store, self.paths, system, now)
        async with _left_to_the_next(TEST):
            await sweep(self.store, self.bus, MailTests.of(self.paths), TEST, now, Singles(self.store))
        tick.campaigns = {campaign.id: campaign for campaign in await self._active()}
        for id in tick.campaigns:
            async with _left_to_the_next(id):
                await tick.acquaint(id)
        long = []
        for id, campaign in list(tick.campaigns.items()):
            async with _left_to_the_next(id):
                if campaign.data["state"] == "scheduled" and not await self._start.due(campaign, files, tick, gate):
                    continue
                if tick.long(id):
                    long.append(id)
                else:
                    await tick.advance(id)
        await self._prepare(long, now + ENOUGH, tick)
        await allowances.report()
        if files is not None:
            async with _left_to_the_next("the pages"):
                await self._pages.look(self.store, self.paths, self.drive, self.tenant, files, self.clock, now + ENOUGH)
            async with _left_to_the_next("the templates"):
                identity = self.tenant.identity
                await self._templates.look(
                    self.store, self.paths, self.drive, self.links, identity, files, self.clock, now + ENOUGH, self.assets
                )

    async def _prepare(self, long: Sequence[str], latest: int, tick: Tick) -> None:
        """Go on with the cuts that take more than one tick, when everybody else had their turn: an equal share of the time for each."""
        end = min(tick.now + PREPARING, latest)
        for n, id in enumerate(long):
            async with _left_to_the_next(id):
                await tick.advance(id, tick.now + max(1, (end - tick.now) // (len(long) - n)))

    # --- rows ---

    async def _rows(self, zone: str, files: Sequence[File], tick: Tick, gate: approval.Gate | None) -> None:
        """Act on the rows that changed since the last tick; one read when none did. A campaign's change and what was seen of its row are
        one commit, so that a command is not given twice; it is refused when another tick has seen rows since this one began to read."""
        seen = await self.store.get(self.paths.console)
        [cells] = await self.sheet.read([f"{console.CAMPAIGNS}!A1:Z"])
        if not cells:
            return
        version = seen.version if seen else None
        known = seen.data.get("rows", {}) if seen else {}
        changed = [row for row in rows.read(cells) if known.get(row.id) != row.hash]
        if gate:
            gate.hints = approval.hinted(cells)
        if not changed:
            return
        documents = await self.store.get_many([self.paths.campaign(row.id) for row in changed])
        done: dict[str, str] = {}
        for row, document in zip(changed, documents, strict=True):
            mark = {f"rows.{row.id}": row.hash}
            try:
                changes, more = await self._wish(row, document, zone, files, tick)
                needed = self.tenant.approval is not None
                public, listed = await listing.changed(self.store, self.paths, row, document, tick.now, needed)
                changes, more = listing.joined(row, document, changes, public), [*more, *listed]
                if changes:
                    noted = Merge(self.paths.console, mark, if_version=version)
                    _, version, *_ = await self.store.commit([self._write(row.id, document, changes), noted, *more])
                else:
                    done |= mark
            except (Conflict, Unavailable) as error:
                log("WARNING", f"left to the next tick: {error}", campaign=row.id)
        if done:
            try:
                await self.store.commit([Merge(self.paths.console, done, if_version=version)])
            except Conflict as error:
                log("WARNING", f"left to the next tick: {error}")

    async def _wish(
        self, row: Row, document: Document | None, zone: str, files: Sequence[File], tick: Tick
    ) -> tuple[dict[str, Any], list[Write]]:
        """What a row changes, {} for nothing, and what is made with that."""
        if not row.problem and not (document and document.data.get("archived")):
            if row.wanted in sends.KINDS:
                return await self._again(row, document, zone, tick), []
            if row.wanted == console.PREVIEW.lower():
                return await self._preview(row, zone, files, tick.now), []
            if row.wanted == console.TEST.lower():
                return await self._test(row, document, zone, files, tick.now)
        changes = wish(row, document, zone, tick.now)
        return approval.wished(changes, document) if self.tenant.approval else changes, []

    async def _preview(self, row: Row, zone: str, files: Sequence[File], now: int) -> dict[str, Any]:
        """All that stands in the way of a row, as a Go at this moment would find it; it looks again whenever the row changes."""
        try:
            rows.start(row.schedule, zone, now)
            row.options(zone)
            await rule_of(self.store, self.paths, row.segment, 0)
            mail, expected, report = await self._start.fit(row.id, row.fields, files)
            shown = await testing.looks(await thawed(self.objects, row.id, mail), self.links, now)
            found = f"Nothing stands in the way: {expected:,} reader{'s' * (expected != 1)}, {shown}. {report.sentence()}".strip()
            seen = checked(report, now)
        except BadInput as error:
            found, seen = str(error), checked(error, now)
        return {"row": row.fields, **seen, **answered(f"Preview at {moment(now, zone, CLOCK)}. {found}", now)}

    async def _test(
        self, row: Row, document: Document | None, zone: str, files: Sequence[File], now: int
    ) -> tuple[dict[str, Any], list[Write]]:
        """Test mails, once each time that Wanted changes to them."""
        data = document.data if document else {}
        if data.get("row", {}).get("wanted") == row.wanted:
            first = {"scheduled": "Go", "running": "Go", "paused": "Pause"}.get(data["state"], "Draft")
            why = f"Wanted says what it said before. For one more choose {first} first, and {console.TEST} after that."
            return {"row": row.fields, **answered(f"No test mail was sent: {why}", now)}, []
        try:
            if not self.pepper:
                raise BadInput("Test mails are not set up here. Please tell your operator.")
            language = self.tenant.identity.language
            who = await testing.readers(self.store, self.paths, self.pepper, row.test_to, language)
            gone = await testing.room(self.store, self.paths, len(who), now) if self.tenant.approval else 0
            mail = await self._start.frozen(letters(files), row.template, TEST, row.subject)
            for one in (*mail.get("languages", {}).values(), mail):
                one["subject"] = testing.subject(await thawed(self.objects, TEST, {**mail, **one}))
        except BadInput as error:
            return unseen(row, document, str(error), now), []
        ways = [provider.name for provider in self.providers]
        said = f"At {moment(now, zone, CLOCK)}: {testing.said(who)}"
        return {"row": row.fields, **answered(said, now)}, testing.mails(self.paths, row.id, mail, who, ways, now, gone)

    async def _again(self, row: Row, document: Document | None, zone: str, tick: Tick) -> dict[str, Any]:
        """What has to change for a campaign to be sent again, or why it is not."""
        try:
            options = row.options(zone)
        except BadInput as error:
            return unseen(row, document, str(error), tick.now)
        try:
            ranked = tick.allowances.warming
            changes = await sends.again(self.store, self.paths, row, document, options, ranked, tick.now)
        except BadInput as error:
            return {"row": row.fields, **answered(str(error), tick.now)}
        if document and "preparing" in changes:
            begun = Document(document.path, "", document.data | changes)
            changes["recent"] = await recent.first(self.store, self.paths, begun, tick.now)
        return changes

    def _write(self, campaign: str, document: Document | None, changes: dict[str, Any]) -> Create | Merge:
        path = self.paths.campaign(campaign)
        if document is None:
            return Create(path, {"kind": "campaign", "state": "draft", "active": False, **changes})
        return Merge(path, changes, if_version=document.version)

    # --- campaigns on their way ---

    async def _active(self) -> list[Document]:
        """Those that get what providers have left first come first."""
        found = [one async for one in every(self.store, self.paths.campaigns, Filter(equals=("active", True)))]
        return sorted(found, key=lambda one: recent.turn(one.id, one.data))


@asynccontextmanager
async def _left_to_the_next(campaign: str) -> AsyncIterator[None]:
    """What cannot be done for one campaign now is left to the next tick, and stops no other."""
    try:
        yield
    except (Conflict, Unavailable) as error:
        log("WARNING", f"left to the next tick: {error}", campaign=campaign)
    except NotFound as error:
        log("ERROR", f"what was kept for it is gone: {error}", campaign=campaign)
