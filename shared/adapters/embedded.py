"""The laptop's clock, secrets and objects: files in the twin's state folder. Nothing here talks to a network."""

from __future__ import annotations

import asyncio
import json
import os
import secrets as _random
import time
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, NotFound
from shared.ports import Secret


class FileClock:
    """Real time plus an offset kept in a file, so that the whole twin can be advanced while it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._name = os.fspath(file)
        self._seen: tuple[int, int] = (-1, 0)

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000 + self.offset()

    def offset(self) -> int:
        """Milliseconds the twin is ahead of real time."""
        try:
            stamp = os.stat(self._name).st_mtime_ns  # a Path's own takes twice as long
        except FileNotFoundError:
            return 0
        if stamp != self._seen[0]:
            self._seen = (stamp, int(self._file.read_text() or 0))
        return self._seen[1]

    def advance(self, milliseconds: int) -> None:
        """Move the clock forward, for every process that shares the file; it never goes back."""
        if milliseconds < 0:
            raise ValueError("a clock is only advanced")
        put(self._file, str(self.offset() + milliseconds).encode())


class FileSecrets:
    """One JSON file per secret: a list of {"value": hex, "created": ms}, newest first; "disabled": true takes a version out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[tuple[int, int], list[Secret]]] = {}

    async def get(self, name: str) -> list[Secret]:
        """Every version that is not disabled; raises ConfigError when there is none."""
        try:
            status = os.stat(f"{self._folder}/{name}.json")
        except FileNotFoundError:
            raise ConfigError(f"secret {name} is missing in {self._folder}") from None
        stamp = status.st_mtime_ns, status.st_ino
        if name not in self._seen or self._seen[name][0] != stamp:
            valid = [one for one in self.versions(name) if not one.get("disabled")]
            self._seen[name] = stamp, [Secret(bytes.fromhex(one["value"]), one.get("created", 0)) for one in valid]
        found = self._seen[name][1]
        if not found:
            raise ConfigError(f"secret {name} has no valid version in {self._folder}")
        return list(found)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """The file's content; raises FileNotFoundError."""
        found: list[dict[str, Any]] = json.loads(self._file(name).read_text())
        return found

    def add(self, name: str, value: bytes, created: int = 0) -> None:
        """A new newest version. `created` in milliseconds: 0 makes it valid for ever."""
        older = self.versions(name) if self._file(name).exists() else []
        put(self._file(name), json.dumps([{"value": value.hex(), "created": created}, *older]).encode(), mode=0o600)

    def ensure(self, name: str) -> None:
        """Generate 32 random bytes, unless the secret is there."""
        if not self._file(name).exists():
            self.add(name, _random.token_bytes(32))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


class FolderObjects:
    """Blobs as files. A name may hold slashes and never leaves the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(put, self._path(name), data)

    async def get(self, name: str) -> bytes:
        """The blob; raises NotFound."""
        try:
            return await asyncio.to_thread(self._path(name).read_bytes)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"object {name}") from None

    async def list(self, prefix: str) -> list[str]:
        """The names that begin with `prefix`."""
        found = await asyncio.to_thread(_files, self._path(prefix))
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    async def delete(self, name: str) -> None:
        """Take a blob away; one that is not there is no error."""
        path = self._path(name)
        if not path.is_dir():
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def _path(self, name: str) -> Path:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or path == self._folder:
            raise NotFound(f"object {name}")
        return path


def _files(folder: Path) -> list[Path]:
    """Those below a folder, without drafts."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def put(file: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file all or nothing, durably, and with its mode from the first byte on. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{_random.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(file)
