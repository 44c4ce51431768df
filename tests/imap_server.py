"""A real IMAP server for tests, pymap with mails in Maildir folders, and a connection to it that can be wrapped in TLS, watched and cut."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

USER, PASSWORD = "bounces", 'käse: \\ "1'
_SERVE = "import sys; from pymap.main import main; sys.exit(main())"
_STARTING = 20.0  # seconds at most


@dataclass
class Maildirs:
    """A running server; every user has a folder of mails (https://cr.yp.to/proto/maildir.html)."""

    folder: Path
    port: int
    users: int = 0

    def user(self) -> tuple[str, Path]:
        """A new one, with PASSWORD: the name, and its mails' folder."""
        self.users += 1
        name = f"{USER}{self.users}"
        mails = self.folder / name
        for part in ("new", "cur", "tmp"):
            (mails / part).mkdir(parents=True)
        salt = b"salt"
        digest = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 1)
        secret = "$".join(("", "pbkdf2-sha256", "1", base64.b64encode(salt).decode(), base64.b64encode(digest).decode()))
        with (self.folder / "pymap-etc-passwd").open("a") as file:
            file.write(f"{name}:*::::{name}:\n")
        with (self.folder / "pymap-etc-shadow").open("a") as file:
            file.write(f"{name}:{secret}:::::::\n")
        return name, mails


@contextmanager
def maildirs(folder: Path, certificate: Path | None = None) -> Iterator[Maildirs]:
    """The server, for as long as the block lasts; with a certificate (PEM, with its key) it offers STARTTLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = ["--cert", str(certificate), "--key", str(certificate)] if certificate else ["--no-tls"]
    command = [sys.executable, "-c", _SERVE, "--host", "127.0.0.1", "--port", str(port), *tls, "maildir", str(folder)]
    folder.mkdir()
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
    try:
        end = time.monotonic() + _STARTING
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < end, Path(log.name).read_text()
            time.sleep(0.05)
        yield Maildirs(folder, port)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Wire:
    """What passed, and what is done to it: `cut` is asked with all that the client has said, and ends the connection by True; `answer`
    may stand in for the server's bytes."""

    port: int = 0
    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    cut: Callable[[bytes], bool] = lambda said: False
    answer: Callable[[bytes], bytes] = lambda data: data


@asynccontextmanager
async def between(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A way to the server at `port`, through TLS from the first byte where `tls` is given."""
    wire = Wire()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamWriter, up: bool) -> None:
        try:
            while data := await reader.read(65536):
                (wire.said if up else wire.heard).extend(data)
                if up and wire.cut(bytes(wire.said)):
                    break
                writer.write(data if up else wire.answer(data))
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            other.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, ours, writer, True), pump(theirs, writer, ours, False))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
