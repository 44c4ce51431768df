"""What send_batch needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.providers.settings import Mailing


@dataclass(frozen=True, kw_only=True)
class Config(Mailing):
    """Times in ms: see Pace; `budget_ms` is 80% of the subscription's ack deadline."""

    lease_ms: int = 90_000
    budget_ms: int = 48_000
    retry_ms: int = 300_000
    wait_ms: int = 30_000


@cache
def settings() -> Config:
    return config.load(Config)
