"""A folder of an IMAP server (RFC 3501), by the standard library's client in threads.

Nothing is deleted: a folder is left by LOGOUT, since CLOSE would remove what somebody else has marked for it. Mails are asked for by
their UID and in part (`BODY.PEEK[]<0.n>`), which marks nothing. What servers and certificates say is not passed on, only of what kind
it is: it may hold an address.
"""

from __future__ import annotations

import asyncio
import imaplib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar

from shared.bounces.mail import MAX_BYTES
from shared.errors import ConfigError, NotFound, Unavailable

from .handler import Received

TIMEOUT: Final = 15.0  # seconds without a byte
SEARCHED: Final = 10_000  # mails in one search: its answer is one line
_TAKEN_IN = re.compile(rb'INTERNALDATE "([^"]{20,30})"', re.IGNORECASE)
_WITH_LITERAL = 2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """As in settings.py."""

    host: str
    port: int
    user: str
    folder: str
    security: str


class Imap:
    """`password` is asked for at each connection. `tls`: which certificates are believed, the system's unless given."""

    def __init__(self, account: Account, password: Callable[[], Awaitable[str]], tls: ssl.SSLContext | None = None) -> None:
        self._account, self._password, self._tls = account, password, tls

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Folder]:
        """The folder, for as long as the block lasts; raises Unavailable."""
        try:
            password = await self._password()
        except ConfigError as error:
            raise _unavailable(str(error)) from None
        connection = await _threaded(self._connected)
        try:
            exists = await _threaded(self._selected, connection, password.rstrip("\r\n"))
            yield Folder(connection, exists)
            with suppress(Unavailable):
                await _threaded(connection.logout)
        finally:
            await asyncio.shield(_ended(connection))

    def _connected(self) -> imaplib.IMAP4:
        host, port, security = self._account.host, self._account.port, self._account.security
        if security == "none":
            return imaplib.IMAP4(host, port, TIMEOUT)
        tls = self._tls or ssl.create_default_context()
        if security == "tls":
            return imaplib.IMAP4_SSL(host, port, ssl_context=tls, timeout=TIMEOUT)
        connection = imaplib.IMAP4(host, port, TIMEOUT)
        try:
            connection.starttls(tls)
        except BaseException:
            with suppress(OSError):
                connection.shutdown()
            raise
        return connection

    def _selected(self, connection: imaplib.IMAP4, password: str) -> int:
        """Log in and open the folder; how many mails it has."""
        user, folder = self._account.user, self._account.folder
        try:
            if "AUTH=PLAIN" in connection.capabilities:  # RFC 4616: any characters, where LOGIN knows ASCII
                connection.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
            else:
                connection.login(user, password)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, UnicodeEncodeError):
            raise _unavailable("it refuses IMAP_USER with the password in the secret imap-password") from None
        try:
            answer, [exists] = connection.select('"{}"'.format(re.sub(r'(["\\])', r"\\\1", folder)))
        except imaplib.IMAP4.readonly:
            raise _unavailable("IMAP_FOLDER may only be read, and mails could not be marked") from None
        if answer != "OK" or exists is None:
            raise _unavailable("there is no IMAP_FOLDER of that name")
        return int(exists)


class Folder:
    """A `Mailbox`; the names of its mails are UIDs."""

    def __init__(self, connection: imaplib.IMAP4, exists: int) -> None:
        self._connection, self._exists = connection, exists

    async def waiting(self, most: int) -> list[str]:
        """See `Mailbox`."""
        found: list[str] = []
        for first in range(1, self._exists + 1, SEARCHED):
            last = min(first + SEARCHED - 1, self._exists)
            given = await self._uid("SEARCH", f"{first}:{last}", "UNSEEN", "UNFLAGGED", "UNDELETED")
            found += [uid.decode() for part in given if part for uid in part.split()]
            if len(found) >= most:
                break
        return found[:most]

    async def read(self, name: str) -> Received:
        """See `Mailbox`."""
        answer, given = await _threaded(self._connection.uid, "FETCH", name, f"(INTERNALDATE BODY.PEEK[]<0.{MAX_BYTES}>)")
        if answer != "OK" or given[0] is None:
            raise NotFound(f"mail {name}")
        raw = next((part[1] for part in given if isinstance(part, tuple) and len(part) == _WITH_LITERAL), b"")
        return Received(raw, _taken_in(b" ".join(part[0] if isinstance(part, tuple) else part for part in given if part)))

    async def mark_read(self, names: Sequence[str]) -> None:
        """See `Mailbox`."""
        await self._uid("STORE", ",".join(names), "+FLAGS.SILENT", r"(\Seen)")

    async def flag(self, names: Sequence[str]) -> None:
        """See `Mailbox`."""
        await self._uid("STORE", ",".join(names), "+FLAGS.SILENT", r"(\Flagged)")

    async def _uid(self, command: str, *arguments: str) -> list[Any]:
        answer, given = await _threaded(self._connection.uid, command, *arguments)
        if answer != "OK":
            raise _unavailable(f"it refuses {command}")
        return given


def _taken_in(told: bytes) -> int:
    """INTERNALDATE (RFC 3501 §7.4.2), like "17-Jul-2026 02:44:25 -0700", in ms; 0 where there is none."""
    try:
        found = _TAKEN_IN.search(told)
        return int(datetime.strptime(found[1].decode(), "%d-%b-%Y %H:%M:%S %z").timestamp() * 1000) if found else 0
    except (ValueError, OverflowError):
        return 0


async def _threaded(call: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(call, *arguments, **more)
    except ssl.SSLCertVerificationError as error:
        raise _unavailable(f"its certificate is not valid ({error.verify_code})") from None
    except ssl.SSLError:
        raise _unavailable("it does not speak TLS as asked for: see IMAP_SECURITY and IMAP_PORT") from None
    except TimeoutError:
        raise _unavailable("it does not answer") from None
    except socket.gaierror:
        raise _unavailable("there is no such host") from None
    except (OSError, imaplib.IMAP4.error) as error:
        raise _unavailable(f"the connection ended ({type(error).__name__})") from None


def _unavailable(why: str) -> Unavailable:
    return Unavailable("the bounce mailbox", why)


async def _ended(connection: imaplib.IMAP4) -> None:
    """Close it, also under a thread that still waits for an answer: that must not be waited for in turn."""
    with suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)
    with suppress(OSError, imaplib.IMAP4.error):
        await asyncio.to_thread(connection.shutdown)
