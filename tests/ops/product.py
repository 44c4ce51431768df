"""A small product for the checks to look at: it answers as the real one does, until a test breaks something of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from ops.smoke import LEAVE, NOT_OURS

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
RIGHT = {"health": 200, "click": 404, "leave": 200, "webhook": 401, "push": 403, "candidate": 200}
BODY = {"click": NOT_OURS, "leave": b"".join(LEAVE)}


@dataclass
class Product:
    """`url` is its public URL. `broken`: what is asked for -> its answer instead; `asked` counts."""

    url: str = ""
    broken: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def endpoints(self) -> dict[str, str]:
        return {step: f"{self.url}/private/{step}" for step in ("send_batch", "record")}

    def answers(self, what: str, status: int, **headers: str) -> None:
        """From now on."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers=headers)

        self.broken[what] = answer

    def _route(self, what: str) -> Answer:
        async def respond(request: web.Request) -> web.StreamResponse:
            self.asked[what] += 1
            if what in self.broken:
                return await self.broken[what](request)
            return web.Response(status=RIGHT[what], body=BODY.get(what))

        return respond

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/subscribe/health", self._route("health")),
                web.get("/track/k/{mail}/{target}", self._route("click")),
                web.get("/unsubscribe/{token}", self._route("leave")),
                web.post("/webhooks/generic", self._route("webhook")),
                web.post("/private/{step}", self._route("push")),
                web.get("/candidate---subscribe/health", self._route("candidate")),
            ]
        )
        return app


@asynccontextmanager
async def product() -> AsyncIterator[Product]:
    """Served on 127.0.0.1 in the running event loop."""
    found = Product()
    runner = web.AppRunner(found.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port, *_ = runner.addresses[0]
        found.url = f"http://{host}:{port}"
        yield found
    finally:
        await runner.cleanup()
