"""inbox, tick: bounces that come as mail. Called by Cloud Scheduler; reads one mailbox, publishes to engagement-events (consumed by
record)."""

from __future__ import annotations

import functions_framework.aio

from shared.links import Links
from shared.once import once
from shared.push import ticked
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.secrets import newest, open_secrets
from shared.tokens import Tokens

from .handler import Inbox
from .imap import Account, Imap
from .settings import settings

PASSWORD = "imap-password"


@once
async def step() -> Inbox:
    given = settings()
    secrets, clock = open_secrets(given), open_clock(given)
    account = Account(given.imap_host, given.imap_port, given.imap_user, given.imap_folder, given.imap_security)
    mailbox = Imap(account, lambda: newest(secrets, PASSWORD))
    return Inbox(open_bus(given), clock, Links(given.public_url, await Tokens.load(secrets, clock)), mailbox.open)


@functions_framework.aio.http
@ticked(settings)
async def inbox() -> None:
    if settings().imap_host:
        await (await step()).handle()
