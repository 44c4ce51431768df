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
from shared.pages.faces import Faces
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.geo import open_geo
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .coalesce import REST
from .handler import MAX_BODY, Subscribe
from .mail_domains import MailDomains


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@cache
def domains() -> MailDomains:
    from shared.adapters.dns_resolver import Resolver  # only where the Settings ask for it

    return MailDomains(Resolver())


@once
async def step() -> Subscribe:
    given = settings()
    store, secrets, clock, paths = open_store(given), open_secrets(given), open_clock(given), Paths(given.tenant)
    links = Links(given.public_url, await Tokens.load(secrets, clock))
    ours = store, open_bus(given), clock, links, paths, await only_pepper(secrets), Faces(store, paths, clock)
    return Subscribe(*ours, given.public_url, open_geo(given), secrets, domains, rest=REST)


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, max_body=MAX_BODY)
async def subscribe(request: Request) -> Response:
    return await (await step()).handle(request)
