"""The tick at 1,000,000 subscribers, 5,000 campaigns and 200,000 imported rows: few calls, bounded cells, and what is left out is said."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from functions.sync_sheet import imports, tabs
from functions.sync_sheet.handler import SyncSheet
from functions.sync_sheet.reports import MOST
from shared.model import console
from shared.model.batch import END_STATES
from shared.ports import Create, Document, Filter, Merge, Rows, Write

from .fakes import DAY, NOW, FakeSheet, FaultyStore
from .world import World

MINUTE = 60_000
CELLS = 10_000_000  # of a spreadsheet, by https://support.google.com/drive/answer/37603


class Crowded(FaultyStore):
    """A store as if so many subscribers, a tenth of them suppressed, were in it, and a running campaign to all of them. `calls` and
    `reads` are those of page, get, get_many and count, as Firestore bills them."""

    def __init__(self, world: World, people: int) -> None:
        super().__init__(world.store, lambda verb: "")
        self.world, self.people = world, people
        self.calls = self.reads = 0

    def _counts(self, collection: str) -> int:
        paths = self.world.paths
        sizes = {paths.subscribers: self.people, paths.suppressions: self.people // 10}
        return sizes.get(collection, self.people // 2 if collection == paths.deliveries("C-9999") else 0)

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        self.calls += 1
        found = self._counts(collection)
        self.reads += max(1, -(-found // 1000))
        return found

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        self.calls += 1
        if size := self._counts(collection):
            found = [Document(f"{collection}/{n:032x}", "1", _person(n)) for n in range(min(size, limit))]
        else:
            found = await super().page(collection, filter, after, limit, fields=fields)
        self.reads += max(1, len(found))
        return found

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        self.calls, self.reads = self.calls + 1, self.reads + 1
        return await super().get(path, fields)

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        self.calls, self.reads = self.calls + 1, self.reads + len(paths)
        return await super().get_many(paths, fields)


def _person(n: int) -> dict[str, Any]:
    gone = {"reasons": ["unsubscribed"], "unsubscribed_at": NOW, "unsubscribed_sources": ["mail of C-0001"]}
    return {"address": f"p{n}@example.com", "status": "confirmed", "created_at": NOW, **gone}


class Crammed(FakeSheet):
    """A workbook with so many imported rows, all answered. `calls` that read, `writes`, and `cells` written."""

    def __init__(self, imported: int) -> None:
        super().__init__()
        self.calls = self.writes = self.cells = 0
        fields = list(console.IMPORT_FIELDS)
        pasted = [[f"I-{n}", f"p{n}@example.com", "Ann", "en", "", "fair"] for n in range(imported)]
        self.long = {
            console.IMPORT: [[*fields, *console.IMPORT_ANSWERS], *pasted],
            console.IMPORT_RESULTS: [
                ["ID", "Answer", "Of"],
                *([row[0], "Imported.", imports.digest(dict(zip(fields, row, strict=True)))] for row in pasted),
            ],
        }

    def rows(self, place: str) -> list[list[str]]:
        tab = place.rpartition("!")[0].strip("'")
        return self.long[tab] if tab in self.long and place.endswith("!A1:Z") else super().rows(place)

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        self.calls += 1
        return await super().read(ranges)

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        self.writes += 1
        self.cells += sum(len(row) for rows in updates.values() for row in rows)
        for place, rows in updates.items():
            tab, at = place.rpartition("!")[0].strip("'"), place.rpartition("!A")[2]
            if tab in self.long:
                self.long[tab][int(at) - 1 : int(at) - 1 + len(rows)] = [[str(cell) for cell in row] for row in rows]
        short = {place: rows for place, rows in updates.items() if place.rpartition("!")[0].strip("'") not in self.long}
        await super().write(short, formulas=formulas)

    async def append(self, tab: str, rows: Rows) -> None:
        self.writes += 1
        await super().append(tab, rows)

    async def clear(self, ranges: Sequence[str]) -> None:
        self.writes += 1
        await super().clear(ranges)


class Sizes:
    """What one tick did."""

    def __init__(self, store: Crowded, sheet: Crammed) -> None:
        self.store, self.sheet = store, sheet

    async def tick(self, step: SyncSheet) -> tuple[int, int, int, int, float]:
        """(calls to the store, its reads, calls that write to the Sheet, cells written, seconds of CPU)."""
        store, sheet = self.store, self.sheet
        store.calls = store.reads = sheet.calls = sheet.writes = sheet.cells = 0
        before = time.process_time()
        await step.handle()
        return store.calls, store.reads, sheet.writes, sheet.cells, time.process_time() - before


async def crowded(world: World, people: int, campaigns: int, imported: int) -> tuple[SyncSheet, Sizes]:
    """All of it, as it stands after a first tick."""
    totals = dict.fromkeys((*END_STATES, "deferred", "recipients"), people)
    writes: list[Write] = []
    for n in range(campaigns):
        at = NOW - (campaigns - n) * DAY // 100
        data = {"state": "completed", "row": {"name": f"Mail {n}"}, "answer": "Done.", "answered_at": at}
        if n >= campaigns - tabs.NEWEST:
            data |= {"active": False, "expected": people, "totals": totals, "frozen_at": at - 30 * DAY}
        writes.append(Create(world.paths.campaign(f"C-{n:04d}"), data))
    running = {"state": "running", "active": True, "expected": people, "frozen_at": NOW, "row": {"name": "All"}}
    writes.append(Merge(world.paths.campaign("C-9999"), running))
    rows = [{"by": "day", "value": str(n), "opened": n} for n in range(60)]
    for n in range(min(campaigns, 250)):
        report = {"rows": rows, "newest": n - NOW, "began": NOW - n, "name": f"Mail {n}", "links": {}}
        writes.append(Create(world.paths.report(f"C-{n:04d}"), report))
    await world.store.write_many(writes)
    store, sheet = Crowded(world, people), Crammed(imported)
    world.sheet = sheet
    step, sizes = world.sync_sheet(store), Sizes(store, sheet)
    await step.handle()
    return step, sizes


async def test_a_tick_of_a_million_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    few, many = World.on(tmp_path / "few"), World.on(tmp_path / "many")
    with closing(few.store), closing(many.store):
        step, sizes = await crowded(few, 1_000, 5, 1_000)
        few.clock.advance(MINUTE)
        small = await sizes.tick(step)
        step, sizes = await crowded(many, 1_000_000, 5_000, 200_000)
        sheet = sizes.sheet
        found = {tab: sheet.rows(f"'{tab}'!A1:Z") for tab in sheet.tabs}
        cells = sum(len(row) for rows in found.values() for row in rows)
        assert cells < CELLS / 4
        assert len(found[console.RESULTS]) == tabs.NEWEST + 2
        assert found[console.RESULTS][-1] == ["… the newest 1,000 of 5,001 campaigns are shown"]
        assert found[console.RESULTS][1][0] == "C-4001" and found[console.RESULTS][-2][0] == "C-9999"
        assert "the newest 1,000 of 5,001" in next(row[1] for row in found[console.DASHBOARD] if row[0] == "Notice")
        assert found[console.SUBSCRIBERS][-1] == found[console.SUPPRESSIONS][-1]
        assert found[console.SUBSCRIBERS][-1][0].startswith(f"… the first {tabs.SHOWN} are shown.")
        assert len(found[console.REPORTS]) == MOST + 2 and "first 5,000 rows" in found[console.REPORTS][-1][0]
        many.clock.advance(MINUTE)
        big = await sizes.tick(step)
        with capsys.disabled():
            print(f"\na tick of 1,000: {small[4] * 1000:.0f} ms of CPU, of 1,000,000: {big[4] * 1000:.0f} ms; {big[1]} reads")
        assert big[0] <= 12 and big[1] <= 20 and big[2:4] == (0, 0)
        assert big[4] < 100 * small[4] + 1
        many.clock.advance(10 * MINUTE)
        calls, reads, writes, _, _ = await sizes.tick(step)  # everything is counted again
        assert calls <= 60 and 5_000 < reads < 20_000 and writes <= 2


async def test_what_happens_is_shown_at_once_and_costs_what_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabs, "PAGE", 3)
    step, sizes = await crowded(world, 1_000_000, 20, 3_000)
    sheet = sizes.sheet

    def results() -> dict[str, list[str]]:
        return {row[0]: row for row in sheet.rows("Results!A2:Z")}

    await world.store.commit([Merge(world.paths.campaign("C-9999"), {"state": "paused", "active": False, "answer": "Paused."})])
    await sizes.tick(step)
    assert results()["C-9999"][1:3] == ["paused", "Paused."]
    row = {"state": "draft", "active": False, "row": {"name": "New"}, "answer": "Nobody is confirmed yet.", "answered_at": NOW}
    await world.store.commit([Create(world.paths.campaign("C-8888"), row), Merge(world.paths.console, {"rows.C-8888": "x"})])
    await world.store.commit([Merge(world.paths.campaign("confirm"), {"state": "running", "answer": "There is no template."})])
    await sizes.tick(step)
    assert results()["C-8888"][2] == "Nobody is confirmed yet."
    assert ["Notice", "The confirm mail: There is no template."] in sheet.rows("Dashboard!A2:Z")
    sheet.long[console.IMPORT].append(["I-new", "new@example.com", "", "", "", "fair"])
    *_, writes, cells, _ = await sizes.tick(step)
    assert sheet.long[console.IMPORT_RESULTS][-1][:2] == ["I-new", "Imported."] and cells < 6_000
    assert len(sheet.long[console.IMPORT_RESULTS]) == 3_002 and writes <= 4
    assert sizes.store.reads > 3_000  # somebody came: counted again


async def test_a_new_report_is_read_alone(world: World) -> None:
    step, sizes = await crowded(world, 1_000, 250, 1)
    before = sizes.sheet.rows("Reports!A2:Z")
    _, still, *_ = await sizes.tick(step)
    change = {"rows": [{"by": "hour", "value": f"{n:02}", "opened": 7} for n in range(60)], "newest": -NOW - 1}
    await world.store.commit([Merge(world.paths.report("C-0003"), change)])
    _, reads, *_ = await sizes.tick(step)
    assert reads <= still + 2
    after = sizes.sheet.rows("Reports!A2:Z")
    changed = [n for n, row in enumerate(after) if row != before[n]]
    assert len(after) == len(before) == MOST + 1 and {after[n][0] for n in changed} == {"C-0003"} and len(changed) == 60
