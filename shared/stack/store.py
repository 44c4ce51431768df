"""The Store of a stack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Base
from shared.ports import Store


@cache
def open_store(config: Base) -> Store:
    """Raises ConfigError, Unavailable."""
    if config.stack == "embedded":
        from shared.adapters.sqlite_store import SqliteStore

        return SqliteStore.open(Path(config.state_dir) / "store.db")
    from shared.adapters.firestore import Firestore

    return Firestore.connect(config.google_cloud_project, config.firestore_database, config.firestore_emulator_host)
