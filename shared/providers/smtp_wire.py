"""The client's end of an SMTP connection after the handshake. Not asyncio's streams: pipelined replies arrive several to a
packet, and one wake-up and one timer for all of them is what keeps a mail cheap.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque

MAX_REPLY = 65_536  # bytes; a server that says more without ending its reply is not speaking SMTP
_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ \-\r]|$)")


class Lost(Exception):
    """No more replies will come: closed, timed out, or out of step."""


class Wire(asyncio.Protocol):
    """The client's end after the handshake: replies in order, one waiter, one timer that moves instead of being remade."""

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self.transport = transport
        self.replies: deque[bytes] = deque()
        self.lost = ""  # why no more replies will come
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._paused = False
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        before = len(self.replies)
        try:
            self._rest = split_replies(self._rest + data, self.replies)
        except ValueError:
            return self.fail("garbage")
        if len(self.replies) > before:
            self._deadline = self._loop.time() + self._timeout
        if len(self.replies) >= self._wanted:
            self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or "closed"
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def fail(self, why: str) -> None:
        """Give the connection up now."""
        self.lost = self.lost or why
        self.transport.abort()
        self._wake()

    async def until(self, count: int) -> None:
        """Return when `count` replies are here, or no more will come. Each reply may take the time-out."""
        while len(self.replies) < count and not self.lost:
            await self._wait(count)

    def reply(self) -> bytes:
        """The next reply; raises Lost when there is none."""
        if not self.replies:
            raise Lost(self.lost)
        return self.replies.popleft()

    def write(self, data: bytes) -> None:
        """Raises Lost, with nothing written, when the connection has ended or the server spoke out of turn."""
        if self.lost or self.replies or self.transport.is_closing():
            self.lost = self.lost or "out of step"
            raise Lost(self.lost)
        self.transport.write(data)

    async def drain(self) -> None:
        while self._paused and not self.lost:
            await self._wait(sys.maxsize)

    async def _wait(self, wanted: int) -> None:
        self._wanted = wanted
        self._waiter = self._loop.create_future()
        self._deadline = self._loop.time() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._tick)
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None:
            return  # idle; the next wait winds it up again
        left = self._deadline - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._tick)
        else:
            self.fail("time-out")


def split_replies(data: bytes, into: deque[bytes]) -> bytes:
    """Append each complete reply in `data` (all its lines, as sent) to `into`; return the unfinished rest.

    Raises ValueError for bytes that are no SMTP replies.
    """
    start = at = 0
    while (end := data.find(b"\n", at)) >= 0:
        if not _LINE.match(data, at, end) or (at > start and data[at : at + 3] != data[start : start + 3]):
            raise ValueError("not an SMTP reply")
        more = data[at + 3] == 0x2D  # "-": another line follows
        at = end + 1
        if not more:
            into.append(data[start:at])
            start = at
    if len(data) - start > MAX_REPLY:
        raise ValueError("endless reply")
    return data[start:]
