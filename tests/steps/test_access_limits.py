"""Links to one's settings, asked for by strangers with others' addresses: so many an hour as the tenant says, each reader one a day, and
nobody is kept from their own for long."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.send_batch import limits
from ops.trace import Trace
from shared.errors import BadInput, Conflict
from shared.http import Request
from shared.model import batch
from shared.model.paths import ACCESS, CONFIRM
from shared.model.subscriber import suppress
from shared.ports import Create, Outcome, Store, Write

from . import test_confirm_limits
from .fakes import DAY, HOUR, NOW, Fault, FaultyStore, nth
from .test_confirm_limits import NETWORK, people, quick, rules, sign_up, work  # noqa: F401 (a fixture)
from .test_metrics import counted
from .world import PROOF, World

HOME, WORK = "198.51.100.7", "203.0.113.9"


@pytest.fixture
async def ready(world: World) -> World:
    """Both mails are frozen."""
    world.drive.put("access.md", "---\nsubject: Your link\n---\n[Go]({{ preferences_url }})\n")
    await world.system(ACCESS, CONFIRM)
    return world


async def ask(world: World, address: str, client: str = HOME, *, form: bool = False) -> list[dict[str, Any]]:
    """Post an address to the step unsubscribe; what it publishes."""
    if form:
        body, kind = "&".join(f"{name}={value}" for name, value in {"email": address, **PROOF}.items()), "x-www-form-urlencoded"
    else:
        body, kind = json.dumps({"email": address}), "json"
    headers = {"content-type": f"application/{kind}"}
    answer = await world.unsubscribe().handle(Request("POST", headers=headers, body=body.encode(), client=client))
    assert answer.status == (200 if form else 202)
    return world.bus.take(batch.TOPIC)


async def asked(world: World, addresses: Sequence[str], client: str = HOME) -> list[dict[str, Any]]:
    return [message for address in addresses for message in await ask(world, address, client)]


due = partial(test_confirm_limits.due, campaign=ACCESS)
later = partial(test_confirm_limits.later, campaign=ACCESS)
ends = partial(test_confirm_limits.ends, campaign=ACCESS)


async def bombed(world: World, victims: Sequence[str], count: int, hours: int) -> list[Counter[str]]:
    """Somebody asks `count` times in the first minutes, from 40 networks, for each address from several; who is mailed in each hour."""
    requests = []
    for n in range(count):
        requests += await ask(world, victims[n % len(victims)], f"10.0.{(n + n // len(victims)) % 40}.{n % 250}")
    assert len(requests) == count and len({one["network"] for one in requests}) == 40
    mailed = [Counter(await work(world, requests))]
    return mailed + [Counter(await later(world)) for _ in range(hours - 1)]


@pytest.mark.parametrize(
    ("network", "domain", "first", "most"),
    [
        (60, 120, 370, 370),  # 250 at Gmail, where only networks count, and 120 of the firm; then 120 and 10
        (4, 50, 160, 160),  # 40 networks with 4 each
        (0, 0, 500, 500),  # the control: all in the first hour
    ],
)
async def test_who_gets_how_many_when_500_readers_are_bombed(
    ready: World, network: int, domain: int, first: int, most: int
) -> None:
    """2,000 requests for 500 readers from 40 networks."""
    await rules(ready, network, domain)
    victims = [address for pair in zip(people(250, "gmail.com"), people(250, "firm.example"), strict=True) for address in pair]
    await ready.add(*victims)
    mailed = await bombed(ready, victims, 2000, 6)
    hours = [sum(hour.values()) for hour in mailed]
    assert hours[0] == first and max(hours) == most and hours[-1] == 0
    assert sum(mailed, Counter()) == Counter(victims), "each once, nobody is lost"
    firm = [sum(count for address, count in hour.items() if address.endswith("firm.example")) for hour in mailed]
    assert max(firm) <= (domain or 250)
    again = [message for n, address in enumerate(victims) for message in await ask(ready, address, f"10.9.{n % 40}.1")]
    assert await work(ready, again) == [], "and none again on that day"


async def test_a_reader_whose_link_waits_in_a_strangers_crowd_gets_it_by_asking(ready: World) -> None:
    await rules(ready, network_hour=2)
    victims = people(9)
    await ready.add(*victims, "ada@a.example")
    assert await work(ready, await asked(ready, victims)) == victims[:2]
    assert await work(ready, await ask(ready, victims[5], WORK)) == [victims[5]]
    assert await work(ready, await ask(ready, "ada@a.example", WORK)) == ["ada@a.example"], "who was not bombed anyway"
    mailed = [address for _ in range(4) for address in await later(ready)]
    assert Counter(mailed) == Counter([*victims[2:5], *victims[6:]]), "and the others when it is their turn"


async def test_a_later_request_that_finds_no_place_changes_nothing(ready: World) -> None:
    await rules(ready, network_hour=1)
    await ready.add(*(everybody := people(4)))
    assert await work(ready, [*await ask(ready, everybody[0]), *await ask(ready, everybody[1], WORK)]) == everybody[:2]
    assert await work(ready, await ask(ready, everybody[2])) == []  # waits for its network
    before = ready.versions()
    assert await work(ready, [*await ask(ready, everybody[2], WORK), *await ask(ready, everybody[2])]) == []
    assert ready.versions() == before
    assert await later(ready) == [everybody[2]]
    assert await work(ready, await ask(ready, everybody[3], WORK)) == [everybody[3]], "it went by its first network"


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_later_request_survives_any_fault(ready: World, n: int, fault: Fault) -> None:
    await rules(ready, network_hour=1)
    await ready.add("bob@b.example", "ada@a.example")
    assert await work(ready, await asked(ready, ["bob@b.example", "ada@a.example"])) == ["bob@b.example"]
    verbs = frozenset({"get", "get_many", "commit"})
    mailed = await work(ready, await ask(ready, "ada@a.example", WORK), FaultyStore(ready.store, nth(n, fault, verbs)))
    for _ in range(3):
        mailed += await later(ready)
    assert mailed == ["ada@a.example"]


async def test_a_later_request_that_could_not_be_judged_takes_nothing_over(ready: World) -> None:
    """The provider is down when a stranger asks from their full network: the reader's own wait is not theirs by that."""
    await rules(ready, network_hour=1)
    await ready.add("bob@b.example", "cat@c.example", "ada@a.example")
    await work(ready, [*await ask(ready, "bob@b.example"), *await ask(ready, "cat@c.example", WORK)])
    assert await work(ready, await ask(ready, "ada@a.example")) == []
    path = ready.paths.batch(ACCESS, f"{ready.sid('ada@a.example')}.{NOW // DAY}")
    held = (await ready.data(path))["source"]["network"]
    ready.sender.down = True
    assert await work(ready, await ask(ready, "ada@a.example", WORK)) == []
    assert (await ready.data(path))["source"]["network"] == held
    ready.sender.down = False
    assert await later(ready) == ["ada@a.example"]


class Crowd:
    """A store where somebody else is always faster to a place."""

    def __init__(self, world: World) -> None:
        self._store = world.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        if any("/limits/" in one.path for one in writes):
            raise Conflict(writes[0].path, "version")
        return await self._store.commit(writes)


async def test_a_later_request_that_many_contend_with_stands_and_goes_soon(ready: World) -> None:
    await rules(ready, network_hour=1)
    await ready.add("bob@b.example", "ada@a.example")
    await work(ready, await asked(ready, ["bob@b.example", "ada@a.example"]))
    crowd: Any = Crowd(ready)
    assert await work(ready, await ask(ready, "ada@a.example", WORK), crowd) == []
    ready.clock.advance(limits.SOON)
    assert await work(ready, await due(ready)) == ["ada@a.example"]


async def test_sign_ups_and_links_take_no_place_of_each_other(ready: World) -> None:
    await rules(ready, network_hour=3, domain_hour=3)
    await ready.add(*(readers := [f"reader{n}@firm.example" for n in range(5)]))
    strangers = people(20, "firm.example")
    assert len(await work(ready, [await sign_up(ready, address) for address in strangers])) == 3
    assert await work(ready, await asked(ready, readers, WORK)) == readers[:3]
    held = await ready.all(f"{ready.paths.tenant}/limits")
    assert [len(one.data["sids"]) for one in held] == [3] * 4


async def test_nobody_can_tell_by_their_own_links_who_is_a_reader(ready: World) -> None:
    """A stranger asks for their own addresses and others' from one network: what is left for their own is the same with any others."""
    await rules(ready, network_hour=3)
    own = [f"own{n}@o.example" for n in range(6)]
    readers, angry, new = (people(4, f"{kind}.example") for kind in ("r", "c", "n"))
    await ready.add(*own, *readers, *angry)
    for address in angry:
        await ready.store.commit(suppress(ready.paths, ready.sid(address), "complaint", "x", NOW))
    for address in new:
        await ready.store.commit([Create(ready.paths.subscriber(ready.sid(address)), {"asked": address})])
    seen = []
    for day, others in enumerate((readers, angry, new, people(4, "nobody.example"))):
        ready.clock.time = (NOW // DAY + 2 * day) * DAY
        mixed = [own[0], *others[:3], *own[1:4], others[3], *own[4:]]
        hours = [await work(ready, await asked(ready, mixed))] + [await later(ready) for _ in range(5)]
        assert any(set(mailed) & set(others) for mailed in hours) == (others is readers)
        assert (
            hours[0][0] == own[0] and not set(own[1:]) & set(hours[0]) and {*own} <= {one for mailed in hours for one in mailed}
        )
        places = [one for one in await ready.all(f"{ready.paths.tenant}/limits") if one.id.partition(".")[2].startswith("n")]
        taken = {int(one.id.partition(".")[0]) - ready.clock.now() // HOUR: len(one.data["sids"]) for one in places}
        seen.append({hour: count for hour, count in taken.items() if hour > -6})
    assert seen == [{-5: 3, -4: 3, -3: 3, -2: 1}] * 4


async def test_json_is_counted_like_the_form(ready: World) -> None:
    await rules(ready, network_hour=2)
    await ready.add(*(everybody := people(6)))
    requests = [message for n, address in enumerate(everybody) for message in await ask(ready, address, form=n % 2 == 0)]
    assert await work(ready, requests) == everybody[:2]


async def test_spellings_of_one_mailbox_get_few_a_day(ready: World) -> None:
    await ready.add(*(spellings := [f"ada+{n}@gmail.com" for n in range(9)]), "ada@gmail.com")
    requests = [message for n, address in enumerate(spellings) for message in await ask(ready, address, f"10.0.{n}.1")]
    assert len(await work(ready, requests)) == limits.MAILBOX_DAY
    assert await later(ready) == []
    assert await work(ready, await ask(ready, "ada@gmail.com")) == ["ada@gmail.com"]
    assert len(await later(ready, 24)) == 4


@pytest.mark.parametrize("fault", ["lost", "conflict", "refused", ""])
async def test_the_limit_is_exact_among_workers_whose_replies_are_lost(ready: World, fault: Fault) -> None:
    await rules(ready, network_hour=7)
    await ready.add(*(everybody := people(30)))
    chance = random.Random(7)
    store: Store = FaultyStore(ready.store, lambda verb: fault if verb == "commit" and chance.random() < 0.3 else "")
    requests, mailed = await asked(ready, everybody), list[str]()
    for _ in range(8):
        hour: list[str] = []
        for _ in range(4):  # what was contended comes back within the hour
            hour += await work(ready, requests, store, workers=6)
            ready.clock.advance(8 * 60_000)
            requests = await due(ready)
        assert len(hour) <= 7
        mailed += hour
        ready.clock.time = (ready.clock.now() // HOUR + 1) * HOUR + limits.SPREAD
        requests = await due(ready)
    assert Counter(mailed) == Counter(everybody)


async def test_who_waited_for_a_day_is_given_up_and_may_ask_again(ready: World) -> None:
    await rules(ready, network_hour=1)
    await ready.add(*(everybody := people(30)))
    mailed = await work(ready, await asked(ready, everybody))
    for _ in range(25):
        mailed += await later(ready)
    assert len(mailed) == len(set(mailed)) == 25
    assert await ends(ready) == {"s": 25, chr(batch.SKIPPED_CROWDED): 5}
    lost = min(set(everybody) - set(mailed))
    told = [line async for line in Trace(ready.store, ready.paths, ready.sid(lost)).of(ACCESS)]
    assert any("too many such mails were asked for" in line for line in told)
    assert await work(ready, await ask(ready, lost, WORK)) == [lost]


async def test_a_wait_past_midnight_takes_that_days_link_too(ready: World) -> None:
    await rules(ready, network_hour=1)
    await ready.add(*(everybody := ["first@a.example", "ada@b.example", "bob@c.example"]))
    ready.clock.time = NOW - NOW % DAY + DAY - HOUR
    assert await work(ready, await asked(ready, everybody)) == ["first@a.example"]
    await rules(ready, network_hour=0)
    ready.clock.time += HOUR + limits.SPREAD
    assert await work(ready, await ask(ready, "bob@c.example", WORK)) == ["bob@c.example"]
    assert await work(ready, await due(ready)) == ["ada@b.example"]
    assert await work(ready, await ask(ready, "ada@b.example", WORK)) == [], "hers of today has gone"
    assert not await due(ready)


async def test_who_asked_is_kept_until_the_mail_has_gone(ready: World) -> None:
    """The network, never more; and a retry in another hour counts for it."""
    await rules(ready, network_hour=1)
    await ready.add("ada@a.example", "bob@b.example")
    [request] = await ask(ready, "ada@a.example", WORK)
    assert request["network"] == NETWORK
    ready.sender.answers = {"ada@a.example": [Outcome("temporary", "451")]}
    assert await work(ready, [request]) == []
    assert (await ready.ledger(request["batch"], ACCESS))["source"]["network"] == NETWORK
    ready.clock.time = (NOW // HOUR + 1) * HOUR + limits.SPREAD
    assert await work(ready, await due(ready)) == ["ada@a.example"]
    assert set((await ready.ledger(request["batch"], ACCESS))["source"]) == {"sid", "consent"}
    assert await work(ready, await ask(ready, "bob@b.example", WORK)) == []


@pytest.mark.parametrize("network", [7, None, ["203.0.113.0/24"]])
async def test_a_message_with_an_odd_network_is_none_of_ours(ready: World, network: object) -> None:
    with pytest.raises(BadInput):
        await ready.send_batch().handle({**batch.request(ACCESS, f"{ready.sid('a@a.example')}.1"), "network": network})


async def test_a_48_of_ipv6_has_eight_networks_worth(ready: World) -> None:
    await rules(ready, network_hour=2)
    await ready.add(*(everybody := people(60)))
    requests = [message for n, one in enumerate(everybody) for message in await ask(ready, one, f"2001:db8:7:{n // 3:x}00::1")]
    assert len({one["network"] for one in requests}) == 20
    assert len(await work(ready, requests)) == 2 * limits.SITE
    assert len(await work(ready, [await sign_up(ready, one, f"2001:db8:7:{n}00::/56") for n, one in enumerate(people(20))])) == 16
    [other] = await ask(ready, everybody[-1], "2001:db8:8::1")
    assert await work(ready, [other]) == [everybody[-1]]


@pytest.mark.parametrize(
    ("network", "site"),
    [
        ("2001:db8:7:100::/56", "2001:db8:7::/48"),
        ("2001:db8::/40", ""),
        ("203.0.113.0/24", ""),
        ("", ""),
        ("nonsense: ::/x", ""),
    ],
)
def test_the_48_of_a_network(network: str, site: str) -> None:
    assert limits.site(network) == site


async def test_what_a_link_costs(ready: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Reads: the campaign, the batch, the reader, a place or two; the settings once a minute. Writes: two of the batch, the places. A
    later request that finds no place: the first three, of a crowd that is known to be one."""
    await rules(ready, network_hour=2)
    everybody = ["ada@gmail.com", "bob@gmail.com", "eve@gmail.com", "kim@firm.example"]
    await ready.add(*everybody)
    requests = [
        *[await ask(ready, address, WORK) for address in everybody[:3]],
        await ask(ready, everybody[3]),
        await ask(ready, everybody[2], "203.0.113.77"),
        await ask(ready, everybody[2], "2001:db8::1"),
    ]
    step, operations, spent = ready.send_batch(), ready.store.operations, []
    for [request] in requests:
        before = replace(operations)
        await step.handle(request)
        spent.append((operations.reads - before.reads, operations.writes - before.writes))
    assert spent == [(5, 3), (4, 3), (4, 1), (5, 4), (2, 0), (5, 4)]
    assert len(counted(capsys, "a mail waits for its place")) == 1
