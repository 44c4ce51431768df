"""subscribe, HTTP: sign-up, confirm, health. Publishes to send-requests (consumed by send_batch)."""

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
from shared.stack.geo import open_geo
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import MAX_BODY, Subscribe, load_tenant


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@once
async def step() -> Subscribe:
    given = settings()
    store, secrets, paths = open_store(given), open_secrets(given), Paths(given.tenant)
    return Subscribe(
        store=store,
        bus=open_bus(given),
        clock=open_clock(given),
        links=Links(given.public_url, await Tokens.load(secrets, open_clock(given))),
        paths=paths,
        pepper=await only_pepper(secrets),
        tenant=await load_tenant(store, paths),
        base=given.public_url,
        geo=open_geo(given),
    )


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, max_body=MAX_BODY)
async def subscribe(request: Request) -> Response:
    return await (await step()).handle(request)
