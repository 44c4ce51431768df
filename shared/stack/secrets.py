"""The Secrets of a stack, and what steps read from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Base
from shared.errors import ConfigError
from shared.ports import Secrets


@cache
def open_secrets(config: Base) -> Secrets:
    """Raises ConfigError."""
    if config.stack == "embedded":
        from shared.adapters.embedded import FileSecrets

        return FileSecrets(Path(config.state_dir) / "secrets")
    from shared.adapters.secret_manager import SecretManager

    return SecretManager.connect(config.google_cloud_project, config.secret_manager_emulator_host)


async def only_pepper(secrets: Secrets) -> bytes:
    """The pepper; raises ConfigError unless there is exactly one: with another, every sid would be another, and who complained or
    left would be forgotten."""
    versions = await secrets.get("pepper")
    if len(versions) != 1:
        raise ConfigError(f"the secret pepper must have exactly one enabled version: {len(versions)} are, keep the oldest")
    return versions[0].value


async def newest(secrets: Secrets, name: str) -> str:
    """The text of a secret's newest version; raises as `Secrets.get`."""
    return (await secrets.get(name))[0].value.decode()
