"""Never twice, never lost: workers that die, replies that are lost, two workers at once, and all of it at random."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import Conflict, PipelineError, Unavailable
from shared.model.paths import Paths
from shared.ports import Filter, Merge, Outcome, Outgoing, Store

from .fakes import Died, FakeSender, Fault, FaultyStore, RecordingBus, nth
from .world import PACE, World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:02d}@example.com" for n in range(12)]
_tenants = itertools.count()


async def ready(world: World) -> None:
    await world.add(*PEOPLE)
    await world.campaign()


async def again(world: World) -> None:
    """Another worker, once the lease of the first has run out."""
    world.clock.advance(PACE.lease + 1)
    await world.send_batch().handle(REQUEST)


async def audit(world: World, unknown: int = 0) -> None:
    """Everybody in one end state, nobody mailed twice, and `sent` is what the far side holds."""
    states = await world.states()
    assert set(states) == {world.sid(address) for address in PEOPLE}
    assert set(states.values()) <= {"sent", "failed", "unknown"}
    accepted = Counter(map(world.sid, world.sender.accepted))
    assert not [sid for sid, times in accepted.items() if times > 1]
    assert {sid for sid, state in states.items() if state == "sent"} <= set(accepted)
    assert not [sid for sid, state in states.items() if state == "failed" and sid in accepted]
    assert list(states.values()).count("unknown") <= unknown
    assert (await world.ledger())["state"] == "done"


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("fault", ["lost", "conflict", "refused"])
async def test_any_write_may_fail_or_lose_its_reply(world: World, n: int, fault: Fault) -> None:
    await ready(world)
    await world.send_batch(FaultyStore(world.store, nth(n, fault))).handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE
    await audit(world)


async def test_every_write_may_lose_its_reply(world: World) -> None:
    await ready(world)
    await world.send_batch(FaultyStore(world.store, lambda verb: "lost" if verb == "commit" else "")).handle(REQUEST)
    await audit(world)


@pytest.mark.parametrize("n", range(4))
async def test_dying_before_a_window_is_handed_over_loses_nothing(world: World, n: int) -> None:
    await ready(world)
    with pytest.raises(Died):
        await world.send_batch(FaultyStore(world.store, nth(n, "died"))).handle(REQUEST)
    assert len(world.sender.accepted) == min(5 * n, 12)
    await again(world)
    await audit(world, unknown=0 if n == 0 else 5)  # the results of the window before were not written yet
    assert sorted(world.sender.accepted) == PEOPLE


@pytest.mark.parametrize(("n", "lost"), [(0, 5), (1, 5), (2, 2)])
async def test_dying_after_that_leaves_its_window_unknown(world: World, n: int, lost: int) -> None:
    await ready(world)
    with pytest.raises(Died):
        await world.send_batch(FaultyStore(world.store, nth(n, "died after"))).handle(REQUEST)
    handed = set(PEOPLE) - set(world.sender.accepted)
    await again(world)
    await audit(world, unknown=lost)
    unknown = [sid for sid, state in (await world.states()).items() if state == "unknown"]
    assert len(unknown) == lost and set(unknown) <= {world.sid(address) for address in handed}
    assert (await world.ledger())["unsettled"] is True


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("verb", ["get", "page"])
async def test_a_read_that_fails_loses_no_result(world: World, n: int, verb: str) -> None:
    await ready(world)
    await world.send_batch(FaultyStore(world.store, nth(n, "refused", frozenset({verb})))).handle(REQUEST)
    assert (await world.ledger())["lease_until"] == 0
    await again(world)
    assert (await world.ledger())["tally"] == {"sent": 12}
    await audit(world)


async def test_dying_while_handing_over_leaves_its_window_unknown(world: World) -> None:
    await ready(world)

    async def die(_: list[str]) -> None:
        raise Died

    world.sender.meanwhile = die
    with pytest.raises(Died):
        await world.send_batch().handle(REQUEST)
    world.sender.meanwhile = None
    await world.send_batch().handle(REQUEST)  # its lease still holds
    assert world.sender.accepted == []
    await again(world)
    assert (await world.ledger())["tally"] == {"unknown": 5, "sent": 7}


async def test_two_workers_at_once_mail_nobody_twice(world: World) -> None:
    await ready(world)
    await asyncio.gather(*(world.send_batch().handle(REQUEST) for _ in range(4)))
    assert sorted(world.sender.accepted) == PEOPLE
    await audit(world)


async def test_a_single_mail_asked_for_four_times_at_once_goes_once(world: World) -> None:
    await ready(world)
    await world.system("welcome")
    request = {"campaign": "welcome", "batch": f"{world.sid(PEOPLE[0])}.c1"}
    await asyncio.gather(*(world.send_batch().handle(request) for _ in range(4)))
    assert world.sender.accepted == [PEOPLE[0]]


async def test_a_stale_worker_is_refused(world: World) -> None:
    await ready(world)
    first = True

    async def overtaken(_: list[str]) -> None:
        nonlocal first
        if first:
            first = False
            await again(world)

    world.sender.meanwhile = overtaken
    await world.send_batch().handle(REQUEST)
    assert sorted(world.sender.accepted) == PEOPLE  # the stale worker's window, and nothing after it
    assert (await world.ledger())["tally"] == {"unknown": 5, "sent": 7}
    await audit(world, unknown=5)


async def test_a_batch_whose_lease_holds_is_left_alone(world: World) -> None:
    await ready(world)
    calls: list[int] = []

    async def second(_: list[str]) -> None:
        if not calls:
            calls.append(1)
            before = world.versions()
            await world.send_batch().handle(REQUEST)
            assert world.versions() == before

    world.sender.meanwhile = second
    await world.send_batch().handle(REQUEST)
    assert calls and sorted(world.sender.accepted) == PEOPLE


# --- all of it at random ---

_faults = st.dictionaries(st.integers(0, 80), st.sampled_from(["refused", "lost", "conflict", "died", "died after"]), max_size=12)
_kinds = st.sampled_from(["temporary", "throttle", "down", "recipient", "unknown", "message"])
_answers = st.dictionaries(st.sampled_from(PEOPLE), st.lists(st.builds(Outcome, _kinds), min_size=1, max_size=3), max_size=4)


class _Rig:
    """A campaign in a tenant of its own, whose store fails at the numbered calls; `step` is one worker's turn."""

    def __init__(self, world: World, faults: dict[int, Fault], answers: dict[str, list[Outcome]]) -> None:
        world.paths = Paths(f"f{next(_tenants)}")
        world.bus, world.sender = RecordingBus(), FakeSender()
        world.sender.answers = {address: list(script) for address, script in answers.items()}
        self.world, self.calls, self.faults = world, itertools.count(), faults
        self.store = FaultyStore(world.store, lambda verb: self.faults.get(next(self.calls), ""))
        world.sheet.down = True  # campaigns on their way go on

    async def run(self, step: Callable[[Store], Any]) -> None:
        """Deliver, tick and wait until the batch is done; what fails is delivered again by the sweep."""
        waiting = [REQUEST, REQUEST]
        for _ in range(60):
            for message in waiting:
                await self._survive(step(self.store).handle(message))
            await self._survive(self.world.launch(self.store).handle())
            waiting = self.world.bus.take("send-requests")
            if (await self.world.data(self.world.paths.campaign("C-0001")))["state"] == "completed":
                return
            self.world.clock.advance(PACE.lease + 1)
        raise AssertionError("the campaign never ended")

    async def _survive(self, work: Any) -> None:
        try:
            await work
        except (PipelineError, Died):
            pass


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(faults=_faults, answers=_answers)
async def test_whatever_fails_nobody_is_mailed_twice_or_lost(
    world: World, faults: dict[int, Fault], answers: dict[str, list[Outcome]]
) -> None:
    rig = _Rig(world, faults, answers)
    await ready(world)
    await rig.run(world.send_batch)
    await audit(world, unknown=12)
    died = sum(fault.startswith("died") for fault in faults.values())
    deaths = died + (len(faults) - died) // 5  # a write is tried five times before its worker gives up
    answered = sum(outcome.kind == "unknown" for script in answers.values() for outcome in script)
    states = list((await world.states()).values())
    assert states.count("unknown") <= answered + world.sender.window * deaths
    assert (await world.data(world.paths.campaign("C-0001")))["totals"]["recipients"] == 12


class _Naive:
    """The control: sends, then notes how far it is, and starts again from there when a write fails."""

    def __init__(self, world: World, store: Store) -> None:
        self.world, self.store = world, store

    async def handle(self, message: dict[str, Any]) -> None:
        path = self.world.paths.batch("C-0001", "000000")
        found = await self.store.get(path)
        cursor = found.data["cursor"] if found else ""
        everyone = Filter(contains=("segments", "everyone"))
        while page := await self.store.page(self.world.paths.subscribers, everyone, cursor, 5):
            await self.world.sender.send("", [Outgoing(document.data["address"], b"") for document in page])
            cursor = page[-1].id
            await self.store.commit([Merge(path, {"cursor": cursor})])
        await self.store.commit([Merge(path, {"state": "done"})])


@pytest.mark.parametrize("fault", ["refused", "died"])
async def test_a_naive_worker_fails_this_test(world: World, fault: Fault) -> None:
    await ready(world)
    step = _Naive(world, FaultyStore(world.store, nth(1, fault)))
    with pytest.raises((Unavailable, Conflict, Died)):
        await step.handle(REQUEST)
    await step.handle(REQUEST)
    assert max(Counter(world.sender.accepted).values()) == 2
    with pytest.raises(AssertionError):
        await audit(world)
