"""Rules that ask about one campaign: what people did with its mails, looked up while subscribers are swept, and believed afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from functions.send_batch.audience import Audience
from functions.sync_sheet import segments
from shared.model import batch
from shared.model.subscriber import suppress
from shared.ports import Create, Merge

from .fakes import DAY, NOW
from .test_launch import campaign, rows
from .test_segments import tick
from .world import World

PEOPLE = ("opener@example.com", "clicker@example.com", "machine@example.com", "silent@example.com", "other@example.com")
READY = "Ready for campaigns. Counted 2027-01-15 08:00."


async def happened(world: World, address: str, *labels: str, id: str = "C-0012", key: str = "") -> None:
    delivery = f"{world.sid(address)}.{key}" if key else world.sid(address)
    await world.store.commit([Create(world.paths.delivery(id, delivery), {"labels": list(labels)})])


async def ledger(world: World, name: str, id: str = "C-0012", **states: int) -> None:
    sids = b"".join(bytes.fromhex(world.sid(f"{who}@example.com")) for who in states)
    await world.store.commit([Create(world.paths.batch(id, name), {"sids": sids, "states": bytes(states.values())})])


@pytest.fixture
async def past(world: World) -> None:
    """A campaign that has gone to four of five."""
    await world.add(*PEOPLE)
    await world.store.commit(
        [Create(world.paths.campaign("C-0012"), {"kind": "campaign", "state": "completed", "active": False})]
    )
    await happened(world, "opener@example.com", "opened", "opened.human")
    await happened(world, "clicker@example.com", "clicked", "clicked.human", key="r1")
    await happened(world, "machine@example.com", "opened", "opened.machine", "clicked.suspect")
    await ledger(world, "000000", opener=batch.SENT, clicker=batch.FAILED, machine=batch.SENT, other=batch.SKIPPED_LEFT)
    await ledger(world, "r1-000000", clicker=batch.SENT, silent=batch.SENT)


async def who(world: World, name: str) -> list[str]:
    found = await world.all(world.paths.subscribers)
    return sorted(one.data["address"].partition("@")[0] for one in found if name in one.data["segments"])


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("opened campaign C-0012", ["opener"]),
        ("clicked campaign c-0012", ["clicker"]),
        ("engaged campaign C-0012", ["clicker", "opener"]),
        ("was sent campaign C-0012", ["clicker", "machine", "opener", "silent"]),
        ("not opened campaign C-0012 and was sent campaign C-0012", ["clicker", "machine", "silent"]),
        ("was not sent campaign C-0012", ["other"]),
        ("never engaged campaign C-0012", ["machine", "other", "silent"]),
        ("opened campaign C-0012 or domain is gmail.com", ["opener"]),
    ],
)
@pytest.mark.parametrize("page", [300, 2])
async def test_a_rule_holds_who_did_that(
    world: World, rule: str, held: list[str], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PAGE", page)
    monkeypatch.setattr(segments, "MOST", page)
    for _ in range(5):
        found = await tick(world, ("past", rule))
    assert found == {"past": (str(len(held)), READY)} and await who(world, "past") == held
    before = world.versions()
    await tick(world)
    assert world.versions() == before


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (
            "tag is vip or opened campaign C-9999",
            "At character 31: there is no campaign “C-9999” yet. Write the ID of one in Campaigns.",
        ),
        ("opened campaign welcome", "At character 17: there is no campaign “welcome” yet."),
        (
            "opened campaign C-1 or opened campaign C-2 or opened campaign C-3 or clicked campaign C-4",
            "names 4 campaigns, and 3 are",
        ),
        ("joined campaign C-0012", "At character 1: of a campaign write opened, clicked, engaged or was sent."),
        ('opened campaign "C 1"', "At character 17, “C 1”: write a campaign's ID, such as C-0012."),
    ],
)
async def test_a_campaign_that_is_not_there_is_told_with_its_place(world: World, rule: str, answer: str) -> None:
    await world.store.commit([Create(world.paths.campaign("welcome"), {"kind": "system", "state": "running"})])
    said = (await tick(world, ("past", rule)))["past"][1]
    assert answer in said


@pytest.mark.usefixtures("past")
async def test_a_campaign_goes_to_those_and_each_is_judged_once_more(world: World) -> None:
    await tick(world, ("readers", "was sent campaign C-0012 and not opened campaign C-0012 and not tag is staff"))
    rows(world, {"Template": "letter", "Wanted": "Go", "Segment": "readers"})
    await world.launch().handle()
    await tick(world)  # the sweep that launch asked for
    await world.launch().handle()
    found = await campaign(world)
    assert (found["state"], found["expected"]) == ("running", 3)
    await happened(world, "silent@example.com", "opened", "opened.human")  # afterwards: takes nobody out
    await world.store.commit([Merge(world.paths.subscriber(world.sid("clicker@example.com")), {"tags": ["staff"]})])
    await world.store.commit(suppress(world.paths, world.sid("machine@example.com"), "unsubscribed", "link", NOW))
    for message in world.bus.take(batch.TOPIC):
        await world.send_batch().handle(message)
    assert world.sender.accepted == ["silent@example.com"]


@pytest.mark.usefixtures("past")
async def test_a_campaign_on_its_way_keeps_what_its_rule_asks(world: World) -> None:
    """A row that is changed meanwhile makes nobody mailed who does not fit the rule of the launch."""
    await tick(world, ("readers", "not opened campaign C-0012"))
    rows(world, {"Template": "letter", "Wanted": "Go", "Segment": "readers"})
    await world.launch().handle()
    await tick(world)
    await world.launch().handle()
    rule = (await campaign(world))["rule"]
    await tick(world, ("readers", "domain is example.com"))
    assert len(await who(world, "readers")) == 5
    judged = Audience("C-0001", "readers", NOW, rule=rule)
    opener = await world.subscriber("opener@example.com")
    assert (
        judged.judge(opener) == batch.SKIPPED_LEFT and judged.judge(await world.subscriber("silent@example.com")) == batch.HANDED
    )
    assert "segments" in judged.fields
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"active": False})])
    world.clock.advance(DAY)
    await tick(world)
    assert "opened:C-0012" not in (await world.subscriber("opener@example.com"))["segments"], "nobody asks any more"


@pytest.mark.usefixtures("past")
async def test_what_is_noted_is_no_segment(world: World) -> None:
    await tick(world, ("readers", "opened campaign C-0012"))
    rows(world, {"Template": "letter", "Wanted": "Go", "Segment": "opened:C-0012"})
    await world.launch().handle()
    found: dict[str, Any] = await campaign(world)
    assert found["state"] == "draft" and not world.bus.messages, found["answer"]
