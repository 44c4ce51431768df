"""A longer way to a server: a TCP proxy, in a process of its own, that hands on every byte DELAY milliseconds after it came, in either
direction. It holds nothing back beyond that, so what it takes away is time and not throughput.

    python -m bench.delay PORT DELAY     prints its own port; serves until its input ends

The delay is the same for all, so whatever came first is also due first: one queue serves every connection. Not asyncio, which spends
half as much CPU again on it, and whose timers go off on whole milliseconds, a tenth of a delay of 10.
"""

from __future__ import annotations

import select
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 262_144  # bytes of one read


class End:
    """One end of a connection through the proxy."""

    other: End

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.left = b""  # to be written as soon as it can
        self.heard_all = False  # it sends no more
        self.told_all = False  # nothing comes after what is left
        self.watched = 0


class Way:
    """All connections, and what is on its way in them."""

    def __init__(self, port: int, delay: float) -> None:
        self._port, self._delay = port, delay
        self._under_way: deque[tuple[float, End, bytes]] = deque()  # when it arrives (monotonic), where, what; b"" is the end
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self.port = int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Until the input ends."""
        while True:
            timeout = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            select.select([self._selector.fileno()], [], [], timeout)  # to the microsecond, as epoll itself is not
            for key, events in self._selector.select(0):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                if events & selectors.EVENT_READ:
                    self._read(key.data)
                if events & selectors.EVENT_WRITE:
                    self._write(key.data, b"")
            self._arrive()

    def _accept(self) -> None:
        near = End(self._listener.accept()[0])
        far = End(socket.create_connection(("127.0.0.1", self._port)))
        near.other, far.other = far, near
        self._watch(near)
        self._watch(far)

    def _read(self, end: End) -> None:
        try:
            data = end.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            end.heard_all = True
            self._watch(end)
        self._under_way.append((time.monotonic() + self._delay, end.other, data))

    def _arrive(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, end, data = self._under_way.popleft()
            end.told_all = end.told_all or not data
            self._write(end, data)

    def _write(self, end: End, data: bytes) -> None:
        end.left = end.left + data if end.left else data
        try:
            while end.left:
                end.left = end.left[end.socket.send(end.left) :]
            if end.told_all:
                end.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # nobody is there any more
            end.left = b""
        self._watch(end)

    def _watch(self, end: End) -> None:
        wanted = (0 if end.heard_all else selectors.EVENT_READ) | (selectors.EVENT_WRITE if end.left else 0)
        if wanted == end.watched:
            return
        if end.watched:
            self._selector.unregister(end.socket)
        if wanted:
            self._selector.register(end.socket, wanted, end)
        end.watched = wanted


@contextmanager
def running(port: int, delay: float) -> Iterator[int]:
    """The port of a proxy to 127.0.0.1:`port` in another process; `delay` in milliseconds each way."""
    command = [sys.executable, "-m", "bench.delay", str(port), str(delay)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    way = Way(int(sys.argv[1]), float(sys.argv[2]) / 1000)
    print(way.port, flush=True)
    way.serve()
