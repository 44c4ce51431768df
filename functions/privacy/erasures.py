"""The rest of an erasure: the person's consents, what is noted of their mails in all campaigns, the mails that were theirs alone, and the
lists with addresses that somebody exported.

A second look, LINGER later, takes what was under way at the first. Then the note of the erasure goes, once the Sheet has heard of it, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Conflict
from shared.logs import log
from shared.model.erasure import LINGER, cleaned
from shared.model.paths import SYSTEM, Paths
from shared.paging import every
from shared.ports import Delete, Document, Filter, Replace, Store

from .files import Files
from .gone import below, first, made

MOST: Final = 100  # people of a page
AT_ONCE: Final = 16  # campaigns that are asked at a time
SEEN: Final = "~"  # a cursor behind every campaign: both looks are done, and only the Sheet is waited for
AGAIN: Final = 900_000  # ms until the next look at what waits for the Sheet


@dataclass(frozen=True)
class Erasures:
    store: Store
    paths: Paths
    files: Files

    async def run(self, now: int, late: Callable[[], bool]) -> Counter[str]:
        """Go on with those that are due. Raises Unavailable, ConfigError when a file cannot be deleted: then none is ended."""
        done = Counter[str]()
        due = Filter(at_most=("due", now))
        people = await self.store.page(self.paths.erasures, due, limit=MOST)
        if not people:
            return done
        files = False  # whether those with addresses are gone
        campaigns = sorted({*SYSTEM, *[one.id async for one in every(self.store, self.paths.campaigns, fields=[])]})
        while people and not late():
            before = [found.version for found in people]
            for found in people:
                if late():
                    return done
                if not files and found.data.get("cursor") != SEEN:
                    files, done = True, done + await self.files.with_addresses()
                try:
                    done += await self._person(found, campaigns, now, late)
                except Conflict as error:  # somebody else writes to that person: the others do not wait for it
                    log("INFO", f"an erasure is left to the next look ({error.why})")
            people = await self.store.page(self.paths.erasures, due, limit=MOST)
            if [found.version for found in people] == before:
                break  # somebody else is at them
        return done

    async def _person(self, found: Document, campaigns: Sequence[str], now: int, late: Callable[[], bool]) -> Counter[str]:
        sid, at = found.id, int(found.data["at"])
        done = Counter(erased_consents=await below(self.store, self.paths.consents(sid), lambda data: data.get("at", 0) <= at))
        done["erased_lifts"] += await below(self.store, self.paths.lifts(sid), lambda data: data.get("at", 0) <= at)
        person = await self._cleaned(sid, at)
        left = [campaign for campaign in campaigns if campaign > found.data.get("cursor", "")]
        for start in range(0, len(left), AT_ONCE):
            part = left[start : start + AT_ONCE]
            if start and late():
                await self._once([_next(found, cursor=left[start - 1])])
                return done
            done["erased_deliveries"] += sum(
                await asyncio.gather(*(self._campaign(campaign, sid, at, person) for campaign in part))
            )
        if now < at + LINGER:
            await self._once([_next(found, cursor="", due=at + LINGER)])
        elif not found.data.get("told"):
            await self._once([_next(found, cursor=SEEN, due=now + AGAIN)])
        else:
            done["erasures"] += await self._once([Delete(found.path, if_version=found.version)])
        return done

    async def _campaign(self, campaign: str, sid: str, at: int, person: Mapping[str, Any]) -> int:
        """What a campaign has of a person: a read where it has nothing. Of who is still erased all goes, also what was told late; of who
        came back, or asks to, what is from before the erasure."""
        system = campaign in SYSTEM
        away = "erased" in person.get("suppressed", ()) and not (system and "asked" in person)
        count = await below(self.store, self.paths.deliveries(campaign), lambda data: away or first(data) <= at, sid)
        if system:
            count += await below(self.store, self.paths.batches(campaign), lambda data: made(data) <= at, sid)
        return count

    async def _cleaned(self, sid: str, at: int) -> Mapping[str, Any]:
        """The person's document, without what late events have written there. Raises Conflict."""
        person = await self.store.get(self.paths.subscriber(sid))
        if person is None:
            return {}
        stays = cleaned(person.data, at)
        if stays is not None:
            await self.store.commit([Replace(person.path, stays, if_version=person.version)])
        return person.data if stays is None else stays

    async def _once(self, writes: Sequence[Replace | Delete]) -> int:
        """1, or 0 when the Sheet's side, or another erasure, was faster: then it is still due, or again."""
        try:
            await self.store.commit(writes)
        except Conflict:
            return 0
        return 1


def _next(found: Document, **changes: Any) -> Replace:
    return Replace(found.path, {**found.data, **changes}, if_version=found.version)
