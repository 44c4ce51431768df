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
async def step() -> Launch:
    given = settings()
    store, paths = open_store(given), Paths(given.tenant)
    tenant = await Tenant.load(store, paths)
    return Launch(
        store=store,
        bus=open_bus(given),
        clock=open_clock(given),
        objects=open_objects(given),
        sheet=Sheets(tenant.sheet, given.sheets_endpoint),
        drive=GoogleDrive(given.drive_endpoint),
        links=Links(given.public_url, await Tokens.load(open_secrets(given), open_clock(given))),
        paths=paths,
        tenant=tenant,
    )


@functions_framework.aio.http
@ticked(settings)
async def launch() -> None:
    await (await step()).handle()
