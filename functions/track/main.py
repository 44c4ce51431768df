"""track, HTTP: open pixel, click redirect and conversion. Publishes to engagement-events (consumed by record)."""

from __future__ import annotations

import functions_framework.aio

from shared.asgi import served
from shared.http import Request, Response
from shared.links import Links
from shared.once import once
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.geo import open_geo
from shared.stack.secrets import open_secrets
from shared.tokens import Tokens

from .handler import Track
from .settings import settings

MAX_BODY = 4096  # bytes of a posted conversion


@once
async def step() -> Track:
    given = settings()
    links = Links(given.public_url, await Tokens.load(open_secrets(given), open_clock(given)))
    return Track(bus=open_bus(given), clock=open_clock(given), links=links, geo=open_geo(given), domains=given.domains)


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, MAX_BODY)
async def track(request: Request) -> Response:
    return await (await step()).handle(request)
