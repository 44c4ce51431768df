"""A cut that takes longer than a tick: it goes on where it stopped, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.launch import cut, prepare, tick
from functions.launch.handler import PREPARING
from functions.launch.tick import CUTTING
from shared.errors import PipelineError, Unavailable
from shared.model import batch
from shared.paging import PAGE
from shared.ports import Create, Merge, Outcome

from .fakes import HOUR, Died, Fault, FaultyStore
from .test_launch import GO, campaign, rows
from .world import World

MINUTE = 60_000
READERS = 64
ZONES = ["Asia/Kathmandu", "Europe/Berlin", "", "America/St_Johns"]
RETRY, RESEND = "Retry failures", "Resend to non-openers"
GOING = {**GO, "Schedule": "2027-01-16 09:30 local"}
REFUSED = Outcome("recipient", "550")


def address(n: int) -> str:
    return f"reader{n}@example.com"


@pytest.fixture
async def readers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of whom two or so make a slice, and who are too many for a few seconds."""
    monkeypatch.setattr(prepare, "SLICE", 2)
    monkeypatch.setattr(prepare, "LANES", 2)
    monkeypatch.setattr(tick, "SOON", READERS // 2)
    await people(world)


async def people(world: World) -> None:
    for n in range(READERS):
        await world.add(address(n), located={"zone": ZONES[n % len(ZONES)]}, tags=["few"] if n < 1 else [])


class Slow(FaultyStore):
    """Each look at readers or at what they did takes `takes` ms, of which a tick has PREPARING for all such cuts. `looked`: who was."""

    def __init__(self, world: World, takes: int = PREPARING) -> None:
        super().__init__(world.store, lambda verb: "")
        self.world, self.takes, self.looked = world, takes, Counter[str]()

    async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
        found = await super().page(collection, *arguments, **options)
        if PAGE in arguments and collection.endswith(("/subscribers", "/deliveries")):
            self.world.clock.advance(self.takes)
            self.looked.update(one.id for one in found)
        return found


async def due(world: World, schedule: dict[str, str] = GOING) -> None:
    """Scheduled, and a tick before its start."""
    rows(world, schedule)
    await world.launch().handle()
    world.clock.advance(12 * HOUR)


async def rosters(world: World, key: str = "", id: str = "C-0001") -> list[tuple[int, str, bytes]]:
    found = [one.data for one in await world.all(world.paths.batches(id))]
    return [(one["due"], one["group"], one["roster"]) for one in found if one["key"] == key and "roster" in one]


async def everybody_once(world: World, found: list[tuple[int, str, bytes]]) -> None:
    held = [sid for _, _, roster in found for sid in batch.sids(roster)]
    assert sorted(held) == sorted(world.sid(address(n)) for n in range(READERS))


@pytest.mark.usefixtures("readers")
async def test_a_cut_goes_on_where_it_stopped_and_comes_to_the_same(world: World, tmp_path: Path) -> None:
    """Some moments have passed when it begins, others pass while it lasts: what counts is when it began."""
    rows(world, {**GO, "Schedule": "2027-01-15 09:30 local"})
    began, answers, slow = world.clock.now(), [], Slow(world)
    for _ in range(100):
        await world.launch(slow).handle()
        found = await campaign(world)
        answers.append(found["answer"])
        if found["cut"]:
            break
        assert not await rosters(world) and found["preparing"]["at"] == began and found["cut_by"] == 0
    assert world.clock.now() - began > 30 * MINUTE
    assert set(slow.looked.values()) == {1} and len(slow.looked) == READERS, "each is looked at once"
    assert answers[0] == "Preparing: 2 of about 64 readers looked at."
    assert answers[-2] == "Preparing: 62 of about 64 readers looked at."
    assert answers[-1].startswith("Sending to 64, each at 09:30 where they are.") and found["preparing"] == {}
    await everybody_once(world, await rosters(world))

    other = World.on(tmp_path / "other")  # in one go
    await people(other)
    rows(other, {**GO, "Schedule": "2027-01-15 09:30 local"})
    await other.launch().handle()
    at_once = await campaign(other)
    assert at_once["cut"] and at_once["sends"] == found["sends"]
    assert [roster for *_, roster in await rosters(other)] == [roster for *_, roster in await rosters(world)]
    other.store.close()


@pytest.mark.usefixtures("readers")
async def test_other_campaigns_go_on_meanwhile(world: World) -> None:
    """The one that is cut is the older, and so the first in turn."""
    await due(world)
    await world.launch(Slow(world)).handle()
    began = world.clock.now()
    rows(world, GOING, {**GO, "Segment": "few"}, {**GO, "Segment": "few", "Schedule": "best"})
    await world.launch(Slow(world, PREPARING // 9)).handle()
    first, second, small = [await campaign(world, id) for id in ("C-0001", "C-0002", "C-0003")]
    assert not first["cut"] and second["cut"]
    assert small["cut"], "a few seconds are not worth waiting for"
    assert {message["campaign"] for message in world.bus.take(batch.TOPIC)} == {"C-0002", "C-0003"}
    assert second["sends"][0]["at"] == began, "it did not wait for the other"


@pytest.mark.usefixtures("readers")
async def test_two_long_cuts_share_a_tick(world: World) -> None:
    rows(world, GOING, GOING)
    await world.launch().handle()
    world.clock.advance(12 * HOUR)
    slow = Slow(world, PREPARING // 10)
    began = world.clock.now()
    await world.launch(slow).handle()
    done = [(await campaign(world, id))["preparing"]["done"] for id in ("C-0001", "C-0002")]
    assert min(done) > 1 and abs(done[0] - done[1]) <= 2
    assert world.clock.now() - began < PREPARING + PREPARING // 2


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
@pytest.mark.parametrize("wanted", ["Go", RETRY])
async def test_a_long_cut_that_is_cut_off_at_any_write_mails_each_once(world: World, fault: Fault, wanted: str) -> None:
    """Everybody moves after each tick, so that who is looked at twice would be in two rosters."""
    mailed: Counter[str] = Counter()
    if wanted == RETRY:
        await all_fail(world)
        rows(world, {**GO, "Wanted": RETRY})
    else:
        await due(world)
    key = "r1" if wanted == RETRY else ""
    for n in range(200):
        slow, calls = Slow(world, PREPARING), 0

        def plan(verb: str, n: int = n) -> Fault:
            nonlocal calls
            calls += verb in ("commit", "write_many")
            return fault if calls == 1 + n % 4 and verb in ("commit", "write_many") and n % 2 else ""

        slow._plan = plan
        try:
            await world.launch(slow).handle()
        except (PipelineError, Died, BaseExceptionGroup):
            world.clock.advance(CUTTING)
        for sid in slow.looked:
            if wanted == "Go":
                await world.store.commit([Merge(world.paths.subscriber(sid), {"located": {"zone": ZONES[n % len(ZONES)]}})])
        if (await campaign(world))["cut"]:
            break
        world.clock.advance(CUTTING)
    assert (await campaign(world))["cut"]
    await everybody_once(world, await rosters(world, key))
    for _ in range(30):
        for message in world.bus.take(batch.TOPIC):
            await world.send_batch().handle(message)
        world.clock.advance(HOUR)
        await world.launch().handle()
    mailed.update(world.sender.accepted)
    assert set(mailed.values()) == {1} and len(mailed) == READERS
    assert (await campaign(world))["state"] == "completed"


@pytest.mark.usefixtures("readers")
async def test_two_ticks_at_once_keep_one_plan(world: World) -> None:
    """The second begins while the first is at it; also one that thinks the first is long dead."""
    await due(world)
    nested = 0

    class Overlapping(Slow):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            nonlocal nested
            found = await super().page(collection, *arguments, **options)
            if PAGE in arguments and collection.endswith("/subscribers") and nested < 6:
                nested += 1
                if nested % 2:
                    world.clock.advance(CUTTING)
                await world.launch(Slow(world)).handle()
            return found

    for _ in range(60):
        await asyncio.gather(*(world.launch(Overlapping(world)).handle() for _ in range(2)))
        world.clock.advance(1)
    assert nested == 6 and (await campaign(world))["cut"]
    await everybody_once(world, await rosters(world))


@pytest.mark.usefixtures("readers")
async def test_a_tick_that_was_thought_dead_changes_no_plan(world: World) -> None:
    """Everybody moves, and another tick cuts the send, while the first is at its first readers: what that one finds comes too late."""
    await due(world)
    overtaken = False

    class Overtaken(Slow):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            nonlocal overtaken
            found = await super().page(collection, *arguments, **options)
            if PAGE in arguments and collection.endswith("/subscribers") and not overtaken:
                overtaken = True
                for n in range(READERS):
                    path = world.paths.subscriber(world.sid(address(n)))
                    await world.store.commit([Merge(path, {"located": {"zone": "Pacific/Pago_Pago"}})])
                world.clock.advance(CUTTING)
                await world.launch().handle()
            return found

    await world.launch(Overtaken(world, 1)).handle()
    found = await campaign(world)
    assert overtaken and found["cut"] and found["answer"].startswith("Sending to 64")
    [held] = await rosters(world)
    await everybody_once(world, [held])
    assert [part.roster for part in await cut.kept(world.objects, found["sends"][0]["plan"])] == [held[2]]


@pytest.mark.usefixtures("readers")
async def test_what_was_looked_at_before_the_store_failed_is_kept(world: World) -> None:
    await due(world)
    pages = 0

    class Failing(Slow):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            nonlocal pages
            found = await super().page(collection, *arguments, **options)
            if PAGE in arguments and collection.endswith("/subscribers"):
                pages += 1
                if pages == 12:
                    raise Unavailable("the store")
            return found

    await world.launch(Failing(world, 1)).handle()
    done = (await campaign(world))["preparing"]["done"]
    assert 10 <= done < 14
    await world.launch().handle()
    assert (await campaign(world))["cut"]
    await everybody_once(world, await rosters(world))


@pytest.mark.usefixtures("readers")
async def test_a_long_cut_can_be_paused_resumed_and_cancelled(world: World) -> None:
    await due(world)
    await world.launch(Slow(world)).handle()
    done = (await campaign(world))["preparing"]["done"]
    rows(world, {**GOING, "Wanted": "Pause"})
    for _ in range(3):
        await world.launch(Slow(world)).handle()
    found = await campaign(world)
    assert (found["state"], found["preparing"]["done"]) == ("paused", done)
    rows(world, GOING)
    await world.launch(Slow(world)).handle()
    assert (await campaign(world))["preparing"]["done"] > done
    rows(world, {**GOING, "Wanted": "Cancel"})
    await world.launch().handle()
    found = await campaign(world)
    assert (found["state"], found["active"], found["cut"], found["preparing"]) == ("cancelled", False, True, {})
    assert found["totals"]["recipients"] == 0 and not await rosters(world)


# --- later sends ---


async def all_fail(world: World) -> None:
    """A campaign that ended; everybody was refused."""
    for n in range(READERS):
        world.sender.answers[address(n)] = [REFUSED]
    await sent(world)


async def sent(world: World) -> None:
    rows(world, GO)
    for _ in range(3):
        await world.launch().handle()
        for message in world.bus.take(batch.TOPIC):
            await world.send_batch().handle(message)
        world.clock.advance(MINUTE)
    world.sender.accepted.clear()
    assert (await campaign(world))["state"] == "completed"


@pytest.mark.usefixtures("readers")
async def test_finding_who_did_not_open_it_takes_several_ticks(world: World) -> None:
    await sent(world)
    openers = {world.sid(address(n)) for n in range(0, READERS, 3)}
    await world.store.write_many([Create(world.paths.delivery("C-0001", sid), {"labels": ["opened.human"]}) for sid in openers])
    rows(world, {**GO, "Wanted": RESEND}, {**GO, "Segment": "few"})
    at, slow, answers = world.clock.now(), Slow(world), []
    await world.launch(slow).handle()
    found = await campaign(world)
    assert (found["state"], found["cut"], found["active"]) == ("running", False, True) and len(found["sends"]) == 1
    assert found["answer"] == "Preparing: 2 of about 64 readers looked at."
    assert (await campaign(world, "C-0002"))["sends"][0]["at"] == at, "it did not wait for the other"
    for _ in range(60):
        await world.launch(slow).handle()
        answers.append((await campaign(world))["answer"])
        if (await campaign(world))["cut"]:
            break
    assert len(answers) > 5 and answers[-1] == "Sending again to 42 who did not open it."
    assert set(slow.looked.values()) == {1}
    held = [sid for _, _, roster in await rosters(world, "r1") for sid in batch.sids(roster)]
    assert held == sorted({world.sid(address(n)) for n in range(READERS)} - openers)
    assert (await campaign(world))["sends"][1]["at"] == at


@pytest.mark.usefixtures("readers")
async def test_ledgers_are_read_in_several_ticks_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await all_fail(world)
    monkeypatch.setattr(prepare, "PAGE", 1)
    for n in range(3):
        packed = {"sids": bytes([n]) * 16, "states": bytes([batch.SENT]), "state": "done", "due": batch.NEVER}
        await world.store.commit([Create(world.paths.batch("C-0001", f"00000{n + 1}"), {**batch.new({}, 0), **packed})])
    rows(world, {**GO, "Wanted": RETRY})

    class Ledgers(FaultyStore):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            if options.get("fields") == ["sids", "states"]:
                world.clock.advance(PREPARING)
            return await super().page(collection, *arguments, **options)

    answers = []
    for _ in range(20):
        await world.launch(Ledgers(world.store, lambda verb: "")).handle()
        answers.append((await campaign(world))["answer"])
    assert answers[0] == "Preparing: what became of 64 mails is read so far."
    assert answers[2] == "Preparing: what became of 66 mails is read so far."
    await everybody_once(world, await rosters(world, "r1"))


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("after", ["finding nobody", "cancelling"])
async def test_a_later_send_that_comes_to_nothing_leaves_the_campaign_ended(world: World, after: str) -> None:
    await sent(world)
    openers = [world.sid(address(n)) for n in range(READERS)]
    await world.store.write_many([Create(world.paths.delivery("C-0001", sid), {"labels": ["opened.human"]}) for sid in openers])
    rows(world, {**GO, "Wanted": RESEND})
    slow = Slow(world)
    await world.launch(slow).handle()
    assert (await campaign(world))["state"] == "running"
    if after == "cancelling":
        rows(world, {**GO, "Wanted": "Cancel"})
    for _ in range(40):
        await world.launch(slow).handle()
    found = await campaign(world)
    assert (found["active"], found["preparing"], len(found["sends"])) == (False, {}, 1)
    assert found["totals"]["sent"] == READERS and not world.bus.take(batch.TOPIC)
    if after == "cancelling":
        assert found["state"] == "cancelled"
    else:
        assert found["state"] == "completed"
        assert found["answer"] == "All 64 who got it have opened it, so there is nobody to send it to again."


@pytest.mark.usefixtures("readers")
async def test_others_hear_of_a_later_send_before_its_first_mail(world: World) -> None:
    slow = Slow(world)

    async def capped() -> None:
        step = world.launch(slow)
        await replace(step, tenant=replace(step.tenant, policy={"cap": 1, "days": 7})).handle()

    await sent(world)
    rows(world, {**GO, "Wanted": RESEND}, {**GO, "Rate": "20 a day"})
    for _ in range(60):
        await capped()
        if len((await campaign(world))["sends"]) == 2:
            break
    [known] = (await campaign(world, "C-0002"))["recent"]
    assert [send["key"] for send in known["sends"]] == ["", "r1"]
