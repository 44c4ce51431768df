"""Events that come after an erasure: a click on an old mail, a bounce that is told late.

The step record writes them blindly, as it does all events: a read before each would cost every click one, to spare the very few that are of
somebody erased. So once a day all who were erased are looked at. Where something was written, the erasure is taken up again: it cleans the
tombstone, and deletes what came in the campaigns. A day costs two reads for each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.model.erasure import LINGER, cleaned
from shared.model.paths import Paths
from shared.ports import Create, Document, Filter, Merge, Store

from .gone import PAGE, write

DAY: Final = 86_400_000  # ms


@dataclass(frozen=True)
class Late:
    """`console/privacy` holds `tombstones`: {after: the last sid looked at, day: the last day (since the epoch) that is done}."""

    store: Store
    paths: Paths

    async def run(self, now: int, late: Callable[[], bool]) -> Counter[str]:
        """Go on with today's look. A read when it is done. Raises Unavailable."""
        done = Counter[str]()
        held = await self.store.get(self.paths.privacy, ["tombstones"])
        state = (held.data.get("tombstones") if held else None) or {}
        if state.get("day") == now // DAY:
            return done
        after = state.get("after", "")
        while not late():
            page = await self.store.page(
                self.paths.suppressions, Filter(contains=("reasons", "erased")), after, PAGE, fields=["erased_at"]
            )
            done["late_events"] += await self._look(page, now)
            over = len(page) < PAGE
            after = "" if over else page[-1].id
            kept = {"after": after, "day": now // DAY if over else state.get("day", 0)}
            await self.store.commit([Merge(self.paths.privacy, {"tombstones": kept})])
            if over:
                break
        return done

    async def _look(self, page: list[Document], now: int) -> int:
        people = await self.store.get_many([self.paths.subscriber(found.id) for found in page])
        touched = []
        for found, person in zip(page, people, strict=True):
            at = int(found.data.get("erased_at", 0))
            if person and cleaned(person.data, at) is not None and at + LINGER < now:
                todo = {"at": at, "due": now, "cursor": "", "files": [], "told": True}  # the Sheet has none of it
                touched.append(Create(self.paths.erasure(found.id), todo))
        return await write(self.store, touched) if touched else 0
