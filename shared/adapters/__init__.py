"""Which adapter serves a port on which stack. Each is imported only when asked for, so that a step loads what it uses."""

from __future__ import annotations

from pathlib import Path

from shared.config import Base
from shared.errors import ConfigError
from shared.ports import Bus, Clock, Objects, Secrets, Store


def store(config: Base) -> Store:
    from shared.adapters.sqlite_store import SqliteStore

    return SqliteStore.open(_state(config) / "store.db")


def bus(config: Base) -> Bus:
    from shared.adapters.sqlite_bus import SqliteBus

    return SqliteBus.open(_state(config) / "bus.db")


def objects(config: Base) -> Objects:
    from shared.adapters.embedded import FolderObjects

    return FolderObjects(_state(config) / "objects")


def secrets(config: Base) -> Secrets:
    from shared.adapters.embedded import FileSecrets

    return FileSecrets(_state(config) / "secrets")


def clock(config: Base) -> Clock:
    from shared.adapters.embedded import FileClock

    return FileClock(_state(config) / "clock")


def _state(config: Base) -> Path:
    if config.stack != "embedded":
        raise ConfigError(f"STACK must be embedded, not {config.stack}")
    return Path(config.state_dir)
