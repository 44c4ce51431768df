"""sync_sheet, tick: the ops Sheet, both ways. Called by Cloud Scheduler; the only writer of the workbook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import config
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.push import ticked
from shared.stack.clock import open_clock
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store

from .handler import SyncSheet


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    sheets_endpoint: str = ""
    drive_endpoint: str = ""
    refresh_ms: int = 600_000


@cache
def settings() -> Config:
    return config.load(Config)


@once
async def built(tenant: Tenant) -> SyncSheet:
    given = settings()
    return SyncSheet(
        store=open_store(given),
        sheet=Sheets(tenant.sheet, given.sheets_endpoint),
        clock=open_clock(given),
        paths=Paths(given.tenant),
        pepper=await only_pepper(open_secrets(given)),
        refresh=given.refresh_ms,
        drive=GoogleDrive(given.drive_endpoint),
        folder=tenant.folder,
    )


async def step() -> SyncSheet:
    return await built(await Tenant.load(open_store(settings()), Paths(settings().tenant)))


@functions_framework.aio.http
@ticked(settings)
async def sync_sheet() -> None:
    await (await step()).handle()
