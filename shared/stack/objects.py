"""The Objects of a stack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Base
from shared.ports import Objects

PUBLIC = "public"  # folder of the state folder that the twin shows to everybody


@cache
def open_objects(config: Base) -> Objects:
    """Raises ConfigError."""
    if config.stack == "embedded":
        from shared.adapters.embedded import FolderObjects

        return FolderObjects(Path(config.state_dir) / "objects")
    from shared.adapters.cloud_storage import CloudStorage

    return CloudStorage.connect(config.google_cloud_project, config.bucket, config.storage_emulator_host)


@cache
def open_assets(config: Base, bucket: str) -> Objects:
    """The pictures of mails, which everybody may fetch; raises ConfigError. `bucket`: theirs, not that of `config`."""
    if config.stack == "embedded":
        from shared.adapters.embedded import FolderObjects

        return FolderObjects(Path(config.state_dir) / PUBLIC)
    from shared.adapters.cloud_storage import CloudStorage

    return CloudStorage.connect(config.google_cloud_project, bucket, config.storage_emulator_host, public=True)
