"""One HTTP call to a provider, and what is known when it fails.

The request's last byte is written apart: a server must not act on a request that is shorter than its Content-Length (RFC 9112 §8), so
while that byte was not written a loss is "down", and after it "unknown". aiohttp repeats no POST by itself.

An idle connection is dropped after KEPT seconds, sooner than a server would (nginx and most balancers wait a minute, Node.js 5 s), so
that a request seldom meets a connection that is being closed, which would leave it unknown.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp

from shared.providers.api import Answer, Call, Lost

TIMEOUT: Final = 30.0  # seconds for a whole call
CONNECT: Final = 10.0  # of which for connecting, TLS included
KEPT: Final = 4.0  # seconds an idle connection is kept
MOST: Final = 4_000_000  # bytes of an answer that are read


class Http:
    """A pool of connections; any number of calls at once. `timeout` and `connect` in seconds; `most` bytes of an answer are read.

    `allowed` is asked for each IP address just before it is connected to, whatever name led there and whenever it was looked up; False
    makes the call Lost "down". `tls`: another context than the system's, for tests.
    """

    def __init__(
        self,
        timeout: float = TIMEOUT,
        connect: float = CONNECT,
        *,
        most: int = MOST,
        allowed: Callable[[str], bool] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = aiohttp.ClientTimeout(total=timeout, connect=connect)
        self._most, self._allowed, self._tls = most, allowed, tls
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, call: Call) -> Answer:
        """Make a call; raises Lost."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    keepalive_timeout=KEPT, socket_factory=self._socket if self._allowed else None, ssl=self._tls or True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._limits,
                headers={"User-Agent": "subscriber-pipeline", "Accept": "application/json"},
            )
        upload = _Upload(call.body)
        headers = {**call.headers, "Content-Length": str(len(call.body))} if call.body else call.headers
        try:
            async with self._session.request(
                call.method, call.url, headers=headers, data=upload.pieces() if call.body else None, allow_redirects=False
            ) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, found, await _read(response, self._most))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Lost("unknown" if upload.ended else "down", type(error).__name__) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one of the addresses that `getaddrinfo` has found, or that a URL holds itself."""
        family, kind, protocol, _, address = info
        if self._allowed and not self._allowed(address[0]):
            raise PermissionError("an address that is not allowed")
        return socket.socket(family, kind, protocol)


class _Upload:
    """A body on its way. `ended`: its last byte may have left."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.ended = False

    async def pieces(self) -> AsyncIterator[bytes]:
        if len(self._body) > 1:
            yield self._body[:-1]
        self.ended = True
        yield self._body[-1:]


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body; b"" when it is cut or endless."""
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > most:
                return b""
    except (aiohttp.ClientError, OSError):
        return b""
    return bytes(body)
