"""send_batch, Pub/Sub: one batch, or one message, to a provider. Consumes send-requests (from subscribe and launch); publishes
refusals to engagement-events (consumed by record), and its own batch again when its time is up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import adapters, config
from shared.links import Links
from shared.model.paths import Paths
from shared.once import once
from shared.providers.smtp import SmtpSender
from shared.push import Message, pushed
from shared.tokens import Tokens

from .handler import Pace, SendBatch
from .mails import Mails


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    smtp_host: str
    smtp_port: int
    smtp_security: str
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
    store, secrets, paths = adapters.store(given), adapters.secrets(given), Paths(given.tenant)
    links = Links(given.public_url, await Tokens.load(secrets))
    password = (await secrets.get("smtp-password"))[0].decode() if given.smtp_username else ""
    host, port, user = given.smtp_host, given.smtp_port, given.smtp_username
    sender = SmtpSender(host, port, user, password, config.one_of(given.smtp_security, "none", "starttls", "tls"))
    pace = Pace(lease=given.lease_ms, budget=given.budget_ms, retry=given.retry_ms, wait=given.wait_ms)
    mails = Mails(adapters.objects(given), links)
    return SendBatch(store, adapters.bus(given), adapters.clock(given), links, paths, sender, mails, pace)


@functions_framework.aio.http
@pushed(settings)
async def send_batch(message: Message) -> None:
    await (await step()).handle(message)
