"""The campaigns' reports, made anew where deliveries changed. Called by Cloud Scheduler.

A tick takes the campaigns whose marks are due, the most overdue first, reads the deliveries of each range that is out of date and of their
readers what the report asks for, and overwrites the range's summary on the version that was there before. When no range is left the report
is the sum of all. A tick that runs out of time, or is cut off anywhere, leaves the rest of the ranges to the next one.

After a recomputation has begun the next one begins half the campaign's age later, and never sooner than SOONEST: their number grows
with the logarithm of the age. docs/reports.md has what that costs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Conflict, Unavailable
from shared.logs import log
from shared.model import hits, marks, report
from shared.model.paths import Paths
from shared.model.report import Range, Reading, Summary
from shared.ports import Clock, Create, Document, Filter, Maximum, Merge, Store, Write

SOONEST: Final = 600_000  # ms from one recomputation of a campaign to the next
GROWTH: Final = 2  # …and its age divided by this
BUDGET: Final = 100_000  # ms of a tick, after which no range is begun; the longest one takes seconds
PAGE: Final = 300
CAMPAIGNS: Final = 100  # of one tick
_CAMPAIGN: Final = ["frozen_at", "expected", "zone", "row", "mail", "purged_at"]


@dataclass(frozen=True)
class Report:
    """The step's dependencies. `within`: ms from a person's click to a conversion that counts for it."""

    store: Store
    clock: Clock
    paths: Paths
    within: int = report.WITHIN
    budget: int = BUDGET

    async def handle(self) -> None:
        """One tick. Raises Unavailable when the marks cannot be read."""
        now = self.clock.now()
        due = await self.store.page(self.paths.marks, Filter(at_most=("due", now)), limit=CAMPAIGNS)
        for found in due:
            if self._late(now):
                break
            try:
                await self._campaign(found, now)
            except Conflict as error:
                log("INFO", f"left to the next tick: {error}", campaign=found.id)
            except Unavailable as error:
                log("WARNING", f"left to the next tick: {error}", campaign=found.id)

    def _late(self, began: int) -> bool:
        return self.clock.now() - began >= self.budget

    async def _campaign(self, found: Document, began: int) -> None:
        """Go on with one campaign. Raises Conflict when somebody else does, Unavailable."""
        campaign, mark = found.id, found.data
        plan = await self.store.get(self.paths.campaign(campaign), _CAMPAIGN)
        if plan is None or "frozen_at" not in plan.data:
            log("WARNING", "deliveries of a campaign that is not there", campaign=campaign)
            await self.store.commit([Merge(found.path, {"due": marks.NEVER}, if_version=found.version)])
            return
        if "purged_at" in plan.data:  # its deliveries are gone, or about to be: the report stays as it was made last
            await self.store.commit([Merge(found.path, {"due": marks.NEVER}, if_version=found.version)])
            return
        soonest = next_at(mark.get("last", 0), plan.data["frozen_at"])
        turn = mark.get("turn", 0)
        if not turn:
            now = self.clock.now()
            if now < soonest:
                await self.store.commit([Merge(found.path, {"due": soonest}, if_version=found.version)])
                return
            turn = marks.over(now)
            changes = {"turn": turn, "last": now}
            [version] = await self.store.commit([Merge(found.path, changes, if_version=found.version)])
            found, mark = Document(found.path, version, {**mark, **changes}), {**mark, **changes}
        sent, reading = await self._reading(campaign, plan.data)
        all_of_it = report.ranges(plan.data["expected"])
        done: Mapping[str, int] = mark.get("done") or {}
        stale = [part for part in all_of_it if done.get(part.id, -1) < min(turn, _marked(mark, part))]
        for part in stale:
            if self._late(began):
                log("INFO", "a report goes on in the next tick", campaign=campaign, ranges=len(stale) - stale.index(part))
                return
            await self._range(campaign, part, reading)
        reached = await self.store.get(found.path)  # before the sum is read: who adds to a range after that changes the version
        await self._publish(campaign, plan.data, sent, stale)
        if reached:
            await self._finish(reached, all_of_it, plan.data["frozen_at"])

    async def _reading(self, campaign: str, plan: Mapping[str, Any]) -> tuple[Summary, Reading]:
        """Who mailed how many, and how the campaign is read."""
        batches = self._pages(self.paths.batches(campaign), fields=["providers", "via", "states"])
        sent = Summary()
        async for page in batches:
            sent += report.ledger(found.data for found in page)
        ways: dict[str, list[str]] = {}
        for way in await self.store.page(self.paths.providers, fields=["kind"]):
            ways.setdefault(way.data.get("kind", ""), []).append(way.id)
        names = {kind: names[0] for kind, names in ways.items() if kind and len(names) == 1}
        used = [value for by, value in sent.counts if by == "provider"]
        only = used[0] if len(used) == 1 else ""
        return sent, Reading(plan.get("zone") or "UTC", self.within, names, only)

    async def _range(self, campaign: str, part: Range, reading: Reading) -> None:
        """Make a range's summary anew. What is claimed is what was over before anything was read; the summary's version is from before,
        too."""
        covered = marks.over(self.clock.now())
        path = self.paths.summary(campaign, part.id)
        before = await self.store.get(path, ["at"])
        total = Summary()
        within = Filter(contains=("labels", hits.COUNTED), below=part.below)
        async for page in self._pages(self.paths.deliveries(campaign), within, part.after, list(report.FIELDS)):
            page = await self._settled(page)
            who = sorted({found.id[:32] for found in page if report.of_a_person(found.data)})
            readers = await self.store.get_many([self.paths.subscriber(sid) for sid in who], list(report.READER)) if who else []
            known = {reader.id: reader.data for reader in readers if reader}
            total += reading.summarize(((found.id, found.data) for found in page), known)
        data = {"rows": total.rows(), "at": self.clock.now()}
        summary: Write = Merge(path, data, if_version=before.version) if before else Create(path, data)
        await self.store.commit([summary, Merge(self.paths.mark(campaign), {f"done.{part.id}": Maximum(covered)})])

    async def _settled(self, page: Sequence[Document]) -> list[Document]:
        """A page of deliveries, their labels put right, see shared/model/hits.py."""
        wrong = {found.path: changes for found in page if (changes := hits.settled(found.data))}
        if not wrong:
            return list(page)
        versions = {found.path: found.version for found in page}
        await self.store.write_many([Merge(path, data, if_version=versions[path]) for path, data in wrong.items()])
        return [Document(found.path, found.version, {**found.data, **wrong.get(found.path, {})}) for found in page]

    async def _publish(self, campaign: str, plan: Mapping[str, Any], sent: Summary, changed: Sequence[Range]) -> None:
        """Write the report: the sum of the summaries, of one moment's reading. The version is from before that."""
        path = self.paths.report(campaign)
        before = await self.store.get(path, ["at"])
        total = sent
        async for page in self._pages(self.paths.summaries(campaign)):
            for found in page:
                total += Summary.of(found.data["rows"])
        now = self.clock.now()
        data: dict[str, Any] = {
            "rows": total.rows(),
            "at": now,
            "newest": -now,
            "began": plan["frozen_at"],
            "name": plan.get("row", {}).get("name", ""),
            "links": plan.get("mail", {}).get("links") or {},
        }
        await self.store.commit([Merge(path, data, if_version=before.version) if before else Create(path, data)])
        log("INFO", "a report was made", campaign=campaign, ranges=len(changed))

    async def _finish(self, found: Document, all_of_it: Sequence[Range], frozen_at: int) -> None:
        """End the turn, and say when the next one is due. A mark made meanwhile changes the version: then the next tick looks again."""
        mark = found.data
        done: Mapping[str, int] = mark.get("done") or {}
        waiting = [latest for part in all_of_it if (latest := _marked(mark, part)) > done.get(part.id, -1)]
        soonest = next_at(mark.get("last", 0), frozen_at)
        due = max(soonest, marks.ended(min(waiting))) if waiting else marks.NEVER
        await self.store.commit([Merge(found.path, {"turn": 0, "due": due}, if_version=found.version)])

    async def _pages(
        self, collection: str, filter: Filter = Filter(), after: str = "", fields: list[str] | None = None
    ) -> AsyncIterator[list[Document]]:
        while True:
            page = await self.store.page(collection, filter, after, PAGE, fields)
            yield page
            if len(page) < PAGE:
                return
            after = page[-1].id


def next_at(last: int, frozen_at: int) -> int:
    """When a campaign may be looked at again that was looked at last then (ms), 0 for never."""
    return last + max(SOONEST, (last - frozen_at) // GROWTH) if last else 0


def _marked(mark: Mapping[str, Any], part: Range) -> int:
    return marks.latest(mark, part.first, part.beyond)
