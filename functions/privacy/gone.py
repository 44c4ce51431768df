"""Deleting what a query finds, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from shared.errors import Conflict, Unavailable
from shared.model.batch import SINGLE_KEPT
from shared.ports import Delete, Expiry, Filter, Store, Write

PAGE: Final = 300
SPELLED: Final = ".~"  # after a sid: above each key of a delivery or of a single mail


async def write(store: Store, writes: Sequence[Write]) -> int:
    """Write each on its own; how many were not refused because somebody else had written. Raises Unavailable when one of them is."""
    results = await store.write_many(writes)
    for result in results:
        if isinstance(result, Unavailable):
            raise result
    return sum(not isinstance(result, Conflict) for result in results)


async def below(store: Store, collection: str, old: Callable[[dict[str, Any]], bool], sid: str = "") -> int:
    """Delete the documents of a collection that are `old`: all of them, or those named after `sid`. How many. Raises Unavailable."""
    within = Filter(below=f"{sid}{SPELLED}") if sid else Filter()
    after, count = sid[:-1], 0  # nobody else's id begins so: a sid is random
    while True:
        page = await store.page(collection, within, after, PAGE)
        count += await write(store, [Delete(found.path) for found in page if found.id.startswith(sid) and old(found.data)])
        if len(page) < PAGE:
            return count
        after = page[-1].id


def first(found: dict[str, Any]) -> int:
    """The first time that a delivery tells of (ms), 0 when it tells of none."""
    return min((at for name, at in found.items() if name.endswith("_at") and isinstance(at, int)), default=0)


def made(single: dict[str, Any]) -> int:
    """When a mail of one reader was asked for (ms)."""
    expires = single.get("expires_at")
    return expires.at - SINGLE_KEPT if isinstance(expires, Expiry) else 0
