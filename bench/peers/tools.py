"""The programs that the peers need, fetched once into .twin/bench: packages of npm, and of Debian where the machine has them not.

Debian's packages are downloaded and unpacked there, with what they depend on; nothing is installed on the machine, and no service starts.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".twin" / "bench"
NODEMAILER = "10.6.0"


class Missing(Exception):
    """A program cannot be had here; the message says which, and why."""


@dataclass(frozen=True)
class Program:
    """What to start, and with which environment on top of ours."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def nodemailer() -> Program:
    """Raises Missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("node and npm are not installed")
    folder = CACHE / f"nodemailer-{NODEMAILER}"
    if not folder.exists():
        draft = _draft(folder)
        _run(
            npm, "install", "--prefix", str(draft), "--no-save", "--silent", "--no-audit", "--no-fund", f"nodemailer@{NODEMAILER}"
        )
        _place(draft, folder)
    return Program([node, str(HERE / "nodemailer.cjs")], {"NODE_PATH": str(folder / "node_modules")})


def net_smtp() -> Program:
    """The Go peer, built; raises Missing."""
    source = HERE / "net_smtp.go"
    go = _debian("golang-go", "go", "usr/lib/go-*/bin/go")
    version = _run(*go.command, "version", environment=go.environ)
    built = CACHE / f"net_smtp-{hashlib.sha256(source.read_bytes() + version.encode()).hexdigest()[:12]}"
    if not built.exists():
        draft = _draft(built)
        environment = {"GOCACHE": str(CACHE / "go"), "GOPATH": str(CACHE / "gopath"), "GO111MODULE": "off", "CGO_ENABLED": "0"}
        _run(*go.command, "build", "-o", str(draft), str(source), environment=go.environ | environment)
        _place(draft, built)
    return Program([str(built)])


def smtp_source() -> Program:
    """Raises Missing."""
    return _debian("postfix", "smtp-source", "usr/sbin/smtp-source")


def _debian(package: str, name: str, place: str) -> Program:
    """The machine's own program, else the one at `place` (a pattern) in an unpacked Debian package."""
    if own := shutil.which(name):
        return Program([own])
    folder = CACHE / package
    if not folder.exists():
        _unpack(package, folder)
    found = next(folder.glob(place), None)
    if found is None:
        raise Missing(f"Debian's {package} has no {place}")
    libraries = ":".join(map(str, {file.parent for file in folder.glob("usr/lib/**/*.so*")}))
    return Program([str(found)], {"LD_LIBRARY_PATH": libraries} if libraries else {})


def _unpack(package: str, folder: Path) -> None:
    """Raises Missing."""
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise Missing(f"it is not installed, and there is no apt-get to fetch Debian's {package} with")
    archives, draft = _draft(folder), _draft(folder)
    (archives / "partial").mkdir(parents=True)
    fetch = [apt, "install", "-qq", "--download-only", "--reinstall", "--no-install-recommends"]
    fetch += ["-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", package]
    try:
        try:
            _run(*fetch)
        except Missing:  # the lists may be old, or none yet
            _run(apt, "update", "-qq")
            _run(*fetch)
        for archive in archives.glob("*.deb"):
            _run(dpkg, "-x", str(archive), str(draft))
    finally:
        shutil.rmtree(archives)
    _place(draft, folder)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a program printed; raises Missing with the end of its complaint."""
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise Missing(f"{Path(command[0]).name} {command[1]} failed: {said[0]}")
    return done.stdout


def _draft(folder: Path) -> Path:
    """Beside its place: what is in place is whole."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")


def _place(draft: Path, folder: Path) -> None:
    with suppress(OSError):  # somebody was faster
        draft.rename(folder)
