"""When a turn must stop, who may not be mailed now, and what later sends and rosters change."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import pytest

from functions.send_batch.hand_over import HandOver
from functions.send_batch.run import CAREFUL
from shared.errors import Unavailable
from shared.model import batch
from shared.model.ref import MailRef
from shared.model.subscriber import WEEK
from shared.ports import Create, Document, Merge, Outcome, Outgoing, Stop

from .fakes import HOUR, NOW, Died, FakeSender, FaultyStore, nth
from .world import World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:02d}@example.com" for n in range(40)]
MINUTE = 60_000


async def plan(world: World, **fields: Any) -> None:
    await world.store.commit([Merge(world.paths.campaign("C-0001"), fields)])


async def roster(world: World, people: list[str], name: str = "000000", key: str = "", campaign: str = "C-0001") -> None:
    packed = bytes.fromhex("".join(world.sid(address) for address in people))
    new = batch.new({"roster": len(people)}, world.clock.now(), key, "", packed)
    await world.store.commit([Create(world.paths.batch(campaign, name), new)])


# --- rosters and later sends ---


async def test_a_roster_is_mailed_in_its_order_and_each_reader_is_judged_anew(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign(parts=0)
    order = random.Random(5).sample(PEOPLE, 30)
    await roster(world, order, "000007")
    await world.store.commit([Merge(world.paths.subscriber(world.sid(order[3])), {"suppressed": ["complaint"]})])
    await world.send_batch().handle({"campaign": "C-0001", "batch": "000007"})
    assert world.sender.accepted == [address for address in order if address != order[3]]
    ledger = await world.ledger("000007")
    assert (ledger["state"], ledger["tally"]) == ("done", {"sent": 29, "suppressed": 1})
    assert batch.sids(ledger["sids"]) == [world.sid(address) for address in order]


async def test_a_roster_goes_on_where_a_worker_died(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign(parts=0)
    await roster(world, PEOPLE)

    async def die(_: list[str]) -> None:
        if world.sender.calls == 3:
            raise Died

    world.sender.meanwhile = die
    with pytest.raises(Died):
        await world.send_batch().handle(REQUEST)
    world.clock.advance(90_001)
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 35, "unknown": 5}
    assert len(world.sender.accepted) == len(set(world.sender.accepted)) == 35


async def test_a_later_send_is_another_mail(world: World) -> None:
    await world.add(*PEOPLE[:3])
    await world.campaign()
    await world.send_batch().handle(REQUEST)
    first = dict(world.sender.mails)
    await roster(world, PEOPLE[:3], "r1-000000", key="r1")
    await world.send_batch().handle({"campaign": "C-0001", "batch": "r1-000000"})
    for address in PEOPLE[:3]:
        ids = []
        for wire in (first[address], world.sender.mails[address]):
            line = next(line for line in wire.split(b"\r\n") if line.startswith(b"Message-ID: "))
            ids.append(world.links.read_message_id(line.partition(b" ")[2].decode()))
        assert ids == [MailRef("C-0001", world.sid(address)), MailRef("C-0001", world.sid(address), "r1")]


# --- stopping ---


async def test_told_to_end_a_worker_leaves_at_a_mails_edge_with_nothing_unknown(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    step = world.send_batch()

    class Slow(FakeSender):
        """Looks at `stop` before each mail, as a real one does."""

        async def send(self, envelope_from: str, mails: Any, stop: Stop | None = None) -> list[Outcome]:
            found: list[Outcome] = []
            for mail in mails:
                if len(self.accepted) == 13:
                    step.ending.now()
                found.append(Outcome("unsent") if stop and stop.come else self._one(mail))
            return found

    sender = step.routes.all[0].sender = Slow(window=10)
    await step.handle(REQUEST)
    ledger = await world.ledger()
    assert (len(sender.accepted), ledger["tally"], ledger["lease_until"]) == (13, {"sent": 13, "deferred": 7}, 0)
    assert world.bus.take("send-requests") == [REQUEST]
    await step.handle(REQUEST)  # a process that ends begins nothing more
    assert len(sender.accepted) == 13
    await world.send_batch().handle(REQUEST)
    for request in world.bus.take("send-requests"):
        await world.send_batch().handle(request)
    assert sorted([*sender.accepted, *world.sender.accepted]) == PEOPLE
    assert (await world.ledger())["tally"] == {"sent": 40}


@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_a_hundred_stops_at_random_moments(world: World, state: str) -> None:
    """After the answer at most one window per worker goes out, and every mail has an end."""
    chance = random.Random(state)
    workers, window = 3, 4
    people = [f"h{n:03d}@example.com" for n in range(48)]
    await world.add(*people)
    world.sender.window = window
    for turn in range(50):
        id = f"C-{turn:04d}"
        await world.campaign(id, parts=workers)
        before, at = len(world.sender.accepted), chance.randrange(12)
        seen: list[int] = []

        async def stop(_: list[str], id: str = id, at: int = at, start: int = world.sender.calls, seen: list[int] = seen) -> None:
            await asyncio.sleep(0)
            if world.sender.calls - start > at and not seen:
                await world.store.commit([Merge(world.paths.campaign(id), {"state": state})])
                seen.append(len(world.sender.accepted))

        world.sender.meanwhile = stop
        requests = [{"campaign": id, "batch": f"{n:06d}"} for n in range(workers)]
        await asyncio.gather(*(world.send_batch().handle(request) for request in requests))
        if seen:
            assert len(world.sender.accepted) - seen[0] <= workers * window
        world.sender.meanwhile = None
        if state == "paused":
            await world.store.commit([Merge(world.paths.campaign(id), {"state": "running"})])
        for request in requests:
            await world.send_batch().handle(request)
        sent = world.sender.accepted[before:]
        tallies = [(await world.ledger(f"{n:06d}", id))["tally"] for n in range(workers)]
        assert len(sent) == len(set(sent)) == sum(tally.get("sent", 0) for tally in tallies)
        assert sum(sum(tally.values()) for tally in tallies) == 48
        if state == "paused":
            assert sorted(sent) == people


async def test_of_two_workers_on_one_expired_lease_the_stale_one_is_refused(world: World) -> None:
    await world.add(*PEOPLE)
    for turn in range(20):
        id = f"C-{turn:04d}"
        await world.campaign(id)
        request = {"campaign": id, "batch": "000000"}
        start, at = world.sender.calls, turn % 7
        before = len(world.sender.accepted)

        async def stall(_: list[str], start: int = start, at: int = at, request: Any = request) -> None:
            if world.sender.calls - start == at + 1:
                world.sender.meanwhile = None
                world.clock.advance(90_001)  # this worker was frozen, and its lease ran out
                await world.send_batch().handle(request)

        world.sender.meanwhile = stall
        await world.send_batch().handle(request)
        ledger = await world.ledger("000000", id)
        sent = world.sender.accepted[before:]
        assert ledger["state"] == "done" and len(sent) == len(set(sent)) == 40
        assert ledger["tally"] == {"sent": 35, "unknown": 5}


async def test_hours_end_at_a_window_edge(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await plan(world, until=NOW - 1)
    await world.send_batch().handle(REQUEST)
    assert (world.sender.calls, world.bus.messages, (await world.ledger())["due"]) == (0, [], NOW)
    await plan(world, until=NOW + HOUR)
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE


# --- a batch that kills its workers ---


async def test_a_mail_that_kills_its_worker_ends_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    poison = world.sid(PEOPLE[17])
    compose = HandOver._compose

    def deadly(self: Any, window: Any, *given: Any) -> list[Outgoing | None]:
        if any(mail.sid == poison for mail in window.mails):
            raise Died
        return compose(self, window, *given)

    monkeypatch.setattr(HandOver, "_compose", deadly)
    for _ in range(CAREFUL + 3):
        try:
            await world.send_batch().handle(REQUEST)
        except Died:
            ledger = await world.store.get(world.paths.batch("C-0001", "000000"))
            assert ledger
            world.clock.time = max(world.clock.time, ledger.data["due"], ledger.data["lease_until"]) + 1
            await world.store.commit([Merge(ledger.path, {"swept": ledger.data["swept"] + 1}, if_version=ledger.version)])
    assert await world.state_of(PEOPLE[17]) == "unknown"
    assert (await world.ledger())["tally"] == {
        "sent": 34,
        "unknown": 6,
    }  # and the window whose answers the first death took along
    assert sorted([*world.sender.accepted, PEOPLE[17]]) == PEOPLE


async def test_a_mail_that_cannot_be_made_is_failed_and_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    step = world.send_batch()
    mail = await step.mails.get("C-0001", (await world.data(world.paths.campaign("C-0001")))["mail"])
    splice = type(mail).splice

    broken = {PEOPLE[4]}

    def breaking(self: Any, recipient: Any, *given: Any) -> bytes:
        if recipient.address in broken:
            raise ZeroDivisionError
        return splice(self, recipient, *given)

    monkeypatch.setattr(type(mail), "splice", breaking)
    await step.handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 39, "failed": 1}
    assert await world.state_of(PEOPLE[4]) == "failed"
    broken |= set(PEOPLE)  # where none can be made it is no reader's fault, and nobody is given up
    await world.campaign("C-0002")
    await step.handle({"campaign": "C-0002", "batch": "000000"})
    assert (await world.ledger("000000", "C-0002"))["tally"] == {"deferred": 5}
    plan = await world.data(world.paths.campaign("C-0002"))
    assert plan["state"] == "paused" and "cannot be made: ZeroDivisionError" in plan["answer"]


# --- what is known of each mail ---


async def test_the_ledger_tells_by_whom_when_and_with_which_code(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    world.sender.answers = {PEOPLE[0]: [Outcome("recipient", "550 5.1.1", hard=True)], PEOPLE[1]: [Outcome("unknown")]}
    await world.send_batch().handle(REQUEST)
    ledger = await world.ledger()
    places = {sid: n for n, sid in enumerate(batch.sids(ledger["sids"]))}
    assert ledger["codes"] == {str(places[world.sid(PEOPLE[0])]): "550 5.1.1", str(places[world.sid(PEOPLE[1])]): "unknown"}
    assert ledger["providers"] == ["smtp"] and set(ledger["via"]) == {0}
    assert set(struct.unpack(f">{len(PEOPLE)}I", ledger["times"])) == {NOW // 1000}
    assert (set(ledger["refused"].values()), ledger["ended_at"], ledger["due"]) == ({NOW}, NOW, batch.NEVER)


async def test_unknown_mails_are_asked_about_where_the_provider_can_tell(world: World) -> None:
    await world.add(*PEOPLE[:5])
    await world.campaign()

    class Asked(FakeSender):
        async def found(self, refs: list[str]) -> dict[str, Outcome]:
            assert [MailRef.parse(ref).campaign for ref in refs] == ["C-0001"] * 5
            return {refs[0]: Outcome("sent"), refs[1]: Outcome("recipient", "406", hard=True)}

    async def die(_: list[str]) -> None:
        raise Died

    world.sender.meanwhile = die
    with pytest.raises(Died):
        await world.send_batch().handle(REQUEST)
    world.clock.advance(90_001)
    step = world.send_batch()
    step.routes.all[0].sender = Asked()
    await step.handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 1, "failed": 1, "unknown": 3}


# --- quiet hours and the contact policy ---


async def test_nobody_is_mailed_in_the_quiet_hours_where_they_are(world: World) -> None:
    await world.add("here@example.com")  # Lisbon, 08:00 UTC = 08:00
    await world.add("night@example.com", located={"zone": "America/Los_Angeles"})  # 00:00
    await world.add("early@example.com", located={"zone": "Atlantic/Azores"})  # 07:00
    await world.add("nowhere@example.com", located={"zone": "Mars/Olympus"})  # counts as UTC
    await world.campaign()
    await plan(world, policy={"quiet": [22 * 60, 7 * 60 + 30], "zone": "Europe/Lisbon"})
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == ["here@example.com", "nowhere@example.com"]
    ledger = await world.ledger()
    assert (ledger["not_before"], ledger["round"]) == (NOW + 30 * MINUTE, 0)
    world.clock.time = ledger["not_before"]
    await world.send_batch().handle(REQUEST)
    assert world.sender.accepted[2:] == ["early@example.com"]
    world.clock.time = (await world.ledger())["not_before"]
    assert world.clock.time == NOW + 7 * HOUR + 30 * MINUTE
    await world.send_batch().handle(REQUEST)
    assert world.sender.accepted[3:] == ["night@example.com"] and (await world.ledger())["tally"] == {"sent": 4}


def recent(id: str, ahead: bool = False, segment: str = "everyone", parts: int = 1) -> dict[str, Any]:
    sends = [{"key": "", "kind": "all", "parts": parts, "expected": 1, "at": NOW}]
    return {"id": id, "segment": segment, "frozen_at": NOW, "ahead": ahead, "sends": sends}


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (3, 1), (1, 3), (4, 3), (1, 0), (0, 2), (0, 0)])
async def test_who_had_enough_mails_is_skipped_whatever_way_the_two_campaigns_are_cut(
    world: World, ours: int, theirs: int
) -> None:
    await world.add(*PEOPLE)
    await world.campaign("C-0009", parts=theirs)
    world.sender.answers = {PEOPLE[n]: [Outcome("recipient", "550")] for n in range(10)}
    if not theirs:
        await roster(world, PEOPLE[:20], "000000", campaign="C-0009")
        await roster(world, PEOPLE[20:], "000001", campaign="C-0009")
    for found in await world.all(world.paths.batches("C-0009")):
        await world.send_batch().handle({"campaign": "C-0009", "batch": found.id})
    world.sender.accepted.clear()
    await world.store.commit([Merge(world.paths.campaign("C-0009"), {"state": "completed"})])
    await world.campaign(parts=ours)
    if not ours:
        await roster(world, PEOPLE)
    await plan(world, policy={"cap": 1, "days": 7}, recent=[recent("C-0009", parts=theirs)])
    step = world.send_batch()
    for found in await world.all(world.paths.batches("C-0001")):
        await step.handle({"campaign": "C-0001", "batch": found.id})
    assert sorted(world.sender.accepted) == PEOPLE[:10]  # a refused mail was none
    states = [state for found in await world.all(world.paths.batches("C-0001")) for state in found.data["states"]]
    assert states.count(batch.SKIPPED_CAPPED) == 30


async def test_mails_of_long_ago_do_not_count(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign("C-0009")
    await world.send_batch().handle({"campaign": "C-0009", "batch": "000000"})
    world.sender.accepted.clear()
    world.clock.advance(7 * 24 * HOUR + 1)
    await world.campaign()
    await plan(world, policy={"cap": 1, "days": 7}, recent=[recent("C-0009")])
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE


async def test_of_two_campaigns_at_once_one_reaches_each_reader(world: World) -> None:
    """Whichever worker comes first: the one ahead is counted on before it has sent."""
    tea, both = PEOPLE[:10], PEOPLE[10:20]
    await world.add(*tea, tags=["tea"])
    await world.add(*both, tags=["tea", "cake"])
    for order in (("C-0001", "C-0002"), ("C-0002", "C-0001")):
        ahead, behind = (f"{name}{order.index('C-0001')}" for name in ("A-", "B-"))
        await world.campaign(ahead, segment="cake")
        await world.campaign(behind, segment="tea")
        policy = {"cap": 1, "days": 7}
        for id, item in ((ahead, recent(behind, segment="tea")), (behind, recent(ahead, ahead=True, segment="cake"))):
            await world.store.commit([Merge(world.paths.campaign(id), {"policy": policy, "recent": [item]})])
        world.sender.accepted.clear()
        for id in (ahead, behind)[:: 1 if order[0] == "C-0001" else -1]:
            await world.send_batch().handle({"campaign": id, "batch": "000000"})
        assert sorted(world.sender.accepted) == sorted([*tea, *both])
        assert (await world.ledger("000000", ahead))["tally"] == {"sent": 10}
        assert (await world.ledger("000000", behind))["tally"] == {"sent": 10, "skipped": 10}


async def test_a_campaign_to_a_rule_that_is_ahead_is_counted_on_for_whom_its_rule_holds(world: World) -> None:
    keen, idle = PEOPLE[:10], PEOPLE[10:20]
    await world.add(*keen, opens={f"{(NOW - 1) // WEEK % 26:02d}": NOW - 1}, segments=["everyone", "keen"])
    await world.add(*idle, segments=["everyone", "keen"])  # an index that says more than the rule
    await world.campaign("C-0002", segment="keen")
    await world.campaign("C-0001")
    rule = {"rule": "opened in the last 30 days"}
    await world.store.commit([Merge(world.paths.campaign("C-0002"), rule)])
    await plan(world, policy={"cap": 1, "days": 7}, recent=[{**recent("C-0002", ahead=True, segment="keen"), **rule}])
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == sorted(idle)
    await world.send_batch().handle({"campaign": "C-0002", "batch": "000000"})
    assert sorted(world.sender.accepted) == sorted([*keen, *idle])


async def test_a_store_that_cannot_tell_holds_the_batch_back(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await plan(world, policy={"cap": 1, "days": 7}, recent=[recent("C-0009")])
    with pytest.raises(Unavailable):
        await world.send_batch(FaultyStore(world.store, nth(1, "refused", frozenset({"get_many"})))).handle(REQUEST)
    assert not world.sender.calls


# --- a store that fails, a reader who leaves, a turn that queued ---


@pytest.mark.parametrize("n", range(1, 6))
async def test_a_read_that_fails_loses_nobody_of_a_roster(world: World, n: int) -> None:
    await world.add(*PEOPLE[:12])
    await world.campaign(parts=0)
    await roster(world, PEOPLE[:12])
    step = world.send_batch(FaultyStore(world.store, nth(n, "refused", frozenset({"get_many"}))))
    await step.handle(REQUEST)
    world.clock.time = max(world.clock.time, (await world.ledger())["due"] if n < 4 else 0)
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 12} and sorted(world.sender.accepted) == PEOPLE[:12]


async def test_a_read_that_fails_loses_no_welcome(world: World) -> None:
    await world.system("welcome")
    await world.add("ada@example.com")
    request = {"campaign": "welcome", "batch": f"{world.sid('ada@example.com')}.c1"}
    await world.send_batch(FaultyStore(world.store, nth(0, "refused", frozenset({"get"})))).handle(request)
    ledger = await world.data(world.paths.batch("welcome", request["batch"]))
    assert ledger["state"] == "open" and not world.sender.accepted
    world.clock.time = ledger["due"]
    await world.send_batch().handle(request)
    assert world.sender.accepted == ["ada@example.com"]


async def _two_ways(world: World, monkeypatch: pytest.MonkeyPatch) -> FakeSender:
    """Forty readers are read at once, and mailed in windows of five."""
    from functions.send_batch.routes import Route, Routes
    from shared.model.provider import Provider

    await world.add(*PEOPLE)
    await world.campaign()
    ways = [Route(Provider("a", "x"), world.sender), Route(Provider("b", "x", weight=0), FakeSender(window=60))]
    ready = Routes(ways, world.store, world.paths, 30_000)
    monkeypatch.setattr(type(world), "routes", lambda self, store=None, pace=None: ready)
    return world.sender


async def test_cancelling_reaches_readers_who_are_read_already(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = await _two_ways(world, monkeypatch)

    async def cancel(_: list[str]) -> None:
        await plan(world, state="cancelled")

    sender.meanwhile = cancel
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 5, "cancelled": 35}


async def test_who_leaves_while_others_are_mailed_gets_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = await _two_ways(world, monkeypatch)
    monkeypatch.setattr("functions.send_batch.turn.STALE", 0.0)

    async def leave(recipients: list[str]) -> None:
        sender.meanwhile = None
        for address in set(PEOPLE) - set(recipients):
            await world.store.commit([Merge(world.paths.subscriber(world.sid(address)), {"suppressed": ["unsubscribed"]})])

    sender.meanwhile = leave
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 5, "suppressed": 35}


async def test_a_quick_servers_readers_are_read_ahead_and_again_when_it_was_slow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    read: list[int] = []
    page = type(world.store).page

    async def counting(self: Any, *given: Any, **named: Any) -> list[Document]:
        found = await page(self, *given, **named)
        read.append(len(found))
        return found

    monkeypatch.setattr(type(world.store), "page", counting)
    await world.send_batch().handle(REQUEST)
    assert read == [5, 35]  # a window, then all that go soon
    await world.campaign("C-0002")
    monkeypatch.setattr("functions.send_batch.turn.STALE", 0.2)

    async def slow(recipients: list[str]) -> None:
        if world.sender.calls == 10:  # the second window: readers of the fourth were read before it
            leaving = [address for address in PEOPLE if address not in world.sender.accepted[40:] + recipients]
            for address in leaving[-5:]:
                await world.store.commit([Merge(world.paths.subscriber(world.sid(address)), {"suppressed": ["unsubscribed"]})])
            await asyncio.sleep(0.25)

    world.sender.meanwhile = slow
    await world.send_batch().handle({"campaign": "C-0002", "batch": "000000"})
    assert (await world.ledger("000000", "C-0002"))["tally"] == {"sent": 35, "suppressed": 5}


async def test_a_late_first_refusal_is_not_given_up(world: World) -> None:
    await world.add(*PEOPLE[:10])
    await world.campaign()

    async def pause(_: list[str]) -> None:
        world.sender.meanwhile = None
        await plan(world, state="paused")

    world.sender.meanwhile = pause
    await world.send_batch().handle(REQUEST)
    await plan(world, state="running")
    world.clock.advance(80 * HOUR)
    world.sender.answers = {address: [Outcome("temporary", "451")] for address in PEOPLE[:10]}
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 5, "deferred": 5}


async def test_a_throttled_mail_does_not_wait_for_the_sleepers(world: World) -> None:
    await world.add("up@example.com")
    await world.add("night@example.com", located={"zone": "America/Los_Angeles"})
    await world.campaign()
    await plan(world, policy={"quiet": [22 * 60, 7 * 60 + 30], "zone": "UTC"})
    world.sender.answers = {"up@example.com": [Outcome("throttle", "421")]}
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["not_before"] == NOW + 30_000


async def test_a_batch_that_only_queued_is_soon_sent_in_windows_again(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"swept": CAREFUL})])
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 40} and world.sender.calls <= 10 + 7


async def test_a_pause_gives_grants_back(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"grants": {"a": {"mails": 9, "rate": 0}}})])
    await plan(world, state="paused")
    await world.send_batch().handle(REQUEST)
    ledger = await world.ledger()
    assert (ledger["leftover"], ledger["tally"], ledger["state"]) == (True, {}, "open")
