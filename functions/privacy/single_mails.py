"""What is noted of the system's own mails: confirmations, welcomes, links, copies. Their campaigns never end, so each delivery goes by its
own time, `first_at`, which the step record keeps as a minimum.

A query finds what is due, the oldest first: a day with nothing due costs one read for each of the four campaigns and a write, and 1,000
deliveries that are kept cost nothing more; 1,000 that go cost 1,000 reads and 1,000 deletes, once. Firestore's TTL would cost the deletes
alone, as it does for these mails' ledgers. But record would have to know how long they are kept, another number of days would hold for
later mails only, and no order-free transform sets a timestamp.

No figure is counted from these deliveries: Results and reports are of campaigns alone, and a mail that is unknown is settled within days.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.model.paths import SYSTEM, Paths
from shared.ports import Delete, Filter, Store

from .gone import PAGE, write

BY: Final = "first_at"  # a number with an index, which deliveries of campaigns do not have


async def purge(store: Store, paths: Paths, until: int, late: Callable[[], bool]) -> tuple[int, bool]:
    """Delete what was first heard of at `until` (ms) or before; how many, and whether that is all: when it is late the rest is left to the
    next run. Raises Unavailable."""
    count = 0
    for campaign in SYSTEM:
        while True:
            if late():
                return count, False
            page = await store.page(paths.deliveries(campaign), Filter(at_most=(BY, until)), limit=PAGE, fields=[])
            count += await write(store, [Delete(found.path) for found in page])
            if len(page) < PAGE:
                break
    return count, True
