"""The front door of the twin when steps are processes: what Google's front end does between a reader and a function.

A request keeps its method, path, query, headers and body; the caller's address is appended to X-Forwarded-For, as
TRUSTED_HOPS=1 expects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from yarl import URL

MAX_BODY = 32 << 20  # bytes: https://cloud.google.com/run/quotas#request_limits
TIMEOUT = 60.0  # seconds of silence, as a step's on Google
IDLE = 1.0  # seconds a connection is kept; gunicorn closes its end after 2, and a POST on a closed one is lost
_OWN = {b"connection", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
_GENERATED = ("accept", "accept-encoding", "content-type", "user-agent")  # what aiohttp would add


class Proxy:
    """ASGI app that hands requests to the step at `target` ("http://127.0.0.1:1234"), without the prefix it is mounted on."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(Request(scope, receive))
        except ClientDisconnect:
            return
        if body is None:
            await PlainTextResponse("The request is too large.", 413)(scope, receive, send)
            return
        relaying = asyncio.create_task(self._relay(scope, body, receive, send))
        leaving = asyncio.ensure_future(receive())  # all that can still come: the caller has left
        try:
            await asyncio.wait((relaying, leaving), return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                await relaying
        finally:
            relaying.cancel()
            leaving.cancel()

    async def _relay(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Hand the answer on as it comes: a stream of events must not wait for its end."""
        begun = False
        try:
            async with self._asked(scope, body) as answer:
                headers = list(_passed(answer.raw_headers))
                await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                begun = True
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (TimeoutError, aiohttp.ClientError) as error:
            if begun:
                raise  # the server cuts the connection, so that nobody takes a part for the whole
            if isinstance(error, TimeoutError):
                await PlainTextResponse("The step did not answer in time.", 504)(scope, receive, send)
            else:
                again = {"retry-after": "1"}
                await PlainTextResponse("The step is not running; it is started again.", 502, again)(scope, receive, send)

    def _asked(self, scope: Scope, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_GENERATED,
            )
        url = URL(f"{self._target}{_path(scope)}", encoded=True)
        return self._session.request(scope["method"], url, data=body or None, headers=_forwarded(scope), allow_redirects=False)


async def _body(request: Request) -> bytes | None:
    """The whole body; None beyond MAX_BODY, without reading on."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _path(scope: Scope) -> str:
    """Path and query as they came, without the first segment, which named the step."""
    _, _, path = scope["raw_path"].lstrip(b"/").partition(b"/")
    query = scope["query_string"]
    return f"/{path.decode('latin-1')}{'?' if query else ''}{query.decode('latin-1')}"


def _forwarded(scope: Scope) -> list[tuple[str, str]]:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _passed(scope["headers"])]
    hops = [value for name, value in headers if name == "x-forwarded-for"]
    caller = scope["client"][0] if scope.get("client") else "unknown"
    kept = [(name, value) for name, value in headers if name not in ("content-length", "x-forwarded-for")]
    return [*kept, ("x-forwarded-for", ", ".join([*hops, caller]))]


def _passed(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Without those that are about the connection (https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1), names in lower case."""
    return ((name.lower(), value) for name, value in headers if name.lower() not in _OWN)
