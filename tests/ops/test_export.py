"""Exports: whole, inert, and in flat memory."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import export
from ops.__main__ import app
from shared.errors import NotFound
from shared.model.paths import Paths
from shared.model.subscriber import HOUR, WEEK, suppress
from shared.ports import Document, Filter, Merge
from tests.steps.conftest import world
from tests.steps.fakes import NOW, FaultyStore
from tests.steps.world import World

__all__ = ["world"]
DAY = 24 * HOUR


def cells(data: bytes) -> list[list[str]]:
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\n") == data.count(b"\r\n")
    return list(csv.reader(io.StringIO(data[3:].decode(), newline="")))


async def filled(world: World) -> None:
    await world.add("ada@example.com", name="=cmd|'/C calc'!A0", tags=["vip"], language="pt-BR", country="PT")
    await world.add("bob@example.com", name='Bob "B", Jr', tags=["vip"])
    await world.add("left@example.com", tags=["vip"])
    await world.add("other@example.com")
    await world.store.commit(suppress(world.paths, world.sid("left@example.com"), "unsubscribed", "x", NOW))
    stale = {"segments": ["everyone", "vip"]}  # an index that says more than the rule
    await world.store.commit([Merge(world.paths.subscriber(world.sid("left@example.com")), stale)])


async def test_a_segment_holds_who_may_be_mailed_with_whole_addresses(world: World) -> None:
    await filled(world)
    file = io.BytesIO()
    assert await export.write(export.segment(world.store, world.paths, " VIP", NOW), file) == 2
    header, *rows = cells(file.getvalue())
    assert header == list(export.HEADER)
    found = {row[1]: row for row in rows}
    ada = [world.sid("ada@example.com"), "ada@example.com", "'=cmd|'/C calc'!A0", "pt-BR", "PT", "vip", "2027-01-15 07:59"]
    assert found["ada@example.com"] == ada and found["bob@example.com"][2] == 'Bob "B", Jr' and len(found) == 2


async def test_a_segment_by_rule_holds_whom_its_rule_holds_now(world: World) -> None:
    seen = {"opens": {f"{(NOW - DAY) // WEEK % 26:02d}": NOW - DAY}, "segments": ["everyone", "keen"]}
    await world.add("ada@example.com", "left@example.com", **seen)
    await world.add("idle@example.com", segments=["everyone", "keen"])  # an index that says more than the rule
    await world.store.commit(suppress(world.paths, world.sid("left@example.com"), "unsubscribed", "x", NOW))
    await world.store.commit([Merge(world.paths.segment("keen"), {"rule": "opened in the last 7 days", "version": "1"})])
    for now, expected in ((NOW, ["ada@example.com"]), (NOW + 6 * DAY, [])):
        file = io.BytesIO()
        await export.write(export.segment(world.store, world.paths, "Keen", now), file)
        assert [row[1] for row in cells(file.getvalue())[1:]] == expected


async def test_a_tab_is_as_it_is_shown_and_inert(world: World) -> None:
    await world.sheet.add_tabs(["My tab"])
    world.sheet.tabs["My tab"] = [["What", "Now"], ["a;=1+1", "@x"], ["", "2"]]
    file = io.BytesIO()
    assert await export.write(export.tab(world.sheet, "My tab"), file) == 2
    assert cells(file.getvalue()) == [["What", "Now"], ["a;'=1+1", "'@x"], ["", "2"]]
    with pytest.raises(NotFound):
        await export.write(export.tab(world.sheet, "Mine"), io.BytesIO())


async def test_more_readers_need_no_more_memory(world: World) -> None:
    class Many(FaultyStore):
        size = 0

        async def page(
            self,
            collection: str,
            filter: Filter = Filter(),
            after: str = "",
            limit: int = 300,
            fields: Sequence[str] | None = None,
        ) -> list[Document]:
            first = int(after or "0", 16)
            data: dict[str, Any] = {"address": "p@example.com", "status": "confirmed", "tags": ["vip"]}
            return [Document(f"s/{n + 1:032x}", "1", data) for n in range(first, min(first + limit, self.size))]

    class Nowhere(io.BytesIO):
        def write(self, data: Any) -> int:
            return len(data)

    async def peak(size: int) -> int:
        store = Many(world.store, lambda verb: "")
        store.size = size
        tracemalloc.start()
        assert await export.write(export.segment(store, Paths("t"), "vip", NOW), Nowhere()) == size
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small = await peak(600)
    assert await peak(6_000) < 1.5 * small


def test_the_command_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STACK": "embedded", "STATE_DIR": str(tmp_path), "TENANT": "t", "PUBLIC_URL": "http://x.test"}.items():
        monkeypatch.setenv(name, value)
    world = World.on(tmp_path)
    asyncio.run(filled(world))
    world.store.close()
    done = CliRunner().invoke(app, ["export", "segment", "vip"])
    where = re.fullmatch(r"(exports/t/vip-\d{8}T\d{6}Z\.csv): 2 rows\n", done.output)
    assert where, done.output
    assert len(cells((tmp_path / "objects" / where[1]).read_bytes())) == 3
    file = tmp_path / "all.csv"
    done = CliRunner().invoke(app, ["export", "segment", "everyone", "--out", str(file)])
    assert done.output == f"{file}: 3 rows\n" and len(cells(file.read_bytes())) == 4
    for wrong in (["export", "segment"], ["export", "Results", "vip"]):
        refused = CliRunner().invoke(app, wrong)
        assert refused.exit_code == 1 and "Say export TAB" in refused.output
