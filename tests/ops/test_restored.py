"""The script of docs/operations.md that mends a restored database, on two stores: who left or bounced since stays unmailed, and what an
operator lifted since stays lifted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.sqlite_store import SqliteStore
from shared.model.paths import Paths
from shared.model.subscriber import suppress
from shared.model.suppression import DAY, lift, settled, soft_bounced
from shared.ports import Create, Document, Maximum, Merge, Store

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000_000
PATHS = Paths("t")
SID = "ab" * 16


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """The damaged and the restored one."""
    with ExitStack() as stack:
        opened = [SqliteStore.open(tmp_path / f"{name}.db") for name in ("damaged", "restored")]
        for store in opened:
            stack.callback(store.close)
        yield opened[0], opened[1]


async def mended(damaged: Store | None, restored: Store) -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    found = re.search(r"^`restored\.py`:\n\n```python\n(.*?)^```", text, re.M | re.S)
    assert found
    script: dict[str, Any] = {"__name__": "restored"}
    exec(found[1], script)
    await script["mend"](damaged, restored, PATHS, NOW)


async def reader(store: Store, **fields: Any) -> Document:
    """Made where it is not there, else changed."""
    path = PATHS.subscriber(SID)
    person = {"address": "a@example.com", "status": "confirmed", "segments": ["everyone"]}
    found = await store.get(path)
    await store.commit([Merge(path, fields) if found else Create(path, {**person, **fields})])
    done = await store.get(path)
    assert done
    return done


async def reasons(store: Store) -> tuple[list[str], list[str]]:
    """As the subscriber and the suppression have them."""
    one, other = await store.get_many([PATHS.subscriber(SID), PATHS.suppression(SID)])
    return one.data.get("suppressed", []) if one else [], other.data.get("reasons", []) if other else []


async def bounced(store: Store, *days: int) -> None:
    for day in days:
        await store.commit(soft_bounced(PATHS, SID, "mail of C-0001", NOW + day * DAY))
    found = await store.get(PATHS.subscriber(SID))
    assert found
    if changes := settled(PATHS, found):
        await store.commit(changes)


async def test_who_left_since_has_left(stores: tuple[Store, Store]) -> None:
    damaged, restored = stores
    for store in stores:
        await reader(store)
    await damaged.commit(suppress(PATHS, SID, "complaint", "mail of C-0001", NOW))
    for _ in range(2):  # again is harmless
        await mended(damaged, restored)
        assert await reasons(restored) == (["complaint"], ["complaint"])


async def test_soft_bounces_since_go_on_adding_up(stores: tuple[Store, Store]) -> None:
    damaged, restored = stores
    for store in stores:
        await reader(store)
    await bounced(damaged, 1, 2, 3, 4)
    await mended(damaged, restored)
    assert await reasons(restored) == ([], [])
    await bounced(restored, 5)
    assert (await reasons(restored))[0] == ["soft_bounces"]


async def test_a_delivery_since_has_begun_the_count_anew(stores: tuple[Store, Store]) -> None:
    damaged, restored = stores
    for store in stores:
        await reader(store)
        await bounced(store, 1, 2, 3, 4, 5)
    await reader(damaged, delivered_at=Maximum(NOW + 6 * DAY))
    found = await damaged.get(PATHS.subscriber(SID))
    assert found
    await damaged.commit(settled(PATHS, found))
    await mended(damaged, restored)
    assert await reasons(restored) == ([], [])
    assert (await reader(restored)).data["segments"] == ["everyone"]


async def test_what_was_lifted_since_stays_lifted_and_new_bounces_count(stores: tuple[Store, Store]) -> None:
    damaged, restored = stores
    for store in stores:
        await reader(store)
        await store.commit(suppress(PATHS, SID, "hard_bounce", "mail of C-0001", NOW))
    await damaged.commit(lift(PATHS, await reader(damaged), "hard_bounce", "Ola", "Asked by phone.", NOW + 1))
    await mended(damaged, restored)
    assert await reasons(restored) == ([], [])
    trail = await restored.get(PATHS.lift(SID, f"{NOW + 1}-hard_bounce"))
    assert trail and trail.data["by"] == "Ola"
    await restored.commit(suppress(PATHS, SID, "hard_bounce", "mail of C-0001", NOW + 2))
    found = await restored.get(PATHS.subscriber(SID))
    assert found and found.data["suppressed"] == ["hard_bounce"] and settled(PATHS, found) == []


async def test_who_is_not_there_any_more_is_not_made_again(stores: tuple[Store, Store]) -> None:
    damaged, restored = stores
    await reader(damaged, bounced_at=Maximum(NOW))
    await mended(damaged, restored)
    assert await restored.get(PATHS.subscriber(SID)) is None


async def test_without_the_damaged_one_campaigns_are_stopped_all_the_same(stores: tuple[Store, Store]) -> None:
    _, restored = stores
    await restored.commit([Create(PATHS.campaign("C-0001"), {"state": "running"})])
    await mended(None, restored)
    found = await restored.get(PATHS.campaign("C-0001"))
    assert found and found.data["state"] == "cancelled"
