"""The delivering half of the laptop's bus: Google Pub/Sub's push subscriptions, over real HTTP, from the rows of a SQLite file.

At least once: a delivery leaves the file only after its endpoint has acknowledged it, so whatever was in flight when the
process died is pushed again at the next start. As on Pub/Sub, only refusals and missed deadlines count towards the dead letter;
a crash of the bus itself raises `deliveryAttempt` but blames nobody. One LocalBus serves a file; any process may publish to it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from shared.adapters.sqlite_bus import open_file
from shared.adapters.sqlite_file import SqliteFile, Work
from shared.errors import Unavailable

ACKS = frozenset({102, 200, 201, 202, 204})  # https://cloud.google.com/pubsub/docs/push#receive_push
_POLL = 0.2  # seconds until a publish by another process, or a back-off that has ended, is noticed
_KEPT = 500  # delivered messages kept to look at
IDLE = 1.0  # seconds a connection is kept; shorter than any server's own limit, or a reused one may die under a push

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A push subscription. `endpoint` is a whole URL; times are in seconds."""

    name: str
    topic: str
    endpoint: str
    audience: str  # of the token in the Authorization header
    ack_deadline: float = 60.0
    min_backoff: float = 1.0
    max_backoff: float = 60.0
    max_attempts: int = 5  # failed ones, before the dead letter


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that was acknowledged. `published` and `at` are milliseconds since the Unix epoch."""

    seq: int  # grows with every delivery
    subscription: str
    topic: str
    message: str  # its Pub/Sub id
    data: Any
    published: int
    at: int
    attempts: int
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message given up. `status` is the last answer's (0 when there was none), `reason` a few words without addresses."""

    id: int
    subscription: str
    topic: str
    message: str
    data: Any
    published: int
    at: int
    attempts: int
    status: int
    reason: str
    attributes: dict[str, str]


class Delivery(NamedTuple):
    id: int
    subscription: str
    message: str
    data: str
    published: int
    attempts: int
    failures: int
    attributes: str


class Failure(NamedTuple):
    status: int
    reason: str


class LocalBus:
    """Pushes the messages in the file at `path`. `sign` makes the bearer token for an audience.

    `topics` are declared besides those of the subscriptions: publishing to them is allowed and stores nothing. `concurrency` is
    the most pushes in flight per subscription; `after` is awaited before each look for more.
    """

    def __init__(
        self,
        path: Path,
        subscriptions: Sequence[Subscription],
        sign: Callable[[str], str],
        *,
        topics: Sequence[str] = (),
        concurrency: int = 8,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._after = after
        self._file = open_file(path)
        self._subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._topics = {*topics, *(subscription.topic for subscription in subscriptions)}
        self._sign = sign
        self._concurrency = concurrency
        self._busy: Counter[str] = Counter()
        self._pushes: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Declare topics and subscriptions, take up what was in flight, and deliver until `stop`. Raises Unavailable."""
        await self._file.write(self._declare)
        self._loop = asyncio.get_running_loop()
        self._file.listeners.add(self._published)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        self._pump_task = asyncio.create_task(self._pump())

    async def stop(self, grace: float = 5.0) -> None:
        """End, for good; pushes in flight have `grace` seconds to be answered, later ones are repeated after the next start."""
        if self._closed:
            return
        self._closed = True
        self._file.listeners.discard(self._published)
        if self._pump_task is not None:
            self._pump_task.cancel()
            await asyncio.gather(self._pump_task, return_exceptions=True)
        if self._pushes:
            _, late = await asyncio.wait(self._pushes, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._file.close()

    # --- to look at ---------------------------------------------------------------------------------------------------

    async def pending(self) -> dict[str, int]:
        """Per subscription, how many messages are waiting or in flight."""
        return await pending(self._file, self._subscriptions)

    async def recent(self, limit: int = 100) -> list[Delivered]:
        """What was delivered last, newest first; about the last 500 are kept."""
        return await recent(self._file, limit)

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """What was given up, newest first."""
        return await dead_letters(self._file, limit)

    async def replay(self, id: int | None = None) -> int:
        """Deliver one dead letter again, or all of them, with all attempts ahead; how many there were."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO deliveries (id, subscription, topic, message, data, published, due, attributes)"
                " SELECT id, subscription, topic, message, data, published, ?, attributes FROM dead_letters"
                " WHERE id = coalesce(?, id)",
                (now(), id),
            )
            return connection.execute("DELETE FROM dead_letters WHERE id = coalesce(?, id)", (id,)).rowcount

        moved = await self._file.write(work)
        self._wake.set()
        return moved

    # --- delivery -----------------------------------------------------------------------------------------------------

    def _declare(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM topics")
        connection.executemany("INSERT INTO topics VALUES (?)", [(topic,) for topic in self._topics])
        connection.execute("DELETE FROM subscriptions")
        rows = [(subscription.name, subscription.topic) for subscription in self._subscriptions.values()]
        connection.executemany("INSERT INTO subscriptions VALUES (?, ?)", rows)
        connection.execute("UPDATE deliveries SET due = ? WHERE due IS NULL", (now(),))

    def _published(self) -> None:
        with suppress(RuntimeError):  # our loop was closed without `stop`
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _pump(self) -> None:
        while True:
            self._wake.clear()
            if self._after:
                await self._after()
            try:
                deliveries = await self._claim()
            except Unavailable as error:
                _log.warning("the bus cannot read its file: %s", error)
                deliveries = []
            for delivery in deliveries:
                self._busy[delivery.subscription] += 1
                task = asyncio.create_task(self._deliver(self._subscriptions[delivery.subscription], delivery))
                self._pushes.add(task)
                task.add_done_callback(self._pushes.discard)
            if not deliveries:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL):  # wait_for of Python 3.11 can swallow a cancellation
                        await self._wake.wait()

    async def _claim(self) -> list[Delivery]:
        """Mark due deliveries as in flight, as many as there is room for."""
        room = {name: self._concurrency - self._busy[name] for name in self._subscriptions}
        at = now()

        def look(connection: sqlite3.Connection) -> list[str]:
            due = "SELECT 1 FROM deliveries WHERE subscription = ? AND due <= ? LIMIT 1"
            return [name for name in room if room[name] > 0 and connection.execute(due, (name, at)).fetchone()]

        def claim(connection: sqlite3.Connection) -> list[Delivery]:
            found: list[Delivery] = []
            for name in names:
                rows = connection.execute(
                    "UPDATE deliveries SET due = NULL, attempts = attempts + 1 WHERE id IN"
                    " (SELECT id FROM deliveries WHERE subscription = ? AND due <= ? ORDER BY due LIMIT ?)"
                    " RETURNING id, subscription, message, data, published, attempts, failures, attributes",
                    (name, at, room[name]),
                )
                found += map(Delivery._make, rows.fetchall())
            return found

        names = await self._file.read(look)
        return await self._file.write(claim) if names else []

    async def _deliver(self, subscription: Subscription, delivery: Delivery) -> None:
        try:
            failure = await push(self._session, self._sign, subscription, _envelope(delivery))
            if failure is None:
                await self._settle(lambda connection: acknowledge(connection, delivery))
            else:
                _log.warning("push to %s, attempt %d: %s", subscription.name, delivery.attempts, failure.reason)
                await self._settle(lambda connection: _nack(connection, subscription, delivery, failure))
        finally:
            self._busy[subscription.name] -= 1
            self._wake.set()

    async def _settle(self, work: Work[None]) -> None:
        """Record a push's end, however long the file is unavailable: until then nobody else would."""
        while True:
            try:
                return await self._file.write(work)
            except Unavailable as error:
                _log.warning("the bus cannot write its file: %s", error)
                await asyncio.sleep(_POLL)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table of messages as its dataclass takes it."""
    return row | {"data": json.loads(row["data"]), "attributes": json.loads(row["attributes"])}


# --- what a bus file tells, whoever delivers ----------------------------------------------------------------------------


async def pending(file: SqliteFile, subscriptions: Iterable[str]) -> dict[str, int]:
    """Per subscription, how many messages are in `deliveries`."""
    found = await rows(file, "SELECT subscription, count(*) AS total FROM deliveries GROUP BY subscription")
    return dict.fromkeys(subscriptions, 0) | {row["subscription"]: row["total"] for row in found}


async def recent(file: SqliteFile, limit: int) -> list[Delivered]:
    """What was delivered last, newest first."""
    found = await rows(file, "SELECT * FROM delivered ORDER BY seq DESC LIMIT ?", limit)
    return [Delivered(**_read(row)) for row in found]


async def dead_letters(file: SqliteFile, limit: int) -> list[DeadLetter]:
    """What was given up, newest first."""
    found = await rows(file, "SELECT * FROM dead_letters ORDER BY at DESC, id DESC LIMIT ?", limit)
    return [DeadLetter(**_read(row)) for row in found]


async def rows(file: SqliteFile, sql: str, *arguments: object) -> list[dict[str, Any]]:
    """A query's rows, by the names of its columns."""

    def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        cursor = connection.execute(sql, arguments)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    return await file.scan(work)


async def push(
    session: aiohttp.ClientSession | None, sign: Callable[[str], str], subscription: Subscription, body: Mapping[str, Any]
) -> Failure | None:
    """Hand a push body to the subscription's endpoint, signed for its audience; None when it was acknowledged."""
    assert session is not None
    try:
        headers = {"Authorization": f"Bearer {sign(subscription.audience)}"}
        async with (
            asyncio.timeout(subscription.ack_deadline),
            session.post(subscription.endpoint, json=body, headers=headers, allow_redirects=False) as response,
        ):
            await response.read()
            return None if response.status in ACKS else Failure(response.status, f"answered {response.status}")
    except TimeoutError:
        return Failure(0, f"no answer within {subscription.ack_deadline:g} s")
    except Exception as error:  # whatever happened, the message was not acknowledged
        return Failure(0, f"no answer ({type(error).__name__})")


def acknowledge(connection: sqlite3.Connection, delivery: Delivery) -> None:
    cursor = connection.execute(
        "INSERT INTO delivered (subscription, topic, message, data, published, at, attempts, attributes)"
        " SELECT subscription, topic, message, data, published, ?, attempts, attributes FROM deliveries WHERE id = ?",
        (now(), delivery.id),
    )
    connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))
    connection.execute("DELETE FROM delivered WHERE seq <= ?", ((cursor.lastrowid or 0) - _KEPT,))


def _nack(connection: sqlite3.Connection, subscription: Subscription, delivery: Delivery, failure: Failure) -> None:
    failures = delivery.failures + 1
    if failures < subscription.max_attempts:
        connection.execute(
            "UPDATE deliveries SET failures = ?, due = ? WHERE id = ?",
            (failures, now() + round(backoff(subscription, failures) * 1000), delivery.id),
        )
        return
    connection.execute(
        "INSERT INTO dead_letters SELECT id, subscription, topic, message, data, published, ?, attempts, ?, ?, attributes"
        " FROM deliveries WHERE id = ?",
        (now(), *failure, delivery.id),
    )
    connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))


def backoff(subscription: Subscription, failures: int) -> float:
    """Seconds to wait: doubling from `min_backoff`, a quarter more or less, within the subscription's bounds."""
    delay: float = subscription.min_backoff * 2 ** (failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311
    return max(subscription.min_backoff, min(subscription.max_backoff, delay))


def _envelope(delivery: Delivery) -> dict[str, Any]:
    """The push body: https://cloud.google.com/pubsub/docs/push#properties_of_a_push_request"""
    published = datetime.fromtimestamp(delivery.published / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "message": {
            "data": base64.b64encode(delivery.data.encode()).decode("ascii"),
            "messageId": delivery.message,
            "publishTime": published.replace("+00:00", "Z"),
            "attributes": json.loads(delivery.attributes),
        },
        "subscription": f"projects/local/subscriptions/{delivery.subscription}",
        "deliveryAttempt": delivery.attempts,
    }


def now() -> int:
    return time.time_ns() // 1_000_000
