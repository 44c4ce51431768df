"""The Bus of a stack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Base
from shared.ports import Bus


@cache
def open_bus(config: Base) -> Bus:
    """Raises ConfigError, Unavailable."""
    if config.stack == "embedded":
        from shared.adapters.sqlite_bus import SqliteBus

        return SqliteBus.open(Path(config.state_dir) / "bus.db")
    from shared.adapters.pubsub import Pubsub

    return Pubsub.connect(config.google_cloud_project, config.pubsub_emulator_host)
