"""Reports and histories as an operator reads them: plain tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.reports import history, is_sid, shown
from shared.errors import NotFound
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Create
from tests.steps.fakes import HOUR, NOW
from tests.steps.world import World

SID = "ab" * 16


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.on(tmp_path)
    yield world
    world.store.close()


async def test_a_report_is_a_table_for_each_breakdown(world: World) -> None:
    rows = [
        {"by": "total", "value": "", "opened": 12, "clicked": 3, "revenue_EUR": 19_900_000},
        {"by": "link", "value": "0", "clicked": 3},
    ]
    data = {"rows": rows, "at": NOW, "name": "Spring", "links": {"0": "https://shop.example/a"}}
    await world.store.commit([Create(world.paths.report("C-0001"), data)])
    assert [line async for line in shown(world.store, world.paths, "C-0001")] == [
        "C-0001 Spring, as of 2027-01-15 08:00",
        "",
        "total  opened  clicked  revenue EUR",
        "           12        3        19.90",
        "",
        "link                      clicked",
        "0 https://shop.example/a        3",
    ]
    with pytest.raises(NotFound):
        [line async for line in shown(world.store, world.paths, "C-0002")]


async def test_a_history_goes_over_all_campaigns(world: World) -> None:
    await world.store.commit(
        [Create(world.paths.campaign(id), {"row": {"name": name}}) for id, name in (("C-0001", "A"), ("C-2", ""))]
    )
    first, second, other = MailRef("C-0001", SID).text, MailRef("C-0001", SID, "r1").text, MailRef("C-2", "cd" * 16).text
    events = [
        Event("bounced", first, NOW, counts=True, code="452 4.2.2"),
        Event("opened", second, NOW + HOUR, label="human"),
        Event("clicked", second, NOW + HOUR, label="human", link=0),
        Event("converted", second, NOW + 2 * HOUR, id="1", value=5_000_000, currency="EUR"),
        Event("delivered", other, NOW),
    ]
    events.append(replace(events[2], label="machine", reason="burst"))
    for event in events:
        await world.record().handle(event.to_message())
    lines = [line async for line in history(world.store, world.paths, SID)]
    assert lines == [
        "When              Campaign  Name  What",
        "2027-01-15 08:00  C-0001    A     bounced, soft: 452 4.2.2",
        "2027-01-15 09:00  C-0001    A     clicked by a machine (send r1)",
        "2027-01-15 09:00  C-0001    A     opened by a human (send r1)",
        "2027-01-15 10:00  C-0001    A     order of 5.00 EUR (send r1)",
    ]
    assert [line async for line in history(world.store, world.paths, "ef" * 16)] == [
        "Nothing was heard of any mail to this reader."
    ]


def test_a_reader_is_named_by_id_or_address() -> None:
    assert is_sid(SID) and not is_sid("a@example.com") and not is_sid(SID.upper())
