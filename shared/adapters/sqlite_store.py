"""The Store on one SQLite file, for the laptop without a cloud account: Firestore's semantics, durable at every commit.

A document is one row of JSON in a table clustered by (collection, id), so a page is a range scan. Filters are decided by one
Python rule; SQL only leaves out the rows whose text cannot hold the value asked for, which needs no index and so costs writes
nothing. Bytes are stored as {"__bytes__": base64}, an Expiry as {"__expiry__": ms}: names that look like `__this__` are reserved, as
they are in Firestore.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import sqlite3
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared.adapters.documents import Operations, check_collection, check_writes, field, is_number, names, same, split
from shared.adapters.sqlite_file import SqliteFile
from shared.errors import Conflict, Unavailable
from shared.ports import MAX_WRITES, ArrayUnion, Create, Data, Delete, Document, Expiry, Filter, Maximum, Minimum, Replace, Write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL, id TEXT NOT NULL, version TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) WITHOUT ROWID
"""
_GET = "SELECT version, data FROM documents WHERE collection = ? AND id = ?"
_CREATE = "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_PUT = "REPLACE INTO documents VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM documents WHERE collection = ? AND id = ?"
_RANGE = "SELECT id, version, data FROM documents WHERE collection = ? AND id > ? AND id < ? ORDER BY id LIMIT ?"
_FILTERED = (
    "SELECT id, version, data FROM documents WHERE collection = ? AND id > ? AND id < ? AND instr(data, ?) AND instr(data, ?)"
    " ORDER BY id"
)
_AT_MOST = (
    "SELECT id, version, data FROM documents WHERE collection = :collection AND json_type(data, :place) IN ('integer', 'real')"
    " AND json_extract(data, :place) <= :most ORDER BY json_extract(data, :place), id LIMIT :limit"
)
_COUNT = "SELECT count(*) FROM documents WHERE collection = ? AND id < ?"
_NO_END = b""  # SQLite sorts every text before every blob
_POINT_READS = 50  # more documents than this are read on the thread for long reads


class _Plan(NamedTuple):
    """A write whose path and values have been checked; `text` is the document of a Create or a Replace."""

    collection: str
    id: str
    write: Write
    text: str


class SqliteStore:
    """Implements `shared.ports.Store`. A malformed path, field name or value, or a path twice in a call, is a ValueError."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._run = secrets.token_hex(6)  # versions of two processes, or of two runs, never meet
        self._serial = itertools.count(1)
        self.operations = Operations()

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Open or make the file; needs no event loop. Raises Unavailable."""
        return cls(SqliteFile.open(path, _SCHEMA))

    def close(self) -> None:
        """Finish the writes handed in and let go of the file."""
        self._file.close()

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        """The document, cut to `fields`, or None."""
        return (await self.get_many([path], fields))[0]

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        """As `get`, in the order of `paths`."""
        keys = [(path, *split(path)) for path in paths]

        def work(connection: sqlite3.Connection) -> list[Document | None]:
            found: list[Document | None] = []
            for path, collection, id in keys:
                row = connection.execute(_GET, (collection, id)).fetchone()
                found.append(None if row is None else Document(path, row[0], _cut(_decode(row[1]), fields)))
            return found

        lane = self._file.read if len(keys) <= _POINT_READS else self._file.scan
        documents = await lane(work)
        self.operations.reads += len(keys)
        return documents

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """Up to `limit` documents directly in `collection`, ordered by id (bytewise), with id > `after`."""
        check_collection(collection)

        def work(connection: sqlite3.Connection) -> list[Document]:
            return [
                Document(f"{collection}/{id}", version, _cut(data, fields))
                for id, version, data in _select(connection, collection, filter, after, limit)
            ]

        documents = await self._file.scan(work)
        self.operations.reads += max(1, len(documents))
        return documents

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        """How many documents `page` would go through."""
        check_collection(collection)

        def work(connection: sqlite3.Connection) -> int:
            if filter.equals or filter.contains or filter.at_most:
                return sum(1 for _ in _select(connection, collection, filter, "", -1))
            end = _NO_END if filter.below is None else filter.below
            return int(connection.execute(_COUNT, (collection, end)).fetchone()[0])

        total = await self._file.scan(work)
        self.operations.counts += 1
        self.operations.reads += max(1, math.ceil(total / 1000))
        return total

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        """Apply all writes or none; the new version of each ("" for a Delete)."""
        if len(writes) > MAX_WRITES:
            raise ValueError(f"a commit takes at most {MAX_WRITES} writes, not {len(writes)}")
        plans = _plans(writes)
        if not plans:
            return []
        versions = await self._file.write(lambda connection: [self._apply(connection, plan) for plan in plans])
        self._billed(versions)
        return versions

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        """Apply each write on its own: its new version, or the error that befell this one."""
        plans = _plans(writes)
        results: list[str | Conflict | Unavailable] = []
        for start in range(0, len(plans), MAX_WRITES):
            results += await self._write_each(plans[start : start + MAX_WRITES])
        self._billed([result for result in results if isinstance(result, str)])
        return results

    async def _write_each(self, plans: list[_Plan]) -> Sequence[str | Conflict | Unavailable]:
        def attempt(connection: sqlite3.Connection, plan: _Plan) -> str | Conflict:
            try:
                return self._apply(connection, plan)
            except Conflict as conflict:  # found before anything was written
                return conflict

        try:
            return await self._file.write(lambda connection: [attempt(connection, plan) for plan in plans])
        except Unavailable as error:
            return [error] * len(plans)

    def _billed(self, versions: Sequence[str]) -> None:
        deletes = sum(1 for version in versions if not version)
        self.operations.deletes += deletes
        self.operations.writes += len(versions) - deletes

    def _apply(self, connection: sqlite3.Connection, plan: _Plan) -> str:
        """Do one write inside the open transaction; its new version. Raises Conflict before it changes anything."""
        collection, id, write, text = plan
        version = f"{self._run}-{next(self._serial)}"
        if isinstance(write, Create):
            if not connection.execute(_CREATE, (collection, id, version, text)).rowcount:
                raise Conflict(write.path, "exists")
            return version
        row = connection.execute(_GET, (collection, id)).fetchone()
        if write.if_version is not None and (row is None or row[0] != write.if_version):
            raise Conflict(write.path, "version")
        if isinstance(write, Delete | Replace) and row is not None:
            self._file.wipe(connection)
        if isinstance(write, Delete):
            connection.execute(_DELETE, (collection, id))
            return ""
        if not isinstance(write, Replace):
            text = _encode(_merged({} if row is None else _decode(row[1]), write.data))
        if row is not None and text == row[1]:
            return str(row[0])  # nothing changed
        connection.execute(_PUT, (collection, id, version, text))
        return version


def _plans(writes: Sequence[Write]) -> list[_Plan]:
    check_writes(writes)
    return [_plan(write) for write in writes]


def _plan(write: Write) -> _Plan:
    collection, id = split(write.path)
    return _Plan(collection, id, write, _encode(_merged({}, write.data)) if isinstance(write, Create | Replace) else "")


# --- values -----------------------------------------------------------------------------------------------------------


def _tag(value: bytes | Expiry) -> dict[str, Any]:
    if isinstance(value, Expiry):
        return {"__expiry__": value.at}
    return {"__bytes__": b2a_base64(value, newline=False).decode("ascii")}


def _untag(value: dict[str, Any]) -> Any:
    if "__expiry__" in value:
        return Expiry(value["__expiry__"])
    return a2b_base64(value["__bytes__"]) if "__bytes__" in value else value


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, default=_tag).encode
_decode_plain = json.JSONDecoder().decode
_decode_tagged = json.JSONDecoder(object_hook=_untag).decode


def _decode(text: str) -> dict[str, Any]:
    data: dict[str, Any] = _decode_tagged(text) if '"__' in text else _decode_plain(text)
    return data


def _cut(data: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    return data if fields is None else {name: data[name] for name in fields if name in data}


def _merged(data: dict[str, Any], changes: Data) -> dict[str, Any]:
    """`data`, changed in place; what stands where a map is needed gives way to one."""
    for key, value in changes.items():
        *parents, name = names(key)
        target = data
        for parent in parents:
            child = target.get(parent)
            if not isinstance(child, dict):
                child = target[parent] = {}
            target = child
        target[name] = _transformed(target.get(name), value)
    return data


def _transformed(current: Any, change: Any) -> Any:
    if isinstance(change, Minimum):
        return min(current, change.value) if is_number(current) else change.value
    if isinstance(change, Maximum):
        return max(current, change.value) if is_number(current) else change.value
    if not isinstance(change, ArrayUnion):
        return change
    items = list(current) if isinstance(current, list) else []
    for value in change.values:
        if not any(same(item, value) for item in items):
            items.append(value)
    return items


# --- filters ----------------------------------------------------------------------------------------------------------


def _select(
    connection: sqlite3.Connection, collection: str, filter: Filter, after: str, limit: int
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(id, version, data) of up to `limit` matching documents (-1: all), in the order of their ids."""
    end = _NO_END if filter.below is None else filter.below
    if filter.at_most:
        name, most = filter.at_most
        place = "$" + "".join(f'."{part}"' for part in names(name))
        for id, version, text in connection.execute(
            _AT_MOST, {"collection": collection, "place": place, "most": most, "limit": limit}
        ):
            yield id, version, _decode(text)
        return
    if not filter.equals and not filter.contains:
        for id, version, text in connection.execute(_RANGE, (collection, after, end, limit)):
            yield id, version, _decode(text)
        return
    arguments = (collection, after, end, _needle(filter.equals), _needle(filter.contains))
    rows = ((id, version, _decode(text)) for id, version, text in connection.execute(_FILTERED, arguments))
    matching = (row for row in rows if _matches(row[2], filter))
    yield from matching if limit < 0 else itertools.islice(matching, limit)


def _needle(condition: tuple[str, Any] | None) -> str:
    """A text found in the JSON of every document that can match; "" when none is certain."""
    value = None if condition is None else condition[1]
    if isinstance(value, str | bool | bytes):
        return _encode(value)
    return ""


def _matches(data: dict[str, Any], filter: Filter) -> bool:
    if filter.equals:
        present, value = field(data, filter.equals[0])
        if not present or not same(value, filter.equals[1]):
            return False
    if filter.contains:
        _, value = field(data, filter.contains[0])
        return isinstance(value, list) and any(same(item, filter.contains[1]) for item in value)
    return True
