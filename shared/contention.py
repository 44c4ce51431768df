"""A write on the versions read, tried again while others write to the same document.

A stranger's sign-ups write to the subscriber's document blindly, 20 times a second from each instance of subscribe
(functions/subscribe/coalesce.py), for as long as the stranger likes. A handful of attempts in a row is then often lost; its owner's act
must not be. What has to get through whatever a stranger does takes no version of a document that strangers write to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import Conflict, Unavailable

BUDGET: Final = 8.0  # seconds after which no attempt is begun
LEAST: Final = 5  # attempts, however slow the store is
# Most seconds between two attempts: at random, so that two owners do not keep meeting, and short, because others do not slow down.
PAUSE: Final = 0.03

T = TypeVar("T")


async def outlast(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns. It reads, decides and commits, anew after each Conflict: somebody else wrote, or our own reply was lost,
    so it recognises its own write. Raises Unavailable when the time is up, and what else `attempt` raises."""
    clock = asyncio.get_running_loop().time
    end, tries = clock() + BUDGET, 0
    while True:
        try:
            return await attempt()
        except Conflict:
            tries += 1
            if tries >= LEAST and clock() >= end:
                raise Unavailable("the store", "contended") from None
        await asyncio.sleep(random.uniform(0, PAUSE))  # noqa: S311 - spreads load, no secret
