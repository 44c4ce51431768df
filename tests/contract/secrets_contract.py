"""What every implementation of the Secrets port does. A subclass gives a fixture `secrets`, which reads what `folder` was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError
from shared.ports import MAX_VERSIONS, Secret, Secrets

NOW = 1_800_000_000_123


def put(folder: Path, name: str, *versions: Mapping[str, Any]) -> None:
    """A secret with these versions, newest first."""
    content = [{**version, "value": version["value"].hex()} for version in versions]
    (folder / f"{name}.json").write_text(json.dumps(content))


class SecretsContract:
    async def test_versions_come_newest_first_with_their_times(self, secrets: Secrets, folder: Path) -> None:
        put(folder, "key", {"value": b"\0new\xff", "created": NOW}, {"value": b"old", "created": 0})
        assert await secrets.get("key") == [Secret(b"\0new\xff", NOW), Secret(b"old", 0)]

    async def test_a_disabled_version_is_not_there(self, secrets: Secrets, folder: Path) -> None:
        put(folder, "key", {"value": b"3", "disabled": True}, {"value": b"2"}, {"value": b"1", "disabled": True})
        assert [version.value for version in await secrets.get("key")] == [b"2"]

    async def test_enough_versions_are_found_behind_disabled_ones(self, secrets: Secrets, folder: Path) -> None:
        old = [{"value": bytes([n])} for n in range(MAX_VERSIONS)]
        put(folder, "key", *[{"value": b"x", "disabled": True}] * (2 * MAX_VERSIONS), *old, {"value": b"oldest"})
        found = await secrets.get("key")
        assert [version.value for version in found[:MAX_VERSIONS]] == [version["value"] for version in old]

    async def test_a_secret_that_is_not_there_is_named(self, secrets: Secrets, folder: Path) -> None:
        put(folder, "retired", {"value": b"x", "disabled": True})
        for name in ("no-such-secret", "retired"):
            with pytest.raises(ConfigError, match=name):
                await secrets.get(name)

    async def test_many_may_ask_at_once_and_keep_their_answer(self, secrets: Secrets, folder: Path) -> None:
        put(folder, "key", {"value": b"v"})
        answers = await asyncio.gather(*(secrets.get("key") for _ in range(50)))
        answers[0].clear()
        assert answers[1:] == [[Secret(b"v")]] * 49 and await secrets.get("key") == [Secret(b"v")]

    async def test_a_value_is_not_shown(self, secrets: Secrets, folder: Path) -> None:
        put(folder, "key", {"value": b"hush"})
        assert "hush" not in repr(await secrets.get("key"))
