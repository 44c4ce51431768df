"""What live needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Config(config.Base):
    """`live_viewers`: streams of an instance, at most; its concurrency must leave room for pages beside them. `live_seconds`: of a
    stream, less than the platform lets a request take. `live_reads`: documents read in an hour for a campaign, by an instance."""

    live_viewers: int = 200
    live_seconds: int = 240
    live_reads: int = 90_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("live_viewers", "live_seconds", "live_reads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name.upper()} must be at least 1")


@cache
def settings() -> Config:
    return config.load(Config)
