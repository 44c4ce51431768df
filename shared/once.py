"""Clients are built at the first call, once per process, never at import."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def once(build: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Cache the result of an async builder for the arguments that it was last called with. Concurrent first callers share one build and
    its failure; the next caller after a failure builds anew. A caller that is cancelled leaves the build to the others."""
    building: asyncio.Future[T] | None = None
    given: object = None

    @functools.wraps(build)
    async def get(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal building, given
        if given != (args, kwargs) or building is None or (building.done() and (building.cancelled() or building.exception())):
            building, given = asyncio.ensure_future(build(*args, **kwargs)), (args, kwargs)
        return await asyncio.shield(building)

    return get
