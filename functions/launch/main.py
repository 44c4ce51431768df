"""launch, tick: due campaigns, sweeper. Called by Cloud Scheduler; publishes to send-requests (consumed by send_batch)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import adapters, config
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.links import Links
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.push import ticked
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
    store, paths = adapters.store(given), Paths(given.tenant)
    tenant = await Tenant.load(store, paths)
    return Launch(
        store=store,
        bus=adapters.bus(given),
        clock=adapters.clock(given),
        objects=adapters.objects(given),
        sheet=Sheets(tenant.sheet, given.sheets_endpoint),
        drive=GoogleDrive(given.drive_endpoint),
        links=Links(given.public_url, await Tokens.load(adapters.secrets(given))),
        paths=paths,
        tenant=tenant,
    )


@functions_framework.aio.http
@ticked(settings)
async def launch() -> None:
    await (await step()).handle()
