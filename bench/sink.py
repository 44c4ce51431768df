"""A mail server that only counts, in a process of its own, so that its CPU is nobody's. It takes the pipelined and the plain
dialogue alike, and knows each recipient: a bench that loses a mail, or sends one twice, is an error and not a fast bench.

    python -m bench.sink [PEM]   prints its port; for every line on its input prints {"mails", "recipients", "bytes", "cpu"} and
                                 starts anew; "cpu" is its own, in µs. With a PEM file (key and certificate) it speaks TLS
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_EHLO = b"250-sink.localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 52428800\r\n"
_END = b"\r\n.\r\n"


@dataclass
class Tally:
    """What was accepted since the last question."""

    mails: int = 0
    size: int = 0
    recipients: set[bytes] = field(default_factory=set)


class Session(asyncio.Protocol):
    """One connection: RFC 5321 as far as a sender of one recipient per mail goes, pipelining included."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = bytearray()
        self._content = False
        self._searched = 0
        self._recipient = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.localhost ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies: list[bytes] = []
        while self._take_content(replies) if self._content else self._take_command(replies):
            pass
        self._transport.write(b"".join(replies))

    def _take_content(self, replies: list[bytes]) -> bool:
        end = self._buffer.find(_END, max(0, self._searched - len(_END)))
        if end < 0:
            self._searched = len(self._buffer)
            return False
        del self._buffer[: end + len(_END)]
        self._content, self._searched = False, 0
        self._tally.mails += 1
        self._tally.size += end + 2
        self._tally.recipients.add(self._recipient)
        replies.append(b"250 2.0.0 taken\r\n")
        return True

    def _take_command(self, replies: list[bytes]) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        if verb == b"DATA":
            self._content = True
            replies.append(b"354 go on\r\n")
        elif verb == b"RCPT":
            self._recipient = line.partition(b"<")[2].partition(b">")[0]
            replies.append(b"250 2.1.5 fine\r\n")
        elif verb == b"EHLO":
            replies.append(_EHLO)
        elif verb == b"QUIT":
            replies.append(b"221 2.0.0 bye\r\n")
        else:
            replies.append(b"250 2.0.0 fine\r\n")
        return True


@dataclass(frozen=True)
class Sink:
    """The running sink."""

    port: int
    _in: IO[str]
    _out: IO[str]

    def taken(self) -> dict[str, int]:
        """What came since the last call: mails, different recipients, bytes; and µs of CPU that the sink used."""
        self._in.write("\n")
        self._in.flush()
        found: dict[str, int] = json.loads(self._out.readline())
        return found

    def expect(self, mails: int) -> dict[str, int]:
        """As `taken`; raises AssertionError unless exactly `mails` came, each for somebody else."""
        found = self.taken()
        if (found["mails"], found["recipients"]) != (mails, mails):
            raise AssertionError(f"{mails} mails were sent, the sink holds {found['mails']} for {found['recipients']} recipients")
        return found


@contextmanager
def running(pem: Path | None = None) -> Iterator[Sink]:
    """A sink in another process, for as long as the block lasts; over TLS with the key and certificate of `pem`."""
    command = [sys.executable, "-m", "bench.sink", *([str(pem)] if pem else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield Sink(int(process.stdout.readline()), process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait()


async def serve(pem: str = "") -> None:
    """Serve until the input ends."""
    tally, used = Tally(), 0.0
    context = None
    if pem:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(tally), "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        spent, used = time.process_time() - used, time.process_time()
        found = {"mails": tally.mails, "recipients": len(tally.recipients), "bytes": tally.size, "cpu": round(1e6 * spent)}
        print(json.dumps(found), flush=True)
        tally.mails = tally.size = 0
        tally.recipients.clear()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
