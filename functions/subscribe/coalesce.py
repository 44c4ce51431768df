"""Sign-ups that arrive together share a call of the store: a burst is hundreds of small writes, and a call takes 500.

Each hears of its own writes only. A write that finds the store at rest leaves at once; one that comes within `rest` of a call's start, or
while CALLS of them are under way, waits for the next one, which leaves sooner when it is full. A call costs as much CPU as all else that a
sign-up takes, however few writes are in it. The queue has an end: who finds it full is told to come again, before anything was accepted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.errors import Conflict, PipelineError, Unavailable
from shared.ports import MAX_WRITES, Create, Store, Write

WAITING: Final = 2_000  # most that wait for a call
CALLS: Final = 4  # under way at once
REST: Final = (
    0.05  # seconds from the start of one call to the next: nobody notices, and at 100 sign-ups a second five share a call
)


class Full(PipelineError):
    """Too many wait already."""


@dataclass(eq=False, slots=True)
class _Ask:
    writes: Sequence[Write]
    done: asyncio.Future[None]


@dataclass
class Coalesced:
    """`waiting`: how many may wait; `rest`: seconds from the start of one call to the next, 0 for none. Belongs to one event loop."""

    store: Store
    waiting: int = WAITING
    rest: float = 0.0
    _queue: deque[_Ask] = field(default_factory=deque, repr=False)
    _calls: set[asyncio.Task[None]] = field(default_factory=set, repr=False)  # held, or they could vanish
    _size: int = field(default=0, repr=False)  # writes in the queue
    _next_call: asyncio.TimerHandle | None = field(default=None, repr=False)
    _leaves: bool = field(default=False, repr=False)  # in this turn of the loop
    _rested: float = field(default=0.0, repr=False)  # when the next call may start, by the loop's clock

    async def write(self, writes: Sequence[Write]) -> None:
        """Return when all of `writes` are durable, each on its own, in no order. Raises Full with nothing done, else Unavailable: then some
        may have been applied.

        Of writes to one path that share a call only the latest is done: give only writes that take the place of one another. A Create must
        be of a random id: that it exists already means that it is ours.
        """
        if len(self._queue) >= self.waiting:
            raise Full("too many writes wait")
        ask = _Ask(writes, asyncio.get_running_loop().create_future())
        self._queue.append(ask)
        self._size += len(writes)
        self._soon()
        await ask.done

    def _soon(self) -> None:
        """Start a call once the store has rested or the call is full, at the soonest when this turn of the loop is over: what arrives until
        then goes along."""
        if not self._queue or self._leaves or len(self._calls) >= CALLS:
            return
        loop = asyncio.get_running_loop()
        self._leaves = self._size >= MAX_WRITES
        if self._leaves:
            self._rest_no_more()
            loop.call_soon(self._wake)
        elif self._next_call is None:
            self._next_call = loop.call_at(self._rested, self._wake)

    def _wake(self) -> None:
        self._rest_no_more()
        self._leaves = False
        self._rested = asyncio.get_running_loop().time() + self.rest
        task = asyncio.create_task(self._do(self._next()))
        self._calls.add(task)
        task.add_done_callback(self._ended)
        self._soon()

    def _rest_no_more(self) -> None:
        if self._next_call:
            self._next_call.cancel()
            self._next_call = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._soon()

    def _next(self) -> list[_Ask]:
        group: list[_Ask] = []
        size = 0
        while self._queue and size + len(self._queue[0].writes) <= MAX_WRITES:
            group.append(self._queue.popleft())
            size += len(group[-1].writes)
        self._size -= size
        return group

    async def _do(self, group: list[_Ask]) -> None:
        latest = {write.path: write for ask in group for write in ask.writes}
        try:
            results = await self.store.write_many(list(latest.values()))
        except Exception as error:  # no write was tried: one caller's must not spoil the others'
            if len(group) > 1:
                for ask in group:
                    await self._do([ask])
            elif not group[0].done.done():
                group[0].done.set_exception(error)
            return
        became = dict(zip(latest, results, strict=True))
        for ask in group:
            failed = next((found for write in ask.writes if (found := _failure(write, became[write.path]))), None)
            if ask.done.done():
                continue  # nobody waits for it any more
            if failed:
                ask.done.set_exception(failed)
            else:
                ask.done.set_result(None)


def _failure(write: Write, result: str | Conflict | Unavailable) -> Exception | None:
    if isinstance(result, str) or (isinstance(result, Conflict) and isinstance(write, Create)):
        return None
    return result
