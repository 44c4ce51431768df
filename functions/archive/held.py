"""What was read a moment ago is not read again: a page that everybody looks at costs one read a minute and process, and a store that does
not answer is asked once a second, however many wait for it."""

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
FOR_EVER: Final = 1 << 62  # the age of what cannot change
PAUSE: Final = 1_000  # ms for which nobody is asked again who did not answer
T = TypeVar("T")


@dataclass
class _One(Generic[T]):
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: tuple[int, T] | None = None  # and when
    failed: tuple[int, str] | None = None  # and what did not answer


class Held(Generic[T]):
    """The values of `most` keys, for `age` ms."""

    def __init__(self, clock: Clock, most: int, age: int = AGE) -> None:
        self._clock, self._most, self._age = clock, most, age
        self._kept: OrderedDict[Hashable, _One[T]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gave less than `age` ago; who comes while it is asked waits for the same answer. When it is Unavailable, what it gave
        before, however long ago; raises that when it gave nothing yet. What else it raises is not kept."""
        one = self._kept.setdefault(key, _One())
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        async with one.asking:
            now = self._clock.now()
            if one.found is None or not 0 <= now - one.found[0] < self._age:
                if one.failed and 0 <= now - one.failed[0] < PAUSE:
                    raise Unavailable(one.failed[1]) from None  # a new one: each time that one is raised its trace grows
                try:
                    one.found = now, await read()
                except Unavailable as error:
                    if one.found is None:
                        one.failed = self._clock.now(), error.service
                        raise
                    log("WARNING", f"the archive stays as it was: {error}")
                    one.found = now, one.found[1]
            return one.found[1]

    def forget(self, key: Hashable, value: T) -> None:
        """Read it anew the next time, if this is what is held: not what somebody read since."""
        one = self._kept.get(key)
        if one and one.found and one.found[1] is value:
            del self._kept[key]
