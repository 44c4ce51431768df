"""An owner gets through, however often a stranger signs the same address up meanwhile; and whatever comes in between, nobody is brought
back who has left since, and nothing of somebody erased comes back."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import product
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from shared import contention
from shared.errors import Conflict, Unavailable
from shared.http import Request, Response
from shared.model.erasure import cleaned, erase, tombstone
from shared.model.ref import MailRef
from shared.model.subscriber import mailable, suppress
from shared.ports import Store

from .fakes import FaultyStore
from .test_subscribe import FORM, form, sign_up
from .world import World

ADDRESS = "ada@example.com"
ASKING: Final = {"asked", "asked_at", "wanted", "created_at"}  # what a stranger's sign-up writes


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "PAUSE", 0.0)


class Between(FaultyStore):
    """A store at which `happens(verb)` comes to pass before each call of one reader's request is done."""

    def __init__(self, store: Store, happens: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(store, lambda verb: "")
        self.happens = happens

    async def _call(self, verb: str, work: Callable[[], Awaitable[Any]], path: str = "") -> Any:
        await self.happens(verb)
        return await super()._call(verb, work, path)


async def strangers(world: World, address: str = ADDRESS) -> None:
    """A sign-up of the address by somebody else."""
    world.clock.advance(1)
    assert (await world.subscribe().handle(form(client="198.51.100.9", email=address, name="Mallory"))).status == 200


async def asking(world: World, act: str, address: str = ADDRESS) -> Request:
    """The owner's request. For "confirm" they have signed up just now."""
    if act == "confirm":
        world.bus.messages.clear()
        return Request("POST", await sign_up(world, address, name="Ada"), headers=FORM)
    token = world.links.unsubscribe(MailRef("C-0001", world.sid(address))).rpartition("/")[2]
    body = urlencode({"name": "Ada", "sure": "1"}).encode()
    return Request("POST", token if act == "leave" else f"{act}/{token}", headers=FORM, body=body)


async def answer(world: World, store: Store, act: str, request: Request) -> Response:
    step = world.subscribe(store) if act == "confirm" else world.unsubscribe(store)
    return await step.handle(request)


# --- a flood ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["leave", "erase"])
async def test_leaving_and_erasing_get_through_at_once_although_a_sign_up_comes_before_every_write(
    world: World, act: str
) -> None:
    await world.add(ADDRESS, name="Ada")
    commits = 0

    async def flood(verb: str) -> None:
        nonlocal commits
        commits += verb == "commit"
        if verb == "commit":
            await strangers(world)

    assert (await answer(world, Between(world.store, flood), act, await asking(world, act))).status == 200
    found = await world.subscriber(ADDRESS)
    assert commits == 1 and not mailable(found) and found["segments"] == []
    if act == "erase":
        assert found == {"suppressed": ["erased"], "segments": []}
        await strangers(world)
        after = await world.subscriber(ADDRESS)
        assert after.keys() == found.keys() | ASKING, "somebody asks anew, and nothing else is known of them"
        assert cleaned(after, (await world.data(world.paths.suppression(world.sid(ADDRESS))))["erased_at"]) is None


@pytest.mark.parametrize("act", ["confirm", "preferences", "keep"])
async def test_what_depends_on_what_it_has_read_outlasts_twenty_sign_ups(world: World, act: str) -> None:
    if act != "confirm":
        await world.add(ADDRESS)
    left = 20

    async def flood(verb: str) -> None:
        nonlocal left
        if verb == "commit" and left:
            left -= 1
            await strangers(world)

    assert (await answer(world, Between(world.store, flood), act, await asking(world, act))).status == 200
    found = await world.subscriber(ADDRESS)
    assert mailable(found) and found.get("name") == (None if act == "keep" else "Ada") and left == 0


@pytest.mark.parametrize("act", ["confirm", "preferences", "keep"])
@pytest.mark.parametrize("rate", [20, 200])
async def test_a_flood_at_the_pace_of_one_and_of_ten_instances_keeps_no_owner_out(world: World, act: str, rate: int) -> None:
    """Sign-ups come at random, `rate` a second; reads take 2 to 10 ms and commits 5 to 30. The time is counted and not waited for."""
    chance = random.Random(f"{act} {rate}")
    longest, met = 0.0, 0
    for n in range(25):
        address, took = f"p{n}@example.com", 0.0
        if act != "confirm":
            await world.add(address)

        async def flood(verb: str, address: str = address) -> None:
            nonlocal took, met
            span = chance.uniform(0.005, 0.03) if verb == "commit" else chance.uniform(0.002, 0.01)
            took += span + (0.03 if verb == "commit" else 0.0)  # the longest pause
            if verb == "commit" and chance.expovariate(rate) < span:
                met += 1
                await strangers(world, address)

        assert (await answer(world, Between(world.store, flood), act, await asking(world, act, address))).status == 200
        assert mailable(await world.subscriber(address))
        longest = max(longest, took)
    assert 0 < longest < contention.BUDGET and met


async def test_the_time_of_whoever_never_gets_through_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "BUDGET", 0.0)
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        raise Conflict("a/b", "version")

    with pytest.raises(Unavailable):
        await contention.outlast(attempt)
    assert tries == contention.LEAST


async def test_a_store_that_does_not_answer_is_not_asked_again() -> None:
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("the store")

    with pytest.raises(Unavailable):
        await contention.outlast(attempt)
    assert tries == 1


# --- every order ------------------------------------------------------------------------------------------------------

MEDDLING: Final = ("", "sign-up", "leave", "complaint", "erase")  # what comes before a call of the store


async def meddle(world: World, what: str, address: str) -> None:
    sid = world.sid(address)
    world.clock.advance(1)
    if what == "sign-up":
        await strangers(world, address)
    elif what == "leave":
        await world.store.commit(suppress(world.paths, sid, "unsubscribed", "x", world.clock.now()))
    elif what == "complaint":
        await world.store.commit(suppress(world.paths, sid, "complaint", "x", world.clock.now()))
    elif what == "erase":
        await erase(world.store, world.paths, sid, "x", world.clock.now())


async def raced(world: World, act: str, state: str, plan: Sequence[str], address: str) -> list[str]:
    """Do the act with the plan's events before its calls of the store, from the second on for a confirmation; those that came."""
    if state != "new":
        await world.add(address)
    if state == "left":
        await meddle(world, "leave", address)
        world.clock.advance(1)
    request, came, waits = await asking(world, act, address), list[str](), iter(plan)
    first = act == "confirm"

    async def happens(verb: str) -> None:
        nonlocal first
        if not first and (what := next(waits, "")):
            came.append(what)
            await meddle(world, what, address)
        first = False

    await answer(world, Between(world.store, happens), act, request)
    return came


@pytest.mark.parametrize("act", ["leave", "erase", "confirm", "preferences", "keep"])
@pytest.mark.parametrize("state", ["new", "reader", "left"])
async def test_whatever_comes_between_two_calls_ends_as_it_should(world: World, act: str, state: str) -> None:
    for n, plan in enumerate(product(MEDDLING, repeat=3)):
        address = f"p{n}@example.com"
        came = await raced(world, act, state, plan, address)
        found = await world.subscriber(address)
        bar = await world.data(world.paths.suppression(world.sid(address)))
        shown = f"{act}, {state}: {came} -> {found}"
        reasons = {"leave": "unsubscribed", "complaint": "complaint", "erase": "erased"}
        told = {reasons[what] for what in (*came, act) if what in reasons} | ({"unsubscribed"} if state == "left" else set())
        on = not told or (act == "confirm" and told == {"unsubscribed"} and "leave" not in came)
        assert mailable(found) == (on and (state == "reader" or act == "confirm")), shown
        assert on or set(found["suppressed"]) == set(bar["reasons"]) == told, shown
        assert bool(found.get("segments")) == mailable(found), shown
        if "erased" in told:
            assert found.keys() <= tombstone({}).keys() | ASKING and "address" not in found, shown
        if act == "erase":
            assert found.keys() == tombstone({}).keys(), shown
        if act == "preferences":
            assert (found.get("name") == "Ada") == mailable(found), shown
        if act == "keep":
            assert ("consented_at" in found) == mailable(found), shown
