"""What track needs to know, from the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from shared import config
from shared.errors import ConfigError

_DOMAIN = re.compile(r"[^\s/:@,]+\.[^\s/:@,.]+")


@dataclass(frozen=True, kw_only=True)
class Config(config.Base):
    """`conversion_domains`: the sites that tell of conversions, with their subdomains, commas between them; a click to one carries
    its mail's token."""

    conversion_domains: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for domain in self.domains:
            if not _DOMAIN.fullmatch(domain):
                raise ConfigError(
                    f"CONVERSION_DOMAINS must be domains like shop.example with commas between them, not {domain!r}"
                )

    @property
    def domains(self) -> frozenset[str]:
        return frozenset(domain.strip().lower() for domain in self.conversion_domains.split(",") if domain.strip())


@cache
def settings() -> Config:
    return config.load(Config)
