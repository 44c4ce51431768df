"""The Store's contract on SQLite, what it counts, and random histories against a plain dict."""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters import sqlite_file
from shared.adapters.documents import Operations
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import Conflict, Unavailable
from shared.ports import ArrayUnion, Create, Delete, Filter, Maximum, Merge, Minimum, Replace, Write
from tests.contract.store_contract import StoreContract


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "state" / "store.db")
    yield store
    store.close()


class TestSqliteStore(StoreContract):
    pass


async def test_operations_are_counted_as_firestore_bills_them(store: SqliteStore) -> None:
    await store.write_many([Create(f"c/{n:04}", {"odd": n % 2}) for n in range(1500)])
    assert store.operations == Operations(writes=1500)
    await store.commit([Merge("c/0000", {}), Delete("c/0001"), Delete("c/absent")])
    with pytest.raises(Conflict):
        await store.commit([Create("c/0000", {})])
    await store.write_many([Create("c/0000", {})])
    assert store.operations == Operations(writes=1501, deletes=2)
    await store.get("c/0000")
    await store.get_many(["c/0000", "c/absent"])
    await store.page("c", limit=50)
    await store.page("c", Filter(equals=("odd", 7)))
    assert store.operations == Operations(reads=1 + 2 + 50 + 1, writes=1501, deletes=2)
    await store.count("c")
    await store.count("empty")
    assert store.operations == Operations(reads=54 + 2 + 1, writes=1501, deletes=2, counts=2)


async def test_two_stores_of_a_process_share_a_file_until_the_last_closes(tmp_path: Path) -> None:
    one, two = SqliteStore.open(tmp_path / "s.db"), SqliteStore.open(tmp_path / "x" / ".." / "s.db")
    versions = [*await one.commit([Create("c/1", {})]), *await two.commit([Create("c/2", {})])]
    one.close()
    assert len(set(versions)) == 2
    assert await two.count("c") == 2
    two.close()
    with pytest.raises(Unavailable):
        await two.count("c")
    again = SqliteStore.open(tmp_path / "s.db")
    assert await again.count("c") == 2
    again.close()


# --- random histories -------------------------------------------------------------------------------------------------

_scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 2.5, "a", "b", "open", b"a", b""])
_values = _scalars | st.lists(_scalars, max_size=3) | st.dictionaries(st.sampled_from("ab"), _scalars, max_size=2)
_numbers = st.integers(-3, 3) | st.sampled_from([0.5, 1.0])
_changes = (
    _values
    | st.builds(Minimum, _numbers)
    | st.builds(Maximum, _numbers)
    | st.builds(ArrayUnion, st.lists(_scalars, max_size=3).map(tuple))
)
_paths = st.sampled_from(["c/1", "c/2", "c/3", "c/1/d/1"])
_writes = (
    st.builds(Create, _paths, st.dictionaries(st.sampled_from(["a", "b"]), _changes, max_size=2))
    | st.builds(
        Merge,
        _paths,
        st.dictionaries(st.sampled_from(["a", "b.a", "b.b", "c"]), _changes, max_size=3),
        st.sampled_from([None, None, "current", "stale"]),
    )
    | st.builds(
        Replace,
        _paths,
        st.dictionaries(st.sampled_from(["a", "b"]), _changes, max_size=2),
        st.sampled_from([None, "current", "stale"]),
    )
    | st.builds(Delete, _paths, st.sampled_from([None, "current", "stale"]))
)
_histories = st.lists(st.lists(_writes, min_size=1, max_size=3, unique_by=lambda write: write.path), max_size=12)


def _key(value: Any) -> Any:
    """Hashable, and equal for what Firestore calls equal."""
    match value:
        case bool() | None | str() | bytes():
            return (type(value).__name__, value)
        case int() | float():
            return ("number", float(value))
        case list():
            return ("list", tuple(map(_key, value)))
        case _:
            return ("map", frozenset((name, _key(item)) for name, item in value.items()))


def _change(current: Any, change: Any) -> Any:
    number = type(current) in (int, float)
    match change:
        case Minimum(value):
            return value if not number or value < current else current
        case Maximum(value):
            return value if not number or value > current else current
        case ArrayUnion(values):
            kept = {_key(item): item for item in reversed(current)} if isinstance(current, list) else {}
            items = list(current) if isinstance(current, list) else []
            for value in values:
                if _key(value) not in kept:
                    kept[_key(value)] = value
                    items.append(value)
            return items
    return change


class Model:
    """The contract in the fewest words: a dict of (version number, data)."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, dict[str, Any]]] = {}
        self.serial = 0

    def commit(self, writes: list[Write]) -> str:
        before = copy.deepcopy(self.documents)
        for write in writes:
            if why := self._apply(write):
                self.documents = before
                return why
        return ""

    def _apply(self, write: Write) -> str:
        found = self.documents.get(write.path)
        if isinstance(write, Create):
            if found:
                return "exists"
        elif write.if_version and (not found or write.if_version == "stale"):
            return "version"
        if isinstance(write, Delete):
            self.documents.pop(write.path, None)
            return ""
        data = found[1] if found and not isinstance(write, Replace) else {}
        for key, change in write.data.items():
            outer, _, inner = key.partition(".")
            if not inner:
                data[outer] = _change(data.get(outer), change)
                continue
            if not isinstance(data.get(outer), dict):
                data[outer] = {}
            data[outer][inner] = _change(data[outer].get(inner), change)
        self.serial += 1
        self.documents[write.path] = (self.serial, copy.deepcopy(data))
        return ""


async def _play(store: SqliteStore, history: list[list[Write]]) -> None:
    model = Model()
    for writes in history:
        found = await store.get_many([write.path for write in writes])
        versions = [document.version if document else "none" for document in found]
        expected = model.commit(writes)
        try:
            await store.commit([_with_version(write, version) for write, version in zip(writes, versions, strict=True)])
            why: str = ""
        except Conflict as conflict:
            why = conflict.why
        assert why == expected
        for collection in ("c", "c/1/d"):
            await _compare(store, model, collection)


def _with_version(write: Write, version: str) -> Write:
    if isinstance(write, Create) or write.if_version is None:
        return write
    actual = version if write.if_version == "current" else version + "stale"
    return replace(write, if_version=actual)


async def _compare(store: SqliteStore, model: Model, collection: str) -> None:
    expected = {path: data for path, (_, data) in sorted(model.documents.items()) if path.rpartition("/")[0] == collection}
    assert _key({d.path: d.data for d in await store.page(collection)}) == _key(expected)
    for value in (1, True, None, "a", 1.0, b"a"):
        equal = [path for path, data in expected.items() if "a" in data and _key(data["a"]) == _key(value)]
        holding = [path for path, data in expected.items() if _key(value) in map(_key, _list(data.get("a")))]
        assert [d.path for d in await store.page(collection, Filter(equals=("a", value)))] == equal
        assert [d.path for d in await store.page(collection, Filter(contains=("a", value)))] == holding


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=_histories)
def test_any_history_leaves_what_a_dict_would_hold(history: list[list[Write]], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = SqliteStore.open(tmp_path_factory.mktemp("history") / "s.db")
    try:
        asyncio.run(_play(store, history))
    finally:
        store.close()


# --- what is gone is gone from the disk -------------------------------------------------------------------------------


def _remains(folder: Path) -> int:
    return sum(path.read_bytes().count(b"zq7x") for path in folder.iterdir())


async def _until_none(folder: Path) -> int:
    for _ in range(100):
        if not _remains(folder):
            return 0
        await asyncio.sleep(0.05)
    return _remains(folder)


async def test_nothing_of_what_is_deleted_or_replaced_stays_in_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "IDLE", 0.05)
    store = SqliteStore.open(tmp_path / "s.db")
    people = [f"c/{random.Random(n).randbytes(16).hex()}" for n in range(600)]
    for path in people:  # one by one, so that pages are split and rows moved
        await store.commit([Create(path, {"address": f"zq7x.{path}@example.com"})])
    assert _remains(tmp_path) >= 600
    await store.write_many(
        [Replace(path, {"suppressed": ["erased"]}) if n % 2 else Delete(path) for n, path in enumerate(people)]
    )
    assert await _until_none(tmp_path) == 0
    assert await store.count("c") == 300 and (tmp_path / "s.db-wal").stat().st_size == 0
    store.close()


async def test_what_a_process_that_died_left_goes_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.db"
    store = SqliteStore.open(file)
    for n in range(300):
        await store.commit([Create(f"c/{random.Random(n).randbytes(16).hex()}", {"address": f"zq7x{n}", "more": "x" * (n % 40)})])
    await store.write_many([Delete(found.path) for found in await store.page("c")])
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 0, "it is noted in the file"
    [left] = [shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-died")]  # what a crash leaves
    store.close()
    assert _remains(tmp_path) == 0 and _remains(left) > 0
    monkeypatch.setattr(sqlite_file, "IDLE", 0.05)
    again = SqliteStore.open(left / "s.db")
    assert await _until_none(left) == 0
    again.close()
