"""Server-sent events: a public HTTP step's answer that goes on
(https://html.spec.whatwg.org/multipage/server-sent-events.html), and the decorator of a step that may give one.

A reader who does not take what is sent is dropped: nothing is kept for anybody but the one event that is being written.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from shared.asgi import Endpoint, always, answered, translate
from shared.config import at_start
from shared.http import Request, Response

PATIENCE = 20.0  # seconds that one event may wait for its reader
ALIVE = b": still here\n\n"
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-accel-buffering": "no",  # for proxies that collect what they pass on
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


@dataclass(frozen=True)
class Stream:
    """An answer of events, as `event` makes them. The generator is closed when it ends, and when its reader has gone."""

    events: AsyncGenerator[bytes, None]
    patience: float = PATIENCE


def event(data: Any, name: str = "", id: str = "") -> bytes:
    """One event whose data is `data` in JSON, on one line. `name` is "" for a plain message; `id` comes back as Last-Event-ID."""
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """How long a reader waits before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()


def streamed(trusted_hops: Callable[[], int]) -> Callable[[Callable[[Request], Awaitable[Response | Stream]]], Endpoint]:
    """As `shared.asgi.served`, for a handler that takes no body and may answer with a Stream."""
    at_start(trusted_hops)

    def decorate(handle: Callable[[Request], Awaitable[Response | Stream]]) -> Endpoint:
        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            found: Response | Stream = Response()

            async def work() -> Response:
                nonlocal found
                found = await handle(await translate(request, trusted_hops(), 0))
                return found if isinstance(found, Response) else Response()

            whole = await answered(handle.__name__, request, work())
            return _Streaming(found, always(request)) if isinstance(found, Stream) else whole

        return endpoint

    return decorate


class _Streaming(StreamingResponse):
    def __init__(self, stream: Stream, always: Mapping[str, str]) -> None:
        super().__init__(stream.events, headers={**always, **HEADERS}, media_type="text/event-stream")
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patiently(message: Message) -> None:
            async with asyncio.timeout(self._stream.patience):
                await send(message)

        try:
            await super().__call__(scope, receive, patiently)
        except TimeoutError:
            pass  # the server cuts a connection whose answer has not ended
        finally:
            await self._stream.events.aclose()
