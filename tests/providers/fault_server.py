"""An SMTP server that fails where it is told to. It counts what it accepted, because the question is always whether a content
was taken twice, or written when it must not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

DROP = "drop"
RESET = "reset"
GARBAGE = "garbage"
LEAVE = "answer, drop"
HALF = "half a line"
SLOW = "delay"
ALERT = "TLS alert"
ENDLESS = "endless"
TRICKLE = "trickle"  # a reply without end, so slowly that only a time-out ends it
EXTRA = "+250 2.0.0 another"  # any "+…": the good reply, and in the same breath more
EARLY = "early"  # at stage "middle": refuse the content before its end
LOST = {DROP, LEAVE, RESET, GARBAGE, HALF, SLOW, ALERT, ENDLESS, TRICKLE, EXTRA}  # who is told so does not know what became of it

_FATAL_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"  # internal_error, in clear text


class FaultServer:
    """`faults[stage, n]` befalls the nth (from 1, over all connections) event of a stage: connect, ehlo, starttls, again (EHLO under
    TLS), auth, mail, rcpt, data, content (its end has arrived and it is taken), middle (10 KB of it have), after (the content's 250
    is said), rset, noop. A fault is a reply ("550 5.1.1 no") or one of the words above.

    `eager`: DATA is answered 354 even without a recipient. `upgrade`: offers STARTTLS; `tls`: speaks it from the first byte; `auth`:
    offers AUTH PLAIN and takes any password. `offers`: more lines for EHLO. `at` is called with each event before it is answered.
    """

    def __init__(
        self,
        faults: dict[tuple[str, int], str] | None = None,
        *,
        pipelining: bool = True,
        eager: bool = False,
        offers: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        upgrade: ssl.SSLContext | None = None,
        auth: bool = False,
    ) -> None:
        self.faults = faults or {}
        self.eager = eager
        self.at: Callable[[str, int], None] = lambda stage, count: None
        self.slow = 20.0  # seconds
        self.accepted: list[tuple[str, bytes]] = []  # (recipient, content as written, dots and all)
        self.strays: list[bytes] = []  # lines that are no commands: a content written when none was asked for
        self.leaked: list[bytes] = []  # contents given without a recipient
        self.commands: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.open = self.most_open = 0
        self._offers = [*(["PIPELINING"] if pipelining else []), *offers, *(["AUTH PLAIN"] if auth else []), "HELP"]
        self._tls, self._upgrade = tls, upgrade
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 24)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _say(self, stage: str, reply: str, writer: asyncio.StreamWriter) -> bool:
        """Answer a stage, or fail there; whether the answer was the good one."""
        self.counts[stage] += 1
        self.at(stage, self.counts[stage])
        fault = self.faults.get((stage, self.counts[stage]))
        if fault is None or fault.startswith("+"):
            said = [reply, fault[1:]] if fault else [reply] if reply else []
            writer.write("".join(line + "\r\n" for line in said).encode())
            return True
        if fault in LOST - {GARBAGE}:
            await self._break(fault, reply, writer)
            raise ConnectionResetError
        writer.write(b"\x00\xffwhat?\r\n" if fault == GARBAGE else fault.encode() + b"\r\n")
        if fault.startswith("421"):
            await _close(writer)
        return False

    async def _break(self, fault: str, reply: str, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        if fault == SLOW:
            await asyncio.sleep(self.slow)
        elif fault == RESET:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif fault == ALERT:
            os.write(raw.fileno(), _FATAL_ALERT)
        elif fault in (ENDLESS, TRICKLE):
            while not writer.is_closing():
                writer.write(b"250-and so on\r\n" * (100 if fault == ENDLESS else 1))
                await writer.drain()
                await asyncio.sleep(0.05 if fault == TRICKLE else 0)
        else:
            writer.write({HALF: b"25", LEAVE: reply.encode() + b"\r\n"}.get(fault, b""))
            await _close(writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say("connect", "220 ready", writer)
        sender = recipient = ""
        while line := await reader.readline():
            self.commands.append(line)
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                await self._hello(writer)
            elif verb == b"STARTTLS" and self._upgrade:
                if await self._say("starttls", "220 go", writer):
                    await writer.start_tls(self._upgrade)
            elif verb.startswith(b"AUTH PLAIN "):
                await self._say("auth", "235 2.7.0 ok", writer)
            elif verb.startswith(b"AUTH LOGIN "):
                if await self._say("auth", "334 UGFzc3dvcmQ6", writer):
                    self.commands.append(await reader.readline())
                    writer.write(b"235 2.7.0 ok\r\n")
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

    async def _hello(self, writer: asyncio.StreamWriter) -> None:
        inside = writer.get_extra_info("sslcontext") is not None
        lines = ["here", *(["STARTTLS"] if self._upgrade and not inside else []), *self._offers]
        reply = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}"
        await self._say("again" if inside and self._upgrade else "ehlo", reply, writer)

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
        if not fault or fault[0] in "2+" or fault in LOST:  # the worst case: taken, and the answer lost
            self.accepted.append((recipient, content))
        if await self._say("content", "250 2.0.0 taken", writer):
            await self._say("after", "", writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Let what was written leave, then end the connection."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    raise ConnectionResetError
