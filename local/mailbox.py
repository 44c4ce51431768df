"""The twin's inbox: a real SMTP server, so that sending is exercised as it will be in earnest.

A mail is on disk before its 250 is said, whatever happens to the process afterwards, because the audit of "never twice, never
lost" counts rows here. Then a signed `delivered` webhook tells the product, as a provider would, until it is heard.

Any process may open the SQLite file read-only while this one writes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import queue
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from aiosmtpd.smtp import SMTP

from shared.ports import Clock

MAX_SIZE = 10 * 1024 * 1024  # bytes
REPORTERS = 8  # webhooks under way at once
FULL = "full@"  # addresses that begin so have a full mailbox at the first mail of a run, and room for the next
ATTEMPTS = 10  # per run of the process; what is still unreported is tried again at the next start
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every address it sees
log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL UNIQUE, received_at INTEGER NOT NULL, mail_from TEXT NOT NULL,
    rcpt TEXT NOT NULL, message_id TEXT NOT NULL, subject TEXT NOT NULL, source BLOB NOT NULL, reported INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS mail_rcpt ON mail (rcpt);
CREATE INDEX IF NOT EXISTS mail_unreported ON mail (id) WHERE reported = 0;
"""
_INSERT = "INSERT INTO mail (event, received_at, mail_from, rcpt, message_id, subject, source) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SUMMARY = "id, received_at, mail_from, rcpt, message_id, subject, x''"
_WHOLE = "id, received_at, mail_from, rcpt, message_id, subject, source"


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted mail for one recipient. `received_at` in milliseconds; `source` as received, empty in lists."""

    id: int
    received_at: int
    mail_from: str
    rcpt: str
    message_id: str  # with angle brackets
    subject: str
    source: bytes


@dataclass(frozen=True, slots=True)
class _Report:
    event: str
    message_id: str
    at: int


Mails: TypeAlias = "list[Mail]"
_Rows: TypeAlias = "Sequence[tuple[Any, ...]]"


class _Journal(threading.Thread):
    """The one writer of the file: drains what concurrent connections brought, and commits it at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="mailbox-journal", daemon=True)
        self._path = path
        self._queue: queue.SimpleQueue[tuple[str, _Rows, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)

    async def write(self, statement: str, rows: _Rows) -> None:
        """Return when the rows are on disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((statement, rows, done))
        await done

    def stop(self) -> None:
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None, timeout=30)) as db:
            db.execute("PRAGMA synchronous = FULL")
            while (first := self._queue.get()) is not None:
                jobs = [first]
                while not self._queue.empty() and len(jobs) < 500:
                    job = self._queue.get()
                    if job is None:
                        self._queue.put(None)
                        break
                    jobs.append(job)
                error = self._commit(db, jobs)
                self._loop.call_soon_threadsafe(self._answer, [done for _, _, done in jobs], error)

    @staticmethod
    def _commit(db: sqlite3.Connection, jobs: Sequence[tuple[str, _Rows, asyncio.Future[None]]]) -> Exception | None:
        try:
            db.execute("BEGIN IMMEDIATE")
            for statement, rows, _ in jobs:
                db.executemany(statement, rows)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            return error
        return None

    @staticmethod
    def _answer(waiting: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


class _Handler:
    """aiosmtpd's hooks; one for all connections."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.lower().startswith(FULL) and self._mailbox.fill(address):
            return "552 5.2.2 Mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await self._mailbox.accept(envelope.mail_from, envelope.rcpt_tos, envelope.original_content)
        return "250 2.0.0 Accepted"

    async def handle_exception(self, error: Exception) -> str:
        log.error("the mailbox could not take a mail: %s", type(error).__name__)
        return "451 4.3.0 The mailbox could not store this mail"


class Mailbox:
    """`path` is the SQLite file; `port` 0 takes a free one (see `port` after `start`); `delay_ms` slows every acceptance, half
    of it before the mail is on disk and half between that and the 250.

    Each mail is reported as `POST webhook_url` with `{"id", "event": "delivered", "message_id", "at"}`, signed with `secret`:
    `webhook-signature: v1,base64(HMAC-SHA256(secret, "{webhook-timestamp}.{body}"))`. The same event id is repeated until a 2xx.
    """

    def __init__(self, path: Path, port: int = 0, delay_ms: int = 0, *, webhook_url: str, secret: bytes, clock: Clock) -> None:
        self.port = port
        self._path = path
        self._delay = delay_ms / 2000  # seconds, twice
        self._url = webhook_url
        self._secret = secret
        self._clock = clock
        self._reports: asyncio.Queue[tuple[_Report, int]] = asyncio.Queue()
        self._sessions: weakref.WeakSet[Any] = weakref.WeakSet()
        self._tasks: list[asyncio.Task[None]] = []
        self._full: set[str] = set()

    async def start(self) -> None:
        """Serve on 127.0.0.1 and resume what was not reported. Raises OSError when the port is taken."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._journal = _Journal(self._path)
        self._journal.start()
        for event, message_id, at in await self._read("SELECT event, message_id, received_at FROM mail WHERE reported = 0"):
            self._reports.put_nowait((_Report(event, message_id, at), 0))
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        self._tasks = [asyncio.create_task(self._report()) for _ in range(REPORTERS)]

    async def stop(self) -> None:
        self._server.close()
        for session in list(self._sessions):
            if session.transport is not None:
                session.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        await asyncio.to_thread(self._journal.stop)

    async def accept(self, mail_from: str, recipients: Sequence[str], source: bytes) -> None:
        """Make a mail durable, one row per recipient, and have it reported."""
        await asyncio.sleep(self._delay)
        message_id, subject = _headers(source)
        at = self._clock.now()
        reports = [_Report(secrets.token_hex(16), message_id, at) for _ in recipients]
        rows = [(r.event, at, mail_from, rcpt, message_id, subject, source) for r, rcpt in zip(reports, recipients, strict=True)]
        await self._journal.write(_INSERT, rows)
        for report in reports:
            self._reports.put_nowait((report, 0))
        await asyncio.sleep(self._delay)

    def fill(self, address: str) -> bool:
        """Whether a mail is the first to an address with a full mailbox."""
        first = address not in self._full
        self._full.add(address)
        return first

    async def count(self) -> int:
        return int((await self._read("SELECT count(*) FROM mail"))[0][0])

    async def list(self, limit: int = 50, after: int = 0, query: str = "") -> Mails:
        """Newest first, without sources: mails older than the id `after`, with `query` in recipient or subject."""
        like = "%" + query.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
        rows = await self._read(
            f"SELECT {_SUMMARY} FROM mail WHERE (? = 0 OR id < ?) AND (rcpt LIKE ? ESCAPE '\\' OR subject LIKE ? ESCAPE '\\')"
            " ORDER BY id DESC LIMIT ?",
            (after, after, like, like, limit),
        )
        return [Mail(*row) for row in rows]

    async def get(self, id: int) -> Mail | None:
        rows = await self._read(f"SELECT {_WHOLE} FROM mail WHERE id = ?", (id,))
        return Mail(*rows[0]) if rows else None

    async def find(self, rcpt: str, limit: int = 50) -> Mails:
        """The mails to exactly this address, newest first, with their sources."""
        rows = await self._read(f"SELECT {_WHOLE} FROM mail WHERE rcpt = ? ORDER BY id DESC LIMIT ?", (rcpt, limit))
        return [Mail(*row) for row in rows]

    async def _read(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return await asyncio.to_thread(_select, self._path, statement, values)

    def _session(self) -> Any:
        loop = asyncio.get_running_loop()
        session = SMTP(_Handler(self), data_size_limit=MAX_SIZE, hostname="mailbox.localhost", ident="local twin", loop=loop)
        self._sessions.add(session)
        return session

    async def _report(self) -> None:
        while True:
            report, attempt = await self._reports.get()
            if await self._post(report):
                await self._journal.write("UPDATE mail SET reported = 1 WHERE event = ?", [(report.event,)])
            elif attempt + 1 < ATTEMPTS:
                delay = min(0.2 * 2**attempt, 30.0)
                asyncio.get_running_loop().call_later(delay, self._reports.put_nowait, (report, attempt + 1))
            else:
                log.warning("a delivered webhook was refused %d times; it is kept for the next start", ATTEMPTS)

    async def _post(self, report: _Report) -> bool:
        body = json.dumps({"id": report.event, "event": "delivered", "message_id": report.message_id, "at": report.at})
        try:
            headers = {"content-type": "application/json", **signed(self._secret, self._clock.now(), body.encode())}
            async with self._client.post(self._url, data=body.encode(), headers=headers, allow_redirects=False) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError):
            return False


def signed(secret: bytes, now: int, body: bytes) -> dict[str, str]:
    """The headers that prove a body at `now` (ms): see `Mailbox`."""
    timestamp = str(now // 1000)
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).digest()
    return {"webhook-timestamp": timestamp, "webhook-signature": "v1," + base64.b64encode(digest).decode()}


def bodies(source: bytes) -> tuple[str, str]:
    """(text, HTML) of a mail, "" for a part it lacks; bytes that its charset does not have become U+FFFD."""
    message = message_from_bytes(source, policy=policy.compat32)
    found = {"text/plain": "", "text/html": ""}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in found and not found[kind] and part.get_content_disposition() != "attachment":
            payload = part.get_payload(decode=True)
            data = payload if isinstance(payload, bytes) else b""
            try:
                found[kind] = data.decode(part.get_content_charset("utf-8"), "replace")
            except LookupError:
                found[kind] = data.decode("utf-8", "replace")
    return found["text/plain"].replace("\r\n", "\n"), found["text/html"]


def _headers(source: bytes) -> tuple[str, str]:
    """(Message-ID, decoded Subject); "" for what is missing or cannot be read."""
    head = source.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    message_id = str(BytesHeaderParser(policy=policy.compat32).parsebytes(head).get("message-id", "")).strip()
    try:
        subject = str(BytesHeaderParser(policy=policy.default).parsebytes(head).get("subject", ""))
    except Exception:  # the parser fails in many ways on hostile headers, and a mail is taken all the same
        subject = ""
    return "".join(message_id.split()), " ".join(subject.split()).encode(errors="replace").decode()


def _select(path: Path, statement: str, values: Sequence[Any]) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
        return db.execute(statement, values).fetchall()
