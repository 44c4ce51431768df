"""What launch needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.providers.settings import Mailing


@dataclass(frozen=True, kw_only=True)
class Config(Mailing):
    """`spamd_host`: where SpamAssassin listens ("host" or "host:port"), "" for none. `assets_url`: where the world finds what is put into
    `assets_bucket` under "assets/", without a slash at the end; "" leaves pictures where templates have them."""

    spamd_host: str = ""
    sheets_endpoint: str = ""
    drive_endpoint: str = ""
    assets_bucket: str = ""
    assets_url: str = ""


@cache
def settings() -> Config:
    return config.load(Config)
