"""What send_batch needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.model.provider import parse


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`providers`: shared/model/provider.py. `bounce_domain`: of return paths that tell whose mail bounced, "" for none. `dkim_…`: see
    signing. Times in ms: see Pace; `budget_ms` is 80% of the subscription's ack deadline."""

    providers: str
    bounce_domain: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""
    lease_ms: int = 90_000
    budget_ms: int = 48_000
    retry_ms: int = 300_000
    wait_ms: int = 30_000

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.providers)  # a deployment with a wrong one must not start


@cache
def settings() -> Config:
    return config.load(Config)
