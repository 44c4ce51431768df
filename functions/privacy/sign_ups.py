"""Sign-ups that nobody confirmed: 30 days later the address goes. A link works for a week, so nobody can confirm them any more.

Who never confirmed one is deleted, with the consents; of who is suppressed that is kept, and what decides about it. Who had confirmed an
earlier one loses what the later one asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from shared.model.paths import Paths
from shared.model.subscriber import CONFIRMED
from shared.ports import Delete, Document, Filter, Replace, Store, Write

from .gone import below, write

KEPT: Final = 30 * 86_400_000  # ms
MOST: Final = 100  # of a page
ASKED: Final = frozenset({"asked", "asked_at", "wanted"})
_DECIDING: Final = ("suppressed", "segments", "bounced_at", "delivered_at", "soft", "lifted")  # shared/model/suppression.py


@dataclass(frozen=True)
class SignUps:
    store: Store
    paths: Paths

    async def run(self, now: int, late: Callable[[], bool]) -> Counter[str]:
        """Go on with the oldest. Raises Unavailable."""
        done = Counter[str]()
        while not late():
            page = await self.store.page(self.paths.subscribers, Filter(at_most=("asked_at", now - KEPT)), limit=MOST)
            count = 0
            for found in page:
                if late():
                    return done
                count += await self._forget(found)
            done["sign_ups"] += count
            if len(page) < MOST or not count:
                return done
        return done

    async def _forget(self, found: Document) -> int:
        """1, or 0 when somebody else wrote: a newer sign-up, or what decides. The consents go first: without the address nothing would find
        them again."""
        data = found.data
        if data.get("status") != CONFIRMED:
            asked_at = int(data["asked_at"])
            await below(self.store, self.paths.consents(found.id), lambda consent: consent.get("at", 0) <= asked_at)
        return await write(self.store, [_left(found, data)])


def _left(found: Document, data: dict[str, Any]) -> Write:
    if data.get("status") == CONFIRMED:
        return Replace(found.path, {name: value for name, value in data.items() if name not in ASKED}, if_version=found.version)
    if data.get("suppressed"):
        return Replace(found.path, {name: data[name] for name in _DECIDING if name in data}, if_version=found.version)
    return Delete(found.path, if_version=found.version)
