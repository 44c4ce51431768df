"""The publishing half of the laptop's bus: messages become rows, one for each subscription, before `publish` returns.

The other half, `local.bus`, pushes the rows to the steps and declares which topics and subscriptions exist. The schema is here,
where both can import it. A row of `deliveries` is waiting (`due`: when, in ms since the epoch) or in flight (`due` NULL).
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from shared.adapters.sqlite_file import SqliteFile
from shared.errors import Unavailable
from shared.logs import carried

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS subscriptions (name TEXT PRIMARY KEY, topic TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL, topic TEXT NOT NULL, message TEXT NOT NULL,
    data TEXT NOT NULL, published INTEGER NOT NULL, due INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
    attributes TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (subscription, due);
CREATE TABLE IF NOT EXISTS delivered (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL, topic TEXT NOT NULL, message TEXT NOT NULL,
    data TEXT NOT NULL, published INTEGER NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL,
    attributes TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY, subscription TEXT NOT NULL, topic TEXT NOT NULL, message TEXT NOT NULL, data TEXT NOT NULL,
    published INTEGER NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL,
    attributes TEXT NOT NULL DEFAULT '{}'
);
"""
_json = json.JSONEncoder(allow_nan=False).encode  # `dumps` would make an encoder each time
_PUBLISH = """
INSERT INTO deliveries (subscription, topic, message, data, published, due, attributes)
SELECT name, topic, ?, ?, ?, ?, ? FROM subscriptions WHERE topic = ?
"""


def open_file(path: Path) -> SqliteFile:
    """Open or make the bus's file; one from before messages had attributes gets their columns. Raises Unavailable."""
    file = SqliteFile.open(path, SCHEMA)
    try:
        with closing(sqlite3.connect(path, timeout=file.patience)) as connection:
            for table in ("deliveries", "delivered", "dead_letters"):
                _add_attributes(connection, table)
    except sqlite3.Error as error:
        file.close()
        raise Unavailable(path.name, str(error)) from error
    return file


def _add_attributes(connection: sqlite3.Connection, table: str) -> None:
    try:
        connection.execute(f"SELECT attributes FROM {table} LIMIT 0")  # noqa: S608
    except sqlite3.OperationalError:
        with suppress(sqlite3.OperationalError):  # another process did it, or the next use says what is wrong
            connection.execute(f"ALTER TABLE {table} ADD COLUMN attributes TEXT NOT NULL DEFAULT '{{}}'")


class SqliteBus:
    """Implements `shared.ports.Bus` for any process that can open the file."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path) -> SqliteBus:
        """Open or make the file; needs no event loop. Raises Unavailable."""
        return cls(open_file(path))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """All messages or none, durable on return. Raises Unavailable, also for a topic that nobody has declared."""
        now, attributes = time.time_ns() // 1_000_000, json.dumps(carried())
        rows = [(_new_id(), _json(message), now, now, attributes, topic) for message in messages]

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM topics WHERE name = ?", (topic,)).fetchone() is None:
                raise Unavailable("bus", f"nobody has declared the topic {topic!r}; is the local bus running?")
            connection.executemany(_PUBLISH, rows)

        await self._file.write(work)
        self._file.signal()

    async def check(self) -> None:
        """Return when a publish would be accepted now; raises Unavailable."""
        await self._file.write(_expect_topics)


def _expect_topics(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM topics").fetchone() is None:
        raise Unavailable("bus", "nobody has declared a topic; is the local bus running?")


def _new_id() -> str:
    return str(secrets.randbits(60))
