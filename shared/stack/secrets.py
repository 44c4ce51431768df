"""The Secrets of a stack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Base
from shared.ports import Secrets


@cache
def open_secrets(config: Base) -> Secrets:
    """Raises ConfigError."""
    if config.stack == "embedded":
        from shared.adapters.embedded import FileSecrets

        return FileSecrets(Path(config.state_dir) / "secrets")
    from shared.adapters.secret_manager import SecretManager

    return SecretManager.connect(config.google_cloud_project, config.secret_manager_emulator_host)
