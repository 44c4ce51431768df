"""A receiver of events on 127.0.0.1, which believes nothing that the published library does not verify, and the step before it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from functions.notify.desk import Exchange
from functions.notify.handler import Notify, client
from shared.model.endpoint import Endpoint
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Store

from .fakes import FakeSecrets
from .world import World

KEY, NEW_KEY = (b"whsec_" + base64.b64encode(letter * 32) for letter in (b"k", b"n"))
REF = MailRef("C-0001", "ab" * 16)
OPENED: list[Exchange] = []  # by `notify`, to be closed
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def event(n: int = 0, **changes: Any) -> Event:
    """The nth click."""
    given: dict[str, Any] = {"type": "clicked", "ref": REF.text, "at": 1_800_000_000_000 + n, "label": "human", "link": 0}
    return Event(**given | changes)


@dataclass
class Receiver:
    """`got`: webhook-id and payload of each post that verifies with `key`; `answers` are used up in turn, then 204. `forged` counts."""

    key: bytes = KEY
    answers: list[Answer | int] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    forged: int = 0
    open: int = 0  # connections made
    tls: ssl.SSLContext | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [id for id, _ in self.got]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None

        def protocol() -> asyncio.Protocol:
            self.open += 1
            made: asyncio.Protocol = server()
            return made

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            data = Webhook(self.key.decode()).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        self.got.append((request.headers["webhook-id"], data))
        self.headers.append(dict(request.headers))
        answer = self.answers.pop(0) if self.answers else 204
        return web.Response(status=answer) if isinstance(answer, int) else await answer(request)


def notify(
    world: World,
    *endpoints: Endpoint,
    store: Store | None = None,
    local: bool = True,
    open: Callable[[Endpoint, bool], Exchange] = client,
    secrets: dict[str, list[bytes]] | None = None,
) -> Notify:
    """The step of a tenant at the present moment: the library looks at the real clock."""
    world.clock.time = time.time_ns() // 1_000_000
    found = {endpoint.name: endpoint for endpoint in endpoints}
    keys = {endpoint.secret.replace("-", "_"): [KEY] for endpoint in endpoints} if secrets is None else secrets

    def kept(endpoint: Endpoint, local: bool) -> Exchange:
        OPENED.append(open(endpoint, local))
        return OPENED[-1]

    return Notify(found, store or world.store, FakeSecrets(**keys), world.clock, world.paths, local, kept)


def entries(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]
