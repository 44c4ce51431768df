"""notify, Pub/Sub: every event, posted to the operator's endpoints. Consumes engagement-events, by a subscription for each endpoint."""

from __future__ import annotations

from functools import cache

import functions_framework.aio

from shared.model.paths import Paths
from shared.push import Message, pushed, subscription
from shared.stack.clock import open_clock
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store

from .handler import Notify
from .settings import settings


@cache
def step() -> Notify:
    given = settings()
    return Notify(
        endpoints=given.endpoints(),
        store=open_store(given),
        secrets=open_secrets(given),
        clock=open_clock(given),
        paths=Paths(given.tenant),
        local=given.local,
    )


@functions_framework.aio.http
@pushed(settings)
async def notify(message: Message) -> None:
    await step().handle(message, subscription())
