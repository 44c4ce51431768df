"""record, Pub/Sub: every event, applied once. Consumes engagement-events (from track, webhooks, unsubscribe, send_batch)."""

from __future__ import annotations

from functools import cache

import functions_framework.aio

from shared import config
from shared.model.paths import Paths
from shared.push import Message, pushed
from shared.stack.clock import open_clock
from shared.stack.store import open_store

from .handler import Record
from .marks import Marks


@cache
def settings() -> config.Pushed:
    return config.load(config.Pushed)


@cache
def step() -> Record:
    given = settings()
    paths = Paths(given.tenant)
    return Record(open_store(given), paths, Marks(open_clock(given), paths))


@functions_framework.aio.http
@pushed(settings)
async def record(message: Message) -> None:
    await step().handle(message)
