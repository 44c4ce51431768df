"""Google Pub/Sub's delivering half: the twin's bus on the official emulator.

The emulator pushes without the Authorization header and the deliveryAttempt that Google sends. So it pushes to a forwarder of ours,
which signs and counts, and hands on to the step: authentication is never switched off. What else Google would tell by metrics is
read from taps: pull subscriptions that see every message of a topic. The back-off is the forwarder's too: it answers a failure when the
wait is over, because the emulator forgets messages of a subscription with a retry policy. It all lands in the tables of
`shared.adapters.sqlite_bus`:

    deliveries    published, and neither acknowledged nor given up
    delivered     acknowledged by the step, through the forwarder
    dead_letters  given up by Pub/Sub; the message itself waits in the subscription `{name}-dead` until it is replayed

A row of `deliveries` exists before its message can be acknowledged, because the forwarder reads the tap first. The emulator
keeps nothing when it ends: rows of an earlier one are dropped at the start.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import sqlite3
import warnings
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from google.api_core import exceptions
from google.pubsub_v1 import PubsubMessage, PushConfig, ReceivedMessage
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local import bus
from local.bus import (
    IDLE,
    DeadLetter,
    Delivered,
    Delivery,
    Failure,
    Subscription,
    acknowledge,
    backoff,
    now,
    push,
)
from local.dead_letters import CALL, SOURCE, Clients, DeadLetters, content, dead, letter, milliseconds, told
from shared.adapters.sqlite_bus import open_file
from shared.errors import Unavailable

_INDEX = "CREATE INDEX IF NOT EXISTS deliveries_message ON deliveries (message)"
_FIND = (
    "SELECT id, subscription, message, data, published, attempts + 1, failures, attributes FROM deliveries"
    " WHERE message = ? AND subscription = ?"
)
_ATTEMPTED = "UPDATE deliveries SET attempts = ?, failures = failures + ?, due = ? WHERE id = ?"
_SEEN = (
    "INSERT INTO deliveries (subscription, topic, message, data, published, due, attributes) SELECT :subscription, :topic, :message,"
    " :data, :published, :published, :attributes WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE message = :message AND"
    " subscription = :subscription) AND NOT EXISTS (SELECT 1 FROM delivered WHERE message = :message AND"
    " subscription = :subscription)"  # a tap, too, delivers at least once
)
_LONGEST = 5.0  # seconds a failure is held back: the emulator has two pushes of a subscription under way at most

_log = logging.getLogger(__name__)
# Deprecated on Google, where it may miss messages; the emulator has them all in one memory, and a tap must not wait for the next.
warnings.filterwarnings("ignore", "The return_immediately flag is deprecated")


class PubsubBus:
    """The twin's bus on the emulator at `host`, with the methods of `local.bus.LocalBus`.

    `forwarder` is the base URL at which the caller serves `routes()`; `topics` are declared besides those of the subscriptions.
    """

    def __init__(
        self,
        path: Path,
        project: str,
        host: str,
        subscriptions: Sequence[Subscription],
        sign: Callable[[str], str],
        *,
        forwarder: str,
        topics: Sequence[str] = (),
    ) -> None:
        self._file = open_file(path)
        self._project, self._host = project, host
        self._subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._silent = set(topics) - {subscription.topic for subscription in subscriptions}
        self._sign = sign
        self._forwarder = forwarder
        self._token = secrets.token_urlsafe()  # or anyone on the machine could have a forged push signed
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failures: dict[int, Failure] = {}  # by delivery, the last one
        self._pushes: set[asyncio.Task[Failure | None]] = set()
        self._clients: Clients | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def routes(self) -> list[Route]:
        """Where the emulator pushes to."""
        return [Route("/push/{name}", self._forward, methods=["POST"])]

    async def start(self) -> None:
        """Declare everything, and let the emulator push until `stop`. Raises Unavailable."""
        self._clients = Clients(self._project, self._host)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        await self._file.write(lambda connection: _execute(connection, _INDEX))
        with told():
            for topic in self._silent:
                await self._declare_topic(topic)
            for subscription in self._subscriptions.values():
                await self._declare(subscription)

    async def stop(self, grace: float = 5.0) -> None:
        """End, for good; pushes in flight have `grace` seconds to be answered. The emulator keeps the rest for the next start."""
        if self._closed:
            return
        self._closed = True
        if self._clients is not None:
            with suppress(exceptions.GoogleAPIError):  # it may have ended before us
                for name in self._subscriptions:
                    await self._point(name, PushConfig(), timeout=2.0)
        if self._pushes:
            _, late = await asyncio.wait(self._pushes, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._clients is not None:
            with suppress(Unavailable):
                await self._read_taps(timeout=2.0)
            await self._clients.close()
        if self._session is not None:
            await self._session.close()
        self._file.close()

    # --- to look at ---------------------------------------------------------------------------------------------------

    async def pending(self) -> dict[str, int]:
        """Per subscription, how many messages are published and neither acknowledged nor given up. Raises Unavailable."""
        await self._read_taps()
        return await bus.pending(self._file, self._subscriptions)

    async def recent(self, limit: int = 100) -> list[Delivered]:
        """What was delivered last, newest first; about the last 500 are kept."""
        return await bus.recent(self._file, limit)

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """What was given up, newest first. Raises Unavailable."""
        await self._read_taps()
        return await bus.dead_letters(self._file, limit)

    async def replay(self, id: int | None = None) -> int:
        """Publish one dead letter again, or all of them; how many there were. Raises Unavailable."""
        await self._read_taps()
        assert self._clients is not None
        operator = DeadLetters(self._clients)
        by_subscription: defaultdict[str, list[int]] = defaultdict(list)
        for row in await bus.rows(self._file, "SELECT id, subscription FROM dead_letters WHERE id = coalesce(?, id)", id):
            by_subscription[row["subscription"]].append(row["id"])
        total = 0
        for name, ids in by_subscription.items():
            total += await operator.replay(name, ids)
            await self._file.write(partial(_forget, letters=ids))
        return total

    # --- declaring ----------------------------------------------------------------------------------------------------

    async def _declare_topic(self, name: str) -> bool:
        """Whether it is new."""
        assert self._clients is not None
        return await _made(self._clients.publisher.create_topic(name=self._clients.topic(name), timeout=CALL))

    async def _declare_subscription(self, name: str, topic: str, **options: Any) -> bool:
        """Whether it is new."""
        assert self._clients is not None
        request = {"name": self._clients.subscription(name), "topic": self._clients.topic(topic), **options}
        return await _made(self._clients.subscriber.create_subscription(request=request, timeout=CALL))

    async def _declare(self, subscription: Subscription) -> None:
        name, topic, grave = subscription.name, subscription.topic, dead(subscription.name)
        for one in (topic, grave):
            await self._declare_topic(one)
            await self._declare_subscription(_tap(one), one, ack_deadline_seconds=600)
        await self._declare_subscription(grave, grave, ack_deadline_seconds=60)
        options = {
            "ack_deadline_seconds": math.ceil(subscription.ack_deadline),
            "dead_letter_policy": {
                "dead_letter_topic": f"projects/{self._project}/topics/{grave}",
                "max_delivery_attempts": subscription.max_attempts,
            },
        }
        if await self._declare_subscription(name, topic, **options):
            await self._file.write(lambda connection: _drop(connection, name))
        await self._point(name, PushConfig(push_endpoint=f"{self._forwarder}/push/{name}?token={self._token}"))

    async def _point(self, name: str, config: PushConfig, timeout: float = CALL) -> None:
        """Let a subscription push there; nowhere: it keeps its messages."""
        assert self._clients is not None
        path = self._clients.subscription(name)
        await self._clients.subscriber.modify_push_config(subscription=path, push_config=config, timeout=timeout)

    # --- pushing ------------------------------------------------------------------------------------------------------

    async def _forward(self, request: Request) -> Response:
        """Hand a push of the emulator's on to its step, signed; the step's status, as far as Google would see an answer in it."""
        subscription = self._subscriptions.get(request.path_params["name"])
        token = request.query_params.get("token", "")
        if subscription is None or not secrets.compare_digest(token.encode(), self._token.encode()):
            return Response(status_code=404)
        body = await request.json()
        try:
            delivery = await self._found(subscription, body["message"]["messageId"])
            if delivery is not None:
                body["deliveryAttempt"] = delivery.attempts
            if self._closed:
                return Response(status_code=503)
            under_way = asyncio.create_task(push(self._session, self._sign, subscription, body))
            self._pushes.add(under_way)
            under_way.add_done_callback(self._pushes.discard)
            await asyncio.wait([under_way])
            if under_way.cancelled():
                return Response(status_code=503)
            failure = under_way.result()
            if delivery is not None:
                await self._settle(delivery, failure)
        except Unavailable as error:
            _log.warning("a push to %s is left for later: %s", subscription.name, error)
            return Response(status_code=503)
        if failure is None:
            return Response(status_code=204)
        _log.warning("push to %s, attempt %d: %s", subscription.name, body.get("deliveryAttempt", 0), failure.reason)
        if delivery is not None and not self._closed:
            await asyncio.sleep(min(backoff(subscription, delivery.failures + 1), _LONGEST))
        return Response(status_code=failure.status if failure.status >= 400 else 502)  # the emulator takes 203 for an answer

    async def _found(self, subscription: Subscription, message: str) -> Delivery | None:
        """The row of a message, this attempt counted; None when it was acknowledged before (its answer came too late)."""

        def find(connection: sqlite3.Connection) -> Delivery | None:
            row = connection.execute(_FIND, (message, subscription.name)).fetchone()
            return None if row is None else Delivery(*row)

        found = await self._file.read(find)
        if found is None:
            await self._read_tap(subscription.topic, self._published)
            found = await self._file.read(find)
        return found

    async def _settle(self, delivery: Delivery, failure: Failure | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_ATTEMPTED, (delivery.attempts, failure is not None, now(), delivery.id))
            if failure is None:
                acknowledge(connection, delivery)

        if failure is not None:
            self._failures[delivery.id] = failure
        await self._file.write(work)

    # --- the taps -----------------------------------------------------------------------------------------------------

    async def _read_taps(self, timeout: float = CALL) -> None:
        for subscription in self._subscriptions.values():
            await self._read_tap(subscription.topic, self._published, timeout)
            await self._read_tap(dead(subscription.name), self._given_up, timeout)

    async def _read_tap(
        self, topic: str, note: Callable[[sqlite3.Connection, str, PubsubMessage], None], timeout: float = CALL
    ) -> None:
        """Note every message that was published to `topic` before this call. Raises Unavailable."""
        assert self._clients is not None
        path = self._clients.subscription(_tap(topic))
        ask = {"subscription": path, "max_messages": 1000, "return_immediately": True}
        async with self._reading[topic]:
            while True:
                with told():
                    found = (await self._clients.subscriber.pull(request=ask, timeout=timeout)).received_messages
                if not found:
                    return

                def work(connection: sqlite3.Connection, found: Sequence[ReceivedMessage] = found) -> None:
                    for one in found:
                        note(connection, topic, one.message)

                await self._file.write(work)
                acks = [one.ack_id for one in found]
                with told():
                    await self._clients.subscriber.acknowledge(subscription=path, ack_ids=acks, timeout=timeout)

    def _published(self, connection: sqlite3.Connection, topic: str, message: PubsubMessage) -> None:
        row = {
            "topic": topic,
            "message": message.message_id,
            "data": content(message),
            "published": milliseconds(message.publish_time),
            "attributes": json.dumps(dict(message.attributes)),
        }
        names = [subscription.name for subscription in self._subscriptions.values() if subscription.topic == topic]
        connection.executemany(_SEEN, [{**row, "subscription": name} for name in names])

    def _given_up(self, connection: sqlite3.Connection, grave: str, message: PubsubMessage) -> None:
        """A dead letter has an id of its own: its delivery is found by content and time of publishing."""
        name = message.attributes[f"{SOURCE}Subscription"]
        found = letter(message, self._subscriptions[name].topic)
        alike = "SELECT id FROM deliveries WHERE subscription = ? AND data = ? AND published = ? ORDER BY failures DESC LIMIT 1"
        delivery = connection.execute(alike, (name, content(message), found.published)).fetchone()
        failure = Failure(0, "")
        if delivery is not None:
            connection.execute("DELETE FROM deliveries WHERE id = ?", delivery)
            failure = self._failures.pop(delivery[0], failure)
        texts = {"data": content(message), "attributes": json.dumps(found.attributes)}
        row = {**asdict(found), **failure._asdict(), **texts}
        columns = ", ".join(row)
        values = ", ".join(f":{column}" for column in row)
        connection.execute(f"INSERT OR IGNORE INTO dead_letters ({columns}) VALUES ({values})", row)


def _execute(connection: sqlite3.Connection, sql: str, *arguments: object) -> None:
    connection.execute(sql, arguments)


def _forget(connection: sqlite3.Connection, letters: Sequence[int]) -> None:
    connection.executemany("DELETE FROM dead_letters WHERE id = ?", [(id,) for id in letters])


def _drop(connection: sqlite3.Connection, subscription: str) -> None:
    """Forget what an earlier emulator held for a subscription; the message ids of the new one begin at 1 again."""
    connection.execute("DELETE FROM delivered WHERE subscription = ?", (subscription,))
    lost = connection.execute("DELETE FROM deliveries WHERE subscription = ?", (subscription,)).rowcount
    lost += connection.execute("DELETE FROM dead_letters WHERE subscription = ?", (subscription,)).rowcount
    if lost:
        _log.warning("%d messages to %s were lost with an earlier emulator", lost, subscription)


def _tap(topic: str) -> str:
    return f"{topic}-tap"


async def _made(creation: Awaitable[object]) -> bool:
    """Whether what was to be created is new."""
    try:
        await creation
    except exceptions.AlreadyExists:
        return False
    return True
