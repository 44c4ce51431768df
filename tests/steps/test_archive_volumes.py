"""The list back to its beginning: whatever is put in, taken out or cut off on the way, each campaign stands in one place."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.archive.handler import Archive
from functions.archive.held import AGE
from functions.launch import listing, views, volumes
from functions.launch.freeze import LANGUAGES
from shared.errors import Conflict, Unavailable
from shared.ports import Merge

from .fakes import NOW, Fault, FaultyStore, nth
from .test_archive import Counting, archive, ask, brand, face, launch, shown
from .world import World

__all__ = ["brand"]
MIB = 1 << 20
DAY = 86_400_000


def entry(n: int, subject: str = "", about: str = "", languages: Sequence[str] = ("-",), at: int = 0) -> dict[str, Any]:
    day = f"{2017 + n // 1000}-01-31"
    return {"at": at or NOW + n, "day": day, "languages": {one: [subject or f"Mail {n}", about] for one in languages}}


async def put(world: World, id: str, at: int, one: dict[str, Any]) -> None:
    await world.store.commit(await volumes.placed(world.store, world.paths, id, at, one, world.clock.now()))


async def held(world: World) -> dict[str, list[str]]:
    """Document -> the ids in it; raises when one is in two, or an index tells of what is not there."""
    head = await world.data(world.paths.archive)
    found = {"": list(head.get("campaigns", {}))}
    for volume in head.get("volumes", []):
        campaigns = (await world.data(world.paths.archive_volume(volume["number"])))["campaigns"]
        first = min(campaigns, key=lambda id: (-campaigns[id]["at"], id))
        assert (volume["at"], volume["id"]) == (campaigns[first]["at"], first)
        assert volume["weight"] == volumes.weight(campaigns) <= volumes.SIZE
        assert volume["years"] == sorted({one["day"][:4] for one in campaigns.values()}, reverse=True)
        found[str(volume["number"])] = list(campaigns)
    assert max(Counter(id for ids in found.values() for id in ids).values(), default=1) == 1
    everything = await world.all(f"{world.paths.tenant}/console")
    old = [one for one in everything if one.id.startswith("archive-") and one.id.removeprefix("archive-") not in found]
    assert all(one.data == {"campaigns": {}} for one in old), "what nobody lists any more is empty"
    return found


async def walked(world: World, step: Archive, address: str = "", way: str = "next") -> list[list[str]]:
    """The subjects of all pages from this one on."""
    pages = []
    while True:
        answer = await ask(world, address, step=step)
        assert answer.status == 200 and len(answer.body) < 20_000
        pages.append(re.findall(r'<li><a href="/archive/[^"]+"[^>]*>([^<]*)</a>', answer.body.decode()))
        found = re.search(rf'/archive(\?[^>]*)>; rel="{way}"', answer.headers["link"])
        if not found:
            return pages
        address = found[1]


def firestore_size(value: Any) -> int:
    """https://cloud.google.com/firestore/docs/storage-size"""
    if isinstance(value, dict):
        return 32 + sum(len(name.encode()) + 1 + firestore_size(one) for name, one in value.items())
    if isinstance(value, list):
        return sum(map(firestore_size, value))
    return len(value.encode()) + 1 if isinstance(value, str) else 8


CHANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.sampled_from([0, 200, 4_000])), min_size=1, max_size=60)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_any_changes_leave_each_campaign_in_one_place(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, changes: list[tuple[int, int, int]]
) -> None:
    """Of campaigns that began in any order, three at once; light ones and heavy ones, added, changed and taken out."""
    monkeypatch.setattr(volumes, "SIZE", 20_000)
    monkeypatch.setattr(volumes, "MOST", 6)
    asyncio.run(_changed(tmp_path_factory.mktemp("world"), changes))


async def _changed(folder: Path, changes: list[tuple[int, int, int]]) -> None:
    world = World.on(folder)
    await face(world, archive=True)
    late, model, history = archive(world), dict[str, tuple[int, str]](), [(0, list[str]())]
    for n, action, size in changes:
        id, at = f"C-{n:02d}", NOW + n // 3 * DAY
        if action < 3:
            await put(world, id, at, {})
            model.pop(id, None)
        else:
            subject = f"{id} {action}"
            await put(world, id, at, entry(n, subject, "x" * size, at=at))
            model[id] = at, subject
        ordered = [subject for _, (_, subject) in sorted(model.items(), key=lambda one: (-one[1][0], one[0]))]
        history.append((world.clock.now(), ordered))
        found = await held(world)
        assert sorted(id for ids in found.values() for id in ids) == sorted(model)
        assert await shown(world, "", archive(world)) == ordered
        if n % 5 == 0:
            world.clock.advance(AGE // 2)
        until = [*(at for at, _ in history[1:]), world.clock.now() + 1]
        recent = [was for (_, was), end in zip(history, until, strict=True) if end > world.clock.now() - AGE]
        assert await shown(world, "", late) in recent  # as it is, or as it was a moment ago: nothing twice, nothing lost
    world.store.close()


async def test_the_list_goes_back_to_its_beginning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred volumes, as ten thousand campaigns fill."""
    monkeypatch.setattr(volumes, "MOST", 20)
    for n in range(1000):
        await put(world, f"C-{n}", NOW + n, entry(n))
    assert len(await held(world)) > 90
    counted = Counting(world.store)
    step = archive(world, counted)
    front = await shown(world, "", step)
    pages = await walked(world, step)
    assert [*chain(*pages)] == [f"Mail {n}" for n in range(999, -1, -1)] and pages[0] == front
    assert {len(page) for page in pages} == {50}
    back = await walked(world, step, "?before=" + f"{NOW + 50}.C-50", "prev")
    assert [*chain(*(page[::-1] for page in back))] == [f"Mail {n}" for n in range(1000)]
    world.clock.advance(10 * AGE)
    asked = counted.asked["get"]
    await walked(world, step)
    assert counted.asked["get"] == asked + 1, "what is old is read once"


async def test_the_newest_page_costs_what_it_did(world: World) -> None:
    for n in range(volumes.MOST + 1):
        await put(world, f"C-{n}", NOW + n, entry(n))
    counted = Counting(world.store)
    before = await held(world)
    assert sorted(map(len, before.values())) == [100, 101]
    step = archive(world, counted)
    assert (await shown(world, "", step))[0] == f"Mail {volumes.MOST}"
    await ask(world, "feed", step=step)
    assert counted.asked == {"get_many": 1, "get": 1}
    writes = Counting(world.store)
    assert len(await volumes.placed(writes, world.paths, "C-999", NOW + 999, entry(999), NOW)) == 1
    assert writes.asked == {"get": 1}


@pytest.mark.parametrize("newest_first", [True, False])
async def test_what_is_left_of_many_volumes_is_read_in_few(
    world: World, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    monkeypatch.setattr(volumes, "MOST", 20)
    for n in range(200):
        await put(world, f"C-{n}", NOW + n, entry(n))
    assert len(await held(world)) > 15
    for n in sorted(range(200), reverse=newest_first):
        if n % 20:
            await put(world, f"C-{n}", NOW + n, {})
    assert len(await held(world)) <= 3
    assert await shown(world, "") == [f"Mail {n}" for n in range(180, -1, -20)]


async def test_of_two_ticks_at_once_one_is_refused(world: World) -> None:
    await put(world, "C-1", NOW, entry(1))
    one, other = [await volumes.placed(world.store, world.paths, f"C-{n}", NOW + n, entry(n), NOW) for n in (2, 3)]
    await world.store.commit(one)
    with pytest.raises(Conflict):
        await world.store.commit(other)
    assert (await held(world))[""] == ["C-2", "C-1"]


@pytest.mark.parametrize("count", [250, 40], ids=["one language", "all languages"])
async def test_a_document_stays_below_what_firestore_takes(world: World, count: int) -> None:
    """With the longest subjects and sentences, in characters that take four bytes, of campaigns with the longest ids."""
    languages = ["-", *(f"zh-hant-{n:02d}" for n in range(LANGUAGES))] if count == 40 else ["-"]
    for n in range(count):
        id = f"C-{n:03d}".ljust(40, "x")
        await put(world, id, NOW + n, entry(n, "😀" * views.SUBJECT, "😀" * views.ABOUT, languages))
    documents = [one for one in await world.all(f"{world.paths.tenant}/console") if one.id.startswith("archive")]
    sizes = [firestore_size(one.data) for one in documents]
    assert len(documents) > 1 and volumes.SIZE // 4 < max(sizes) < volumes.SIZE * 1.2
    # In ten years: as many volumes as there can be, in the one document that names them.
    head = await world.data(world.paths.archive)
    named = {"number": 10**6, "at": NOW, "id": "C" * 40, "years": ["2026", "2025"], "weight": volumes.SIZE}
    per_volume = count / len(documents)
    assert firestore_size({**head, "volumes": [named] * int(10_000 / per_volume)}) + volumes.SIZE // 2 < MIB
    assert sum(map(len, await walked(world, archive(world)))) == count


async def test_a_late_yes_takes_its_place_and_a_withdrawn_one_leaves_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MOST", 4)
    rows = [{"Public": "Yes", "Subject": f"S{n}"} for n in range(9)]
    rows[2]["Public"] = ""
    for n in range(1, 10):
        world.clock.advance(1000)
        await launch(world, *rows[:n])
    assert len(await held(world)) > 2
    step = archive(world)
    assert await shown(world, "", step) == ["S8", "S7", "S6", "S5", "S4", "S3", "S1", "S0"]
    rows[2]["Public"], rows[0]["Public"] = "Yes", ""
    await launch(world, *rows)
    assert await shown(world, "", archive(world)) == ["S8", "S7", "S6", "S5", "S4", "S3", "S2", "S1"]
    await launch(world, *({**row, "Public": ""} for row in rows))
    world.clock.advance(AGE)
    assert await shown(world, "", step) == [] and await held(world) == {"": []}
    assert "There is no mail here yet." in (await ask(world, step=step)).body.decode()


async def test_who_comes_with_an_old_list_of_volumes_is_shown_the_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MOST", 100)
    for n in range(140):
        await put(world, f"C-{n}", NOW + n, entry(n))
    counted = Counting(world.store)
    step = archive(world, counted)
    await ask(world, step=step)  # reads the first document, and no volume
    before = counted.asked["get"]
    await put(world, "C-3", NOW + 3, {})
    found = await shown(world, f"?before={NOW + 6}.C-6", step)
    assert found == ["Mail 5", "Mail 4", "Mail 2", "Mail 1", "Mail 0"]
    assert counted.asked["get"] == before + 3  # the volume that is empty now, the list, its new volume
    await world.store.commit([Merge(world.paths.archive_volume(2), {"campaigns": {}})])  # as nothing of ours does
    with pytest.raises(Unavailable):
        await ask(world, f"?before={NOW + 6}.C-6", step=archive(world))


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_list_in_volumes_and_the_campaigns_never_disagree(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Whichever write of a tick fails, of one that starts a campaign or of one that hides it, each time with a volume to be written."""
    monkeypatch.setattr(volumes, "MOST", 2)
    ids: list[str] = []
    for n in range(1, 7):
        ids.append(f"C-{n:04d}")
        hidden = ids[0] if n % 2 else ids[n // 2]
        for cells in (set(ids), set(ids) - {hidden}):
            lines = [{"ID": id, "Public": "Yes" if id in cells else ""} for id in ids]
            with suppress(Unavailable, Conflict):
                await launch(world, *lines, store=FaultyStore(world.store, nth(n, fault)))
            for _ in range(3):
                found = sorted(id for part in (await held(world)).values() for id in part)
                states = {id: (await world.data(world.paths.campaign(id))).get("public") for id in ids}
                assert found == [id for id, state in states.items() if state == listing.SHOWN]
                await world.launch().handle()
            assert found == sorted(cells)
    assert (await world.data(world.paths.archive))["made"] > 3
