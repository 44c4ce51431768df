"""Mail over SMTP, at one round trip per mail.

aiosmtplib shakes hands (connect, EHLO, STARTTLS, AUTH). Then this takes over its transport and pipelines (RFC 2920): the
content of one mail leaves together with the envelope of the next, and their replies are read in order.

    ->  content 1 <CRLF>.<CRLF>  MAIL 2  RCPT 2  DATA 2
    <-  250 (mail 1 is sent)     250     250     354

What makes it safe: a content is written only after its RCPT was accepted and its DATA answered 354; once its last line may
have left, the mail is `unknown` until its reply is read; before that it is `down`, for a receiver must not act on a content
without its end (RFC 5321 §4.1.1.4). No content is ever written twice.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias, cast

import aiosmtplib

from shared.errors import PipelineError, Unavailable
from shared.ports import Outcome, Outgoing
from shared.providers.smtp_replies import Stage, classify
from shared.providers.smtp_wire import Lost, Wire

Security: TypeAlias = Literal["none", "starttls", "tls"]

IDLE_PROBE = 1.0  # seconds after which a kept connection is asked (NOOP) before it is used
IDLE_LIMIT = 30.0  # seconds after which it is not used again
PIECE = 65_536  # bytes of a long content per write; its end is written when the rest has left

_DOWN = Outcome("down")
_UNKNOWN = Outcome("unknown")
_END = b".\r\n"
_RECIPIENT = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")  # printable ASCII without space, "<" and ">"
_SENDER = re.compile(r"[!-;=?-~]*")


class _Refused(Exception):
    """No connection could be had; `outcome` is what that means for every mail waiting for it."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class _Connection:
    """One authenticated connection; never used by two callers at a time."""

    def __init__(self, wire: Wire, pipelining: bool) -> None:
        self.wire = wire
        self.pipelining = pipelining
        self.begun = 0  # mails, over its life
        self.used = asyncio.get_running_loop().time()
        self.kept = False  # it has been idle in the pool, so the server may have dropped it meanwhile
        self._doubt = False  # a transaction may be open: RSET before the next
        self._heard = False  # the server answered something about the mail at hand

    @property
    def lost(self) -> bool:
        return bool(self.wire.lost) or self.wire.transport.is_closing()

    async def alive(self) -> bool:
        """Ask the server with a NOOP."""
        try:
            self.wire.write(b"NOOP\r\n")
            await self.wire.until(1)
            return self.wire.reply().startswith(b"250") and not self.lost
        except Lost:
            return False
        except BaseException:
            self.wire.fail("cancelled")
            raise

    async def run(self, sender: str, mails: Sequence[Outgoing], outcomes: list[Outcome]) -> None:
        """Append one outcome per mail, in order; fewer when the connection is lost (see `lost`).

        The mail in hand when it is lost gets an outcome, unless the server had said nothing about it and the connection was in
        use before: then it is the connection that had ended, not this mail that ended it.
        """
        begun, command = len(outcomes), f"MAIL FROM:<{sender}>\r\n".encode()
        self._heard = False
        try:
            await (self._pipelined if self.pipelining else self._lockstep)(command, mails, outcomes)
        except Lost as error:
            self.wire.fail(str(error))
            first = not self.kept and len(outcomes) == begun
            unknown = len(outcomes) > begun and outcomes[-1] is _UNKNOWN
            if not unknown and (self._heard or first):
                outcomes.append(_DOWN)
        except BaseException:
            self.wire.fail("cancelled")
            raise
        self.begun += len(outcomes) - begun
        self.used = asyncio.get_running_loop().time()

    async def _pipelined(self, sender: bytes, mails: Sequence[Outgoing], outcomes: list[Outcome]) -> None:
        content: bytes | None = None
        for mail in (*mails, None):
            tail = b"" if mail is None else b"%bRCPT TO:<%b>\r\nDATA\r\n" % (sender, mail.recipient.encode())
            if content is not None:
                await self._hand_over(content, tail, outcomes)
            elif tail:
                self.wire.write(b"RSET\r\n" + tail if self._doubt else tail)
            if mail is None or (self.lost and not self.wire.replies):
                return
            refused = await self._envelope_replies()
            content = mail.data if refused is None else None
            if refused is not None:
                outcomes.append(refused)
                self._heard = False
                if self.lost:
                    return

    async def _lockstep(self, sender: bytes, mails: Sequence[Outgoing], outcomes: list[Outcome]) -> None:
        for mail in mails:
            refused = await self._envelope_in_lockstep(sender, mail)
            if refused is not None:
                outcomes.append(refused)
                self._heard = False
            else:
                await self._hand_over(mail.data, b"", outcomes)
            if self.lost:
                return

    async def _envelope_replies(self) -> Outcome | None:
        """Read the replies to [RSET] MAIL RCPT DATA; None when the content may follow, else why not."""
        await self.wire.until(4 if self._doubt else 3)
        if self._doubt:
            self._reset_done(self._next())
        refused: Outcome | None = None
        try:
            refused = self._step("mail")
            later = self._step("rcpt")
            refused = refused or later
            answer = self._next()
            if refused is None:
                return self._data_answer(answer)
            self._doubt = True
            if answer.startswith(b"354"):  # the server waits for a content that must not come
                self.wire.write(_END)
                await self.wire.until(1)
                self._next()
        except Lost as error:
            if refused is None:
                raise
            self.wire.fail(str(error))
        return refused

    async def _envelope_in_lockstep(self, sender: bytes, mail: Outgoing) -> Outcome | None:
        if self._doubt:
            self._reset_done(await self._command(b"RSET\r\n"))
        stages: tuple[tuple[Stage, bytes], ...] = (("mail", sender), ("rcpt", b"RCPT TO:<%b>\r\n" % mail.recipient.encode()))
        for stage, command in stages:
            self.wire.write(command)
            await self.wire.until(1)
            refused = self._step(stage)
            if refused is not None:
                self._doubt = True
                return refused
        return self._data_answer(await self._command(b"DATA\r\n"))

    async def _hand_over(self, content: bytes, tail: bytes, outcomes: list[Outcome]) -> None:
        """Write the content and what follows it; append the mail's outcome. A loss after its end leaves it unknown."""
        start = 0
        while len(content) - start > PIECE:
            self.wire.write(content[start : start + PIECE])
            await self.wire.drain()
            start += PIECE
            if self.wire.replies and self.wire.replies[0].startswith((b"4", b"5")):  # refused before its end
                outcomes.append(classify("content", self._next()))
                self.wire.replies.clear()
                return self.wire.fail("refused early")
        self.wire.write(b"".join((content[start:], _END, tail)))
        outcomes.append(_UNKNOWN)
        await self.wire.until(4 if tail else 1)
        reply = self._next()
        if reply.startswith(b"3"):
            raise Lost("out of step")
        outcomes[-1] = classify("content", reply)
        self._heard = False
        return None

    def _step(self, stage: Stage) -> Outcome | None:
        reply = self._next()
        if reply.startswith(b"2"):
            return None
        if reply.startswith(b"3"):
            raise Lost("out of step")
        return classify(stage, reply)

    def _data_answer(self, reply: bytes) -> Outcome | None:
        if reply.startswith(b"354"):
            return None
        if reply.startswith((b"2", b"3")):
            raise Lost("out of step")
        self._doubt = True
        return classify("data", reply)

    def _reset_done(self, reply: bytes) -> None:
        self._heard = False
        if not reply.startswith(b"250"):
            raise Lost("out of step")
        self._doubt = False

    async def _command(self, command: bytes) -> bytes:
        self.wire.write(command)
        await self.wire.until(1)
        return self._next()

    def _next(self) -> bytes:
        reply = self.wire.reply()
        self._heard = True
        return reply

    def quit(self) -> None:
        """Leave politely without waiting for the answer."""
        if not self.lost:
            self.wire.transport.write(b"QUIT\r\n")
        self.wire.transport.close()


class SmtpSender:
    """A `Sender` over one SMTP server, keeping up to `connections` open; concurrent `send` calls each take their own.

    `password` is asked for at each connection, when there is a `username`. `security`: "starttls" insists on the upgrade, "tls"
    speaks TLS from the first byte; certificates are verified against `tls_context`, or the system's. `hello` is the name given in
    EHLO. `timeout` (seconds) holds for connecting and for each reply. A connection is left after `recycle` mails. Recipients must
    be ASCII (no SMTPUTF8).
    """

    def __init__(
        self,
        host: str,
        port: int,
        username: str = "",
        password: Callable[[], Awaitable[str]] | None = None,
        security: Security = "none",
        hello: str = "localhost",
        window: int = 50,
        connections: int = 4,
        timeout: float = 30.0,
        tls_context: ssl.SSLContext | None = None,
        recycle: int = 1000,
    ) -> None:
        self.window = window
        self._address = (host, port)
        self._username, self._password = username or None, password if username else None
        self._security = security
        self._hello = hello
        self._timeout = timeout
        self._tls = tls_context
        self._recycle = recycle
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(connections)
        self._closed = False

    async def ready(self) -> None:
        """Make sure of a live connection. Raises Unavailable; its text is a code or a class of error, never an address."""
        async with self._free:
            try:
                self._keep(await self._take())
            except _Refused as error:
                raise Unavailable("smtp", str(error)) from None

    async def send(self, envelope_from: str, mails: Sequence[Outgoing]) -> list[Outcome]:
        """See `Sender.send`. A recipient or content that cannot go on the wire is "message", a bad `envelope_from` "ours"."""
        if not _SENDER.fullmatch(envelope_from):
            return [Outcome("ours")] * len(mails)
        fit = [_fit(mail) for mail in mails]
        outcomes: list[Outcome] = []
        async with self._free:
            await self._deliver(envelope_from, [mail for mail, ok in zip(mails, fit, strict=True) if ok], outcomes)
        answers = iter(outcomes)
        return [next(answers) if ok else Outcome("message") for ok in fit]

    async def close(self) -> None:
        """Leave idle connections now and those in use when their `send` ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().quit()

    async def _deliver(self, sender: str, mails: Sequence[Outgoing], outcomes: list[Outcome]) -> None:
        """One outcome per mail. After a loss, the mails not yet begun are tried on one fresh connection."""
        rest, retried = _DOWN, False
        while len(outcomes) < len(mails):
            try:
                connection = await self._take(fresh=retried)
            except _Refused as error:
                rest = error.outcome
                break
            begun = len(outcomes)
            await connection.run(sender, mails[begun : begun + self._recycle - connection.begun], outcomes)
            if connection.lost and len(outcomes) > begun:  # else it had died in the pool
                if outcomes[-1].kind == "throttle":
                    rest = outcomes[-1]
                if retried:
                    break
                retried = True
            self._keep(connection)
        outcomes += [rest] * (len(mails) - len(outcomes))

    async def _take(self, fresh: bool = False) -> _Connection:
        """A live connection, kept or new; raises _Refused."""
        while self._idle and not fresh:
            connection = self._idle.pop()
            idle = asyncio.get_running_loop().time() - connection.used
            if idle < IDLE_PROBE and not connection.lost:
                return connection
            if idle < IDLE_LIMIT and not connection.lost and await connection.alive():
                return connection
            connection.quit()
        return await self._open()

    def _keep(self, connection: _Connection) -> None:
        if self._closed or connection.lost or connection.begun >= self._recycle:
            connection.quit()
        else:
            connection.kept = True
            self._idle.append(connection)

    async def _open(self) -> _Connection:
        if self._tls is None and self._security != "none":
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        try:
            password = await self._password() if self._password else None
        except PipelineError as error:
            raise _Refused(_DOWN, str(error)) from None
        client = aiosmtplib.SMTP(
            hostname=self._address[0],
            port=self._address[1],
            username=self._username,
            password=password,
            local_hostname=self._hello,
            timeout=self._timeout,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=self._tls,
        )
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            if not 400 <= error.code < 600:
                raise _Refused(_DOWN, "garbage") from None
            outcome = classify("connect", f"{error.code} {error.message}".encode(errors="replace"))
            raise _Refused(outcome, outcome.code) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            raise _Refused(_DOWN, type(error).__name__) from None
        except BaseException:
            client.close()
            raise
        if client.transport is None:  # closed right after its EHLO reply
            raise _Refused(_DOWN, "closed")
        wire = Wire(cast(asyncio.Transport, client.transport), self._timeout)
        return _Connection(wire, client.supports_extension("pipelining"))


def _fit(mail: Outgoing) -> bool:
    """Whether a mail can go on the wire without being read as a command, or its content as ended early."""
    return bool(_RECIPIENT.fullmatch(mail.recipient)) and mail.data.endswith(b"\r\n") and not mail.data.startswith(_END)
