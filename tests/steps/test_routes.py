"""Several providers: who goes which way, what moves on and what must not, and mail against what the tick has granted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from functions.send_batch.routes import Route, Routes
from shared.model.provider import ENGAGED_FOR, Provider, group_of
from shared.ports import Merge, Outcome

from .fakes import NOW, FakeSender
from .world import PACE, World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:03d}@example.com" for n in range(60)]


def routes(world: World, *providers: Provider, window: int = 20) -> dict[str, FakeSender]:
    """The world's step sends by these; their senders by name."""
    senders = {provider.name: FakeSender(window=window) for provider in providers}
    ways = Routes([Route(provider, senders[provider.name]) for provider in providers], world.store, world.paths, PACE.wait)
    world.routes = lambda store=None, pace=PACE: ways  # type: ignore[method-assign]
    return senders


async def ready(world: World, people: list[str] = PEOPLE, **fields: Any) -> None:
    await world.add(*people, **fields)
    await world.campaign()


async def test_mail_is_shared_by_weight_and_a_mail_keeps_its_way(world: World) -> None:
    many = [f"q{n:03d}@example.com" for n in range(300)]
    await ready(world, many)
    senders = routes(world, Provider("a", "x", weight=3), Provider("b", "x", weight=1), Provider("spare", "x", weight=0))
    senders["b"].answers = {address: [Outcome("temporary", "451 4.7.1")] for address in many}
    await world.send_batch().handle(REQUEST)
    ours, refused = len(senders["a"].accepted), set(senders["b"].mails)
    assert 190 < ours < 260 and ours + len(refused) == 300 and not senders["spare"].calls
    world.clock.time = (await world.ledger())["not_before"]
    await world.send_batch().handle(REQUEST)
    assert set(senders["b"].accepted) == refused  # a server that greylists sees the same sender again
    assert sorted([*senders["a"].accepted, *senders["b"].accepted]) == many


async def test_domains_and_engagement_choose(world: World) -> None:
    await world.add("a@gmail.com", "b@mail.fr", "c@sub.mail.fr", "d@else.example")
    await world.add("e@else.example", engaged_at=NOW - ENGAGED_FOR + 1)
    await world.campaign()
    senders = routes(
        world,
        Provider("fr", "x", domains=("*.mail.fr", "mail.fr"), weight=9),
        Provider("google", "x", domains=("gmail.com",)),
        Provider("keen", "x", domains=("else.example",), engaged="engaged"),
        Provider("cold", "x", domains=("else.example",), engaged="lapsed"),
    )
    await world.send_batch().handle(REQUEST)
    assert {name: sorted(sender.accepted) for name, sender in senders.items()} == {
        "fr": ["b@mail.fr", "c@sub.mail.fr"],
        "google": ["a@gmail.com"],
        "keen": ["e@else.example"],
        "cold": ["d@else.example"],
    }


async def test_nobody_is_left_out_because_no_provider_takes_them(world: World) -> None:
    await ready(world, PEOPLE[:3])
    senders = routes(world, Provider("google", "x", domains=("gmail.com",)))
    await world.send_batch().handle(REQUEST)
    assert sorted(senders["google"].accepted) == PEOPLE[:3]


async def test_what_a_dead_provider_did_not_take_goes_another_way_at_once(world: World) -> None:
    await ready(world)
    senders = routes(world, Provider("a", "x"), Provider("b", "x", weight=0))
    senders["a"].down = True
    await world.send_batch().handle(REQUEST)
    assert sorted(senders["b"].accepted) == PEOPLE and not senders["a"].calls
    assert (await world.ledger())["tally"] == {"sent": 60}
    known = await world.data(world.paths.provider("a"))
    assert known["down_until"] == NOW + PACE.wait


async def test_only_what_was_definitely_not_taken_moves_on(world: World) -> None:
    await ready(world)
    senders = routes(world, Provider("a", "x"), Provider("b", "x", weight=0))
    kinds = ("down", "unknown", "temporary", "recipient", "message", "throttle")
    senders["a"].answers = {address: [Outcome(kinds[n % 6], "x")] for n, address in enumerate(PEOPLE)}  # type: ignore[arg-type]
    await world.send_batch().handle(REQUEST)
    by_kind = {kind: {address for n, address in enumerate(PEOPLE) if kinds[n % 6] == kind} for kind in kinds}
    moved = set(senders["b"].mails)
    assert moved <= by_kind["down"]
    for _ in range(6):
        world.clock.time = max(world.clock.time + PACE.wait, (await world.ledger())["not_before"])
        await world.send_batch().handle(REQUEST)
    assert set(senders["b"].accepted) <= by_kind["down"]
    arrived = Counter([*senders["a"].accepted, *senders["b"].accepted])
    assert max(arrived.values()) == 1
    assert set(arrived) == set(PEOPLE) - by_kind["recipient"] - by_kind["message"]
    assert (await world.ledger())["tally"] == {"sent": 30, "unknown": 10, "failed": 20}


async def test_a_throttled_provider_is_waited_for(world: World) -> None:
    await ready(world)
    senders = routes(world, Provider("a", "x"), Provider("b", "x", weight=0))
    senders["a"].answers = {address: [Outcome("throttle", "421")] for address in PEOPLE}
    await world.send_batch().handle(REQUEST)
    ledger = await world.ledger()
    assert (ledger["not_before"], ledger["round"], senders["b"].calls) == (NOW + PACE.wait, 0, 0)
    for _ in range(3):
        world.clock.time += PACE.wait
        await world.send_batch().handle(REQUEST)
    assert sorted(senders["a"].accepted) == PEOPLE and not senders["b"].calls


async def test_a_provider_that_was_down_is_tried_again_and_left_alone_longer(world: World) -> None:
    await ready(world)
    senders = routes(world, Provider("a", "x"), Provider("b", "x"))
    for sender in senders.values():
        sender.down = True
    waits = []
    for _ in range(4):
        await world.send_batch().handle(REQUEST)
        waits.append(max([(await world.data(world.paths.provider(name)))["down_until"] for name in senders]) - world.clock.now())
        world.clock.time = max((await world.ledger())["not_before"], world.clock.time + waits[-1])
    assert waits == [PACE.wait, 2 * PACE.wait, 4 * PACE.wait, 8 * PACE.wait]
    senders["b"].down = False
    await world.send_batch().handle(REQUEST)
    assert sorted(senders["b"].accepted) == PEOPLE and not senders["a"].accepted


async def test_another_process_hears_of_a_dead_provider(world: World) -> None:
    await ready(world)
    await world.store.commit([Merge(world.paths.provider("a"), {"down_until": NOW + 1})])
    senders = routes(world, Provider("a", "x"), Provider("b", "x", weight=0))
    await world.send_batch().handle(REQUEST)
    assert sorted(senders["b"].accepted) == PEOPLE and not senders["a"].calls


# --- grants ---


async def test_a_limited_provider_gets_what_was_granted_and_no_more(world: World) -> None:
    await ready(world)
    [sender] = routes(world, Provider("a", "x", daily=100)).values()
    for granted, total in ((0, 0), (25, 25), (25, 50), (25, 60)):
        ledger = await world.store.get(world.paths.batch("C-0001", "000000"))
        assert ledger
        grants = {"grants": {"a": {"mails": granted, "rate": 0}}} if granted else {}
        await world.store.commit([Merge(ledger.path, {**grants, "not_before": 0}, if_version=ledger.version)])
        await world.send_batch().handle(REQUEST)
        for request in world.bus.take("send-requests"):  # the range was read to its end, and some of it waits
            await world.send_batch().handle(request)
        assert len(sender.accepted) == total
    found = await world.ledger()
    assert (found["state"], found["grants"]["a"]["mails"], found["leftover"]) == ("done", 15, True)
    assert sorted(sender.accepted) == PEOPLE


async def test_a_batch_without_a_grant_waits_and_costs_no_attempt(world: World) -> None:
    await ready(world)
    [sender] = routes(world, Provider("a", "x", rate=5)).values()
    await world.send_batch().handle(REQUEST)
    ledger = await world.ledger()
    assert (sender.calls, ledger["round"], ledger["not_before"], ledger["due"]) == (0, 0, NOW + 600_000, NOW + 600_000)
    assert ledger["tally"] in ({}, {"deferred": 20})


async def test_what_was_not_begun_is_not_charged(world: World) -> None:
    await ready(world, PEOPLE[:10])
    [sender] = routes(world, Provider("a", "x", daily=100)).values()
    sender.answers = {address: [Outcome("down")] for address in PEOPLE[:4]}
    path = world.paths.batch("C-0001", "000000")
    await world.store.commit([Merge(path, {"grants": {"a": {"mails": 10, "rate": 0}}})])
    await world.send_batch().handle(REQUEST)
    assert (await world.ledger())["grants"]["a"]["mails"] == 4


async def test_a_rate_spaces_the_windows(world: World) -> None:
    await ready(world, PEOPLE[:30])
    [sender] = routes(world, Provider("a", "x", rate=100)).values()
    sizes: list[int] = []

    async def note(recipients: list[str]) -> None:
        sizes.append(len(recipients))

    sender.meanwhile = note
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"grants": {"a": {"mails": 400, "rate": 5.0}}})])
    step = world.send_batch(pace=PACE)
    await step.handle(REQUEST)
    assert max(sizes) <= 10 and sum(sizes) == 30  # two seconds' worth at most


async def test_a_confirmation_waits_for_no_grant(world: World) -> None:
    await world.system("confirm")
    [sender] = routes(world, Provider("a", "x", rate=1, daily=1)).values()
    for n, address in enumerate(PEOPLE[:3]):
        await world.store.commit([Merge(world.paths.subscriber(world.sid(address)), {"asked": address})])
        request = {"campaign": "confirm", "batch": f"{world.sid(address)}.{n}", "consent": "c" * 16}
        await world.send_batch().handle(request)
    assert sender.accepted == PEOPLE[:3]


# --- the configuration ---


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("a@GMAIL.com", "gmail"),
        ("a@hotmail.fr", "microsoft"),
        ("a@aol.com", "yahoo"),
        ("a@me.com", "apple"),
        ("a@x.example", "other"),
    ],
)
def test_mailbox_providers(address: str, group: str) -> None:
    assert group_of(address) == group
