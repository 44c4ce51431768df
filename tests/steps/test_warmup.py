"""Warm-up: the curve, what a day's figures do to it, and where the figures come from."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from functions.launch import warmup
from functions.launch.allowance import Allowances
from shared.errors import Unavailable
from shared.model import batch
from shared.model.event import Event
from shared.model.provider import Provider
from shared.model.ref import MailRef
from shared.ports import Create, Merge, Store

from .fakes import DAY, HOUR, NOW, FaultyStore, nth
from .world import World

TODAY = date(2027, 1, 15)
SES = Provider("ses", "ses", warm_up=TODAY)


def days(n: int) -> timedelta:
    return timedelta(days=n)


def judged(state: dict[str, Any], sent: int = 0, bounced: int = 0, complained: int = 0, after: int = 1) -> dict[str, Any]:
    """The next state, when all of these figures are of the day before; `after` days later."""
    today = date.fromisoformat(state["day"]) + days(after)
    now = NOW + (today - TODAY).days * DAY
    return warmup.judge(state, {today - days(1): (sent, bounced, complained)}, TODAY, today, now)


def at_level(level: int) -> dict[str, Any]:
    allowed = warmup.allowance(level)
    return warmup.begin(TODAY, TODAY) | {"level": level, "allowed": allowed, "left": allowed, "since": "2026-12-01"}


# --- the curve --------------------------------------------------------------------------------------------------------


def test_the_curve_goes_from_50_to_3000_in_30_days() -> None:
    curve = [warmup.allowance(day) for day in range(1, 31)]
    assert (curve[0], curve[3], curve[14], curve[29]) == (50, 76, 361, 3000)
    factors = [later / earlier for earlier, later in pairwise(curve)]
    assert min(factors) > 1.13 and max(factors) < 1.17
    assert warmup.allowance(20 - warmup.STEP) == pytest.approx(warmup.allowance(20) / 2, rel=0.03)


def test_thirty_days_of_use_make_a_reputation() -> None:
    state, sent = warmup.begin(TODAY, TODAY), 0
    for _ in range(30):
        assert state["state"] == "warming" and state["left"] == state["allowed"] == warmup.allowance(state["level"])
        sent += state["allowed"]
        state = judged(state, state["allowed"])
    assert (state["state"], state["level"], sent) == ("established", 31, sum(warmup.allowance(day) for day in range(1, 31)))


def test_nothing_goes_before_the_first_day() -> None:
    state = warmup.begin(TODAY + days(2), TODAY)
    assert (state["allowed"], state["left"]) == (0, 0)
    for allowed in (0, 50):
        day = date.fromisoformat(state["day"]) + days(1)
        state = warmup.judge(state, {}, TODAY + days(2), day, NOW)
        assert (state["level"], state["allowed"]) == (1, allowed)


@pytest.mark.parametrize(("sent", "level"), [(0, 4), (1, 4), (37, 4), (38, 5), (76, 5)])
def test_a_day_counts_when_half_of_it_was_used(sent: int, level: int) -> None:
    assert judged(at_level(4), sent)["level"] == level


@pytest.mark.parametrize(("idle", "level"), [(0, 12), (7, 12), (8, 11), (10, 9), (40, 1)])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_idle_days_beyond_a_week_take_it_back(idle: int, level: int, step: int) -> None:
    """However often the tick has looked meanwhile."""
    state = judged(at_level(11), warmup.allowance(11))
    gone = 0
    while gone < idle:
        after = min(step, idle - gone)
        gone += after
        state = judged(state, after=after)
    assert (state["level"], state["allowed"]) == (level, warmup.allowance(level))


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "bounced", "complained", "state"),
    [
        (100, 4, 0, "warming"),  # a few are never enough
        (20, 4, 1, "warming"),
        (100, 5, 0, "warming"),  # 5%, and not over
        (99, 5, 0, "cut"),
        (1000, 50, 0, "warming"),
        (1000, 51, 0, "cut"),
        (50, 9, 0, "cut"),
        (100, 10, 0, "cut"),  # 10%, and not over
        (99, 10, 0, "paused"),
        (100, 0, 1, "warming"),
        (667, 0, 2, "warming"),  # just below 0.3%
        (666, 0, 2, "cut"),
        (100, 0, 2, "cut"),
        (600, 0, 3, "cut"),  # 0.5%, and not over
        (599, 0, 3, "paused"),
        (99, 5, 3, "paused"),
        (0, 20, 20, "warming"),  # no rate without mails
    ],
)
def test_a_verdict_needs_a_rate_and_a_number(sent: int, bounced: int, complained: int, state: str) -> None:
    assert judged(at_level(20), sent, bounced, complained)["state"] == state


def test_a_cut_halves_the_volume_and_clean_days_climb_again() -> None:
    state = judged(at_level(20), 900, 60)
    assert (state["state"], state["level"]) == ("cut", 15)
    assert state["left"] == state["allowed"] == pytest.approx(warmup.allowance(20) / 2, rel=0.03)
    for level in (16, 17):
        state = judged(state, state["allowed"])
        assert (state["state"], state["level"]) == ("warming", level)  # the same bounces are not held against it again
    assert judged(state, state["allowed"], 90)["state"] == "cut"  # others are


def test_what_comes_in_late_counts_too() -> None:
    """Two complaints today about last week's mails, and many mails since: the days are summed."""
    state = judged(at_level(10), 200, 3)
    assert state["state"] == "warming"
    state = judged(state, 100, 9)
    assert (state["state"], state["bounced"][-2:]) == ("warming", [3, 9])
    assert judged(state, 10, 5)["state"] == "cut"  # 17 of 310


def test_a_pause_is_for_a_day_and_goes_on_at_half_the_level() -> None:
    state = judged(at_level(20), 900, 100)
    assert (state["state"], state["level"], state["paused_until"]) == ("paused", 10, NOW + 2 * DAY)
    early = warmup.judge(state, {}, TODAY, TODAY + days(2), NOW + 2 * DAY - HOUR)
    assert (early["state"], early["level"]) == ("paused", 10)
    later = warmup.judge(early, {}, TODAY, TODAY + days(3), NOW + 3 * DAY)
    assert (later["state"], later["level"], later["left"]) == ("warming", 10, warmup.allowance(10))


@pytest.mark.parametrize(("level", "cut", "paused"), [(30, 25, 15), (8, 3, 3), (1, -4, -4), (-4, -9, -9), (-9, -9, -9)])
def test_cuts_have_an_end(level: int, cut: int, paused: int) -> None:
    assert judged(at_level(level), 50, 5)["level"] == cut
    assert judged(at_level(level), 50, 10)["level"] == paused
    assert warmup.allowance(-9) == 12


# --- where the figures come from ---------------------------------------------------------------------------------------


async def sent(
    world: World, group: str, states: str, at: int, provider: str = "ses", campaign: str = "C-0001", key: str = "", n: int = 0
) -> list[MailRef]:
    """A roster that was mailed at `at`, one letter for each mail's state, a capital for one that went another way; the mails."""
    sids = [f"{random.getrandbits(128):032x}" for _ in states]
    packed = bytes.fromhex("".join(sids))
    data = batch.new({"roster": len(sids)}, batch.NEVER, key, group, packed) | {
        "state": "done",
        "providers": ["before", provider],
        "via": bytes([255 if state == "x" else int(state.islower()) for state in states]),
        "times": struct.pack(f">{len(states)}I", *(at // 1000 if state != "x" else 0 for state in states)),
        "states": states.lower().encode(),
        "sids": packed,
    }
    name = f"{key}-{n:06d}" if key else f"{n:06d}"
    campaign_data = {"kind": "campaign", "state": "running", "active": True, "frozen_at": NOW - DAY, "answered_at": NOW - DAY}
    await world.store.commit([Merge(world.paths.campaign(campaign), campaign_data)])
    await world.store.commit([Create(world.paths.batch(campaign, name), data)])
    return [MailRef(campaign, sid, key) for sid in sids]


async def figures(world: World, groups: tuple[str, ...] = ("gmail",), store: Store | None = None) -> dict[Any, Any]:
    return await warmup.figures(store or world.store, world.paths, {"ses"}, groups, TODAY)


YESTERDAY = NOW - DAY


async def test_figures_are_the_ledgers_and_what_the_deliveries_tell(world: World) -> None:
    first = await sent(world, "gmail", "sssffusdxSF", YESTERDAY)
    again = await sent(world, "gmail", "sss", YESTERDAY - DAY, key="r1")
    await sent(world, "gmail", "ssss", YESTERDAY, provider="main", n=1)
    await sent(world, "yahoo", "ssss", YESTERDAY, n=2)
    await sent(world, "gmail", "s", NOW, n=3)
    await sent(world, "gmail", "s", NOW - 9 * DAY, n=4)
    told = [
        Event("bounced", first[0].text, YESTERDAY + HOUR, hard=True),
        Event("bounced", first[3].text, YESTERDAY + HOUR),  # in the ledger as well
        Event("bounced", again[0].text, YESTERDAY),
        Event("complained", again[1].text, YESTERDAY),
        Event("complained", first[1].text, NOW),
        Event("opened", first[2].text, YESTERDAY, label="human"),
        Event("complained", replace(again[2], key="").text, YESTERDAY),  # of a mail that never was
    ]
    for event in told:
        await world.record().handle(event.to_message())
    assert await figures(world) == {
        ("ses", "gmail"): {TODAY - days(1): (7, 4, 1), TODAY - days(2): (3, 0, 0)},
    }
    assert (await figures(world, ("gmail", "yahoo")))["ses", "yahoo"] == {TODAY - days(1): (4, 0, 0)}


async def test_only_campaigns_of_these_days_are_read(world: World) -> None:
    await sent(world, "gmail", "s" * 5, YESTERDAY)
    old = {"active": False, "answered_at": NOW - 9 * DAY}
    for n in range(5):
        await sent(world, "gmail", "s", YESTERDAY - 20 * DAY, campaign=f"C-1{n}")
        await world.store.commit([Merge(world.paths.campaign(f"C-1{n}"), old)])
    for n in range(5):
        await world.store.commit([Create(world.paths.campaign(f"D-{n}"), {"state": "draft", "active": False})])
    before = replace(world.store.operations)
    assert await figures(world) == {("ses", "gmail"): {TODAY - days(1): (5, 0, 0)}}
    assert world.store.operations.reads - before.reads == 11 + 1 + 2


async def test_a_campaign_that_has_ended_is_heard_of_for_a_week(world: World) -> None:
    await sent(world, "gmail", "ss", NOW - 6 * DAY)
    for ended, found in ((NOW - 7 * DAY, True), (NOW - 8 * DAY, False)):
        await world.store.commit([Merge(world.paths.campaign("C-0001"), {"active": False, "answered_at": ended})])
        assert bool(await figures(world)) is found


# --- once a day -------------------------------------------------------------------------------------------------------


async def groups(world: World, name: str = "ses") -> dict[str, Any]:
    found: dict[str, Any] = (await world.data(world.paths.provider(name)))["groups"]
    return found


async def tick(world: World, *, after: int = 0, store: Store | None = None, provider: Provider = SES) -> Allowances:
    return await Allowances.open(store or world.store, world.paths, [provider], NOW + after)


async def test_a_provider_begins_at_the_first_day_of_the_curve(world: World) -> None:
    opened = await tick(world)
    assert opened.limited and opened.warming
    found = await groups(world)
    assert set(found) == {"gmail", "microsoft", "yahoo", "apple", "other"}
    assert {(state["level"], state["left"], state["day"]) for state in found.values()} == {(1, 50, "2027-01-15")}


async def test_it_is_judged_once_a_day(world: World) -> None:
    await tick(world)
    await sent(world, "gmail", "s" * 30, NOW)
    await sent(world, "yahoo", "s" * 23 + "f" * 7, NOW, n=1)
    await tick(world, after=DAY)
    found = await groups(world)
    assert (found["gmail"]["state"], found["gmail"]["level"], found["gmail"]["left"]) == ("warming", 2, 58)
    assert (found["gmail"]["sent"][-1], found["gmail"]["last"]) == (30, "2027-01-15")
    assert (found["yahoo"]["state"], found["yahoo"]["level"]) == ("cut", -4)
    assert (found["apple"]["level"], found["apple"]["left"]) == (1, 50)
    versions, before = world.versions(), replace(world.store.operations)
    await tick(world, after=DAY + HOUR)
    assert world.versions() == versions
    assert world.store.operations.reads - before.reads == 1


async def test_two_ticks_judge_it_once(world: World) -> None:
    await tick(world)
    await sent(world, "gmail", "s" * 23 + "f" * 7, NOW)

    class Racing(FaultyStore):
        """Another tick judges while this one reads."""

        raced = False

        async def page(self, collection: str, *given: Any, **more: Any) -> Any:
            found = await super().page(collection, *given, **more)
            if collection.endswith("deliveries") and not self.raced:
                self.raced = True
                await tick(world, after=DAY)
            return found

    await tick(world, after=DAY + 1, store=Racing(world.store, lambda verb: ""))
    found = await groups(world)
    assert (found["gmail"]["state"], found["gmail"]["level"]) == ("cut", -4)


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
@pytest.mark.parametrize("n", range(3))
async def test_a_judgement_survives_a_store_that_fails(world: World, n: int, fault: Any) -> None:
    for at in (0, DAY):
        await tick(world, after=at, store=FaultyStore(world.store, nth(n, fault)))
        await sent(world, "gmail", "s" * 23 + "f" * 7, NOW + at, n=at)
    found = await groups(world)
    assert (found["gmail"]["state"], found["gmail"]["level"]) == ("cut", -4)


async def test_what_cannot_be_judged_is_not_leased(world: World) -> None:
    await tick(world)
    await sent(world, "gmail", "s", NOW)

    class Deaf(FaultyStore):
        async def page(self, collection: str, *given: Any, **more: Any) -> Any:
            if collection.endswith("batches"):
                raise Unavailable("the store")
            return await super().page(collection, *given, **more)

    opened = await tick(world, after=DAY, store=Deaf(world.store, lambda verb: ""))
    assert [way.left("gmail") for way in opened._ways.values()] == [0]
    opened = await tick(world, after=DAY)
    assert [way.left("gmail") for way in opened._ways.values()] == [50]


async def test_another_first_day_begins_anew(world: World) -> None:
    await tick(world)
    await sent(world, "gmail", "s" * 50, NOW)
    await tick(world, after=DAY)
    assert (await groups(world))["gmail"]["level"] == 2
    await tick(world, after=DAY, provider=replace(SES, warm_up=None))
    assert not (await tick(world, after=DAY, provider=replace(SES, warm_up=None))).warming
    await tick(world, after=DAY)
    assert (await groups(world))["gmail"]["level"] == 2
    await tick(world, after=DAY, provider=replace(SES, warm_up=TODAY + days(1)))
    assert (await groups(world))["gmail"]["level"] == 1


async def test_an_established_provider_warms_up_no_more(world: World) -> None:
    await tick(world)
    done = {f"groups.{group}": at_level(31) | {"state": "established"} for group in warmup.ALL}
    await world.store.commit([Merge(world.paths.provider("ses"), done)])
    versions = world.versions()
    opened = await tick(world, after=40 * DAY)
    assert opened.limited and not opened.warming and world.versions() == versions
    assert opened.forecast({"gmail": 1_000_000}) == ""
