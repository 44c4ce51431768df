"""The laptop's clock, secrets and objects: files in the twin's state folder. Nothing here talks to a network."""

from __future__ import annotations

import asyncio
import json
import os
import secrets as _random
import time
from pathlib import Path

from shared.errors import ConfigError, NotFound


class FileClock:
    """Real time plus an offset kept in a file, so that the whole twin can be advanced while it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] = (-1, 0)

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000 + self.offset()

    def offset(self) -> int:
        """Milliseconds the twin is ahead of real time."""
        try:
            stamp = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        if stamp != self._seen[0]:
            self._seen = (stamp, int(self._file.read_text() or 0))
        return self._seen[1]

    def advance(self, milliseconds: int) -> None:
        """Move the clock forward, for every process that shares the file; it never goes back."""
        if milliseconds < 0:
            raise ValueError("a clock is only advanced")
        _replace(self._file, str(self.offset() + milliseconds).encode())


class FileSecrets:
    """One JSON file per secret: a list of hex strings, newest first. `ensure` makes one once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, name: str) -> list[bytes]:
        """Every version, newest first; raises ConfigError when the secret was never made."""
        try:
            found = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            raise ConfigError(f"secret {name} is missing in {self._folder}") from None
        return [bytes.fromhex(version) for version in found]

    def ensure(self, name: str) -> None:
        """Generate 32 random bytes, unless the secret is there."""
        file = self._folder / f"{name}.json"
        if not file.exists():
            _replace(file, json.dumps([_random.token_hex(32)]).encode(), mode=0o600)


class FolderObjects:
    """Blobs as files. A name may hold slashes and never leaves the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(_replace, self._path(name), data)

    async def get(self, name: str) -> bytes:
        """The blob; raises NotFound."""
        try:
            return await asyncio.to_thread(self._path(name).read_bytes)
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(f"object {name}") from None

    def _path(self, name: str) -> Path:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or path == self._folder:
            raise NotFound(f"object {name}")
        return path


def _replace(file: Path, data: bytes, mode: int = 0o644) -> None:
    """Write all or nothing, durably."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{_random.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(file)
