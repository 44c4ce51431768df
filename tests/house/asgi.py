"""An ASGI app called with a scope made by hand: no network, no client library."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


@dataclass
class Answer:
    """`chunks_read`: how much of the body the app asked for."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks_read: int = 0

    @property
    def text(self) -> str:
        return self.body.decode()


async def call(
    app: App,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    peer: str = "192.0.2.1",
) -> Answer:
    chunks = [body] if isinstance(body, bytes) else list(body)
    items = headers.items() if isinstance(headers, Mapping) else headers
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if answer.chunks_read == len(chunks):
            await asyncio.Future()  # as a server's: nothing more comes while the caller stays
        chunk = chunks[answer.chunks_read]
        answer.chunks_read += 1
        return {"type": "http.request", "body": chunk, "more_body": answer.chunks_read < len(chunks)}

    async def send(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            answer.status = event["status"]
            answer.headers = {name.decode(): value.decode("latin-1") for name, value in event["headers"]}
        else:
            answer.body += event.get("body", b"")

    bare, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(bare),
        "raw_path": bare.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in items],
        "client": (peer, 1234) if peer else None,
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return answer
