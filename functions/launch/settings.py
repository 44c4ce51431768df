"""What launch needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.model import provider


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`providers`, `bounce_domain`, `dkim_…`: as send_batch has them. `spamd_host`: where SpamAssassin listens ("host" or "host:port"), ""
    for none."""

    providers: str
    bounce_domain: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""
    spamd_host: str = ""
    sheets_endpoint: str = ""
    drive_endpoint: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        provider.parse(self.providers)  # a deployment with a wrong one must not start


@cache
def settings() -> Config:
    return config.load(Config)
