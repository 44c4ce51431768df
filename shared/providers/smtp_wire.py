"""The client's end of an SMTP connection after the handshake: replies in, commands out, one time-out.

Not asyncio's streams: replies are read in place (a BufferedProtocol: the kernel writes into one small buffer for ever, where
`data_received` would have a quarter of a megabyte allocated at each read) and handed on from the read event itself, so that a mail
wakes no task; one timer moves instead of being remade.
"""

from __future__ import annotations

import abc
import asyncio
import re
from time import monotonic

MAX_REPLY = 16_384  # bytes; a server that says more without ending its reply is not speaking SMTP
OUT_OF_STEP = "out of step"
_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ \-\r]|$)")


class Wire(asyncio.BufferedProtocol, abc.ABC):
    """Calls `replied` with each reply, in order, and `writable` when a full transport has room again. Whoever waits, waits in
    `_finished` until `_finish` or until the connection is lost; each reply may take the time-out, in seconds."""

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self.lost = ""  # why no more replies will come
        self._transport = transport
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(MAX_REPLY)
        self._view = memoryview(self._buffer)
        self._filled = 0  # bytes of the buffer that were received and not yet handed on
        self._unread = False  # there is more in the buffer than the reply just handed on
        self._paused = False
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        transport.set_protocol(self)

    @property
    def ended(self) -> bool:
        """Whether nothing can be written any more."""
        return bool(self.lost) or self._transport.is_closing()

    @abc.abstractmethod
    def replied(self, reply: bytes) -> None:
        """One whole reply, all its lines, as sent."""

    def writable(self) -> None:
        """The transport has room again."""

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled :] if self._filled else self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        at = 0
        try:
            while not self.lost and (end := reply_end(self._buffer, at, self._filled)):
                reply, at = bytes(self._view[at:end]), end
                self._unread = at < self._filled
                self._deadline = monotonic() + self._timeout
                self.replied(reply)
        except ValueError:
            return self.fail("garbage")
        rest = bytes(self._view[at : self._filled])
        self._view[: len(rest)] = rest
        self._filled = len(rest)
        if self._filled == MAX_REPLY:
            self.fail("garbage")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or "closed"
        if self._timer is not None:
            self._timer.cancel()
        self._finish()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._deadline = monotonic() + self._timeout
        self.writable()

    def fail(self, why: str) -> None:
        """Give the connection up now."""
        self.lost = self.lost or why
        self._transport.abort()
        self._finish()

    def quit(self) -> None:
        """Leave politely without waiting for the answer."""
        if not self.ended:
            self._transport.write(b"QUIT\r\n")
        self._transport.close()

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def _finished(self) -> None:
        """Wait for `_finish` on the `_done` that the caller has made."""
        assert self._done is not None
        self._deadline = monotonic() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._tick)
        try:
            await self._done
        except BaseException:
            self.fail("cancelled")
            raise
        finally:
            self._done = None

    def _tick(self) -> None:
        self._timer = None
        if self._done is None:
            return  # idle; the next wait winds it up again
        left = self._deadline - monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._tick)
        else:
            self.fail("time-out")


def reply_end(data: bytearray, start: int, end: int) -> int:
    """Where the first whole reply in `data[start:end]` ends; 0 while it is unfinished. Raises ValueError for what is no SMTP reply."""
    at = start
    while (stop := data.find(b"\n", at, end)) >= 0:
        if not _LINE.match(data, at, stop) or data[at : at + 3] != data[start : start + 3]:
            raise ValueError("not an SMTP reply")
        if data[at + 3] != 0x2D:  # "-": another line follows
            return stop + 1
        at = stop + 1
    return 0
