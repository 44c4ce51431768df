"""The Store's contract on Cloud Firestore's official emulator, and what a lost reply does to a write."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest
import pytest_asyncio
import urllib3
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport
from google.cloud.firestore_v1.types import Document, Value, WriteResult
from google.cloud.firestore_v1.types import firestore as api
from google.rpc.status_pb2 import Status

from local.emulators import Emulators
from shared.adapters import firestore
from shared.adapters.documents import Operations
from shared.adapters.firestore import Firestore
from shared.adapters.firestore_calls import Calls
from shared.errors import ConfigError, Conflict, Unavailable
from shared.ports import ArrayUnion, Create, Delete, Expiry, Filter, Maximum, Merge, Minimum, Replace, Write
from tests.contract.store_contract import StoreContract
from tests.faults.proxy import Proxy, proxied

pytestmark = pytest.mark.network


@pytest.fixture
def project() -> str:
    """Its own for each test, so that none sees another's documents."""
    return f"t-{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def store(emulators: Emulators, project: str) -> AsyncIterator[Firestore]:
    store = Firestore.connect(project, emulator_host=emulators.firestore)
    yield store
    await store.close()


class TestFirestore(StoreContract):
    pass


async def test_operations_are_counted_as_firestore_bills_them(store: Firestore) -> None:
    await store.write_many([Create(f"c/{n:04}", {"odd": n % 2}) for n in range(1500)])
    await store.commit([Merge("c/0000", {}), Delete("c/0001"), Delete("c/absent")])
    with pytest.raises(Conflict):
        await store.commit([Create("c/0000", {})])
    assert store.operations == Operations(writes=1501, deletes=2)
    await store.get_many(["c/0000", "c/absent"])
    await store.page("c", limit=50)
    await store.page("c", Filter(equals=("odd", 7)))
    await store.count("c")
    assert store.operations == Operations(reads=2 + 50 + 1 + 2, writes=1501, deletes=2, counts=1)


async def test_an_expiry_is_the_timestamp_that_a_ttl_policy_takes(store: Firestore, emulators: Emulators, project: str) -> None:
    await store.commit([Create("c/1", {"expires_at": Expiry(1_795_000_000_123)})])
    channel = grpc.aio.insecure_channel(emulators.firestore)
    transport = FirestoreGrpcAsyncIOTransport(channel=channel)
    found = await transport.get_document(
        api.GetDocumentRequest(name=f"projects/{project}/databases/(default)/documents/c/1"),
        metadata=[("authorization", "Bearer owner")],  # type: ignore[call-arg]
    )
    await channel.close()
    assert found.fields["expires_at"]._pb.WhichOneof("value_type") == "timestamp_value"
    assert found.fields["expires_at"].timestamp_value.isoformat() == "2026-11-18T11:06:40.123000+00:00"


# --- lost replies -----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def cutting(emulators: Emulators, project: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Firestore, Proxy]]:
    """A store whose next `proxy.most` replies are lost."""
    monkeypatch.setattr(firestore, "PAUSE", 0.001)
    async with proxied(emulators.firestore, random.randrange(1 << 30)) as (proxy, host):
        store = Firestore.connect(project, emulator_host=host)
        proxy.chance, proxy.most = 1.0, 0
        yield store, proxy
        await store.close()


MANY: list[Write] = [
    Create("c/new", {"a": 1, "m": {"k": [1.0]}, "low": Minimum(3), "tags": ArrayUnion(("x",))}),
    Merge("c/blind", {"m.k": 2, "high": Maximum(7)}),
    Delete("c/absent"),
]


@pytest.mark.parametrize("cuts", [1, 3])
async def test_a_write_of_ours_whose_reply_was_lost_counts_as_written(cutting: tuple[Firestore, Proxy], cuts: int) -> None:
    store, proxy = cutting
    [old] = await store.commit([Create("c/held", {"owner": "", "n": 0})])
    proxy.most = cuts
    versions = await store.commit([*MANY, Merge("c/held", {"owner": "me"}, old)])
    assert proxy.cut.total() == cuts
    proxy.most = cuts
    [left] = await store.commit([Replace("c/left", {"owner": "", "n": 0})])
    [left] = await store.commit([Replace("c/left", {"owner": "me", "m": {"k": [1]}}, left)])
    proxy.most = 0
    found = await store.get("c/left")
    assert found is not None and (found.version, found.data) == (left, {"owner": "me", "m": {"k": [1]}})
    documents = await store.get_many(["c/new", "c/blind", "c/held"])
    assert [document and document.version for document in documents] == [versions[0], versions[1], versions[3]]
    assert [document and document.data for document in documents] == [
        {"a": 1, "m": {"k": [1.0]}, "low": 3, "tags": ["x"]},
        {"m": {"k": 2}, "high": 7},
        {"owner": "me", "n": 0},
    ]
    assert versions[2] == ""


async def test_many_writes_whose_replies_were_lost_count_as_written(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    await store.commit([Create("c/theirs", {"owner": "them"})])
    proxy.most = 2
    results = await store.write_many([*MANY, Create("c/theirs", {"owner": "me"})])
    assert [type(result) for result in results] == [str, str, str, Conflict]
    assert proxy.cut["BatchWrite"] == 2


async def test_somebody_elses_write_is_not_taken_for_ours(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    [old] = await store.commit([Create("c/1", {"owner": ""})])
    await store.commit([Merge("c/1", {"owner": "them"}, old)])
    for write in (Create("c/1", {"owner": "me"}), Merge("c/1", {"owner": "me"}, old), Delete("c/1", old)):
        proxy.most = proxy.cut.total() + 1  # a refusal is not cut, so this cuts the read-back
        with pytest.raises(Conflict):
            await store.commit([write])
    document = await store.get("c/1")
    assert document is not None and document.data == {"owner": "them"}


async def test_of_many_claims_with_lost_replies_the_owner_knows(
    cutting: tuple[Firestore, Proxy], emulators: Emulators, project: str
) -> None:
    store, proxy = cutting
    truth = Firestore.connect(project, emulator_host=emulators.firestore)
    for round_ in range(10):
        proxy.chance, proxy.most = 0.7, 1 << 30
        claims = [store.commit([Create(f"claims/{round_}", {"owner": n})]) for n in range(8)]
        results = await asyncio.gather(*claims, return_exceptions=True)
        document = await truth.get(f"claims/{round_}")
        assert document is not None
        owner = document.data["owner"]
        assert isinstance(results[owner], list | Unavailable), "its own claim was refused to it"
        assert [n for n, result in enumerate(results) if isinstance(result, list)] in ([owner], [])
        assert not [result for result in results if not isinstance(result, list | Conflict | Unavailable)]
    await truth.close()
    assert proxy.cut["Commit"] > 0


async def test_a_blind_half_that_moved_on_does_not_hide_our_commit(
    cutting: tuple[Firestore, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same person signs up twice at once, and the first reply is lost."""
    store, proxy = cutting

    async def meanwhile(attempt: int) -> None:
        if not attempt:
            proxy.most = 0
            await store.commit([Merge("subscribers/1", {"asked": "Other@x.example"})])

    monkeypatch.setattr(firestore, "_pause", meanwhile)
    proxy.most = 1
    versions = await store.commit([Create("consents/1", {"at": 1}), Merge("subscribers/1", {"asked": "a@x.example"})])
    documents = await store.get_many(["consents/1", "subscribers/1"])
    assert versions == [document and document.version for document in documents]


async def test_replies_that_stay_lost_are_unavailable(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    proxy.most = 1 << 30
    for work in (store.commit(MANY), store.get("c/new"), store.page("c"), store.count("c")):
        with pytest.raises(Unavailable):
            await work
    assert all(isinstance(result, Unavailable) for result in await store.write_many([Create("d/1", {})]))
    proxy.most = 0
    assert await store.count("c") == 2, "what was said to be unavailable had been written"


async def test_a_page_that_was_cut_is_asked_for_again(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    held = {
        "t": Expiry(1_795_000_000_123),
        "b": b"\0\xff",
        "f": math.inf,
        "n": None,
        "m": {"k": [1, 2.5, {"z": "x"}]},
        "e": [{}, ""],
    }
    versions = await store.write_many([Create(f"c/{n}", held) for n in range(40)])
    proxy.most = 3
    page = await store.page("c")
    assert proxy.cut == {"RunQuery": 3}
    assert [(document.path, document.version, document.data) for document in page] == [
        (f"c/{n}", versions[n], held) for n in sorted(range(40), key=str)
    ]
    await store.commit([Merge("c/0", {"x": 1}, page[0].version)])


# --- what Firestore says -----------------------------------------------------------------------------------------------


class Scripted:
    """Calls that give the scripted answers, one each."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def _answer(self, *_: Any, **__: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    commit = batch_write = get = _answer

    async def batch_get(self, request: Any) -> list[Any]:
        found = Document(name=request.documents[0], fields={"a": Value(integer_value=1)})
        return [api.BatchGetDocumentsResponse.pb(api.BatchGetDocumentsResponse(found=found))]


def scripted(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Firestore:
    monkeypatch.setattr(firestore, "PAUSE", 0.001)
    return Firestore(cast(Any, Scripted(*answers)), "projects/p/databases/(default)")


def status(code: int) -> Any:
    answer = api.BatchWriteResponse(write_results=[WriteResult()], status=[Status(code=code, message="said")])
    return api.BatchWriteResponse.pb(answer)


@pytest.mark.parametrize("code", [2, 4, 8, 10, 13, 14])
async def test_a_write_whose_own_status_is_in_doubt_is_read_back(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    [result] = await scripted(monkeypatch, status(code), status(6)).write_many([Create("c/1", {"a": 1})])
    assert isinstance(result, str)
    [result] = await scripted(monkeypatch, status(code), status(6)).write_many([Create("c/1", {"a": 2})])
    assert isinstance(result, Conflict)


async def test_a_status_that_will_not_change_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [result] = await scripted(monkeypatch, status(7)).write_many([Create("c/1", {})])
    assert isinstance(result, Unavailable) and "code 7 said" in str(result)


async def test_a_database_that_is_not_there_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = exceptions.NotFound("The database nowhere does not exist for project p")  # type: ignore[no-untyped-call]
    for write in (Merge("c/1", {"a": 1}), Create("c/1", {"a": 1})):
        with pytest.raises(Unavailable, match="The database nowhere does not exist"):
            await scripted(monkeypatch, gone).commit([write])
    with pytest.raises(Unavailable, match="The database nowhere does not exist"):
        await scripted(monkeypatch, gone).get("c/1")


class Answers:
    """A pool of connections that gives one answer, or fails."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        self.answer, self.status, self.calls = answer, status, 0

    def urlopen(self, *_: Any, **__: Any) -> Any:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(status=self.status, data=self.answer)


ROW = (
    b'[{"document": {"name": "projects/p/databases/(default)/documents/c/1", "updateTime": "2026-11-22T10:00:00Z", "fields": {}}}'
)
QUERY_ANSWERS: list[tuple[Any, int, str, int]] = [
    (
        b'[{"error": {"code": 400, "message": "no index", "status": "FAILED_PRECONDITION"}}]',
        400,
        "FailedPrecondition no index",
        1,
    ),
    (b'{"error": {"code": 403, "message": "no role", "status": "PERMISSION_DENIED"}}', 403, "PermissionDenied no role", 1),
    (b'[{"error": {"code": 503, "message": "later", "status": "UNAVAILABLE"}}]', 503, "ServiceUnavailable later", 5),
    (ROW + b', {"error": {"code": 4, "message": "slow", "status": "DEADLINE_EXCEEDED"}}]', 200, "DeadlineExceeded slow", 5),
    (b"<html>Bad gateway</html>", 502, "BadGateway <html>Bad gateway</html>", 5),
    (urllib3.exceptions.ProtocolError("cut"), 0, "ServiceUnavailable ProtocolError", 5),
    (RefreshError("no metadata server"), 0, "ServiceUnavailable RefreshError", 5),  # type: ignore[no-untyped-call]
]


@pytest.mark.parametrize(("answer", "status", "said", "calls"), QUERY_ANSWERS)
async def test_a_query_that_failed_says_why(
    monkeypatch: pytest.MonkeyPatch, answer: Any, status: int, said: str, calls: int
) -> None:
    monkeypatch.setattr(firestore, "PAUSE", 0.001)
    http = Answers(answer, status)
    name = "projects/p/databases/(default)"
    store = Firestore(Calls(grpc.aio.insecure_channel("127.0.0.1:1"), name, http, "http://nowhere.example"), name)
    with pytest.raises(Unavailable) as caught:
        await store.page("c")
    assert said in str(caught.value)
    assert http.calls == calls
    await store.close()


def test_a_connection_that_died_silently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def channel(*_: Any, options: Sequence[tuple[str, Any]], **__: Any) -> Any:
        asked.append(dict(options))
        raise DefaultCredentialsError

    monkeypatch.setattr(grpc.aio, "insecure_channel", channel)
    monkeypatch.setattr(FirestoreGrpcAsyncIOTransport, "create_channel", channel)
    with pytest.raises(DefaultCredentialsError):
        Firestore.connect("p", emulator_host="127.0.0.1:1")
    with pytest.raises(ConfigError, match="credentials are missing"):
        Firestore.connect("p")
    assert [options["grpc.keepalive_time_ms"] for options in asked] == [30_000, 30_000]
