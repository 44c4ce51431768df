"""What is noted of each mail (functions/record/handler.py) goes some time after its campaign has ended; the sums stay. Campaigns of the
system's own mails never end: see single_mails.py.

Before anything is deleted the campaign's figures are counted a last time and kept in its document (`headlines`), with the time
(`purged_at`): from then on Results and report go by what is kept. report is left QUIET to end what it had begun. A late click makes a
new document, which the next day's look takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.model.campaign import ENDED, headlines
from shared.model.paths import Paths
from shared.ports import Delete, Document, Merge, Store

from .gone import PAGE, write
from .single_mails import purge

DAY: Final = 86_400_000  # ms
QUIET: Final = 600_000  # ms: longer than a tick of report
_FIELDS: Final = ["state", "active", "frozen_at", "answered_at", "purged_at"]


@dataclass(frozen=True)
class Deliveries:
    """`kept`: ms after the end, and of a mail of the system's own after it was first heard of; 0 for ever. `console/privacy` holds
    `deliveries`: {after: the last campaign looked at, day: the last day (since the epoch) that is done}, and `single_mails`: {day}."""

    store: Store
    paths: Paths
    kept: int

    async def run(self, now: int, late: Callable[[], bool]) -> Counter[str]:
        """Go on with today's look at the system's mails and at all campaigns. A read when it is done. Raises Unavailable, Conflict."""
        done = Counter[str]()
        if not self.kept:
            return done
        held = await self.store.get(self.paths.privacy, ["deliveries", "single_mails"])
        state = held.data if held else {}
        if state.get("single_mails", {}).get("day") != now // DAY:
            done["single_deliveries"], whole = await purge(self.store, self.paths, now - self.kept, late)
            if not whole:
                return done
            await self.store.commit([Merge(self.paths.privacy, {"single_mails": {"day": now // DAY}})])
        if state.get("deliveries", {}).get("day") != now // DAY:
            done += await self._campaigns(state.get("deliveries", {}), now, late)
        return done

    async def _campaigns(self, state: Mapping[str, Any], now: int, late: Callable[[], bool]) -> Counter[str]:
        done = Counter[str]()
        after, waiting = state.get("after", ""), False
        while not late():
            page = await self.store.page(self.paths.campaigns, after=after, limit=PAGE, fields=_FIELDS)
            for found in page:
                if ended_at(found.data) and ended_at(found.data) <= now - self.kept:
                    waiting |= not await self._ready(found, now)
                    count, whole = await self._purge(found, now, late)
                    done["deliveries"] += count
                    if not whole:
                        return done
                after = found.id
            over = len(page) < PAGE
            kept = {"after": "" if over else after, "day": now // DAY if over and not waiting else state.get("day", 0)}
            await self.store.commit([Merge(self.paths.privacy, {"deliveries": kept})])
            if over:
                break
        return done

    async def _ready(self, found: Document, now: int) -> bool:
        """Whether its deliveries may go; else its figures are kept now. Raises Conflict."""
        if "purged_at" in found.data:
            return now - int(found.data["purged_at"]) >= QUIET
        figures = await headlines(self.store, self.paths, found.id)
        await self.store.commit([Merge(found.path, {"purged_at": now, "headlines": figures}, if_version=found.version)])
        return False

    async def _purge(self, found: Document, now: int, late: Callable[[], bool]) -> tuple[int, bool]:
        """How many were deleted, and whether that is all for now."""
        count = 0
        if now - int(found.data.get("purged_at", now)) < QUIET:
            return count, True
        while not late():
            page = await self.store.page(self.paths.deliveries(found.id), limit=PAGE, fields=[])
            count += await write(self.store, [Delete(one.path) for one in page])
            if len(page) < PAGE:
                return count, True
        return count, False


def ended_at(campaign: dict[str, Any]) -> int:
    """When a campaign was over (ms): when the sentence beside its row last changed; 0 while it is not."""
    if campaign.get("state") not in ENDED or campaign.get("active") or "frozen_at" not in campaign:
        return 0
    return max(int(campaign["frozen_at"]), int(campaign.get("answered_at", 0)))
