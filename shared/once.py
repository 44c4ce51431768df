"""Clients are built at the first call, once per process, never at import."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def once(build: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Cache the result of an async builder. Concurrent first callers share one build and its failure; the next caller after a
    failure builds anew. A caller that is cancelled leaves the build to the others."""
    building: asyncio.Future[T] | None = None

    @functools.wraps(build)
    async def get() -> T:
        nonlocal building
        if building is None or (building.done() and (building.cancelled() or building.exception())):
            building = asyncio.ensure_future(build())
        return await asyncio.shield(building)

    return get
