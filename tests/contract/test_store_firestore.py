"""The Store's contract on Cloud Firestore's official emulator, and what a lost reply does to a write."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.emulators import Emulators
from shared.adapters import firestore
from shared.adapters.documents import Operations
from shared.adapters.firestore import Firestore
from shared.errors import Conflict, Unavailable
from shared.ports import ArrayUnion, Create, Delete, Filter, Maximum, Merge, Minimum, Write
from tests.contract.store_contract import StoreContract
from tests.faults.proxy import Proxy, proxied

pytestmark = pytest.mark.network


@pytest_asyncio.fixture
async def store(emulators: Emulators) -> AsyncIterator[Firestore]:
    store = Firestore.connect(f"t-{secrets.token_hex(4)}", emulator_host=emulators.firestore)
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


# --- lost replies -----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def cutting(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Firestore, Proxy]]:
    """A store whose next `proxy.most` replies are lost."""
    monkeypatch.setattr(firestore, "PAUSE", 0.001)
    async with proxied(emulators.firestore, random.randrange(1 << 30)) as (proxy, host):
        store = Firestore.connect(f"t-{secrets.token_hex(4)}", emulator_host=host)
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
    proxy.most = 0
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


async def test_of_many_claims_with_lost_replies_one_wins(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    proxy.chance, proxy.most = 0.3, 1 << 30
    for round_ in range(10):
        claims = [store.commit([Create(f"claims/{round_}", {"owner": n})]) for n in range(8)]
        results = await asyncio.gather(*claims, return_exceptions=True)
        assert [type(result) for result in results].count(list) <= 1
        assert not [result for result in results if not isinstance(result, list | Conflict | Unavailable)]
        if winners := [n for n, result in enumerate(results) if isinstance(result, list)]:
            document = await store.get(f"claims/{round_}")
            assert document is not None and document.data == {"owner": winners[0]}


async def test_replies_that_stay_lost_are_unavailable(cutting: tuple[Firestore, Proxy]) -> None:
    store, proxy = cutting
    proxy.most = 1 << 30
    for work in (store.commit(MANY), store.get("c/new"), store.page("c"), store.count("c")):
        with pytest.raises(Unavailable):
            await work
    assert all(isinstance(result, Unavailable) for result in await store.write_many([Create("d/1", {})]))
    proxy.most = 0
    assert await store.count("c") == 2, "what was said to be unavailable had been written"
