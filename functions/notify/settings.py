"""What notify needs to know, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared import config
from shared.model.endpoint import Endpoint, parse


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`events_out`: shared/model/endpoint.py; "" for nobody."""

    events_out: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.endpoints()  # a deployment with a wrong one must not start

    @property
    def local(self) -> bool:
        """Whether this is the twin, where an endpoint may be on this machine."""
        return not self.k_service and (self.stack == "embedded" or bool(self.firestore_emulator_host))

    def endpoints(self) -> dict[str, Endpoint]:
        """By name; raises ConfigError."""
        return parse(self.events_out, self.local)


@cache
def settings() -> Config:
    return config.load(Config)
