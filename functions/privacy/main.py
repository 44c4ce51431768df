"""privacy, Pub/Sub: the rest of erasures, and what goes by its age. Consumes privacy-requests (from unsubscribe and launch)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import functions_framework.aio

from shared import config
from shared.errors import ConfigError
from shared.model.paths import Paths
from shared.push import Message, pushed
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.store import open_store

from .handler import Privacy

SHORTEST = 30  # days: the figures of a campaign move until then


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`retention_days`: deliveries are kept so long after their campaign has ended, those of the system's own mails after they were
    first heard of; 0 for ever."""

    retention_days: int = 730

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retention_days and self.retention_days < SHORTEST:
            raise ConfigError(f"RETENTION_DAYS must be 0 (for ever) or at least {SHORTEST}")


@cache
def settings() -> Config:
    return config.load(Config)


@cache
def step() -> Privacy:
    given = settings()
    return Privacy(open_store(given), open_objects(given), open_clock(given), Paths(given.tenant), given.retention_days)


@functions_framework.aio.http
@pushed(settings)
async def privacy(message: Message) -> None:  # which says nothing but that it is time
    await step().handle()
