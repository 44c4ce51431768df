"""live, HTTP: a running campaign's page, and its numbers as they change. Publishes nothing."""

from __future__ import annotations

import functions_framework.aio

from shared.http import Request, Response
from shared.links import Links
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.stack.clock import open_clock
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.streams import Stream, streamed
from shared.tokens import Tokens

from .handler import Live
from .settings import settings
from .watch import Watches


@once
async def step() -> Live:
    given = settings()
    store, clock, paths = open_store(given), open_clock(given), Paths(given.tenant)
    return Live(
        watches=Watches(store, paths, clock, given.live_reads),
        clock=clock,
        links=Links(given.public_url, await Tokens.load(open_secrets(given), clock)),
        paths=paths,
        brand=(await Tenant.load(store, paths)).name,
        viewers=given.live_viewers,
        lasting=given.live_seconds,
    )


@functions_framework.aio.http
@streamed(lambda: settings().trusted_hops)
async def live(request: Request) -> Response | Stream:
    return await (await step()).handle(request)
