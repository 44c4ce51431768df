"""send_batch, Pub/Sub: one batch, or one message, to a provider. Consumes send-requests; publishes to engagement-events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urlsplit

import functions_framework.aio

from shared import config
from shared.links import Links
from shared.model.paths import Paths
from shared.once import once
from shared.providers.smtp import Security, SmtpSender
from shared.push import Message, pushed
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.secrets import newest, open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import Pace, SendBatch
from .mails import Mails


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    smtp_host: str
    smtp_port: int
    smtp_security: Security
    smtp_username: str = ""
    lease_ms: int = 90_000
    budget_ms: int = 48_000  # 80% of the subscription's ack deadline
    retry_ms: int = 300_000
    wait_ms: int = 30_000


@cache
def settings() -> Config:
    return config.load(Config)


@once
async def step() -> SendBatch:
    given = settings()
    store, secrets, paths = open_store(given), open_secrets(given), Paths(given.tenant)
    links = Links(given.public_url, await Tokens.load(secrets, open_clock(given)))
    password, hello = partial(newest, secrets, "smtp-password"), urlsplit(given.public_url).hostname or "localhost"
    sender = SmtpSender(given.smtp_host, given.smtp_port, given.smtp_username, password, given.smtp_security, hello)
    pace = Pace(lease=given.lease_ms, budget=given.budget_ms, retry=given.retry_ms, wait=given.wait_ms)
    mails, clock = Mails(open_objects(given), links), open_clock(given)
    return SendBatch(store, open_bus(given), clock, links, paths, sender, mails, pace)


@functions_framework.aio.http
@pushed(settings)
async def send_batch(message: Message) -> None:
    await (await step()).handle(message)
