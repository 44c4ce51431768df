"""sync_sheet, tick: the ops Sheet, both ways. Called by Cloud Scheduler; the only writer of the workbook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import adapters, config
from shared.adapters.sheets import Sheets
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.push import ticked

from .handler import SyncSheet


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    sheets_endpoint: str = ""
    refresh_ms: int = 600_000


@cache
def settings() -> Config:
    return config.load(Config)


@once
async def step() -> SyncSheet:
    given = settings()
    store, paths = adapters.store(given), Paths(given.tenant)
    tenant = await Tenant.load(store, paths)
    return SyncSheet(
        store=store,
        sheet=Sheets(tenant.sheet, given.sheets_endpoint),
        clock=adapters.clock(given),
        paths=paths,
        pepper=(await adapters.secrets(given).get("pepper"))[0],
        refresh=given.refresh_ms,
    )


@functions_framework.aio.http
@ticked(settings)
async def sync_sheet() -> None:
    await (await step()).handle()
