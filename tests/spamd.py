"""SpamAssassin's daemon from Debian for any test that asks for the fixture `spamd`: one start for the whole run, local tests only.

Where it is not installed, these tests are left out and the end of the run says so in one sentence. Under STRICT=1 it is installed
(Debian, as root); where it cannot be, they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_socket

from tests.emulated_google import left_out

_PACKAGES = ("spamassassin", "spamd")
_STARTING = 60.0  # seconds at most, until it answers: it compiles its rules first
# Runs the command until the end of its input, which comes with the end of this process, even by kill -9.
_TIED = '"$@" & read -r _; kill $!; wait $!'
MISSING = "SpamAssassin needs Debian's packages spamassassin and spamd."


def command() -> str | None:
    """Where spamd is; /usr/sbin is not on everybody's PATH."""
    return shutil.which("spamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def install() -> None:
    """Install it from Debian; does nothing where that is not possible."""
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        return
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(["apt-get", "-qq", *arguments], env=environ, stdout=subprocess.DEVNULL, check=False)


@contextmanager
def spamd(folder: Path) -> Iterator[str]:
    """A running daemon, as "127.0.0.1:port"; its log is in `folder`. Raises RuntimeError with the end of the log."""
    port = _free_port()
    program = command()
    if program is None:
        raise RuntimeError(MISSING)
    arguments = ["--local", "--listen=127.0.0.1", f"--port={port}", "--max-children=1", "--nouser-config", "--syslog=stderr"]
    arguments += ["--cf=use_bayes 0", f"--pidfile={folder / 'pid'}"]
    if os.getuid() == 0:
        arguments.append("--username=nobody")
    with (folder / "spamd.log").open("wb") as log:
        tied = ["sh", "-c", _TIED, "tied", program, *arguments]
        process = subprocess.Popen(tied, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    try:
        _await(port, folder / "spamd.log")
        yield f"127.0.0.1:{port}"
    finally:
        process.communicate()


@pytest.fixture(name="spamd", scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its "host:port"."""
    strict = os.environ.get("STRICT") == "1"
    if strict and command() is None:
        install()
    if command() is None:
        if strict:
            pytest.fail(f"STRICT=1: {MISSING}")
        left_out.add(f"Left out: the tests on a real SpamAssassin. {MISSING}")
        pytest.skip(MISSING)
    pytest_socket.enable_socket()  # a session's fixture comes before the test's own rule
    with spamd(tmp_path_factory.mktemp("spamd")) as address:
        yield address


def _await(port: int, log: Path) -> None:
    end = time.monotonic() + _STARTING
    while not _answers(port):
        if time.monotonic() > end:
            raise RuntimeError(f"spamd did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"PING SPAMC/1.5\r\n\r\n")
            return b"PONG" in connection.recv(100)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
