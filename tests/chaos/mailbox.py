"""The mail server of a trial: it keeps what it accepted for whom, and kills a worker in mid-dialogue when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bench import sink


class Mailbox:
    """`taken`: address -> mails accepted. A worker says who it is in EHLO (`greeting`)."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.port = 0
        self._armed: dict[int, tuple[str, int]] = {}  # process id -> point, mails still to be taken from it before

    def arm(self, pid: int, point: str, skip: int) -> None:
        """Kill this worker at its mail number `skip` + 1: before the answer ("last-byte") or right after it ("mid-window")."""
        self._armed[pid] = point, skip

    def disarm(self, pid: int) -> None:
        self._armed.pop(pid, None)

    def take(self, address: str, pid: int) -> str:
        """Keep a mail; the point at which its sender is to die now, or ""."""
        self.taken[address] += 1
        point, left = self._armed.get(pid, ("", 0))
        if not point:
            return ""
        if left:
            self._armed[pid] = point, left - 1
            return ""
        del self._armed[pid]
        return point


def greeting(pid: int) -> str:
    """What a worker calls itself."""
    return f"worker-{pid}.localhost"


class _Session(sink.Session):
    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(sink.Tally())
        self._mailbox = mailbox
        self._pid = 0
        self._kill = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._kill:  # the answer has left
            self._kill = False
            _kill(self._pid)

    def _take_command(self, replies: list[bytes]) -> bool:
        line, end, _ = bytes(self._buffer).partition(b"\r\n")
        word, _, name = line.partition(b" ")
        if end and word.upper() == b"EHLO":
            self._pid = int(name.partition(b".")[0].rpartition(b"-")[2])
        return super()._take_command(replies)

    def _take_content(self, replies: list[bytes]) -> bool:
        if not super()._take_content(replies):
            return False
        point = self._mailbox.take(self._recipient.decode(), self._pid)
        if point == "last-byte":
            _kill(self._pid)
        self._kill = self._kill or point == "mid-window"
        return True


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def serving() -> AsyncIterator[Mailbox]:
    """A mailbox with a port of its own."""
    mailbox = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: _Session(mailbox), "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
