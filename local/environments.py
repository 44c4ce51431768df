"""Virtual environments made from a hashed lock, once per lock and Python: a step's own, and those of tools with other wishes than ours.

They are in build/venvs. What `make clean` removes is made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from local.staging import BUILD

ENVIRONMENTS = BUILD / "venvs"
AT_ONCE = 2  # installations


class Broken(Exception):
    """Something cannot be installed or started; the message is the sentence to print."""


def environment(name: str, lock: Path) -> Path:
    """Where the environment for the present text of a lock and this Python is, or will be."""
    mark = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return ENVIRONMENTS / f"{name}-{mark}"


def install(locks: Mapping[str, Path]) -> Iterator[str]:
    """Make the environments of these names and locks that are not there yet; yields each name that is done. Raises Broken."""
    settings = {**os.environ, **_indexes(_pip("config", "list"))}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda name: _install(name, locks[name], settings), locks)


def _install(name: str, lock: Path, settings: Mapping[str, str]) -> str:
    """Aside, then moved into place: one that is there is whole, whoever else makes it at this moment."""
    folder = environment(name, lock)
    if folder.exists():
        return name
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        _uv(name, lock, settings, "venv", "--relocatable", "--python", sys.executable, str(draft))
        _uv(name, lock, settings, "pip", "sync", "--require-hashes", "--python", str(draft), str(lock))
        with suppress(OSError):  # somebody was faster
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return name


def _uv(name: str, lock: Path, settings: Mapping[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", "--no-config", *arguments]
    done = subprocess.run(command, env=settings, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Broken(f"The environment of {name} could not be made from {lock}:\n{done.stderr.strip()}")


def _indexes(told: str) -> dict[str, str]:
    """uv reads no pip.conf: where pip was told of another index or certificate (`pip config list`), uv is told the same."""
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # the later one counts
        found |= re.findall(rf"^{section}\.([a-z-]+)='(.*)'$", told, re.MULTILINE)
    names = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
    return {theirs: found[ours] for ours, theirs in names.items() if ours in found and theirs not in os.environ}


def _pip(*arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "pip", *arguments], stdout=subprocess.PIPE, text=True, check=False).stdout
