"""Readers who want a pause, or at most one mail a week or a month: from the ledgers of other campaigns, read only where one does."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from functions.send_batch.policy import SELDOM
from ops.trace import Trace
from shared.model import batch
from shared.model.subscriber import WEEK, segments_of
from shared.ports import Create, Merge, Outcome

from .fakes import DAY, HOUR, NOW, FaultyStore, nth
from .test_sending_limits import recent, roster
from .world import World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:02d}@example.com" for n in range(12)]


async def send(world: World, id: str, *others: str, parts: int = 1) -> list[str]:
    """A campaign that knows of `others`, from its launch now to its end; who was mailed."""
    await launch(world, id, *others, parts=parts)
    return await finish(world, id)


async def launch(world: World, id: str, *others: str, parts: int = 1) -> None:
    await world.campaign(id, parts=parts)
    known = [recent(other, parts=len(await world.all(world.paths.batches(other)))) for other in others]
    await world.store.commit([Merge(world.paths.campaign(id), {"recent": known, "sends": recent(id)["sends"]})])


async def finish(world: World, id: str) -> list[str]:
    world.sender.accepted.clear()
    step = world.send_batch()
    for found in await world.all(world.paths.batches(id)):
        await step.handle({"campaign": id, "batch": found.id})
    await world.store.commit([Merge(world.paths.campaign(id), {"state": "completed"})])
    return sorted(world.sender.accepted)


async def ends(world: World, id: str) -> Counter[str]:
    batches = await world.all(world.paths.batches(id))
    return Counter(chr(state) for found in batches for state in found.data["states"])


# --- a pause ---


@pytest.mark.parametrize(("until", "mailed"), [(NOW + 1, False), (NOW, True), (NOW - DAY, True), (0, True)])
async def test_who_pauses_gets_no_campaign_until_then(world: World, until: int, mailed: bool) -> None:
    await world.add("ada@example.com", paused_until=until)
    await world.add("bob@example.com")
    assert await send(world, "C-0001") == [*(["ada@example.com"] if mailed else []), "bob@example.com"]
    assert (await world.ledger())["tally"] == ({"sent": 2} if mailed else {"sent": 1, "skipped": 1})


async def test_a_pause_stops_no_mail_that_was_asked_for(world: World) -> None:
    await world.system("confirm", "welcome")
    await world.add("ada@example.com", paused_until=NOW + DAY, frequency="weekly", asked="ada@example.com")
    sid = world.sid("ada@example.com")
    for campaign in ("confirm", "welcome"):
        await world.send_batch().handle({"campaign": campaign, "batch": f"{sid}.1", "consent": "c"})
    assert world.sender.accepted == ["ada@example.com"] * 2


async def test_a_pause_begun_while_a_batch_waits_is_honoured(world: World) -> None:
    await world.add("ada@example.com")
    await world.campaign()
    world.sender.answers = {"ada@example.com": [Outcome("temporary", "451")]}
    await world.send_batch().handle(REQUEST)
    await world.store.commit([Merge(world.paths.subscriber(world.sid("ada@example.com")), {"paused_until": NOW + DAY})])
    world.clock.time = (await world.ledger())["not_before"]
    await world.send_batch().handle(REQUEST)
    assert not world.sender.accepted
    assert (await world.ledger())["states"] == bytes([batch.SKIPPED_RESTING]) and (await world.ledger())["state"] == "done"


async def test_why_is_told(world: World) -> None:
    await world.add("ada@example.com", paused_until=NOW + DAY)
    await send(world, "C-0001")
    told = [line async for line in Trace(world.store, world.paths, world.sid("ada@example.com")).of("C-0001")]
    assert any("was not sent: wants a pause, or fewer mails" in line for line in told)


# --- frequency ---


@pytest.mark.parametrize("frequency", ["weekly", "monthly", "", "hourly"])
@pytest.mark.parametrize("days", [1, 6, 7, 29, 30])
@pytest.mark.parametrize("earlier", [0, HOUR])
async def test_at_most_one_in_so_many_days_whatever_the_hour(world: World, frequency: str, days: int, earlier: int) -> None:
    await world.add("ada@example.com", frequency=frequency)
    assert await send(world, "C-0001") == ["ada@example.com"]
    world.clock.advance(days * DAY - earlier)  # at seven, where the first went at eight
    mailed = await send(world, "C-0002", "C-0001")
    assert mailed == (["ada@example.com"] if days >= SELDOM.get(frequency, 0) else [])
    assert await ends(world, "C-0002") == ({"s": 1} if mailed else {chr(batch.SKIPPED_RESTING): 1})


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (3, 1), (1, 3), (4, 3), (1, 0), (0, 2), (0, 0)])
async def test_whatever_way_the_two_campaigns_are_cut(world: World, ours: int, theirs: int) -> None:
    """A mail that was refused was none; readers without a wish get both."""
    seldom, every = PEOPLE[:8], PEOPLE[8:]
    await world.add(*seldom, frequency="weekly")
    await world.add(*every)
    world.sender.answers = {PEOPLE[n]: [Outcome("recipient", "550")] for n in range(3)}
    for id, parts in (("C-0009", theirs), ("C-0001", ours)):
        await world.campaign(id, parts=parts)
        if not parts:
            await roster(world, PEOPLE, campaign=id)
        if id == "C-0001":
            await world.store.commit([Merge(world.paths.campaign(id), {"recent": [recent("C-0009", parts=theirs)]})])
        mailed = await finish(world, id)
        world.clock.advance(6 * DAY)
    assert mailed == sorted([*PEOPLE[:3], *every])
    assert await ends(world, "C-0001") == {"s": 7, chr(batch.SKIPPED_RESTING): 5}


@pytest.mark.parametrize("seed", range(6))
async def test_any_readers_over_any_campaigns_are_mailed_as_they_wish(world: World, seed: int) -> None:
    """Against the same rule written the plain way; each campaign's end states add up to its readers."""
    chance = random.Random(seed)
    wishes = {address: chance.choice(["", "weekly", "monthly"]) for address in PEOPLE}
    pauses = {address: chance.choice([0, NOW + chance.randrange(40 * DAY)]) for address in PEOPLE}
    for address in PEOPLE:
        await world.add(address, frequency=wishes[address], paused_until=pauses[address])
    had: dict[str, list[int]] = {address: [] for address in PEOPLE}
    before: list[str] = []
    for n in range(6):
        now = world.clock.now()
        expected = [
            address
            for address in PEOPLE
            if pauses[address] <= now and not any(now // DAY - at // DAY < SELDOM.get(wishes[address], 0) for at in had[address])
        ]
        id = f"C-{n:04d}"
        assert await send(world, id, *before, parts=chance.choice([1, 3])) == expected
        found = await ends(world, id)
        assert found == Counter({"s": len(expected), chr(batch.SKIPPED_RESTING): len(PEOPLE) - len(expected)}) - Counter()
        assert sum(found.values()) == len(PEOPLE)
        for address in expected:
            had[address].append(now)
        before.append(id)
        world.clock.advance(chance.randrange(1, 12 * 24) * HOUR)


async def test_of_two_at_once_who_wants_one_a_week_gets_one(world: World) -> None:
    """Whichever worker comes first: the one ahead is counted on before it has sent."""
    await world.add(*PEOPLE, frequency="weekly")
    for first in ("ahead", "behind"):
        ahead, behind = f"A-{first}", f"B-{first}"
        for id in (ahead, behind):
            await world.campaign(id)
        await world.store.commit([Merge(world.paths.campaign(ahead), {"recent": [recent(behind)]})])
        await world.store.commit([Merge(world.paths.campaign(behind), {"recent": [recent(ahead, ahead=True)]})])
        world.sender.accepted.clear()
        for id in (ahead, behind) if first == "ahead" else (behind, ahead):
            await world.send_batch().handle({"campaign": id, "batch": "000000"})
        assert sorted(world.sender.accepted) == PEOPLE
        world.clock.advance(8 * DAY)


async def test_one_ahead_to_a_rule_is_counted_on_for_whom_its_rule_holds(world: World) -> None:
    keen, idle = PEOPLE[:5], PEOPLE[5:]
    week = f"{(NOW - 1) // WEEK % 26:02d}"
    await world.add(*keen, opens={week: NOW - 1}, segments=["everyone", "keen"], frequency="monthly")
    await world.add(*idle, segments=["everyone", "keen"], frequency="monthly")
    await world.campaign("C-0002", segment="keen")
    await world.campaign("C-0001")
    rule = {"rule": "opened in the last 30 days"}
    await world.store.commit([Merge(world.paths.campaign("C-0002"), rule)])
    known = {**recent("C-0002", ahead=True, segment="keen"), **rule}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"recent": [known]})])
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == idle


@pytest.mark.parametrize("parts", [1, 0])
async def test_a_later_send_of_the_same_campaign_is_one_mail_more(world: World, parts: int) -> None:
    """Its own mails that wait for the mail server are none."""
    await world.add(*PEOPLE[:4], frequency="weekly")
    await world.add(*PEOPLE[4:])
    world.sender.answers = {PEOPLE[0]: [Outcome("recipient", "550"), Outcome("temporary", "451")]}
    await world.campaign(parts=parts)
    if not parts:
        await roster(world, PEOPLE)
    assert await finish(world, "C-0001") == PEOPLE[1:]
    sends = [*recent("C-0001", parts=parts)["sends"], {"key": "r1", "kind": "non-openers", "parts": 0, "expected": 12, "at": NOW}]
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "running", "sends": sends})])
    world.sender.accepted.clear()
    world.clock.advance(DAY)
    await roster(world, PEOPLE, "r1-000000", key="r1")
    await world.send_batch().handle({"campaign": "C-0001", "batch": "r1-000000"})
    assert sorted(world.sender.accepted) == PEOPLE[4:]
    world.clock.time = (await world.ledger("r1-000000"))["not_before"]
    await world.send_batch().handle({"campaign": "C-0001", "batch": "r1-000000"})
    assert sorted(world.sender.accepted) == [PEOPLE[0], *PEOPLE[4:]]


async def test_a_pause_is_no_mail_had(world: World) -> None:
    await world.add("ada@example.com", frequency="weekly", paused_until=NOW + 1)
    assert await send(world, "C-0001") == []
    world.clock.advance(DAY)
    assert await send(world, "C-0002", "C-0001") == ["ada@example.com"]


async def test_what_is_too_old_for_the_cap_counts_for_who_wants_one_a_month(world: World) -> None:
    await world.add("ada@example.com", frequency="monthly")
    await world.add("bob@example.com")
    await send(world, "C-0009")
    world.clock.advance(20 * DAY)
    await world.campaign()
    plan = {"policy": {"cap": 1, "days": 2}, "recent": [{**recent("C-0009"), "far": True}]}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), plan)])
    assert await finish(world, "C-0001") == ["bob@example.com"]


async def test_what_is_too_old_for_the_cap_costs_it_nothing(world: World) -> None:
    await world.add(*PEOPLE)
    await send(world, "C-0009")
    world.clock.advance(20 * DAY)
    spent = []
    for id, known in (("C-0001", []), ("C-0002", [{**recent("C-0009"), "far": True}])):
        await world.campaign(id)
        await world.store.commit([Merge(world.paths.campaign(id), {"policy": {"cap": 1, "days": 2}, "recent": known})])
        before = world.store.operations.reads
        assert await finish(world, id) == PEOPLE
        spent.append(world.store.operations.reads - before)
    assert spent[0] == spent[1]


@pytest.mark.parametrize("n", range(2, 7))
async def test_a_read_that_fails_loses_nobody(world: World, n: int) -> None:
    await world.add(*PEOPLE[:6], frequency="weekly")
    await world.add(*PEOPLE[6:])
    await send(world, "C-0009")
    world.sender.accepted.clear()
    world.clock.advance(2 * DAY)
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"recent": [recent("C-0009")]})])
    reads = frozenset({"get", "get_many", "page"})
    await world.send_batch(FaultyStore(world.store, nth(n, "refused", reads))).handle(REQUEST)
    for _ in range(3):
        world.clock.advance(60_000)
        await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE[6:]
    assert (await world.ledger())["tally"] == {"sent": 6, "skipped": 6}


# --- what it costs ---


async def test_a_campaign_without_such_readers_reads_no_ledger(world: World) -> None:
    await world.add(*PEOPLE, paused_until=NOW - 1)
    spent = []
    for id, others in (("C-0001", []), ("C-0002", ["C-0001"]), ("C-0003", ["C-0001", "C-0002"])):
        await launch(world, id, *others)
        before = world.store.operations.reads
        assert await finish(world, id) == PEOPLE
        spent.append(world.store.operations.reads - before)
    assert len(set(spent)) == 1
    await world.add("ada@example.com", frequency="weekly")
    await launch(world, "C-0004", "C-0001", "C-0002", "C-0003")
    before = world.store.operations.reads
    await finish(world, "C-0004")
    assert world.store.operations.reads - before == spent[0] + 1 + 3 + 3  # one reader more; three campaigns, a ledger each


async def test_the_index_of_a_resting_reader_stays(world: World) -> None:
    """A pause is no leaving: nothing of the reader is written."""
    data: dict[str, Any] = {"address": "a@example.com", "status": "confirmed", "confirmed_at": NOW - 1, "paused_until": NOW + DAY}
    await world.store.commit([Create(world.paths.subscriber(world.sid("a@example.com")), data | {"segments": segments_of(data)})])
    before = await world.subscriber("a@example.com")
    await send(world, "C-0001")
    assert await world.subscriber("a@example.com") == before
