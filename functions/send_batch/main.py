"""send_batch, Pub/Sub: one batch, or one message, to a provider. Consumes send-requests; publishes to engagement-events."""

from __future__ import annotations

import functions_framework.aio

from shared import heap
from shared.links import Links
from shared.model.paths import Paths
from shared.once import once
from shared.push import Message, pushed
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import SendBatch
from .mails import Mails
from .routes import Routes
from .run import Pace
from .settings import settings
from .signing import signer


@once
async def step() -> SendBatch:
    given = settings()
    heap.keep()
    store, secrets, paths = open_store(given), open_secrets(given), Paths(given.tenant)
    links = Links(given.public_url, await Tokens.load(secrets, open_clock(given)))
    routes = Routes.configured(given.providers, secrets, given.public_url, store, paths, given.wait_ms)
    pace = Pace(lease=given.lease_ms, budget=given.budget_ms, retry=given.retry_ms, wait=given.wait_ms)
    sign = await signer(given.dkim_domain, given.dkim_selector, secrets)
    mails, bus, clock = Mails(open_objects(given), links), open_bus(given), open_clock(given)
    found = SendBatch(store, bus, clock, links, paths, routes, mails, pace, given.bounce_domain, sign)
    found.ending.listen()
    return found


@functions_framework.aio.http
@pushed(settings)
async def send_batch(message: Message) -> None:
    await (await step()).handle(message)
