"""Sign-ups that arrive together: shared calls, a status each, and an end of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from functions.subscribe.coalesce import CALLS, Coalesced, Full
from shared.errors import Conflict, Unavailable
from shared.http import Request
from shared.model.paths import Paths
from shared.ports import MAX_WRITES, Create, Merge, Write

from .fakes import FaultyStore
from .test_sign_up_forms import ADDRESS, Form, face, post
from .world import PROOF, World

PATHS = Paths("t")


class SlowStore:
    """Takes writes and answers each call when `go` is set. `wrong`: path -> what befalls a write there; `spoilt`: one that no call
    may hold."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls: list[list[Write]] = []
        self.wrong: dict[str, Conflict | Unavailable] = {}
        self.spoilt = ""

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        assert len({write.path for write in writes}) == len(writes) <= MAX_WRITES
        self.calls.append(list(writes))
        await self.go.wait()
        if any(write.path == self.spoilt for write in writes):
            raise ValueError("malformed")
        return [self.wrong.get(write.path, "v1") for write in writes]


def sign_up(n: int, sid: str = "") -> list[Write]:
    return [Create(PATHS.consent(sid or f"s{n}", f"c{n}"), {"n": n}), Merge(PATHS.subscriber(sid or f"s{n}"), {"n": n})]


def coalesced(store: Any, waiting: int = 2_000) -> Coalesced:
    return Coalesced(store, waiting)


async def test_what_arrives_together_shares_a_call_and_what_comes_later_the_next() -> None:
    store = SlowStore()
    writes = coalesced(store)
    first = [asyncio.create_task(writes.write(sign_up(n))) for n in range(600)]
    await asyncio.sleep(0.01)
    assert [len(call) for call in store.calls] == [500, 500, 200]
    store.go.set()
    await asyncio.gather(*first)
    assert [len(call) for call in store.calls] == [500, 500, 200]
    assert sorted(write.data["n"] for call in store.calls for write in call if isinstance(write, Merge)) == list(range(600))


async def test_a_few_calls_are_under_way_at_once_and_no_more() -> None:
    store = SlowStore()
    writes = coalesced(store)
    asked = []
    for n in range(20):
        asked.append(asyncio.create_task(writes.write(sign_up(n))))
        await asyncio.sleep(0.001)
    assert len(store.calls) == CALLS
    store.go.set()
    await asyncio.gather(*asked)
    assert len(store.calls) == CALLS + 1
    await asyncio.sleep(0)
    store.go.clear()
    late = asyncio.create_task(writes.write(sign_up(99)))  # whoever comes after all calls have ended begins one
    await asyncio.sleep(0.01)
    store.go.set()
    await asyncio.wait_for(late, 5)


async def test_one_alone_does_not_wait_and_those_that_follow_share_the_next_call() -> None:
    store = SlowStore()
    store.go.set()
    async with asyncio.timeout(30):
        await Coalesced(store, rest=3600).write(sign_up(0))  # type: ignore[arg-type]
    writes = Coalesced(store, rest=0.3)  # type: ignore[arg-type]
    await writes.write(sign_up(1))
    asked = []
    for n in range(2, 7):
        asked.append(asyncio.create_task(writes.write(sign_up(n))))
        await asyncio.sleep(0)
    assert len(store.calls) == 2
    await asyncio.gather(*asked)
    assert [len(call) for call in store.calls] == [2, 2, 10]


async def test_a_full_call_leaves_before_the_store_has_rested() -> None:
    store = SlowStore()
    store.go.set()
    writes = Coalesced(store, rest=3600)  # type: ignore[arg-type]
    await writes.write(sign_up(0))
    asked = [asyncio.create_task(writes.write(sign_up(n))) for n in range(1, 750)]
    async with asyncio.timeout(30):
        await asyncio.gather(*asked[:500])
        assert [len(call) for call in store.calls] == [2, 500, 500]
        assert not any(one.done() for one in asked[500:])
        await asyncio.gather(*asked[500:], writes.write(sign_up(750)))
    assert [len(call) for call in store.calls] == [2, 500, 500, 500]


async def test_each_hears_of_its_own_writes_only() -> None:
    store = SlowStore()
    store.go.set()
    store.wrong = {
        PATHS.consent("s1", "c1"): Unavailable("the store"),
        PATHS.subscriber("s2"): Unavailable("the store"),
        PATHS.consent("s3", "c3"): Conflict("x", "exists"),  # our own, whose reply was lost
    }
    writes = coalesced(store)
    found = await asyncio.gather(*(writes.write(sign_up(n)) for n in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [type(None), Unavailable, Unavailable, type(None), type(None)]


async def test_one_that_spoils_a_call_fails_alone() -> None:
    store = SlowStore()
    store.go.set()
    store.spoilt = PATHS.subscriber("s2")
    writes = coalesced(store)
    found = await asyncio.gather(*(writes.write(sign_up(n)) for n in range(4)), return_exceptions=True)
    assert [type(one) for one in found] == [type(None), type(None), ValueError, type(None)]


async def test_of_one_address_the_latest_sign_up_is_kept_and_every_evidence() -> None:
    store = SlowStore()
    store.go.set()
    writes = coalesced(store)
    await asyncio.gather(*(writes.write(sign_up(n, "same")) for n in range(10)))
    [call] = store.calls
    assert len(call) == 11 and [write.data["n"] for write in call if isinstance(write, Merge)] == [9]


async def test_who_gives_up_waiting_harms_nobody() -> None:
    store = SlowStore()
    writes = coalesced(store)
    gone, stays = (asyncio.create_task(writes.write(sign_up(n))) for n in range(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    store.go.set()
    await stays
    assert gone.cancelled() or gone.cancelling()


async def test_a_full_queue_takes_nothing_and_says_so() -> None:
    store = SlowStore()
    writes = coalesced(store, waiting=3)
    asked = []
    for n in range(CALLS):
        asked.append(asyncio.create_task(writes.write(sign_up(n))))
        await asyncio.sleep(0.001)
    asked += [asyncio.create_task(writes.write(sign_up(10 + n))) for n in range(3)]
    await asyncio.sleep(0.001)
    with pytest.raises(Full):
        await asyncio.wait_for(writes.write(sign_up(99)), 5)
    store.go.set()
    await asyncio.gather(*asked)
    assert PATHS.subscriber("s99") not in {write.path for call in store.calls for write in call}


# --- through the step -------------------------------------------------------------------------------------------------


async def test_a_crowd_is_asked_to_click_again_and_keeps_what_it_typed(world: World) -> None:
    face(world)
    store = SlowStore()
    step = replace(world.subscribe(store), waiting=1)  # type: ignore[arg-type]
    typed = [f"email=ada{n}%40example.com&name=Ada&form={PROOF['form']}".encode() for n in range(CALLS + 2)]
    forms = [Request("POST", headers={"content-type": "application/x-www-form-urlencoded"}, body=body) for body in typed]
    call = Request("POST", headers={"content-type": "application/json"}, body=b'{"email": "bob@example.com"}')
    asked = []
    for request in [*forms[:CALLS], forms[-1]]:
        asked.append(asyncio.create_task(step.handle(request)))
        await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        page, told = await step.handle(forms[CALLS]), await step.handle(call)
    for answer in (page, told):
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
    assert Form(page.body).fields["email"] == f"ada{CALLS}@example.com" and b"try again" in told.body
    assert world.bus.messages == []  # nothing is asked for before it is written
    store.go.set()
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    assert len(world.bus.take("send-requests")) == CALLS + 1
    assert (await step.handle(forms[CALLS])).status == 200


async def test_a_thousand_at_once_are_all_kept(world: World) -> None:
    step = world.subscribe()
    before = replace(world.store.operations)
    bodies = [f"email=reader{n}%40example.com&form={PROOF['form']}" for n in range(1000)]
    requests = [
        Request("POST", headers={"content-type": "application/x-www-form-urlencoded"}, body=body.encode()) for body in bodies
    ]
    answers = await asyncio.gather(*(step.handle(request) for request in requests))
    assert {answer.status for answer in answers} == {200} and len({answer.body for answer in answers}) == 1
    assert world.store.operations.writes - before.writes == 2000 and world.store.operations.reads == before.reads
    asked = {message["batch"].partition(".")[0]: message["consent"] for message in world.bus.take("send-requests")}
    people = {
        document.id: document.data["wanted"]["consent"]
        for document in await world.store.page(world.paths.subscribers, limit=2000)
    }
    assert asked == people and len(people) == 1000


async def test_what_was_refused_is_not_asked_for_and_the_others_are(world: World) -> None:
    calls = 0

    def plan(verb: str) -> Any:
        nonlocal calls
        calls += verb == "write_many"
        return "refused" if verb == "write_many" and calls == 1 else ""

    step = world.subscribe(FaultyStore(world.store, plan))
    request = Request("POST", headers={"content-type": "application/json"}, body=b'{"email": "ada@example.com"}')
    assert (await step.handle(request)).status == 503 and world.bus.messages == []
    assert (await step.handle(request)).status == 202 and len(world.bus.messages) == 1
    assert ADDRESS in str(await world.subscriber(ADDRESS))
    assert (await post(world, {"email": ADDRESS, **PROOF})).status == 200


async def test_the_evidence_tells_what_the_form_said_at_the_time(world: World) -> None:
    face(world)
    step = world.subscribe()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    request = Request("POST", headers=headers, body=f"email=ada%40example.com&form={PROOF['form']}".encode())
    told = []
    for words in ("One mail a month", "One mail a week", "One mail a week"):
        pages = {"sign-up": {"default": {"title": "The letter", "html": f"<p>{words}</p>"}}}
        world.faces.shown = replace(world.faces.shown, pages=pages)
        assert (await step.handle(request)).status == 200
        world.clock.advance(1)
    consents = await world.store.page(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    for consent in sorted(consents, key=lambda one: one.data["at"]):
        told.append((consent.data["text"].splitlines()[1], consent.data["text_version"]))
    assert [words for words, _ in told] == ["One mail a month", "One mail a week", "One mail a week"]
    assert told[0][1] != told[1][1] == told[2][1]
