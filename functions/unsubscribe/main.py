"""unsubscribe, HTTP: one-click, settings, a reader's rights. Publishes to engagement-events (consumed by record), send-requests (by
send_batch) and privacy-requests (by privacy)."""

from __future__ import annotations

from functools import cache

import functions_framework.aio

from shared import config
from shared.asgi import served
from shared.http import Request, Response
from shared.links import Links
from shared.model.paths import Paths
from shared.once import once
from shared.pages.faces import Faces
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import MAX_BODY, Unsubscribe


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@once
async def step() -> Unsubscribe:
    given = settings()
    store, secrets, clock, paths = open_store(given), open_secrets(given), open_clock(given), Paths(given.tenant)
    return Unsubscribe(
        store=store,
        bus=open_bus(given),
        clock=clock,
        links=Links(given.public_url, await Tokens.load(secrets, clock)),
        paths=paths,
        faces=Faces(store, paths, clock),
        secrets=secrets,
        base=given.public_url,
    )


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, max_body=MAX_BODY)
async def unsubscribe(request: Request) -> Response:
    return await (await step()).handle(request)
