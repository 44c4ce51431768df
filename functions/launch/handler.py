"""The tick: rows of the Campaigns tab become campaigns, campaigns become batches, and nothing that waits is forgotten.

Called by Cloud Scheduler. Publishes to send-requests (consumed by send_batch). Every part can be cut off at any point and done again:
a template is kept by its hash, batches are created under fixed ids, and a campaign's document changes only from the version read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.links import Links
from shared.logs import log
from shared.model import batch, console
from shared.model.campaign import ENDED, answered, progress
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.model.subscriber import EVERYONE
from shared.model.tenant import Tenant
from shared.ports import Bus, Clock, Create, Document, Drive, File, Filter, Merge, Objects, Sheet, Store

from . import rows
from .freeze import find, freeze, letters
from .rows import Row
from .sweep import settle, sweep


@dataclass(frozen=True)
class Launch:
    """The step's dependencies."""

    store: Store
    bus: Bus
    clock: Clock
    objects: Objects
    sheet: Sheet
    drive: Drive
    links: Links
    paths: Paths
    tenant: Tenant

    async def handle(self) -> None:
        """One tick. A Sheet or Drive that does not answer stops new campaigns, never those on their way."""
        await self.links.tokens.fresh()
        files: list[File] | None = None
        try:
            workbook = await self.sheet.workbook()
            files = await self.drive.list(self.tenant.folder)
            await self._system_mails(files)
            if console.CAMPAIGNS in workbook.tabs:  # else sync_sheet makes it at its next tick
                await self._rows(workbook.zone)
        except (Unavailable, NotFound) as error:
            log("ERROR", f"the Sheet or the Drive folder cannot be read: {error}")
        except BadInput as error:  # a header that cannot be trusted
            log("WARNING", str(error))
        for campaign in await self._active():
            try:
                await self._advance(campaign, files)
            except (Conflict, Unavailable) as error:
                log("WARNING", f"left to the next tick: {error}", campaign=campaign.id)
        for system in (CONFIRM, WELCOME):
            try:
                await sweep(self.store, self.bus, self.paths, system, self.clock.now())
                await settle(self.store, self.paths, system, self.clock.now())
            except Unavailable as error:
                log("WARNING", f"left to the next tick: {error}", campaign=system)

    # --- system mails ---

    async def _system_mails(self, files: Sequence[File]) -> None:
        """Keep the frozen confirmation and welcome equal to their files."""
        documents = await self.store.get_many([self.paths.campaign(CONFIRM), self.paths.campaign(WELCOME)])
        for name, known in zip((CONFIRM, WELCOME), documents, strict=True):
            data = known.data if known else {}
            mail = data.get("mail", {})
            try:
                file = find(files, name)
                if (mail.get("file"), mail.get("version"), mail.get("identity")) == (
                    file.id,
                    file.version,
                    asdict(self.tenant.identity),
                ):
                    continue
                fresh = await self._freeze(file, name, single=name == CONFIRM)
                changes = {"kind": "system", "state": "running", "mail": fresh, **answered("", self.clock.now())}
            except BadInput as error:
                if data.get("answer") == str(error):
                    continue
                log("WARNING", str(error), campaign=name)
                changes = {"kind": "system", "state": "running", **answered(str(error), self.clock.now())}
            await self.store.commit([Merge(self.paths.campaign(name), changes)])

    async def _freeze(self, file: File, campaign: str, subject: str = "", single: bool = False) -> dict[str, Any]:
        return await freeze(
            self.drive, self.objects, self.links, file, campaign, self.tenant.identity, subject=subject, single=single
        )

    # --- rows ---

    async def _rows(self, zone: str) -> None:
        """Act on the rows that changed since the last tick; one read when none did."""
        [cells] = await self.sheet.read([f"{console.CAMPAIGNS}!A1:Z"])
        if not cells:
            return
        seen = await self.store.get(self.paths.console)
        known = seen.data.get("rows", {}) if seen else {}
        changed = [row for row in rows.read(cells) if known.get(row.id) != row.hash]
        if not changed:
            return
        documents = await self.store.get_many([self.paths.campaign(row.id) for row in changed])
        done: dict[str, str] = {}
        for row, document in zip(changed, documents, strict=True):
            changes = self._wish(row, document, zone)
            try:
                if changes:
                    await self._save(row.id, document, changes)
                done[f"rows.{row.id}"] = row.hash
            except (Conflict, Unavailable) as error:
                log("WARNING", f"left to the next tick: {error}", campaign=row.id)
        if done:
            await self.store.commit([Merge(self.paths.console, done)])

    async def _save(self, campaign: str, document: Document | None, changes: dict[str, Any]) -> None:
        path = self.paths.campaign(campaign)
        if document is None:
            await self.store.commit([Create(path, {"kind": "campaign", "state": "draft", "active": False, **changes})])
        else:
            await self.store.commit([Merge(path, changes, if_version=document.version)])

    def _wish(self, row: Row, document: Document | None, zone: str) -> dict[str, Any]:
        """What the row's Wanted cell changes, given the campaign's state; {} for nothing."""
        now = self.clock.now()
        state = document.data["state"] if document else "draft"

        def say(sentence: str, **changes: Any) -> dict[str, Any]:
            return {"row": row.fields, **changes, **answered(sentence, now)}

        if row.problem:
            return say(row.problem)
        match row.wanted, state:
            case "go", "draft" | "scheduled":
                try:
                    at = rows.due(row.schedule, zone, now)
                except BadInput as error:
                    return say(str(error), state="draft", active=False)
                return say(
                    f"Scheduled for {row.schedule} ({zone})." if row.schedule else "Starting.",
                    state="scheduled",
                    at=at,
                    active=True,
                )
            case "go", "paused":
                return say("Resumed.", state="running")
            case (("go" | "pause" | "cancel"), ("completed" | "cancelled")):
                return say("This campaign has ended. Use a new row to send again.")
            case "pause", "running" | "paused":
                return say("Paused. Choose Go to resume, Cancel to stop for good.", state="paused")
            case "pause", "scheduled":
                return say("Taken off the schedule. Choose Go to schedule it again.", state="draft", active=False)
            case "pause", "draft":
                return say("It has not started, so there is nothing to pause.")
            case "cancel", "draft" | "scheduled":
                return say("Cancelled before it started.", state="cancelled", active=False)
            case "cancel", "running" | "paused":
                return say("Cancelled: what was handed over has gone, the rest will not.", state="cancelled")
            case "draft", "scheduled":
                return say("No longer scheduled.", state="draft", active=False)
            case "draft", "running" | "paused":
                return say("It has started. Choose Pause or Cancel to stop it.")
            case "draft", "draft" if document:
                return say("Draft. Choose Go to send it.")
            case (("draft" | "go" | "pause" | "cancel"), _):
                return {}
        return say(f"Wanted must be Draft, Go, Pause or Cancel, not “{row.wanted[:30]}”.")

    # --- campaigns on their way ---

    async def _active(self) -> list[Document]:
        found: list[Document] = []
        while True:
            page = await self.store.page(self.paths.campaigns, Filter(equals=("active", True)), found[-1].id if found else "")
            found += page
            if len(page) < 300:
                return found

    async def _advance(self, campaign: Document, files: Sequence[File] | None) -> None:
        """Start a campaign that is due, bring back its batches, end it when all are done. `files`: None when they cannot be read."""
        now, data = self.clock.now(), campaign.data
        if data["state"] == "scheduled":
            if data["at"] <= now and files is not None:
                await self._start(campaign, files)
            return
        if not data.get("cut") and data["state"] == "running":
            await self._cut(campaign.id)
        if data["state"] == "paused":
            return
        still_open = await sweep(self.store, self.bus, self.paths, campaign.id, now)
        if still_open and data["state"] not in ENDED:
            return
        watched = await settle(self.store, self.paths, campaign.id, now)
        if not still_open:
            await self._end(campaign, watched)

    async def _start(self, campaign: Document, files: Sequence[File]) -> None:
        """Freeze the mail, count the audience, cut it. A fault sends the campaign back to draft with its sentence."""
        now, row = self.clock.now(), campaign.data["row"]
        try:
            mail = await self._freeze(find(letters(files), row["template"]), campaign.id, row["subject"])
            segment = row["segment"]
            expected = await self.store.count(self.paths.subscribers, Filter(contains=("segments", segment)))
            if not expected:
                there = "confirmed yet" if segment == EVERYONE else f"in the segment “{segment[:40]}” yet"
                raise BadInput(f"Nobody is {there}.")
        except BadInput as error:
            sentence = f"{error} Then choose Draft, and Go once the row says so."
            await self._save(campaign.id, campaign, {"state": "draft", "active": False, **answered(sentence, now)})
            return
        parts = len(batch.ranges(expected))
        changes = {
            "state": "running",
            "mail": mail,
            "segment": segment,
            "frozen_at": now,
            "expected": expected,
            "parts": parts,
            "cut": False,
            **answered(f"Sending to {expected:,}.", now),
        }
        await self._save(campaign.id, campaign, changes)
        await self._cut(campaign.id)

    async def _cut(self, campaign: str) -> None:
        """Make every batch under its fixed id, publish, and note that it is done. Repeating it is harmless."""
        plan = await self.store.get(self.paths.campaign(campaign), ["expected"])
        if plan is None:
            return
        now = self.clock.now()
        named = {f"{n:06d}": source for n, source in enumerate(batch.ranges(plan.data["expected"]))}
        results = await self.store.write_many(
            [Create(self.paths.batch(campaign, name), batch.new(source, now)) for name, source in named.items()]
        )
        failed = [result for result in results if isinstance(result, Unavailable)]
        if failed:
            raise failed[0]
        await self.bus.publish(batch.TOPIC, [batch.request(campaign, name) for name in named])
        await self.store.commit([Merge(self.paths.campaign(campaign), {"cut": True})])
        log("INFO", "launched", campaign=campaign, expected=plan.data["expected"], batches=len(named))

    async def _end(self, campaign: Document, watched: int) -> None:
        """Note the end, and stay active while `watched` unknown mails may still be heard of."""
        now, data = self.clock.now(), campaign.data
        totals = await progress(self.store, self.paths, campaign.id)
        changes: dict[str, Any] = {"totals": totals, "active": watched > 0}
        if data["state"] == "running":
            changes |= {"state": "completed", **answered(_done(totals), now)}
        elif data["state"] == "completed" and totals != data.get("totals"):
            changes |= answered(_done(totals), now)
        elif totals == data.get("totals") and changes["active"] == data["active"]:
            return
        await self._save(campaign.id, campaign, changes)


def _done(totals: dict[str, int]) -> str:
    parts = [f"{totals['sent']:,} sent"]
    parts += [f"{totals[name]:,} {name}" for name in ("failed", "suppressed", "skipped", "cancelled", "unknown") if totals[name]]
    return f"Done: {', '.join(parts)}."
