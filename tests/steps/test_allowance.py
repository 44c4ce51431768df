"""Leases: what is granted is what was taken, whoever else is at it and whatever reply is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from functions.launch.allowance import FIELDS, Allowances
from shared.errors import Conflict, Unavailable
from shared.model import batch
from shared.model.batch import GRACE
from shared.model.provider import Provider
from shared.ports import Create, Document, Filter, Maximum, Merge, Store, Write

from .fakes import DAY, HOUR, NOW, FaultyStore, nth
from .world import World

TODAY = date(2027, 1, 15)
DAILY = Provider("day", "smtp", daily=500)
RATED = Provider("rate", "smtp", rate=2)
WARMING = Provider("ses", "ses", warm_up=TODAY)
FREE = Provider("free", "smtp")


async def batches(world: World, *sizes: int, group: str = "", start: int = 0, campaign: str = "C-0001", **fields: Any) -> None:
    """Rosters that are due, of these sizes."""
    for n, size in enumerate(sizes, start):
        data = batch.new({"roster": size}, NOW - 1000 + n, "", group, b"\1" * 16 * size) | fields
        await world.store.commit([Create(world.paths.batch(campaign, f"{n:06d}"), data)])


async def due(world: World, now: int = NOW, campaign: str = "C-0001") -> list[Document]:
    return await world.store.page(world.paths.batches(campaign), Filter(at_most=("due", now)), fields=FIELDS)


async def opened(world: World, *providers: Provider, now: int = NOW, store: Store | None = None) -> Allowances:
    return await Allowances.open(store or world.store, world.paths, providers, now)


async def released(world: World, *providers: Provider, now: int = NOW) -> list[str]:
    """A tick; which batches it released."""
    allowances = await opened(world, *providers, now=now)
    return [document.id for document in await allowances.stamp(await due(world, now), now + GRACE)]


async def granted(world: World, campaign: str = "C-0001") -> list[dict[str, int]]:
    """The mails that each batch holds of each provider."""
    found = await world.all(world.paths.batches(campaign))
    return [{name: grant["mails"] for name, grant in document.data["grants"].items()} for document in found]


async def used(world: World, name: str) -> int:
    return int((await world.data(world.paths.provider(name)))["used"])


# --- no limit ---------------------------------------------------------------------------------------------------------


async def test_without_limits_batches_are_only_stamped(world: World) -> None:
    await batches(world, 300, 300)
    allowances = await opened(world, FREE)
    assert not allowances.limited and not allowances.warming
    found = await due(world)
    await world.store.commit([Merge(found[1].path, {"owner": "a worker"})])
    before = replace(world.store.operations)
    assert [document.id for document in await allowances.stamp(found, NOW + GRACE)] == ["000000"]
    await allowances.take_back("C-0001")
    after = world.store.operations
    assert (after.writes - before.writes, after.reads - before.reads) == (1, 0)
    first, second = await world.all(world.paths.batches("C-0001"))
    stamped = ("due", "swept", "grants", "leftover")
    assert [first.data[name] for name in stamped] == [NOW + GRACE, 1, {}, False]
    assert second.data["swept"] == 0
    assert await allowances.stamp([], NOW) == []


# --- the documents ----------------------------------------------------------------------------------------------------


async def test_documents_hold_the_configuration_and_are_written_when_it_differs(world: World) -> None:
    await opened(world, replace(DAILY, weight=3), FREE)
    found = await world.data(world.paths.provider("day"))
    expected = {"kind": "smtp", "weight": 3, "rate": 0, "daily": 500, "warm_up": "", "gone": False}
    assert found == expected
    versions, before = world.versions(), replace(world.store.operations)
    await opened(world, replace(DAILY, weight=3), FREE)
    assert world.versions() == versions and world.store.operations.reads - before.reads == 2
    await opened(world, replace(DAILY, daily=400))
    assert (await world.data(world.paths.provider("day")))["daily"] == 400
    assert (await world.data(world.paths.provider("free")))["gone"] is True
    before = replace(world.store.operations)
    await opened(world, replace(DAILY, daily=400))
    assert world.store.operations.writes == before.writes
    await opened(world, FREE)
    assert (await world.data(world.paths.provider("free")))["gone"] is False


async def test_what_a_worker_noted_of_a_provider_is_kept(world: World) -> None:
    note = {"down_until": Maximum(NOW + HOUR), "down_code": "421"}
    await world.store.commit([Merge(world.paths.provider("day"), note)])
    await batches(world, 100)
    assert await released(world, DAILY) == []
    found = await world.data(world.paths.provider("day"))
    assert (found["down_until"], found["down_code"], found["daily"]) == (NOW + HOUR, "421", 500)
    assert await released(world, DAILY, now=NOW + HOUR) == ["000000"]


# --- leases -----------------------------------------------------------------------------------------------------------


async def test_a_day_is_leased_until_it_is_used_up_and_begins_anew(world: World) -> None:
    await batches(world, 300, 300, 300)
    assert await released(world, DAILY) == ["000000", "000001"]
    assert await granted(world) == [{"day": 300}, {"day": 200}, {}]
    assert await used(world, "day") == 500
    third = (await world.all(world.paths.batches("C-0001")))[2]
    assert (third.data["swept"], third.data["due"]) == (0, NOW - 998)
    assert await released(world, DAILY, now=NOW + 50_000) == []
    assert await released(world, DAILY, now=NOW + DAY) == ["000002", "000000"]
    assert await granted(world) == [{"day": 200}, {"day": 200}, {"day": 300}]  # those of yesterday count no more
    assert await used(world, "day") == 500


async def test_a_tick_of_yesterday_that_is_late_opens_no_day_again(world: World) -> None:
    ways = (replace(DAILY, daily=80), WARMING)
    await batches(world, 60, 60, group="gmail")
    assert await released(world, *ways, now=NOW + DAY) == ["000000", "000001"]
    await batches(world, 60, group="yahoo", start=2)
    assert await released(world, *ways) == []
    assert await granted(world) == [{"day": 60, "ses": 50}, {"day": 20}, {}]


@pytest.mark.parametrize(
    ("fields", "mails"),
    [
        ({"source": {"roster": 120}}, 120),
        ({"source": {"roster": 120}, "tally": {"sent": 100, "failed": 3, "deferred": 7}}, 17),
        ({"source": {"roster": 120}, "tally": {"sent": 118, "deferred": 2}, "read_all": True}, 2),
        ({"source": {"low": "", "high": ""}}, 400),
        ({"source": {"low": "", "high": ""}, "tally": {"sent": 390, "deferred": 5}}, 25),
        ({"source": {"low": "", "high": ""}, "tally": {"sent": 450, "handed": 5}}, 20),
        ({"source": {"low": "", "high": ""}, "tally": {"sent": 390, "deferred": 5}, "read_all": True}, 5),
        ({"source": {"sid": "ab" * 16, "consent": ""}}, 1),
    ],
)
async def test_a_batch_is_leased_what_it_may_still_need(world: World, fields: dict[str, Any], mails: int) -> None:
    await batches(world, 120, **fields)
    assert await released(world, DAILY) == ["000000"]
    assert await granted(world) == [{"day": mails}]


async def test_a_batch_that_needs_nothing_goes_to_its_end(world: World) -> None:
    await batches(world, 120, tally={"sent": 120}, read_all=True)
    assert await released(world, replace(DAILY, daily=1)) == ["000000"]
    assert await granted(world) == [{}]


async def test_what_a_batch_holds_already_is_counted(world: World) -> None:
    """Its push was lost, or its worker died."""
    await batches(world, 300, 300)
    await released(world, DAILY)
    again = NOW + 2 * GRACE
    assert await released(world, DAILY, now=again) == ["000000", "000001"]
    assert (await granted(world), await used(world, "day")) == ([{"day": 300}, {"day": 200}], 500)
    assert await released(world, replace(DAILY, daily=700), now=again + 2 * GRACE) == ["000000", "000001"]
    assert (await granted(world), await used(world, "day")) == ([{"day": 300}, {"day": 300}], 600)


async def test_a_rate_is_credit_for_a_minute_at_most(world: World) -> None:
    await batches(world, *[100] * 9)
    assert await released(world, RATED) == ["000000", "000001"]
    assert await released(world, RATED, now=NOW + 100) == []
    assert await released(world, RATED, now=NOW + 10_000) == ["000002"]
    assert await granted(world) == [{"rate": 100}, {"rate": 20}, {"rate": 20}, *[{}] * 6]
    now = NOW + HOUR
    await batches(world, *[100] * 9, campaign="C-0002")
    allowances = await opened(world, RATED, now=now)
    await allowances.stamp(await due(world, now, "C-0002"), now + GRACE)
    assert await granted(world, "C-0002") == [{"rate": 100}, {"rate": 20}, *[{}] * 7]


async def test_the_batches_of_a_tick_share_the_rate(world: World) -> None:
    await batches(world, 60, 30, 300)
    await released(world, replace(RATED, daily=1000))
    found = [document.data["grants"]["rate"] for document in await world.all(world.paths.batches("C-0001"))]
    assert found == [{"mails": 60, "rate": 1}, {"mails": 30, "rate": 0.5}, {"mails": 30, "rate": 0.5}]
    await batches(world, 50, campaign="C-0002")
    await batches(world, 50, campaign="C-0003")
    allowances = await opened(world, RATED, now=NOW + GRACE)
    for campaign in ("C-0002", "C-0003"):
        await allowances.stamp(await due(world, campaign=campaign), NOW + 2 * GRACE)
        rates = (await world.data(world.paths.batch(campaign, "000000")))["grants"]["rate"]["rate"]
        assert rates == {"C-0002": 2, "C-0003": 1}[campaign]


async def test_the_rate_is_shared_by_what_was_leased_in_the_end(world: World) -> None:
    """Not by what was tried before, nor less what came back."""
    await batches(world, 100, campaign="C-0002", grants={"rate": {"mails": 60, "rate": 1}}, granted=str(TODAY), leftover=True)
    await batches(world, 60, 60)
    store = FaultyStore(world.store, nth(1, "refused", frozenset({"commit"})))
    allowances = await opened(world, RATED, store=store)
    await allowances.take_back("C-0002")
    assert len(await allowances.stamp(await due(world), NOW + GRACE)) == 2
    found = [document.data["grants"]["rate"] for document in await world.all(world.paths.batches("C-0001"))]
    assert found == [{"mails": 60, "rate": 1}, {"mails": 60, "rate": 1}]


async def test_a_rate_below_one_a_minute_lets_one_go_when_it_has_gathered(world: World) -> None:
    slow = Provider("slow", "smtp", rate=1 / 120)
    await batches(world, 1, 1)
    assert await released(world, slow) == ["000000"]
    assert await granted(world) == [{"slow": 1}, {}]
    assert await released(world, slow, now=NOW + 50_000) == []
    assert "000001" in await released(world, slow, now=NOW + 121_000)
    assert await granted(world) == [{"slow": 1}, {"slow": 1}]


async def test_a_warm_up_lets_each_mailbox_provider_have_its_own(world: World) -> None:
    await batches(world, 40, 40, group="gmail")
    await batches(world, 40, group="yahoo", start=2)
    await batches(world, 60, start=3)
    await batches(world, 60, group="other", start=4)
    assert await released(world, WARMING) == ["000000", "000001", "000002", "000003"]
    assert await granted(world) == [{"ses": 40}, {"ses": 10}, {"ses": 40}, {"ses": 50}, {}]
    found = await world.data(world.paths.provider("ses"))
    left = {group: state["left"] for group, state in found["groups"].items()}
    assert left == {"gmail": 0, "yahoo": 10, "other": 0, "microsoft": 50, "apple": 50}
    assert found["used"] == 140


async def test_a_paused_warm_up_leases_nothing_until_it_goes_on(world: World) -> None:
    await opened(world, WARMING)
    path = world.paths.provider("ses")
    await world.store.commit([Merge(path, {"groups.gmail.state": "paused", "groups.gmail.paused_until": NOW + HOUR})])
    await batches(world, 10, group="gmail")
    assert await released(world, WARMING) == []
    assert await released(world, WARMING, now=NOW + HOUR) == ["000000"]


@pytest.mark.parametrize(
    ("limits", "mails"), [({"daily": 30}, 30), ({"daily": 90}, 50), ({"rate": 0.2}, 12), ({"daily": 30, "rate": 5}, 30)]
)
async def test_the_tightest_limit_counts(world: World, limits: dict[str, Any], mails: int) -> None:
    await batches(world, 100, group="gmail")
    await released(world, replace(WARMING, **limits))
    assert await granted(world) == [{"ses": mails}]


async def test_beside_a_provider_without_limit_nobody_waits(world: World) -> None:
    await batches(world, 300, 300, 300)
    assert await released(world, DAILY, FREE) == ["000000", "000001", "000002"]
    assert await granted(world) == [{"day": 300}, {"day": 200}, {}]


async def test_of_two_with_a_limit_each_gives_what_it_has(world: World) -> None:
    await batches(world, 300, 300)
    assert await released(world, replace(DAILY, daily=350), replace(DAILY, name="two", daily=100)) == ["000000", "000001"]
    assert await granted(world) == [{"day": 300, "two": 100}, {"day": 50}]


async def test_a_provider_that_does_not_take_a_group_gives_it_nothing(world: World) -> None:
    gmail = replace(DAILY, domains=("gmail.com",))
    await batches(world, 10, group="yahoo")
    await batches(world, 10, group="gmail", start=1)
    await batches(world, 10, start=2)
    await released(world, gmail, FREE)
    assert await granted(world) == [{}, {"day": 10}, {"day": 10}]
    await batches(world, 10, group="yahoo", campaign="C-0002")
    allowances = await opened(world, gmail)  # nobody takes it: then anybody may
    assert len(await allowances.stamp(await due(world, campaign="C-0002"), NOW + GRACE)) == 1
    assert await granted(world, "C-0002") == [{"day": 10}]


# --- what workers left ------------------------------------------------------------------------------------------------


async def leave(world: World, name: str, provider: str, mails: int, campaign: str = "C-0001", **fields: Any) -> None:
    """What a worker writes that lets go with mails to spare."""
    changes = {f"grants.{provider}.mails": mails, "leftover": True, "lease_until": 0, **fields}
    await world.store.commit([Merge(world.paths.batch(campaign, name), changes)])


async def test_what_is_left_over_is_taken_back_once(world: World) -> None:
    both = replace(WARMING, daily=70, rate=1)
    await batches(world, 60, 60, group="gmail")
    await released(world, both)
    await leave(world, "000000", "ses", 20)
    await (await opened(world, both)).take_back("C-0001")
    await (await opened(world, both)).take_back("C-0001")
    assert await granted(world) == [{}, {}]
    found = await world.data(world.paths.provider("ses"))
    assert (found["used"], found["groups"]["gmail"]["left"], found["credit"]) == (30, 20, 30)
    assert not [each for each in await world.all(world.paths.batches("C-0001")) if each.data["leftover"]]
    assert await released(world, both, now=NOW + 1000) == ["000001"]
    assert await granted(world) == [{}, {"ses": 20}]


async def test_what_is_left_over_of_yesterday_is_forgotten(world: World) -> None:
    await batches(world, 300)
    await released(world, DAILY)
    await leave(world, "000000", "day", 100)
    await batches(world, 500, start=1)
    later = NOW + DAY
    allowances = await opened(world, DAILY, now=later)
    await allowances.stamp([each for each in await due(world, later) if each.id == "000001"], later + GRACE)
    await allowances.take_back("C-0001")
    assert (await granted(world), await used(world, "day")) == ([{}, {"day": 500}], 500)


async def test_a_batch_that_a_worker_has_again_is_left_to_it(world: World) -> None:
    await batches(world, 300)
    await released(world, DAILY)
    await leave(world, "000000", "day", 100, lease_until=NOW + GRACE)
    version = (await world.all(world.paths.batches("C-0001")))[0].version
    await (await opened(world, DAILY)).take_back("C-0001")
    assert (await world.all(world.paths.batches("C-0001")))[0].version == version


async def test_what_is_left_over_of_a_provider_that_is_gone_is_forgotten(world: World) -> None:
    await batches(world, 300)
    await released(world, DAILY)
    await leave(world, "000000", "day", 100)
    await (await opened(world, RATED)).take_back("C-0001")
    assert await granted(world) == [{}]


async def test_more_than_a_page_is_taken_back(world: World) -> None:
    left: dict[str, Any] = {"leftover": True, "grants": {"day": {"mails": 1, "rate": 0}}, "granted": str(TODAY)}
    await opened(world, DAILY)
    await world.store.commit([Merge(world.paths.provider("day"), {"day": str(TODAY), "used": 400})])
    await batches(world, *[1] * 305, **left)
    await (await opened(world, DAILY)).take_back("C-0001")
    assert await used(world, "day") == 95


# --- at once, and with replies lost -----------------------------------------------------------------------------------


class Interleaved(FaultyStore):
    """Gives way to other tasks at each call. `blind`: as a sender would that does not look at versions."""

    def __init__(self, store: Store, chance: random.Random, blind: bool = False, faults: float = 0) -> None:
        super().__init__(store, lambda verb: chance.choice(("refused", "lost", "conflict")) if chance.random() < faults else "")
        self._chance, self._blind = chance, blind

    async def _call(self, verb: str, work: Any, path: str = "") -> Any:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        return await super()._call(verb, work, path)

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        return await super().commit(
            [Merge(each.path, each.data) if self._blind and isinstance(each, Merge) else each for each in writes]
        )


LIMITED = (replace(DAILY, daily=700), replace(WARMING, rate=10))


async def _tick(world: World, store: Store, campaigns: Sequence[str], now: int) -> list[str]:
    going: list[str] = []
    try:
        allowances = await opened(world, *LIMITED, now=now, store=store)
        for campaign in campaigns:
            await allowances.take_back(campaign)
            found = await world.store.page(world.paths.batches(campaign), Filter(at_most=("due", now)), fields=FIELDS)
            going += [document.path for document in await allowances.stamp(found, now + GRACE)]
    except (Unavailable, Conflict):  # the next tick
        pass
    return going


async def _storm(world: World, seed: int, blind: bool = False, faults: float = 0) -> None:
    """Ticks at once, again and again, and workers in between; then the books must balance."""
    chance = random.Random(seed)
    campaigns = ["C-0001", "C-0002"]
    for campaign in campaigns:
        for start, group in ((0, "gmail"), (4, "yahoo"), (8, "")):
            await batches(world, *(chance.randrange(5, 90) for _ in range(4)), group=group, start=start, campaign=campaign)
    spent: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for turn in range(4):
        now = NOW + turn * 2 * GRACE
        store = Interleaved(world.store, chance, blind, faults)
        ticks = [_tick(world, store, chance.sample(campaigns, 2), now + chance.randrange(3)) for _ in range(3)]
        await asyncio.gather(*ticks)
        for campaign in campaigns:
            for each in await world.all(world.paths.batches(campaign)):
                held = {name: grant["mails"] for name, grant in each.data["grants"].items()}
                if not held or chance.random() < 0.3:
                    continue
                sent = {name: chance.randint(0, mails) for name, mails in held.items()}
                spent.update(sent)
                groups.update({f"{name} {each.data['group'] or 'other'}": mails for name, mails in sent.items()})
                changes = {f"grants.{name}.mails": mails - sent[name] for name, mails in held.items()}
                left = any(changes.values())
                await world.store.commit(
                    [Merge(each.path, {**changes, "leftover": left, "due": now + GRACE, "owner": str(turn)})]
                )
    outstanding: Counter[str] = Counter()
    for campaign in campaigns:
        for held in await granted(world, campaign):
            outstanding.update(held)
    for provider in LIMITED:
        assert await used(world, provider.name) == spent[provider.name] + outstanding[provider.name], provider.name
    assert spent["day"] + outstanding["day"] <= 700
    assert all(mails <= 50 for name, mails in groups.items() if name.startswith("ses"))


@pytest.mark.parametrize("seed", range(12))
async def test_ticks_at_once_never_lease_more_than_there_is(world: World, seed: int) -> None:
    await _storm(world, seed)


@pytest.mark.parametrize("seed", range(12))
async def test_nor_do_they_when_calls_fail_and_replies_are_lost(world: World, seed: int) -> None:
    await _storm(world, seed, faults=0.15)


async def test_without_versions_they_would(world: World) -> None:
    """The control: the same ticks, writing whatever they find."""
    with pytest.raises(AssertionError):
        await _storm(world, 0, blind=True)


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
@pytest.mark.parametrize("n", range(3))
async def test_a_lease_whose_reply_is_lost_is_read_back(world: World, n: int, fault: Any) -> None:
    await batches(world, 300, 300, 300)
    await opened(world, DAILY, WARMING)
    store = FaultyStore(world.store, nth(n, fault, frozenset({"commit"})))
    allowances = await opened(world, DAILY, WARMING, store=store)
    found = await due(world)
    going = await allowances.stamp(found, NOW + GRACE)
    assert [document.id for document in going] == ["000000", "000001"]
    assert await granted(world) == [{"day": 300, "ses": 50}, {"day": 200}, {}]
    assert (await used(world, "day"), await used(world, "ses")) == (500, 50)
    await leave(world, "000000", "day", 120)
    allowances = await opened(world, DAILY, WARMING, store=FaultyStore(world.store, nth(n, fault, frozenset({"commit"}))))
    await allowances.take_back("C-0001")
    assert (await used(world, "day"), await used(world, "ses")) == (380, 0)


async def test_after_a_store_that_was_away_the_books_are_read_again(world: World) -> None:
    """Neither the lease nor what became of it could be seen: the same tick goes on with what is stored."""
    await batches(world, 300)
    await batches(world, 300, campaign="C-0002")
    away = {"commit": 1, "get_many": 1}

    def plan(verb: str) -> Any:
        away[verb] = away.get(verb, 0) - 1
        return "refused" if away[verb] >= 0 else ""

    allowances = await opened(world, DAILY, store=FaultyStore(world.store, plan))
    with pytest.raises(Unavailable):
        await allowances.stamp(await due(world), NOW + GRACE)
    assert len(await allowances.stamp(await due(world, campaign="C-0002"), NOW + GRACE)) == 1
    assert await used(world, "day") == 300


async def test_a_batch_that_somebody_wrote_meanwhile_is_left_out(world: World) -> None:
    await batches(world, 100, 100)
    allowances = await opened(world, DAILY)
    found = await due(world)
    await world.store.commit([Merge(found[0].path, {"owner": "a worker"})])
    assert [document.id for document in await allowances.stamp(found, NOW + GRACE)] == ["000001"]
    assert (await granted(world), await used(world, "day")) == ([{}, {"day": 100}], 100)


async def test_leasing_costs_a_write_a_batch_and_one_a_provider(world: World) -> None:
    await batches(world, *[10] * 40)
    allowances = await opened(world, DAILY)
    found = await due(world)
    before = replace(world.store.operations)
    assert len(await allowances.stamp(found, NOW + GRACE)) == 40
    after = world.store.operations
    assert (after.writes - before.writes, after.reads - before.reads) == (41, 0)


# --- what waits -------------------------------------------------------------------------------------------------------


async def _mailed(world: World, now: int) -> int:
    """A worker hands over what was granted; how many mails."""
    total = 0
    for each in await world.all(world.paths.batches("C-0001")):
        mails = each.data["grants"].get("ses", {}).get("mails", 0)
        states = each.data["states"] + bytes([batch.SENT]) * mails
        done = len(states) == each.data["source"]["roster"]
        changes = {
            "states": states,
            "sids": each.data["roster"][: 16 * len(states)],
            "via": bytes(len(states)),
            "times": each.data["times"] + (now // 1000).to_bytes(4, "big") * mails,
            "providers": ["ses"],
            "tally": batch.tally(states),
            "read_all": done,
            "grants.ses.mails": 0,
            "due": batch.NEVER if done else now + GRACE,
        }
        if mails:
            await world.store.commit([Merge(each.path, changes)])
        total += mails
    return total


async def test_the_forecast_is_what_then_happens(world: World) -> None:
    """Day after day all of the allowance goes, and the last one on the day that was told."""
    campaign = {"kind": "campaign", "state": "running", "active": True, "frozen_at": NOW}
    await world.store.commit([Create(world.paths.campaign("C-0001"), campaign)])
    await batches(world, *[25] * 20, group="gmail")
    told = (await opened(world, WARMING)).forecast({"gmail": 500})
    went: list[int] = []
    while sum(went) < 500:
        now = NOW + len(went) * DAY
        await released(world, WARMING, now=now)
        went.append(await _mailed(world, now))
    assert went == [50, 58, 66, 76, 88, 101, 61]
    assert told == "50 today, the rest by 2027-01-21 while ses warms up."


@pytest.mark.parametrize(
    ("providers", "waiting", "sentence"),
    [
        ([WARMING], {"gmail": 50}, ""),
        ([WARMING], {"gmail": 51}, "50 today, the rest by 2027-01-16 while ses warms up."),
        ([WARMING], {"gmail": 109, "yahoo": 30}, "80 today, the rest by 2027-01-17 while ses warms up."),
        (
            [WARMING],
            {"gmail": 109, "yahoo": 60},
            "100 today, the rest by 2027-01-17 while ses warms up (gmail 2027-01-17, yahoo 2027-01-16).",
        ),
        ([replace(WARMING, daily=60)], {"gmail": 50, "yahoo": 50}, "60 today, the rest by 2027-01-16 while ses warms up."),
        ([WARMING, FREE], {"gmail": 5000}, ""),
        ([WARMING, replace(FREE, domains=("yahoo.com",))], {"gmail": 5000, "yahoo": 50}, None),
        ([replace(WARMING, warm_up=date(2027, 1, 18))], {"gmail": 51}, "None today, all by 2027-01-19 while ses warms up."),
        ([WARMING, replace(WARMING, name="pm")], {"": 120}, "100 today, the rest by 2027-01-16 while ses and pm warm up."),
        ([DAILY], {"": 1400}, "500 today, the rest by 2027-01-17 as day takes it."),
        ([replace(DAILY, daily=1)], {"": 1400}, "1 today, the rest after 2028-01-16 as day takes it."),
        ([replace(RATED, rate=0.01)], {"": 900}, "577 today, the rest by 2027-01-16 as rate takes it."),
        ([WARMING], {"gmail": 0}, ""),
        ([WARMING], {}, ""),
    ],
)
async def test_a_forecast_in_words(
    world: World, providers: list[Provider], waiting: dict[str, int], sentence: str | None
) -> None:
    found = (await opened(world, *providers)).forecast(waiting)
    assert found == sentence if sentence is not None else found.startswith("100 today, the rest by 2027-02-")


async def test_a_paused_warm_up_is_forecast_from_tomorrow(world: World) -> None:
    await opened(world, WARMING)
    paused = {"groups.gmail.state": "paused", "groups.gmail.paused_until": NOW + DAY}
    await world.store.commit([Merge(world.paths.provider("ses"), paused)])
    told = (await opened(world, WARMING)).forecast({"gmail": 60})
    assert told == "None today, all by 2027-01-17 while ses warms up."


async def test_campaigns_wait_for_one_another(world: World) -> None:
    allowances = await opened(world, WARMING)
    assert allowances.forecast({"gmail": 100}) == "50 today, the rest by 2027-01-16 while ses warms up."
    assert allowances.forecast({"gmail": 10}) == "None today, all by 2027-01-17 while ses warms up."
    assert allowances.forecast({"yahoo": 10}) == ""


async def test_what_a_campaign_was_just_leased_goes_today(world: World) -> None:
    """Of this one; what another was leased is gone."""
    allowances = await opened(world, WARMING)
    for campaign, told in (
        ("C-0001", "50 today, the rest by 2027-01-16 while ses warms up."),
        ("C-0002", "None today, all by 2027-01-18 while ses warms up."),
    ):
        await batches(world, 40, 40, group="gmail", campaign=campaign)
        found = await due(world, campaign=campaign)
        assert len(await allowances.stamp(found, NOW + GRACE)) == (2 if campaign == "C-0001" else 0)
        assert allowances.forecast({"gmail": 108}) == told


async def test_what_waits_is_noted_for_the_sheet(world: World) -> None:
    await batches(world, 300, 300, 300)
    allowances = await opened(world, DAILY, FREE)
    await allowances.stamp(await due(world), NOW + GRACE)
    await allowances.report()
    assert "waiting" not in await world.data(world.paths.provider("day"))
    await batches(world, 300, 300, 300, campaign="C-0002")
    alone = await opened(world, DAILY)
    await alone.stamp(await due(world, campaign="C-0002"), NOW + GRACE)
    await alone.report()
    found = await world.data(world.paths.provider("day"))
    assert (found["waiting"], found["goes_by"]) == (900, "2027-01-17")
    versions = world.versions()
    again = await opened(world, DAILY)
    assert again.forecast({"": 900})
    await again.report()
    assert world.versions() == versions
    await (await opened(world, DAILY)).report()
    found = await world.data(world.paths.provider("day"))
    assert (found["waiting"], found["goes_by"]) == (0, "")
