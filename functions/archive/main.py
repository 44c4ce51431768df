"""archive, HTTP: campaigns that everybody may see. Publishes nothing and writes nothing."""

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
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import Archive

MAX_BODY = 4096  # bytes: nothing is posted here


@cache
def settings() -> config.Base:
    return config.load(config.Base)


@once
async def step() -> Archive:
    given = settings()
    store, clock, paths = open_store(given), open_clock(given), Paths(given.tenant)
    return Archive(
        store=store,
        objects=open_objects(given),
        clock=clock,
        links=Links(given.public_url, await Tokens.load(open_secrets(given), clock)),
        paths=paths,
        faces=Faces(store, paths, clock),
    )


@functions_framework.aio.http
@served(lambda: settings().trusted_hops, MAX_BODY)
async def archive(request: Request) -> Response:
    return await (await step()).handle(request)
