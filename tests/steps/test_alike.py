"""Nobody learns from us whose address we know: sign-up and the request for an access link do the same for every address, and a clock
does not tell them apart either."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.adapters.documents import Operations
from shared.http import Request, Response
from shared.model.subscriber import Reason, suppress
from shared.ports import Create, Write

from .fakes import DAY
from .world import PROOF, World

FORM = {"content-type": "application/x-www-form-urlencoded", "user-agent": "Firefox"}
JSON = {"content-type": "application/json", "user-agent": "Firefox"}
KINDS = ("new", "asked", "known", "left", "complained", "erased", "paused")
REASONS: dict[str, Reason] = {"left": "unsubscribed", "complained": "complaint", "erased": "erased"}
ROUNDS = 150  # calls of each kind that are timed
CERTAIN = 0.001  # the chance below which a difference counts

Call = Callable[[str], Awaitable[Response]]


@dataclass(frozen=True)
class Way:
    """A route that takes an address: `call` with one and look at the answer."""

    name: str
    step: str
    json: bool

    def of(self, world: World) -> Call:
        step: Any = world.subscribe() if self.step == "subscribe" else world.unsubscribe()

        async def call(address: str) -> Response:
            body = f'{{"email": "{address}"}}' if self.json else urlencode({"email": address, **PROOF})
            answer: Response = await step.handle(
                Request("POST", headers=JSON if self.json else FORM, body=body.encode(), client="192.0.2.1")
            )
            return answer

        return call


WAYS = [
    Way("sign-up by form", "subscribe", json=False),
    Way("sign-up by JSON", "subscribe", json=True),
    Way("access by form", "unsubscribe", json=False),
    Way("access by JSON", "unsubscribe", json=True),
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def address(kind: str, n: int = 0) -> str:
    """All of one length, since a page may show them."""
    return f"{kind[:3]}{n:05d}@example.com"


async def people(world: World, count: int) -> None:
    """`count` of each kind but the new ones."""
    writes: list[Write] = []
    known = {"status": "confirmed", "confirmed_at": 1, "created_at": 1, "name": "Ada", "tags": ["tea"], "segments": ["everyone"]}
    for n in range(count):
        held: dict[str, dict[str, Any]] = {
            **{kind: {**known, "address": address(kind, n)} for kind in ("known", "left", "complained")},
            "asked": {"asked": address("asked", n), "created_at": 1},
            "paused": {**known, "address": address("paused", n), "paused_until": world.clock.now() + DAY},
            "erased": {"suppressed": ["erased"], "segments": []},
        }
        writes += [Create(world.paths.subscriber(world.sid(address(kind, n))), data) for kind, data in held.items()]
    await world.store.write_many(writes)
    for n in range(count):
        for kind, reason in REASONS.items():
            await world.store.commit(suppress(world.paths, world.sid(address(kind, n)), reason, "test", 1))


@ways
async def test_the_answer_and_its_price_are_the_same(world: World, way: Way) -> None:
    await people(world, 2)
    call = way.of(world)
    await call(address("warm", 1))
    world.bus.take("send-requests")
    seen = {}
    for kind in KINDS:
        for n in range(2):
            world.store.operations, published = Operations(), world.bus.calls
            answer = await call(address(kind, n))
            done = world.store.operations
            told = world.bus.take("send-requests")
            body = answer.body.replace(address(kind, n).encode(), b"address")
            shape = [sorted(one) for one in told], [one["campaign"] for one in told]
            seen[kind, n] = answer.status, body, dict(answer.headers), repr(done), world.bus.calls - published, repr(shape)
    assert len(set(map(repr, seen.values()))) == 1, seen
    status, _, headers, *_ = seen["new", 0]
    assert status in (200, 202) and "set-cookie" not in headers
    operations = world.store.operations
    assert (operations.reads, operations.writes) == ((0, 2) if way.step == "subscribe" else (0, 0))


# --- by the clock ---------------------------------------------------------------------------------------------------------


async def timed(call: Call, clock: Callable[[], int], first: int) -> dict[str, list[int]]:
    """Nanoseconds of each call, to the addresses from `first` on. In each round every kind is called once, in an order of its own, so that
    what slows the machine down befalls all of them."""
    draw, found = random.Random(5), {kind: list[int]() for kind in KINDS}
    gc.collect()
    gc.disable()
    try:
        for n in range(first, first + ROUNDS):
            for kind in draw.sample(KINDS, len(KINDS)):
                to, before = address(kind, n), clock()
                await call(to)
                found[kind].append(clock() - before)
    finally:
        gc.enable()
    return found


def told_apart(found: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The kinds whose times are not those of the others, with the chance that they are all the same (two-sided, corrected for the number
    of kinds).

    By each kind's mean rank within the rounds (Friedman's test, one kind at a time): were all alike, each rank would be as likely.
    """
    kinds, rounds = len(found), len(next(iter(found.values())))
    sums = dict.fromkeys(found, 0)
    for n in range(rounds):
        for rank, kind in enumerate(sorted(found, key=lambda kind: found[kind][n])):
            sums[kind] += rank
    spread = math.sqrt((kinds**2 - 1) / 12 * rounds)
    far = {kind: abs(total - rounds * (kinds - 1) / 2) / spread for kind, total in sums.items()}
    chances = {kind: min(1.0, math.erfc(distance / math.sqrt(2)) * kinds) for kind, distance in far.items()}
    return {kind: chance for kind, chance in chances.items() if chance < CERTAIN}


@ways
async def test_the_clock_does_not_tell_them_apart(world: World, way: Way) -> None:
    """Once more when it seems to: of a thousand runs one may."""
    apart: dict[str, float] = {}
    await people(world, 2 * ROUNDS)
    call = way.of(world)
    for n in range(30):
        await call(address("warm", n))
    for turn in range(2):
        apart = told_apart(await timed(call, time.process_time_ns, turn * ROUNDS))
        if not apart:
            return
    pytest.fail(f"{way.name}: {apart}")


@pytest.mark.parametrize("way", [WAYS[1], WAYS[3]], ids=lambda way: way.name)
async def test_one_more_read_would_be_seen(world: World, way: Way) -> None:
    """The control: somebody whom we know costs a look into the store."""
    await people(world, ROUNDS)
    alike = way.of(world)

    async def call(to: str) -> Response:
        if to.startswith("kno"):
            await world.store.get(world.paths.subscriber(world.sid(to)))
        return await alike(to)

    for n in range(30):
        await call(address("warm", n))
    assert "known" in told_apart(await timed(call, time.process_time_ns, 0))


def test_what_is_alike_by_chance_is_not_told_apart() -> None:
    draw = random.Random(3)
    alike = [told_apart({kind: [draw.randrange(10**9) for _ in range(ROUNDS)] for kind in KINDS}) for _ in range(50)]
    assert not any(alike)
    slower = {kind: [draw.randrange(1000) + 100 * (kind == "left") for _ in range(3 * ROUNDS)] for kind in KINDS}
    assert list(told_apart(slower)) == ["left"]
