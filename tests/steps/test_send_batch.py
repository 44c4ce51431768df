"""One batch to a provider: every answer in its place, live rechecks, pauses, retries, single mails."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from functions.send_batch.run import Pace
from shared.adapters.documents import Operations
from shared.errors import BadInput, Unavailable
from shared.http import Request
from shared.model import batch
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Delete, Expiry, Merge, Outcome

from .fakes import DAY, NOW, FaultyStore, nth
from .world import PACE, World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:02d}@example.com" for n in range(12)]


async def ready(world: World, people: list[str] = PEOPLE, window: int = 5) -> None:
    await world.add(*people)
    await world.campaign()
    world.sender.window = window


async def later(world: World, runs: int = 1, request: dict[str, Any] = REQUEST) -> None:
    """The batch is brought back when its waiting is over."""
    for _ in range(runs):
        name = (str(request["batch"]), str(request["campaign"]))
        world.clock.time = max(world.clock.time, (await world.ledger(*name))["not_before"])
        await world.send_batch().handle(request)


async def set_state(world: World, state: str) -> None:
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": state})])


async def test_everybody_is_mailed_once_and_written_down(world: World) -> None:
    await ready(world)
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE
    ledger = await world.ledger()
    assert (ledger["state"], ledger["tally"], ledger["lease_until"], ledger["unsettled"]) == ("done", {"sent": 12}, 0, False)
    assert set(await world.states()) == {world.sid(address) for address in PEOPLE}
    await world.send_batch().handle(REQUEST)
    assert len(world.sender.accepted) == 12


async def test_ranges_share_nobody_and_miss_nobody(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign(parts=3)
    for n in range(3):
        await world.send_batch().handle({"campaign": "C-0001", "batch": f"{n:06d}"})
    assert sorted(world.sender.accepted) == PEOPLE
    assert all([(await world.ledger(f"{n:06d}"))["tally"] for n in range(3)])


async def test_what_a_mail_costs(world: World) -> None:
    people = [f"q{n:03d}@example.com" for n in range(200)]
    await world.store.write_many(
        [
            Create(
                world.paths.subscriber(world.sid(address)),
                {"address": address, "status": "confirmed", "confirmed_at": NOW - 1, "segments": ["everyone"]},
            )
            for address in people
        ]
    )
    await ready(world, [], window=50)
    world.store.operations = Operations()
    await world.send_batch().handle(REQUEST)
    used = world.store.operations
    assert len(world.sender.accepted) == 200
    assert used.writes <= 0.05 * 200 and used.reads <= 1.05 * 200 and used.counts == 0


async def test_each_answer_has_its_state_and_refusals_are_told(world: World) -> None:
    await ready(world, window=50)
    script = {
        0: Outcome("recipient", "550 5.1.1", hard=True),
        1: Outcome("recipient", "552 5.2.2"),
        2: Outcome("message", "554 5.6.0"),
        3: Outcome("unknown"),
        4: Outcome("temporary", "451"),
        5: Outcome("sent", "250"),
    }
    world.sender.answers = {PEOPLE[n]: [outcome] for n, outcome in script.items()}
    await world.send_batch().handle(REQUEST)
    found = [await world.state_of(PEOPLE[n]) for n in script]
    assert found == ["failed", "failed", "failed", "unknown", "deferred", "sent"]
    assert (await world.ledger())["unsettled"] is True
    events = world.bus.take("engagement-events")
    assert sorted((event["type"], event["code"], event.get("hard", False), event.get("counts", False)) for event in events) == [
        ("bounced", "550 5.1.1", True, False),
        ("bounced", "552 5.2.2", False, True),
        ("bounced", "554 5.6.0", False, False),
    ]
    assert "example.com" not in str(events)
    await later(world)
    assert await world.state_of(PEOPLE[4]) == "sent"
    assert (await world.ledger())["state"] == "done"
    assert world.sender.accepted.count(PEOPLE[3]) == 1  # an unknown mail is never sent again


async def test_refusals_that_cannot_be_told_cost_nothing_else(world: World) -> None:
    await ready(world)
    world.sender.answers = {PEOPLE[0]: [Outcome("recipient", "550", hard=True)]}
    world.bus.failing = True
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"failed": 1, "sent": 11}


# --- who gets it ---


async def test_the_rule_is_checked_on_the_documents_just_read(world: World) -> None:
    index = ["everyone", "vip"]
    vip = {"tags": ["vip"], "segments": index}
    await world.add("good@example.com", **vip)
    await world.add("suppressed@example.com", suppressed=["hard_bounce"], **vip)
    await world.add("pending@example.com", status="", **vip)
    await world.add("untagged@example.com", tags=[], segments=index)
    await world.add("joined@example.com", **{**vip, "confirmed_at": NOW + 1})
    await world.add("other@example.com", tags=["news"])
    await world.store.commit(
        [Create(world.paths.subscriber("f" * 32), {"status": "confirmed", "segments": index, "tags": ["vip"]})]
    )
    await world.campaign(segment="vip")
    await world.send_batch().handle(REQUEST)
    assert world.sender.accepted == ["good@example.com"]
    states = await world.states()
    names = ("suppressed", "pending", "untagged", "joined", "other")
    found = [states.get(world.sid(f"{name}@example.com"), "") for name in names]
    assert found == ["suppressed", "skipped", "skipped", "skipped", ""]
    assert states["f" * 32] == "skipped"
    assert (await world.ledger())["states"].count(batch.SKIPPED_JOINED) == 1


async def test_who_leaves_during_the_first_window_is_not_in_the_second(world: World) -> None:
    await ready(world)
    last = max(PEOPLE, key=world.sid)

    async def leave(_: list[str]) -> None:
        await world.store.commit(suppress(world.paths, world.sid(last), "unsubscribed", "x", NOW))

    world.sender.meanwhile = leave
    await world.send_batch().handle(REQUEST)
    assert len(world.sender.accepted) == 11 and last not in world.sender.accepted


async def test_a_deferred_mail_is_checked_again_before_each_retry(world: World) -> None:
    await ready(world)
    world.sender.answers = {address: [Outcome("temporary")] for address in PEOPLE[:3]}
    await world.send_batch().handle(REQUEST)
    await world.store.commit(suppress(world.paths, world.sid(PEOPLE[0]), "complaint", "x", NOW))
    await world.store.commit([Delete(world.paths.subscriber(world.sid(PEOPLE[1])))])
    await later(world)
    assert [await world.state_of(address) for address in PEOPLE[:3]] == ["suppressed", "skipped", "sent"]
    assert PEOPLE[0] not in world.sender.accepted and PEOPLE[1] not in world.sender.accepted


async def test_a_reader_whose_mail_cannot_be_made_stops_nobody(world: World) -> None:
    await ready(world, PEOPLE[:3])
    await world.add("bad\r\nBcc: x@example.com", segments=["everyone"])
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 3, "failed": 1}
    assert sorted(world.sender.accepted) == PEOPLE[:3]


# --- pausing and waiting ---


@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_pause_and_cancel_take_effect_within_one_window(world: World, state: str) -> None:
    await ready(world)

    async def stop(_: list[str]) -> None:
        await set_state(world, state)

    world.sender.meanwhile = stop
    await world.send_batch().handle(REQUEST)
    assert world.sender.calls == 1
    ledger = await world.ledger()
    assert ledger["lease_until"] == 0
    if state == "cancelled":
        assert (ledger["state"], ledger["tally"]) == ("done", {"sent": 5, "cancelled": 7})
        return
    assert (ledger["state"], ledger["tally"]) == ("open", {"sent": 5})
    await world.send_batch().handle(REQUEST)
    assert world.sender.calls == 1
    world.sender.meanwhile = None
    await set_state(world, "running")
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE
    assert (await world.ledger())["tally"] == {"sent": 12}


async def test_cancelling_ends_deferred_mails_too(world: World) -> None:
    await ready(world)
    world.sender.answers = {PEOPLE[0]: [Outcome("temporary")]}
    await world.send_batch().handle(REQUEST)
    await set_state(world, "cancelled")
    world.sender.down = True
    await later(world)
    assert (await world.ledger())["tally"] == {"sent": 11, "cancelled": 1}
    assert (await world.ledger())["state"] == "done"


async def test_cancelling_in_the_first_pass_ends_its_deferred_mails(world: World) -> None:
    await ready(world)
    world.sender.answers = {address: [Outcome("temporary")] for address in PEOPLE}

    async def cancel(_: list[str]) -> None:
        await set_state(world, "cancelled")

    world.sender.meanwhile = cancel
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"cancelled": 12}
    assert (await world.ledger())["state"] == "done" and world.sender.accepted == []


async def test_a_deferred_mail_is_tried_for_three_days_then_failed(world: World) -> None:
    await ready(world)
    pace = dataclasses.replace(PACE, retry=300_000)
    world.sender.answers = {PEOPLE[0]: [Outcome("temporary", "451 4.7.1")] * 50, PEOPLE[1]: [Outcome("temporary", "451")] * 3}
    await world.send_batch(pace=pace).handle(REQUEST)
    waits = []
    while (found := await world.ledger())["state"] == "open":
        waits.append(found["not_before"] - world.clock.now())
        await world.send_batch(pace=pace).handle(REQUEST)  # too early: acknowledged, nothing done
        assert await world.ledger() == found
        world.clock.time = found["not_before"]
        await world.send_batch(pace=pace).handle(REQUEST)
    assert waits[:3] == [300_000, 390_000, 507_000]
    assert sum(waits[:-1]) < 72 * 3_600_000 <= sum(waits) == world.clock.now() - NOW
    assert len(world.sender.answers[PEOPLE[0]]) == 50 - 1 - len(waits)
    assert found["tally"] == {"sent": 11, "failed": 1}
    assert (await world.ledger())["codes"] == {str((await order(world)).index(PEOPLE[0])): "451 4.7.1"}
    assert world.sender.accepted.count(PEOPLE[1]) == 1


async def order(world: World) -> list[str]:
    """The addresses in the order of the ledger."""
    by_sid = {world.sid(address): address for address in PEOPLE}
    return [by_sid[sid] for sid in await world.states()]


async def test_a_campaign_that_was_paused_for_long_fails_nobody_untried(world: World) -> None:
    await ready(world)
    world.sender.answers = {address: [Outcome("temporary", "451")] for address in PEOPLE}
    await world.send_batch().handle(REQUEST)
    await set_state(world, "paused")
    world.clock.advance(90 * 3_600_000)
    await world.send_batch().handle(REQUEST)
    await set_state(world, "running")
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 12}


@pytest.mark.parametrize("kind", ["throttle", "down"])
async def test_waiting_for_the_provider_costs_no_attempt(world: World, kind: Any) -> None:
    await ready(world)
    world.sender.answers = {PEOPLE[0]: [Outcome(kind)] * 12 + [Outcome("temporary")] * 3}
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["not_before"] == NOW + PACE.wait
    await later(world, 20)
    assert (await world.ledger())["tally"] == {"sent": 12}
    assert sorted(world.sender.accepted) == PEOPLE


async def test_a_dead_provider_is_seen_before_anything_is_handed(world: World) -> None:
    await ready(world)
    world.sender.down = True
    await world.send_batch().handle(REQUEST)
    ledger = await world.ledger()
    assert (world.sender.calls, ledger["states"], ledger["lease_until"], ledger["swept"]) == (0, b"", 0, 0)
    assert ledger["not_before"] == NOW + PACE.wait
    world.sender.down = False
    await later(world)
    assert (await world.ledger())["tally"] == {"sent": 12}


async def test_our_fault_pauses_the_campaign_and_suppresses_nobody(world: World) -> None:
    await ready(world)
    world.sender.answers = {address: [Outcome("ours", "535 5.7.8")] for address in PEOPLE}
    await world.send_batch().handle(REQUEST)
    campaign = await world.data(world.paths.campaign("C-0001"))
    assert campaign["state"] == "paused" and "535 5.7.8" in campaign["answer"] and "Nobody was suppressed" in campaign["answer"]
    assert world.sender.calls == 1 and world.bus.messages == []
    assert await world.all(world.paths.suppressions) == []
    ledger = await world.ledger()
    assert (ledger["tally"], ledger["round"]) == ({"deferred": 5}, 0)
    world.sender.answers = {}
    await set_state(world, "running")
    await later(world, 2)
    assert (await world.ledger())["tally"] == {"sent": 12}


async def test_a_password_that_is_refused_pauses_before_anything_is_handed(world: World) -> None:
    await ready(world)
    world.sender.denied = "535 5.7.8"
    await world.send_batch().handle(REQUEST)
    campaign = await world.data(world.paths.campaign("C-0001"))
    assert campaign["state"] == "paused" and "535 5.7.8" in campaign["answer"] and world.sender.calls == 0
    world.sender.denied = ""
    await set_state(world, "running")
    await later(world, 2)
    assert (await world.ledger())["tally"] == {"sent": 12}


async def test_our_fault_does_not_bring_back_a_cancelled_campaign(world: World) -> None:
    await ready(world)

    async def cancel(_: list[str]) -> None:
        await set_state(world, "cancelled")

    world.sender.meanwhile = cancel
    world.sender.answers = {address: [Outcome("ours", "535")] for address in PEOPLE}
    await world.send_batch().handle(REQUEST)
    assert (await world.data(world.paths.campaign("C-0001")))["state"] == "cancelled"


async def test_a_run_out_of_time_lets_go_and_asks_for_another(world: World) -> None:
    await ready(world)

    async def slow(_: list[str]) -> None:
        await asyncio.sleep(0.05)

    world.sender.meanwhile = slow
    pace = Pace(lease=PACE.lease, budget=40, retry=PACE.retry, wait=PACE.wait)
    runs = 0
    while (found := await world.ledger())["state"] == "open":
        await world.send_batch(pace=pace).handle(REQUEST)
        runs += 1
        asked = world.bus.take("send-requests")
        found = await world.ledger()
        assert found["lease_until"] == 0 and found["not_before"] == 0
        assert asked == ([REQUEST] if found["state"] == "open" else [])
    assert runs >= 3 and sorted(world.sender.accepted) == PEOPLE


# --- single mails ---


async def test_a_confirmation_holds_nothing_that_was_typed(world: World) -> None:
    await world.system("confirm")
    sid = world.sid("ada@example.com")
    pending = {"address": "ada@example.com", "name": "TYPED", "attributes": {"confirm_url": "TYPED"}, "language": "TYPED"}
    await world.store.commit([Create(world.paths.subscriber(sid), pending)])
    request = {"campaign": "confirm", "batch": f"{sid}.{NOW // DAY}", "consent": "c" * 16}
    for _ in range(2):
        await world.send_batch().handle(request)
    assert world.sender.accepted == ["ada@example.com"]
    wire = world.sender.mails["ada@example.com"]
    mail = message_from_bytes(wire, policy=default)
    body = mail.get_body(("plain",))
    assert body
    token = re.findall(r"/subscribe/confirm/([\w.~-]+)", body.get_content())[0]
    assert world.links.read_confirm(token, NOW) == (sid, "c" * 16, f"{NOW // DAY}")
    assert not [part for part in mail.walk() if "TYPED" in part.as_string() or "/track/" in str(part.get_payload(decode=True))]
    assert "List-Unsubscribe" not in mail and b"TYPED" not in wire
    again = {**request, "batch": f"{sid}.{NOW // DAY + 1}"}
    await world.send_batch().handle(again)
    assert len(world.sender.accepted) == 2


@pytest.mark.parametrize(
    ("reasons", "state"),
    [(["unsubscribed"], "sent"), (["complaint"], "suppressed"), (["unsubscribed", "hard_bounce"], "suppressed")],
)
async def test_a_confirmation_goes_to_who_may_come_back(world: World, reasons: list[str], state: str) -> None:
    await world.system("confirm")
    await world.add("ada@example.com", suppressed=reasons)
    name = f"{world.sid('ada@example.com')}.1"
    await world.send_batch().handle({"campaign": "confirm", "batch": name, "consent": "c"})
    assert list((await world.states(name, "confirm")).values()) == [state]
    assert len(world.sender.accepted) == (state == "sent")


async def test_a_batch_of_one_mail_may_go_when_nothing_can_ask_for_it_any_more(world: World) -> None:
    await world.system("confirm")
    await world.add("ada@example.com")
    name = f"{world.sid('ada@example.com')}.1"
    await world.send_batch().handle({"campaign": "confirm", "batch": name, "consent": "c"})
    found = await world.store.get(world.paths.batch("confirm", name))
    assert found and found.data["expires_at"] == Expiry(NOW + 90 * DAY)


async def test_a_welcome_goes_once_and_only_to_the_mailable(world: World) -> None:
    await world.system("welcome")
    await world.add("ada@example.com", name="Ada")
    await world.add("bob@example.com", suppressed=["unsubscribed"])
    await world.store.commit([Create(world.paths.subscriber(world.sid("eve@example.com")), {"address": "eve@example.com"})])
    for address in ("ada@example.com", "ada@example.com", "bob@example.com", "eve@example.com"):
        await world.send_batch().handle({"campaign": "welcome", "batch": f"{world.sid(address)}.c1"})
    assert world.sender.accepted == ["ada@example.com"]
    assert b"Welcome Ada" in world.sender.mails["ada@example.com"]
    assert await world.states(f"{world.sid('eve@example.com')}.c1", "welcome") == {world.sid("eve@example.com"): "skipped"}


async def test_a_mail_that_is_not_frozen_yet_waits(world: World) -> None:
    await world.add("ada@example.com")
    request = {"campaign": "welcome", "batch": f"{world.sid('ada@example.com')}.c1"}
    await world.send_batch().handle(request)
    ledger = await world.ledger(request["batch"], "welcome")
    assert (ledger["state"], ledger["not_before"], ledger["due"]) == ("open", NOW + PACE.wait, NOW + PACE.wait)
    await world.system("welcome")
    await later(world, request=request)
    assert world.sender.accepted == ["ada@example.com"]


async def test_a_frozen_mail_that_is_gone_pauses_a_campaign_and_delays_a_welcome(world: World) -> None:
    await ready(world)
    await world.system("welcome")
    for id in ("C-0001", "welcome"):
        await world.store.commit([Merge(world.paths.campaign(id), {"mail.object": "mails/gone"})])
    await world.send_batch().handle(REQUEST)
    campaign = await world.data(world.paths.campaign("C-0001"))
    assert campaign["state"] == "paused" and campaign["answer"].startswith("Paused: the frozen mail cannot be made")
    request = {"campaign": "welcome", "batch": f"{world.sid(PEOPLE[0])}.c1"}
    await world.send_batch().handle(request)
    assert world.sender.calls == 0
    await world.system("welcome")
    await later(world, request=request)
    assert world.sender.accepted == [PEOPLE[0]]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"campaign": "C-0001"},
        {"campaign": "C-0001", "batch": 1},
        {"campaign": "C-0001", "batch": "000009"},
        {"campaign": "C-0001", "batch": ""},
        {"campaign": "", "batch": "000000"},
        {"campaign": "../x", "batch": "000000"},
        {"campaign": "C-0001", "batch": "a/b"},
        {"campaign": "confirm", "batch": "short.1"},
        {"campaign": "confirm", "batch": "z" * 32 + ".1"},
        {"campaign": "confirm", "batch": "a" * 32},
        {"campaign": "confirm", "batch": "a" * 32 + ".1", "consent": 5},
    ],
)
async def test_a_message_of_no_batch_is_bad_input(world: World, message: dict[str, Any]) -> None:
    await ready(world, PEOPLE[:1])
    before = world.versions()
    with pytest.raises(BadInput):
        await world.send_batch().handle(message)
    assert world.versions() == before and world.sender.calls == 0


async def test_a_store_that_does_not_answer_is_asked_again_later(world: World) -> None:
    await ready(world)
    with pytest.raises(Unavailable):
        await world.send_batch(FaultyStore(world.store, nth(0, "refused", frozenset({"get_many"})))).handle(REQUEST)
    assert world.sender.calls == 0


async def test_a_long_round_of_retries_goes_on_where_it_stopped(world: World) -> None:
    await ready(world)
    world.sender.answers = {address: [Outcome("temporary", "450")] * 9 for address in PEOPLE}
    pace = dataclasses.replace(PACE, give_up=6 * PACE.retry * 2**6)
    await world.send_batch(pace=pace).handle(REQUEST)
    for tries in range(1, 7):
        assert {9 - len(world.sender.answers[address]) for address in PEOPLE} == {tries}
        world.clock.advance(PACE.retry * 2**6)
        for _ in range(9):  # three are enough for the round: its next one has to wait
            await _one_window(world, pace)
    assert (await world.ledger())["state"] == "done"
    assert set((await world.states()).values()) == {"failed"}


async def _one_window(world: World, pace: Pace) -> None:
    """A run whose time is up as soon as it has handed one window over."""
    step = world.send_batch(pace=pace)

    async def out_of_time(_: list[str]) -> None:
        step.ending.now()

    world.sender.meanwhile = out_of_time
    await step.handle(REQUEST)
    world.sender.meanwhile = None


async def test_a_slow_window_keeps_its_lease(world: World) -> None:
    await ready(world)
    pace = dataclasses.replace(PACE, lease=300)

    async def slow(_: list[str]) -> None:
        for _turn in range(5):
            await asyncio.sleep(0.12)  # real time: the lease is renewed by a task beside the sending
            world.clock.advance(120)
            await world.send_batch(pace=pace).handle(REQUEST)  # another worker, again and again

    world.sender.meanwhile = slow
    await world.send_batch(pace=pace).handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE
    assert (await world.ledger())["tally"] == {"sent": 12}


async def test_a_policy_refusal_of_one_mail_among_accepted_ones_is_that_mails_fault(world: World) -> None:
    await ready(world)
    world.sender.answers = {PEOPLE[0]: [Outcome("ours", "550 5.7.1")]}
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"sent": 11, "failed": 1}
    assert (await world.data(world.paths.campaign("C-0001")))["state"] == "running"
    assert await world.all(world.paths.suppressions) == []


async def test_a_cancelled_campaign_ends_without_its_mail(world: World) -> None:
    await ready(world)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"mail.object": "mails/gone", "state": "cancelled"})])
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["tally"] == {"cancelled": 12}
    assert (await world.ledger())["state"] == "done"


async def test_who_leaves_and_comes_back_the_same_day_gets_one_more_confirmation(world: World) -> None:
    await world.system("confirm")
    await world.add("ada@example.com")
    sid = world.sid("ada@example.com")
    request = {"campaign": "confirm", "batch": f"{sid}.1", "consent": "c"}
    for _ in range(2):
        await world.send_batch().handle(request)
    assert len(world.sender.accepted) == 1
    world.clock.advance(1000)
    await world.unsubscribe().handle(Request("POST", world.links.unsubscribe(MailRef("C-0001", sid)).rpartition("/")[2]))
    for _ in range(3):
        await world.send_batch().handle({**request, "consent": "d"})
    assert len(world.sender.accepted) == 2
