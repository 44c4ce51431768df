"""Campaigns under a contact policy know of one another before a mail goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import PipelineError
from shared.model import batch
from shared.model.tenant import Tenant, document
from shared.ports import Create, Merge

from .fakes import DAY, NOW, Died, Fault, FaultyStore, nth
from .test_launch import GO, campaign, rows
from .test_launch_pace import HEADER
from .world import IDENTITY, World

MINUTE = 60_000
POLICY = {"cap": 1, "days": 2, "quiet": [1320, 420]}
PEOPLE = [f"{letter}@example.com" for letter in "abc"]


async def run(world: World, *lines: dict[str, str], policy: dict[str, Any] = POLICY, store: Any = None) -> None:
    """A tick with these rows."""
    rows(world, *({**GO, **line} for line in lines), header=HEADER)
    step = world.launch(store)
    await replace(step, tenant=replace(step.tenant, policy=policy)).handle()


async def work(world: World) -> list[str]:
    """What workers do with what was published; who was mailed."""
    world.sender.accepted.clear()
    for message in world.bus.take(batch.TOPIC):
        await world.send_batch().handle(message)
    return sorted(world.sender.accepted)


async def known(world: World, id: str) -> dict[str, bool]:
    """The campaigns that one knows of and counts for its cap, and whether each goes first."""
    return {item["id"]: item["ahead"] for item in (await campaign(world, id))["recent"] if not item.get("far")}


async def test_a_tenant_may_have_a_policy(world: World) -> None:
    held = document("Brand", IDENTITY, "sheet", "folder")
    await world.store.commit([Create(world.paths.tenant, held)])
    assert (await Tenant.load(world.store, world.paths)).policy == {}
    await world.store.commit([Merge(world.paths.tenant, {"policy": POLICY})])
    assert (await Tenant.load(world.store, world.paths)).policy == POLICY


async def test_the_policy_is_frozen_with_the_campaign(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {})
    assert (await campaign(world))["policy"] == {**POLICY, "zone": "Europe/Lisbon"}
    await run(world, {}, {}, policy={**POLICY, "zone": "Asia/Tokyo"})
    assert (await campaign(world))["policy"]["zone"] == "Europe/Lisbon"
    assert (await campaign(world, "C-0002"))["policy"]["zone"] == "Asia/Tokyo"


async def test_who_starts_is_told_of_all_and_all_are_told_of_it(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {"Rate": "20 a day"})
    assert await known(world, "C-0001") == {}
    world.clock.advance(MINUTE)
    await run(world, {"Rate": "20 a day"}, {"Rate": "20 a day", "Priority": "5"})
    assert await known(world, "C-0001") == {"C-0002": True}
    assert await known(world, "C-0002") == {"C-0001": False}
    world.clock.advance(MINUTE)
    await run(world, {"Rate": "20 a day"}, {"Rate": "20 a day", "Priority": "5"}, {"Rate": "20 a day"})
    assert await known(world, "C-0001") == {"C-0002": True, "C-0003": False}
    assert await known(world, "C-0003") == {"C-0001": True, "C-0002": True}
    [first, _] = (await campaign(world, "C-0003"))["recent"]
    found = await campaign(world)
    assert first == {
        "id": "C-0001",
        "segment": "everyone",
        "frozen_at": NOW,
        "ahead": True,
        "sends": [{"key": "", "kind": "all", "expected": 3, "parts": 1, "at": NOW}],
    }
    assert first["sends"] == found["sends"]
    before = world.versions()
    await run(world, {"Rate": "20 a day"}, {"Rate": "20 a day", "Priority": "5"}, {"Rate": "20 a day"})
    assert world.versions() == before


async def test_a_campaign_to_a_rule_is_told_with_its_rule(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {"Rate": "20 a day"})
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"segment": "keen", "rule": "opened"})])
    world.clock.advance(MINUTE)
    await run(world, {"Rate": "20 a day"}, {"Rate": "20 a day"})
    [first] = (await campaign(world, "C-0002"))["recent"]
    assert (first["segment"], first["rule"]) == ("keen", "opened")


async def test_two_that_start_together_know_whose_turn_it_is(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {}, {})
    assert await known(world, "C-0001") == {"C-0002": False}
    assert await known(world, "C-0002") == {"C-0001": True}
    assert await work(world) == PEOPLE, "each gets one mail, of the first"
    await run(world, {}, {})
    assert (await campaign(world))["totals"]["sent"] == 3
    assert (await campaign(world, "C-0002"))["totals"]["skipped"] == 3


async def test_a_change_of_priority_changes_whose_turn_it_is(world: World) -> None:
    await world.add(*PEOPLE)
    slow = {"Rate": "20 a day"}
    await run(world, slow, slow)
    await run(world, slow, {**slow, "Priority": "1"})
    assert (await known(world, "C-0001"), await known(world, "C-0002")) == ({"C-0002": True}, {"C-0001": False})


async def test_what_ended_lately_counts_and_what_ended_long_ago_does_not(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {})
    assert await work(world) == PEOPLE
    await run(world, {})
    assert (await campaign(world))["state"] == "completed"
    world.clock.advance(2 * DAY + 1000)
    await run(world, {}, {})
    assert await known(world, "C-0002") == {}
    assert await work(world) == PEOPLE, "their last mail was two days ago"
    await run(world, {}, {})
    world.clock.advance(MINUTE)
    await run(world, {}, {}, {})
    assert await known(world, "C-0003") == {"C-0002": True}
    assert await work(world) == []


async def test_a_later_send_is_told_to_the_others(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {})
    await work(world)
    await run(world, {}, {"Rate": "20 a day"})
    await run(world, {"Wanted": "Resend to non-openers"}, {"Rate": "20 a day"})
    [item] = (await campaign(world, "C-0002"))["recent"]
    assert [send["key"] for send in item["sends"]] == ["", "r1"] and item["id"] == "C-0001"


async def test_a_later_send_counts_what_came_in_between(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {})
    await work(world)
    await run(world, {})
    world.clock.advance(3 * DAY)
    await run(world, {}, {"Segment": "everyone"})
    assert await work(world) == PEOPLE
    await run(world, {}, {})
    assert (await campaign(world))["state"] == (await campaign(world, "C-0002"))["state"] == "completed"
    await run(world, {"Wanted": "Resend to non-openers"}, {})
    assert "C-0002" in await known(world, "C-0001")
    assert await work(world) == []


@pytest.mark.parametrize("policy", [{}, {"quiet": [1320, 420]}, {"cap": 0, "days": 7}])
async def test_without_a_cap_the_others_of_a_month_are_known_and_no_ledger_is_read(world: World, policy: dict[str, Any]) -> None:
    await world.add(*PEOPLE)
    others = 30
    for n in range(others):
        await world.store.commit([Create(world.paths.campaign(f"X-{n}"), {"kind": "campaign", "state": "completed"})])
    await run(world, {}, policy=policy)
    one = world.store.operations.reads
    assert others < one < 2 * others  # each of them once
    world.clock.advance(29 * DAY)
    await work(world)
    await run(world, {}, {}, policy=policy)
    assert await known(world, "C-0002") == {"C-0001": True}
    before = world.store.operations.reads
    assert await work(world) == PEOPLE
    assert world.store.operations.reads - before == 2 + len(PEOPLE)  # the campaign, the batch, the readers


async def test_what_is_too_old_for_the_cap_is_known_for_a_month(world: World) -> None:
    await world.add(*PEOPLE)
    await run(world, {})
    await work(world)
    await run(world, {})
    world.clock.advance(29 * DAY)
    await run(world, {}, {})
    [item] = (await campaign(world, "C-0002"))["recent"]
    assert (item["id"], item["far"], item["sends"][0]["parts"]) == ("C-0001", True, 1)
    world.clock.advance(31 * DAY)
    await run(world, {}, {}, {})
    assert {item["id"] for item in (await campaign(world, "C-0003"))["recent"]} == {"C-0002"}


@pytest.mark.parametrize("n", range(14))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
async def test_a_start_cut_off_at_any_write_mails_nobody_untold(world: World, n: int, fault: Fault) -> None:
    """The second, of the higher priority, starts while the first is on its way: nobody gets two mails."""
    await world.add(*PEOPLE)
    slow = {"Hours": "10:00-11:00"}  # it is eight
    await run(world, slow)
    world.clock.advance(MINUTE)
    try:
        await run(world, slow, {"Priority": "1"}, store=FaultyStore(world.store, nth(n, fault)))
    except (PipelineError, Died):
        pass
    mailed: list[str] = []
    for _ in range(5):
        if world.bus.messages:
            assert await known(world, "C-0001") == {"C-0002": True}
        mailed += await work(world)
        world.clock.advance(MINUTE)
        await run(world, slow, {"Priority": "1"})
    world.clock.advance(2 * 60 * MINUTE)
    for _ in range(3):
        await run(world, slow, {"Priority": "1"})
        mailed += await work(world)
    assert sorted(mailed) == PEOPLE
    assert (await campaign(world))["totals"]["skipped"] == 3
