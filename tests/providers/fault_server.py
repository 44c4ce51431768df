"""An SMTP server that fails where it is told to. It counts what it accepted, because the question is always whether a content
was taken twice, or written when it must not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from typing import Self

DROP = "drop"
GARBAGE = "garbage"
HALF = "half"
SLOW = "slow"
EARLY = "early"  # at stage "middle": refuse the content before its end


class FaultServer:
    """`faults[stage, n]` befalls the nth (from 1, over all connections) event of a stage: connect, ehlo, mail, rcpt, data,
    content (its end has arrived and it is taken), middle (10 KB of it have), after (the content's 250 is said), rset, noop.

    A fault is a reply ("550 5.1.1 no") or one of the words above. `eager`: DATA is answered 354 even without a recipient.
    """

    def __init__(self, faults: dict[tuple[str, int], str] | None = None, *, pipelining: bool = True, eager: bool = False) -> None:
        self.faults = faults or {}
        self.pipelining = pipelining
        self.eager = eager
        self.slow = 20.0  # seconds
        self.tls: ssl.SSLContext | None = None
        self.accepted: list[tuple[str, bytes]] = []  # (recipient, content as written, dots and all)
        self.strays: list[bytes] = []  # lines that are no commands: a content written when none was asked for
        self.leaked: list[bytes] = []  # contents given without a recipient
        self.commands: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.open = self.most_open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 24)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _say(self, stage: str, reply: str, writer: asyncio.StreamWriter) -> bool:
        """Answer a stage, or fail there; whether the answer was the good one."""
        self.counts[stage] += 1
        fault = self.faults.get((stage, self.counts[stage]))
        if fault is None:
            writer.write(reply.encode() + b"\r\n" if reply else b"")
            return True
        if fault in (DROP, HALF):
            writer.write(b"25" if fault == HALF else b"")
            writer.close()
            raise ConnectionResetError
        if fault == SLOW:
            await asyncio.sleep(self.slow)
            raise ConnectionResetError
        writer.write(b"\x00\xffwhat?\r\n" if fault == GARBAGE else fault.encode() + b"\r\n")
        if fault.startswith("421"):
            writer.close()
            raise ConnectionResetError
        return False

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say("connect", "220 ready", writer)
        sender = recipient = ""
        while line := await reader.readline():
            self.commands.append(line)
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                await self._say("ehlo", "250-here" + ("\r\n250-PIPELINING" if self.pipelining else "") + "\r\n250 HELP", writer)
            elif verb.startswith(b"MAIL FROM:"):
                if sender:
                    writer.write(b"503 5.5.1 nested MAIL\r\n")
                elif await self._say("mail", "250 2.1.0 ok", writer):
                    sender = "given"
            elif verb.startswith(b"RCPT TO:"):
                if not sender:
                    writer.write(b"503 5.5.1 MAIL first\r\n")
                elif await self._say("rcpt", "250 2.1.5 ok", writer):
                    recipient = line[9:].split(b">")[0].decode()
            elif verb == b"DATA":
                if not recipient and not self.eager:
                    writer.write(b"503 5.5.1 RCPT first\r\n")
                elif await self._say("data", "354 go", writer):
                    await self._content(recipient, reader, writer)
                    sender = recipient = ""
            elif verb in (b"RSET", b"NOOP"):
                if verb == b"RSET":
                    sender = recipient = ""
                await self._say(verb.decode().lower(), "250 ok", writer)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                self.strays.append(line)
                writer.write(b"500 5.5.2 what?\r\n")

    async def _content(self, recipient: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines: list[bytes] = []
        size = 0
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
            size += len(line)
            if size > 10_000 >= size - len(line):
                if self.faults.get(("middle", self.counts["middle"] + 1)) == EARLY:
                    writer.write(b"552 5.3.4 too big\r\n")
                    await writer.drain()
                else:
                    await self._say("middle", "", writer)
        content = b"".join(lines)
        if not recipient:
            self.leaked.append(content)
            writer.write(b"554 5.5.1 no valid recipients\r\n")
            return
        fault = self.faults.get(("content", self.counts["content"] + 1), "")
        if not fault or fault in (DROP, GARBAGE, HALF, SLOW):  # the worst case: taken, and the answer lost
            self.accepted.append((recipient, content))
        if await self._say("content", "250 2.0.0 taken", writer):
            await self._say("after", "", writer)
