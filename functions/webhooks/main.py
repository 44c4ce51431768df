"""webhooks, HTTP: provider callbacks. Publishes to engagement-events (consumed by record)."""

from __future__ import annotations

from functools import cache

import functions_framework.aio

from shared import config
from shared.asgi import served
from shared.http import Request, Response
from shared.links import Links
from shared.model.paths import Paths
from shared.once import once
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .fetch import Https
from .handler import Webhooks

MAX_BODY = 2 << 20  # bytes; Mandrill sends up to 1,000 events at once, percent-encoded


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@once
async def step() -> Webhooks:
    given = settings()
    secrets = open_secrets(given)
    return Webhooks(
        bus=open_bus(given),
        clock=open_clock(given),
        links=Links(given.public_url, await Tokens.load(secrets, open_clock(given))),
        secrets=secrets,
        store=open_store(given),
        objects=open_objects(given),
        paths=Paths(given.tenant),
        fetch=Https(),
    )


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, MAX_BODY)
async def webhooks(request: Request) -> Response:
    return await (await step()).handle(request)
