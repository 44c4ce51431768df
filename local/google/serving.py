"""A double of a Google API on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(routes: Sequence[web.RouteDef], port: int = 0, max_body: int = 1 << 20) -> AsyncIterator[str]:
    """Serve these routes on 127.0.0.1 (port 0: a free one) in the running event loop; yields "host:port". `max_body`: bytes."""
    app = web.Application(client_max_size=max_body)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, found, *_ = runner.addresses[0]
        yield f"{host}:{found}"
    finally:
        await runner.cleanup()
