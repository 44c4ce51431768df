"""report, tick: the campaigns' reports, made anew where deliveries changed. Called by Cloud Scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import config
from shared.model.paths import Paths
from shared.push import ticked
from shared.stack.clock import open_clock
from shared.stack.store import open_store

from .handler import Report

DAY = 86_400_000  # ms


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`attribution_days`: from a person's click to a conversion that counts for it."""

    attribution_days: int = 30


@cache
def settings() -> Config:
    return config.load(Config)


@cache
def step() -> Report:
    given = settings()
    return Report(open_store(given), open_clock(given), Paths(given.tenant), given.attribution_days * DAY)


@functions_framework.aio.http
@ticked(settings)
async def report() -> None:
    await step().handle()
