"""unsubscribe, HTTP: one-click and its page. Publishes to engagement-events (consumed by record)."""

from __future__ import annotations

from functools import cache

import functions_framework.aio

from shared import config
from shared.asgi import served
from shared.http import Request, Response
from shared.links import Links
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import Unsubscribe


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@once
async def step() -> Unsubscribe:
    given = settings()
    store, paths = open_store(given), Paths(given.tenant)
    return Unsubscribe(
        store=store,
        bus=open_bus(given),
        clock=open_clock(given),
        links=Links(given.public_url, await Tokens.load(open_secrets(given), open_clock(given))),
        paths=paths,
        brand=(await Tenant.load(store, paths)).name,
        base=given.public_url,
    )


@functions_framework.aio.http
@served(lambda: settings().trusted_hops)
async def unsubscribe(request: Request) -> Response:
    return await (await step()).handle(request)
