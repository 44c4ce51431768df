"""What was read a moment ago is not read again: a page that everybody looks at costs one read a minute and process."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from shared.errors import Unavailable
from shared.logs import log
from shared.ports import Clock

AGE: Final = 60_000  # ms
T = TypeVar("T")


@dataclass
class _One(Generic[T]):
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: tuple[int, T] | None = None  # and when


class Held(Generic[T]):
    """The values of `most` keys."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock, self._most = clock, most
        self._kept: OrderedDict[Hashable, _One[T]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gave less than AGE ago; who comes while it is asked waits for the same answer. When it is Unavailable, what it gave
        before, however long ago; raises that when it gave nothing yet."""
        one = self._kept.setdefault(key, _One())
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        async with one.asking:
            now = self._clock.now()
            if one.found is None or not 0 <= now - one.found[0] < AGE:
                try:
                    one.found = now, await read()
                except Unavailable as error:
                    if one.found is None:
                        raise
                    log("WARNING", f"the archive stays as it was: {error}")
                    one.found = now, one.found[1]
            return one.found[1]
