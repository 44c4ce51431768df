"""Clients are built at the first call, once per process, never at import."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def once(build: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Cache the result of an async builder; concurrent first callers share one build, and a failed build is tried again."""
    found: list[T] = []
    lock = asyncio.Lock()

    @functools.wraps(build)
    async def get() -> T:
        if not found:
            async with lock:
                if not found:
                    found.append(await build())
        return found[0]

    return get
