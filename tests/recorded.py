"""What each step asks of the world, noted while its tests run: `tests/terraform` compares it with the rights and indexes that
Terraform gives. A step's call is noted in the words of Google's permissions, by what the deployed adapter sends for it.

A call belongs to the nearest file of ours up the stack, `shared/` left out: a step, or somebody else (a test, the twin), who does
not count. Where there is none, shared code has started a task, and the request that it works for tells.
"""

from __future__ import annotations

import asyncio.events
import functools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from shared.adapters.embedded import FileSecrets, FolderObjects
from shared.adapters.sqlite_bus import SqliteBus
from shared.adapters.sqlite_store import SqliteStore
from shared.logs import _context
from shared.model import batch
from shared.ports import Create, Delete, Filter, Write
from tests.steps import fakes

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "terraform" / "calls.json"
COLUMNS = ("store", "queries", "objects", "secrets", "publishes")
SOURCES = ("tests/steps", "tests/terraform/test_calls.py")  # the tests that call all there is to call
COMMAND = f".venv/bin/python -m pytest -n 2 --dist loadfile {' '.join(SOURCES)} --record-calls"


class Query(NamedTuple):
    """What decides which index a page or count uses: the last name of its collection, and the fields that it compares."""

    collection: str
    equals: str | None
    contains: str | None


Fact = tuple[str, str | Query]  # column, what
Calls = dict[str, set[Fact]]  # by step


# --- ports as permissions ---------------------------------------------------------------------------------------------


def _get(path: str, fields: Sequence[str] | None = None) -> Iterator[Fact]:
    yield "store", "get"


def _get_many(paths: Sequence[str], fields: Sequence[str] | None = None) -> Iterator[Fact]:
    if paths:
        yield "store", "get"


def _page(
    collection: str, filter: Filter = Filter(), after: str = "", limit: int = 300, fields: Sequence[str] | None = None
) -> Iterator[Fact]:
    if limit > 0:
        yield from _count(collection, filter)


def _count(collection: str, filter: Filter = Filter()) -> Iterator[Fact]:
    """A query takes both: https://cloud.google.com/firestore/docs/security/iam#required_permissions"""
    if filter.below == "":
        return
    yield from (("store", "get"), ("store", "list"))
    if filter.equals or filter.contains or filter.at_most:
        ascending = filter.equals or filter.at_most  # the same index serves both
        equals, contains = (condition[0] if condition else None for condition in (ascending, filter.contains))
        yield "queries", Query(collection.rpartition("/")[2], equals, contains)


def _written(writes: Sequence[Write]) -> Iterator[Fact]:
    for write in writes:
        claims = isinstance(write, Create) or write.if_version is not None
        if isinstance(write, Delete):
            yield "store", "delete"
            continue
        if isinstance(write, Create) or not claims:
            yield "store", "create"
        if not isinstance(write, Create):
            yield "store", "update"
        if claims:  # the adapter reads it back when a reply was lost
            yield "store", "get"


def _object_put(name: str, data: bytes) -> Iterator[Fact]:
    yield "objects", "create"  # if-generation-match 0: what is there is never replaced, which would take `delete`
    yield "objects", "get"  # a refusal of a name that is taken is looked into


def _object_get(name: str) -> Iterator[Fact]:
    yield from (("objects", "get"), ("objects", "list"))  # without `list` an object that is not there answers 403


def _object_list(prefix: str) -> Iterator[Fact]:
    yield "objects", "list"


def _object_delete(name: str) -> Iterator[Fact]:
    yield from (("objects", "delete"), ("objects", "list"))  # of all its generations


def _secret(name: str) -> Iterator[Fact]:
    kind = name.partition("-")[0]
    yield "secrets", f"{kind}-*" if kind in ("events", "provider", "webhook") else name


def _published(topic: str, messages: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    yield "publishes", topic


def _checked() -> Iterator[Fact]:
    yield "publishes", batch.TOPIC  # the right to publish there is what is asked for: PROBE of shared/adapters/pubsub.py


Port = Mapping[str, Callable[..., Iterator[Fact]]]
STORE: Port = {
    "get": _get,
    "get_many": _get_many,
    "page": _page,
    "count": _count,
    "commit": _written,
    "write_many": _written,
}
OBJECTS: Port = {"put": _object_put, "get": _object_get, "list": _object_list, "delete": _object_delete}
SECRETS: Port = {"get": _secret}
BUS: Port = {"publish": _published, "check": _checked}


# --- whose call -------------------------------------------------------------------------------------------------------


class Recorder:
    """Calls by step, of the classes that are watched."""

    def __init__(self) -> None:
        self.calls: defaultdict[str, set[Fact]] = defaultdict(set)

    def watch(self, port: Port, implementation: type) -> None:
        """Note what steps call of a port's implementation, from now on."""
        for name, facts in port.items():
            setattr(implementation, name, self._watched(vars(implementation)[name], facts))

    def _watched(self, method: Callable[..., Any], facts: Callable[..., Iterator[Fact]]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(port: object, *given: Any, **named: Any) -> Any:
            if step := _caller(sys._getframe(1)):
                self.calls[step].update(facts(*given, **named))
            return method(port, *given, **named)

        return call


def _caller(frame: FrameType | None) -> str:
    while frame and frame.f_code.co_filename != asyncio.events.__file__:
        owner = _owner(frame.f_code.co_filename)
        if owner is not None:
            return owner
        frame = frame.f_back
    return _context.get().step


@functools.cache
def _owner(file: str) -> str | None:
    """The step whose file it is, "" for what is ours and no step's, None when those who called it decide."""
    path = Path(file)
    top, *rest = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ("shared",)
    if top in ("shared", ".venv"):
        return None
    return rest[0] if top == "functions" and len(rest) > 1 else ""


# --- on record --------------------------------------------------------------------------------------------------------


def read(text: str) -> Calls:
    """From the JSON of `written`."""
    found: Calls = {}
    for step, columns in json.loads(text).items():
        found[step] = {(name, Query(**what) if name == "queries" else what) for name, facts in columns.items() for what in facts}
    return found


def written(calls: Calls) -> str:
    """{step: {column: facts}} as JSON, in one order."""
    found = {}
    for step, facts in sorted(calls.items()):
        ordered = sorted(facts, key=lambda fact: json.dumps(fact[1]))
        found[step] = {
            column: [what._asdict() if isinstance(what, Query) else what for name, what in ordered if name == column]
            for column in COLUMNS
        }
    return json.dumps(found, indent=2) + "\n"


def differences(calls: Calls, known: Calls, whole: bool) -> list[str]:
    """One line for each call that is not known and, of a `whole` run, for each that is known and was not made."""
    lines = []
    for step in sorted({*calls, *known}):
        made, kept = calls.get(step, set()), known.get(step, set())
        lines += [f"{step} calls {_said(fact)}, which is not on record" for fact in made - kept]
        lines += [f"{step} does not call {_said(fact)} any more" for fact in kept - made if whole]
    return sorted(lines)


def _said(fact: Fact) -> str:
    column, what = fact
    return f"{column}: {json.dumps(what._asdict()) if isinstance(what, Query) else what}"


# --- the run ----------------------------------------------------------------------------------------------------------


class Run:
    """The plugin: watches what the tests hand to the steps, and compares when all have ended. Each process of xdist's has one, and tells
    the one of the process that began them."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._ran: set[str] = set()  # files of tests
        self._left_out = False
        for port, implementations in (
            (STORE, (SqliteStore, fakes.FaultyStore)),
            (OBJECTS, (FolderObjects,)),
            (SECRETS, (FileSecrets, fakes.FakeSecrets)),
            (BUS, (SqliteBus, fakes.RecordingBus)),
        ):
            for implementation in implementations:
                self.recorder.watch(port, implementation)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out |= any(item.nodeid.startswith(SOURCES) for item in items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What another process has noted."""
        if told := getattr(node, "workeroutput", {}).get("recorded"):
            for step, facts in read(told["calls"]).items():
                self.recorder.calls[step] |= facts
            self._ran |= {*told["files"]}
            self._left_out |= told["left_out"]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._ran |= {str(item.path) for item in getattr(session, "items", ())}
        if hasattr(session.config, "workeroutput"):
            told = {"calls": written(self.recorder.calls), "files": sorted(self._ran), "left_out": self._left_out}
            session.config.workeroutput["recorded"] = told
        elif lines := self._compared(session):
            print("\n" + "\n".join(lines))
            session.exitstatus = 1

    def _compared(self, session: pytest.Session) -> list[str]:
        """What is wrong with the record, after it was written if that is asked for."""
        whole = self._whole(session)
        if session.config.getoption("record_calls"):
            if not whole:
                return [f"Only a whole run without failures is recorded: {COMMAND}"]
            FILE.write_text(written(self.recorder.calls))
        found = differences(self.recorder.calls, read(FILE.read_text()), whole)
        return [*found, f"If this is meant, record it: {COMMAND}"] if found else []

    def _whole(self, session: pytest.Session) -> bool:
        """Whether every test of SOURCES was to run, and nothing has failed."""
        steps, own = (ROOT / source for source in SOURCES)
        files = {str(own), *map(str, steps.glob("test_*.py"))}
        some = self._left_out or session.testsfailed or any("::" in given for given in session.config.args)
        return not some and files <= self._ran
