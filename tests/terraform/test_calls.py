"""The calls that `tests/recorded.py` notes: to whom they count, and what a record lacks."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared import logs
from shared.adapters.embedded import FileSecrets, FolderObjects
from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch
from shared.model.paths import Paths
from shared.ports import Create, Delete, Filter, Merge, Write
from tests import recorded
from tests.house.imports import STEPS
from tests.house.test_mounted import fresh, state
from tests.recorded import BUS, OBJECTS, ROOT, STORE, Calls, Query, Recorder, differences
from tests.steps.world import World

__all__ = ["fresh", "state"]  # fixtures


class Quiet:
    """Every port at once, doing nothing."""

    async def get(self, path: str) -> None: ...
    async def get_many(self, paths: Sequence[str]) -> None: ...
    async def page(self, collection: str, filter: Filter = Filter(), limit: int = 300) -> None: ...
    async def count(self, collection: str, filter: Filter = Filter()) -> None: ...
    async def commit(self, writes: Sequence[Write]) -> None: ...
    async def write_many(self, writes: Sequence[Write]) -> None: ...
    async def put(self, name: str, data: bytes) -> None: ...
    async def list(self, prefix: str) -> None: ...
    async def delete(self, name: str) -> None: ...
    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None: ...
    async def check(self) -> None: ...


async def called(file: str, line: str, port: recorded.Port = STORE, **names: Any) -> Calls:
    """What is noted when `line`, in a file of the repository, uses a watched `it`."""
    recorder, watched = Recorder(), type("Watched", (Quiet,), dict(vars(Quiet)))
    recorder.watch(port, watched)
    code = compile(f"async def work():\n    {line}", str(ROOT / file), "exec")
    scope = {"it": watched(), **names}
    exec(code, scope)
    await scope["work"]()
    return dict(recorder.calls)


@pytest.mark.parametrize("file", ["functions/track/handler.py", "functions/track/deep/er.py"])
async def test_a_call_counts_to_the_step_that_makes_it(file: str) -> None:
    assert await called(file, "await it.get('a/b')") == {"track": {("store", "get")}}


@pytest.mark.parametrize("file", ["tests/steps/test_track.py", "local/bus.py", "functions/__init__.py"])
async def test_a_call_of_nobodys_step_does_not_count(file: str) -> None:
    assert await called(file, "await it.get('a/b')") == {}


async def test_a_tests_call_from_inside_a_step_does_not_count() -> None:
    async def answer(it: Quiet) -> None:
        await it.commit([Delete("a/b")])

    assert await called("functions/send_batch/handler.py", "await answer(it)", answer=answer) == {}


async def test_a_call_counts_although_another_task_makes_it() -> None:
    line = "import asyncio; await asyncio.gather(it.get('a/b'), it.count('a'))"
    assert await called("functions/track/handler.py", line) == {"track": {("store", "get"), ("store", "list")}}


async def test_a_task_that_shared_code_starts_works_for_the_steps_request() -> None:
    line = "import asyncio; await asyncio.create_task(later(it))"
    scope: dict[str, Any] = {}
    exec(compile("async def later(it):\n    await it.get('a/b')", str(ROOT / "shared" / "later.py"), "exec"), scope)
    assert await called("tests/steps/test_track.py", line, later=scope["later"]) == {}
    before = logs._context.get()
    logs._context.set(logs._Context("webhooks"))
    try:
        assert await called("tests/steps/test_track.py", line, later=scope["later"]) == {"webhooks": {("store", "get")}}
    finally:
        logs._context.set(before)


@pytest.mark.parametrize("verb", ["commit", "write_many"])
@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (Create("a/b", {}), {"create", "get"}),
        (Merge("a/b", {}), {"create", "update"}),
        (Merge("a/b", {}, if_version="1"), {"update", "get"}),
        (Delete("a/b"), {"delete"}),
        (None, set()),
    ],
)
async def test_a_write_takes_what_its_precondition_asks_for(verb: str, write: Write | None, expected: set[str]) -> None:
    found = await called("functions/track/handler.py", f"await it.{verb}(writes)", writes=[write] if write else [])
    assert found == {"track": {("store", name) for name in expected}} or (not expected and not any(found.values()))


@pytest.mark.parametrize(
    ("line", "query"),
    [
        ("await it.page('t/1/people', Filter(equals=('status', 'x'), below='k'))", Query("people", "status", None)),
        ("await it.count('people', filter=Filter(contains=('tags', 'x')))", Query("people", None, "tags")),
        ("await it.page('people', Filter(below='k'))", None),
        ("await it.count('people')", None),
    ],
)
async def test_a_query_is_noted_by_what_its_index_has_to_hold(line: str, query: Query | None) -> None:
    found = await called("functions/track/handler.py", line, Filter=Filter)
    assert found == {"track": {("store", "get"), ("store", "list")} | ({("queries", query)} if query else set())}


async def test_objects_and_topics_are_noted() -> None:
    step = "functions/track/handler.py"
    assert await called(step, "await it.put('a', b'')", OBJECTS) == {"track": {("objects", "create"), ("objects", "get")}}
    assert await called(step, "await it.get('a')", OBJECTS) == {"track": {("objects", "get"), ("objects", "list")}}
    assert await called(step, "await it.list('a/')", OBJECTS) == {"track": {("objects", "list")}}
    assert await called(step, "await it.delete('a')", OBJECTS) == {"track": {("objects", "delete"), ("objects", "list")}}
    assert await called(step, "await it.publish('news', []); await it.check()", BUS) == {
        "track": {("publishes", "news"), ("publishes", batch.TOPIC)}
    }


def test_a_partial_run_misses_nothing_and_a_whole_one_does() -> None:
    calls: Calls = {"track": {("publishes", "a"), ("queries", Query("people", None, "tags"))}}
    known: Calls = {"track": {("publishes", "a"), ("publishes", "b")}, "record": {("store", "get")}}
    new = 'track calls queries: {"collection": "people", "equals": null, "contains": "tags"}, which is not on record'
    gone = ["record does not call store: get any more", "track does not call publishes: b any more"]
    assert differences(calls, known, whole=False) == [new]
    assert differences(calls, known, whole=True) == [gone[0], new, gone[1]]
    assert differences(known, known, whole=True) == [] and recorded.read(recorded.written(calls)) == calls


# --- what only a step's entry point calls -----------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_is_built_of_what_it_is_given(state: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    way = {"name": "main", "kind": "postmark", "options": {"endpoint": "http://127.0.0.1:1"}}
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    FileSecrets(state / "secrets").add("dkim-key", key)
    for name, value in {"PROVIDERS": json.dumps([way]), "DKIM_DOMAIN": "x.example", "DKIM_SELECTOR": "s"}.items():
        monkeypatch.setenv(name, value)
    built = importlib.import_module(f"functions.{step}.main").step()
    handler = await built if inspect.isawaitable(built) else built
    assert type(handler).__module__ == f"functions.{step}.handler"
    if step == "launch":
        assert handler.regular, "else nobody asks privacy to run"
    if step == "send_batch":  # asks for the password when it has a mail to send
        store = SqliteStore.open(state / "store.db")
        await World(state / "store.db", store, FolderObjects(state / "objects"), Paths("local")).system("confirm")
        await handler.handle(batch.request("confirm", f"{'a' * 32}.20000", "c"))
        store.close()
