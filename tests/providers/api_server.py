"""A provider's HTTP API on 127.0.0.1, as its documentation has it: it checks what it is given, puts the values in, and keeps what
each reader gets. A subclass per provider, in fake_*.py, and faults that befall a call on its way.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any, ClassVar, Self

from aiohttp import web

RESET = "reset"  # the connection, after the whole request was read
CUT = "cut"  # the connection, in the middle of the answer's head
SLOW = "slow"  # no answer for a long while
GARBAGE = "garbage"  # a good status, and a body that is not theirs


@dataclass
class Mail:
    """What one reader gets. `to`: the addresses in its To line; header names are lower-case; `ref` is what events would carry."""

    to: list[str]
    sender: tuple[str, str]  # name, address
    subject: str
    text: str
    html: str
    headers: dict[str, str]
    ref: str
    reply_to: str = ""
    files: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, media type, content of what is attached


@dataclass(frozen=True)
class Reply:
    """An answer of the API."""

    status: int
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi(ABC):
    """`key` is the good one; `bad` are addresses that the provider takes for malformed; `faults[n]` befalls the nth call that sends
    (from 1): one of the words above, a Reply, or the status of a documented error."""

    good: ClassVar[int] = 200  # the status of a call that was taken
    window: ClassVar[int]  # most mails of a call

    def __init__(self) -> None:
        self.key = "SG.key-of-the-account"
        self.bad: set[str] = set()
        self.faults: dict[int, str | int | Reply] = {}
        self.inbox: list[Mail] = []
        self.sizes: list[int] = []  # mails of each call that was read
        self.asked: list[str] = []  # method and path of everything else
        self.sends = 0
        self.open = 0  # connections made
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            self.open += 1
            made: asyncio.Protocol = server()
            return made

        self._server = await loop.create_server(protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if not self.sending(request, body):
            self.asked.append(f"{request.method} {request.path}")
            return _response(self.other(request, body))
        self.sends += 1
        fault = self.faults.get(self.sends)
        transport = request.transport
        assert transport is not None
        if fault in (RESET, CUT):
            if fault == CUT:
                transport.write(b"HTTP/1.1 %d OK\r\nContent-Type: application/js" % self.good)
                await asyncio.sleep(0.05)
            self._take(request, body)  # the worst case: taken, and the answer lost
            transport.abort()
            return web.Response()
        if fault == SLOW:
            self._take(request, body)
            await asyncio.sleep(20)
        if fault == GARBAGE:
            self._take(request, body)
            return web.Response(status=self.good, text="<html>It works!</html>")
        if isinstance(fault, int):
            return _response(self.error(fault))
        if isinstance(fault, Reply):
            return _response(fault)
        return _response(self._take(request, body))

    def _take(self, request: web.Request, body: bytes) -> Reply:
        if not self.known(request, body):
            return self.error(401)
        mails, reply = self.accept(request, body)
        self.inbox += mails
        return reply

    @abstractmethod
    def sending(self, request: web.Request, body: bytes) -> bool:
        """Whether it is the call that sends, of mails."""

    @abstractmethod
    def known(self, request: web.Request, body: bytes) -> bool:
        """Whether the credentials are good."""

    @abstractmethod
    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        """Check the call, put the values in: who gets what, and the answer."""

    @abstractmethod
    def other(self, request: web.Request, body: bytes) -> Reply:
        """Any other call."""

    @abstractmethod
    def error(self, status: int) -> Reply:
        """The documented error of that status (401 stands for bad credentials, whatever the provider's status of it)."""

    def of(self, address: str) -> Mail:
        """The one mail that a reader got."""
        [mail] = [mail for mail in self.inbox if address in mail.to]
        return mail


def _response(reply: Reply) -> web.Response:
    if reply.data is None:
        return web.Response(status=reply.status, headers=reply.headers)
    return web.Response(status=reply.status, text=json.dumps(reply.data), content_type="application/json", headers=reply.headers)


def mailbox(text: str) -> tuple[str, str]:
    """Name and address of a From line, as a reader sees them."""
    name, address = parseaddr(text)
    return str(make_header(decode_header(name))), address


def shown(value: str) -> str:
    """A header as a reader sees it."""
    assert value.isascii() and value.isprintable(), value
    return str(make_header(decode_header(value)))
