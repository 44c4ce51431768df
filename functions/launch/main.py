"""launch, tick: due campaigns, sweeper. Called by Cloud Scheduler; publishes to send-requests (consumed by send_batch)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import config
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.links import Links
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.push import ticked
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.secrets import open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .handler import Launch


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    sheets_endpoint: str = ""
    drive_endpoint: str = ""


@cache
def settings() -> Config:
    return config.load(Config)


@once
async def built(tenant: Tenant) -> Launch:
    given = settings()
    clock, paths = open_clock(given), Paths(given.tenant)
    sheet, drive = Sheets(tenant.sheet, given.sheets_endpoint), GoogleDrive(given.drive_endpoint)
    links = Links(given.public_url, await Tokens.load(open_secrets(given), clock))
    return Launch(open_store(given), open_bus(given), clock, open_objects(given), sheet, drive, links, paths, tenant)


async def step() -> Launch:
    return await built(await Tenant.load(open_store(settings()), Paths(settings().tenant)))


@functions_framework.aio.http
@ticked(settings)
async def launch() -> None:
    await (await step()).handle()
