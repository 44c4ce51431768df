"""How many confirmations go to one network's sign-ups and to one domain: exactly as many as the tenant says, and nobody is lost."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from functions.send_batch import ledger, limits
from ops.trace import Trace
from shared.errors import Unavailable
from shared.model import batch
from shared.model.face import Face, SignUp
from shared.model.mailboxes import large
from shared.model.paths import CONFIRM
from shared.model.subscriber import suppress
from shared.ports import ArrayUnion, Create, Document, Expiry, Filter, Merge, Outcome, Store, Write

from .fakes import DAY, HOUR, NOW, Fault, FaultyStore, nth
from .test_metrics import counted
from .world import World

NETWORK = "203.0.113.0/24"
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAUSE", 0.001)
    monkeypatch.setattr(ledger, "PAUSE", 0.001)


async def rules(world: World, network_hour: int = 60, domain_hour: int = 120) -> None:
    await world.store.commit(
        [Merge(world.paths.tenant, {"face": Face(signup=SignUp(network_hour=network_hour, domain_hour=domain_hour)).document()})]
    )


async def sign_up(world: World, address: str, network: str = NETWORK) -> dict[str, Any]:
    """What the step subscribe leaves behind; the request it publishes."""
    sid, now = world.sid(address), world.clock.now()
    consent = f"{random.getrandbits(64):016x}"
    evidence = {"at": now, "kind": "sign-up", "network": network}
    await world.store.commit(
        [Create(world.paths.consent(sid, consent), evidence), Merge(world.paths.subscriber(sid), {"asked": address})]
    )
    return batch.request(CONFIRM, f"{sid}.{now // DAY}", consent)


async def due(world: World, campaign: str = CONFIRM) -> list[dict[str, Any]]:
    """What the tick would publish now, all of a campaign's single mails."""
    found, after = [], ""
    while page := await world.store.page(world.paths.batches(campaign), after=after):
        found += [one for one in page if one.data["state"] == "open" and one.data["due"] <= world.clock.now()]
        after = page[-1].id
    return [
        batch.request(campaign, one.id, one.data["source"]["consent"]) for one in sorted(found, key=lambda one: one.data["due"])
    ]


async def work(world: World, requests: Iterable[dict[str, Any]], store: Store | None = None, workers: int = 1) -> list[str]:
    """Handle the requests in their order; who was mailed."""
    world.sender.accepted.clear()
    steps = [world.send_batch(store) for _ in range(workers)]
    queue = list(requests)

    async def one(number: int) -> None:
        while queue:
            request = queue.pop(0)
            try:
                await steps[number].handle(request)
            except Unavailable:  # not acknowledged, so it is pushed again
                queue.append(request)

    await asyncio.gather(*(one(number) for number in range(workers)))
    return list(world.sender.accepted)


async def later(world: World, hours: int = 1, campaign: str = CONFIRM, **others: Any) -> list[str]:
    """Go on to the minute after the next hour, when all who wait for it are back."""
    world.clock.time = (world.clock.now() // HOUR + hours) * HOUR + limits.SPREAD
    return await work(world, await due(world, campaign), **others)


async def ends(world: World, campaign: str = CONFIRM) -> Counter[str]:
    """The states of all a campaign's single mails."""
    found, after = bytearray(), ""
    while page := await world.store.page(world.paths.batches(campaign), after=after):
        found += b"".join(one.data["states"] for one in page)
        after = page[-1].id
    return Counter(map(chr, found))


def people(count: int, domain: str = "") -> list[str]:
    return [f"p{n}@{domain or f'd{n}.example'}" for n in range(count)]


async def test_a_bombing_mails_each_address_once_a_day(world: World) -> None:
    """2,000 sign-ups of 9 addresses from 500 networks on three days."""
    await world.system("confirm")
    victims = people(9)
    mailed: list[Counter[str]] = []
    for day in range(3):
        world.clock.time = NOW - NOW % DAY + day * DAY + HOUR
        requests = [await sign_up(world, victims[n % 9], f"198.51.{n % 500}.0/24") for n in range(2000 // 3)]
        random.Random(day).shuffle(requests)
        mailed.append(Counter(await work(world, requests, workers=4)))
    assert mailed == [Counter(victims)] * 3


async def test_an_hour_has_so_many_places_for_a_network_and_the_rest_waits(world: World, capsys: Out) -> None:
    await world.system("confirm")
    everybody = people(300)
    first = await work(world, [await sign_up(world, address) for address in everybody])
    assert len(first) == 60
    assert len(counted(capsys, "a mail waits for its place")) == 240
    hours = [first, *[await later(world) for _ in range(4)]]
    assert [len(hour) for hour in hours] == [60] * 5
    assert Counter(address for hour in hours for address in hour) == Counter(everybody)
    assert await ends(world) == {"s": 300} and not await due(world)
    assert counted(capsys, "a mail waits for its place") == [], "told once each"


async def test_the_tick_brings_them_back_the_longest_wait_first(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=2)
    early, late = people(4), [f"late{n}@l{n}.example" for n in range(4)]
    await work(world, [await sign_up(world, address) for address in early])
    world.clock.advance(30 * 60_000)
    assert await work(world, [await sign_up(world, address) for address in late]) == []
    world.clock.time = (NOW // HOUR + 1) * HOUR + limits.SPREAD
    await world.launch().handle()
    requests = world.bus.take(batch.TOPIC)
    assert len(requests) == 6
    world.sender.accepted.clear()
    step = world.send_batch()
    for request in requests:
        await step.handle(request)
    assert len(world.sender.accepted) == 2 and set(world.sender.accepted) <= set(early)


async def test_who_waited_for_a_day_is_given_up(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=2)
    everybody = people(60)
    mailed = await work(world, [await sign_up(world, address) for address in everybody])
    for _ in range(23):
        mailed += (hour := await later(world))
        assert len(hour) == 2
    assert (await ends(world)) == {"s": 48, "d": 12}
    mailed += await later(world)
    assert len(mailed) == len(set(mailed)) == 50  # in 25 hours
    assert await ends(world) == {"s": 50, chr(batch.SKIPPED_CROWDED): 10}
    assert not await due(world)
    [lost, *_] = set(everybody) - set(mailed)
    told = [line async for line in Trace(world.store, world.paths, world.sid(lost)).of(CONFIRM)]
    assert any("too many such mails were asked for" in line for line in told)


@pytest.mark.parametrize("fault", ["lost", "conflict", "refused", ""])
@pytest.mark.parametrize("workers", [1, 6])
async def test_the_limit_is_exact_among_workers_whose_replies_are_lost(world: World, workers: int, fault: Fault) -> None:
    await world.system("confirm")
    await rules(world, network_hour=10, domain_hour=7)
    everybody = [f"p{n}@{'one' if n % 2 else 'two'}.example" for n in range(60)]
    chance = random.Random(7)
    plan: Callable[[str], Fault] = lambda verb: fault if verb == "commit" and chance.random() < 0.3 else ""  # noqa: E731
    mailed: list[str] = []
    requests: list[dict[str, Any]] = [await sign_up(world, address) for address in everybody]
    for _ in range(12):
        hour: list[str] = []
        for _ in range(4):  # what was contended comes back within the hour
            hour += await work(world, requests, FaultyStore(world.store, plan), workers)
            world.clock.advance(8 * 60_000)
            requests = await due(world)
        assert len(hour) <= 10
        mailed += hour
        world.clock.time = (world.clock.now() // HOUR + 1) * HOUR + limits.SPREAD
        requests = await due(world)
    assert Counter(mailed) == Counter(everybody)
    held = [one.data["sids"] for one in await world.all(f"{world.paths.tenant}/limits")]
    assert max(map(len, held)) == 10 and all(len(sids) == len(set(sids)) for sids in held)


class Together:
    """A store whose readers of places all read before one of them writes. `blind`: the places are written without their versions."""

    def __init__(self, world: World, workers: int, blind: bool) -> None:
        self._world, self._blind, self._read, self._left = world, blind, asyncio.Event(), workers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.store, name)

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        found = await self._world.store.get_many(paths, fields)
        if paths and "/limits/" in paths[0]:
            self._left -= 1
            if not self._left:
                self._read.set()
            await self._read.wait()
        return found

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        if self._blind and "/limits/" in writes[0].path:
            writes = [Merge(one.path, {"sids": ArrayUnion((one.data["sids"][0],))}) for one in writes if isinstance(one, Create)]
        return await self._world.store.commit(writes)


@pytest.mark.parametrize(("blind", "mailed"), [(False, 1), (True, 4)])
async def test_of_those_who_see_the_same_place_free_one_gets_it(world: World, blind: bool, mailed: int) -> None:
    """And, as a control, all do where nobody looks whether somebody else was faster."""
    await world.system("confirm")
    await rules(world, network_hour=1, domain_hour=0)
    requests = [await sign_up(world, address) for address in people(4)]
    store: Any = Together(world, 4, blind)
    assert len(await work(world, requests, store, workers=4)) == mailed


async def test_two_networks_and_two_domains_are_no_business_of_each_other(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=3, domain_hour=5)
    for n in range(4):
        assert len(await work(world, [await sign_up(world, f"a{n}{k}@x{n}.example", f"10.0.{n}.0/24") for k in range(6)])) == 3
    assert len(await work(world, [await sign_up(world, f"b{k}@firm.example", f"2001:db8:{k}::/56") for k in range(9)])) == 5
    assert (
        len(await work(world, [await sign_up(world, f"c{k}@{'Other' if k % 2 else 'other'}.Example", "") for k in range(9)])) == 5
    )


async def test_a_full_domain_takes_no_place_of_the_network(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=4, domain_hour=2)
    assert len(await work(world, [await sign_up(world, address) for address in people(9, "firm.example")])) == 2
    assert len(await work(world, [await sign_up(world, address) for address in people(9, "elsewhere.example")])) == 2
    assert len(await work(world, [await sign_up(world, address) for address in people(9)])) == 0


async def test_large_mailbox_providers_have_no_limit_and_zero_is_none(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=0, domain_hour=2)
    for domain in ("gmail.com", "yahoo.co.uk"):
        assert len(await work(world, [await sign_up(world, address) for address in people(9, domain)])) == 9
    assert await world.all(f"{world.paths.tenant}/limits") == []
    assert len(await work(world, [await sign_up(world, address) for address in people(9, "firm.example")])) == 2
    world.clock.advance(limits.FRESH)
    await rules(world, network_hour=0, domain_hour=0)
    assert len(await work(world, [await sign_up(world, f"x{address}") for address in people(9, "firm.example")])) == 9


def dotted(count: int) -> list[str]:
    """Spellings of ada.lovelace at Gmail."""
    return [f"{'adalovelace'[: 1 + n]}.{'adalovelace'[1 + n :]}@{('gmail', 'googlemail')[n % 2]}.com" for n in range(count)]


@pytest.mark.parametrize(
    "spellings", [[f"ada+{n}@outlook.com" for n in range(9)], [f"Ada+{n}@firm.example" for n in range(9)], dotted(9)]
)
async def test_a_mailbox_of_many_spellings_gets_few_a_day_whatever_the_networks(world: World, spellings: list[str]) -> None:
    await world.system("confirm")
    world.clock.time = NOW - NOW % DAY + HOUR
    requests = [await sign_up(world, address, f"198.51.{n}.0/24") for n, address in enumerate(spellings)]
    mailed = await work(world, requests, workers=4)
    assert len(mailed) == limits.MAILBOX_DAY
    for _ in range(5):
        assert await later(world) == []
    plain = "adalovelace@gmail.com" if "gmail" in spellings[0] else spellings[0].replace("+0", "")
    assert await work(world, [await sign_up(world, plain)]) == [plain], "who wants to keep somebody from signing up cannot"
    mailed += await later(world, 19)
    assert Counter(mailed) == Counter(spellings) and await ends(world) == {"s": 10}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("ada@firm.example", ""),
        ("Ada@Firm.example", ""),
        ("a.b@firm.example", ""),
        ("ada@gmail.com", ""),
        ("+x@firm.example", ""),
        ("ada+@firm.example", "ada@firm.example"),
        ("Ada+a+b@Firm.example", "ada@firm.example"),
        ("a.d.a@googlemail.com", "ada@gmail.com"),
        ("a.da+x@gmail.com", "ada@gmail.com"),
    ],
)
def test_a_mailbox_of_many_spellings(address: str, found: str) -> None:
    assert limits.mailbox(address) == found


@pytest.mark.parametrize(
    "domain", ["gmail.com", "googlemail.com", "hotmail.it", "outlook.com.br", "gmx.net", "gmx.at", "web.de", "qq.com"]
)
def test_large(domain: str) -> None:
    assert large(domain)


@pytest.mark.parametrize("domain", ["example.com", "yahoo.example", "gmx.evil.com", "mail.gmail.com", "live", "xgmail.com", ""])
def test_not_large(domain: str) -> None:
    assert not large(domain)


async def test_a_place_names_neither_address_nor_domain_nor_network_and_goes_by_itself(world: World) -> None:
    await world.system("confirm")
    await work(world, [await sign_up(world, "ada@firm.example")])
    held = await world.all(f"{world.paths.tenant}/limits")
    assert [one.data for one in held] == [{"sids": [world.sid("ada@firm.example")], "expires_at": Expiry(NOW + DAY)}] * 2
    text = " ".join(one.path for one in held)
    assert "firm" not in text and "203" not in text.replace(str(NOW // HOUR), "")


async def test_who_is_not_mailed_takes_a_place_of_the_network_and_none_of_the_domain(world: World) -> None:
    """Else the next mail from there, held or not, would tell that somebody complained."""
    await world.system("confirm")
    await rules(world, network_hour=2, domain_hour=1)
    await world.store.commit(suppress(world.paths, world.sid("angry@a.example"), "complaint", "x", NOW))
    await work(world, [await sign_up(world, "angry@a.example")])
    [held] = await world.all(f"{world.paths.tenant}/limits")
    assert held.data["sids"] == [world.sid("angry@a.example")]
    later = [await sign_up(world, address) for address in ("ada@a.example", "bob@b.example")]
    assert await work(world, later) == ["ada@a.example"]


async def test_a_repeat_passes_again_within_the_hour_and_a_retry_in_another_takes_a_place_there(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=1)
    world.sender.answers = {"ada@a.example": [Outcome("temporary", "451")] * 2}
    ada = await sign_up(world, "ada@a.example")
    assert await work(world, [ada]) == []
    world.clock.advance(2_000)
    assert await work(world, [ada]) == []  # its place is still its own
    world.clock.time = (NOW // HOUR + 1) * HOUR + 1
    assert await work(world, [ada, await sign_up(world, "bob@b.example")]) == ["ada@a.example"]
    held = await world.all(f"{world.paths.tenant}/limits")
    assert sum(world.sid("ada@a.example") in one.data["sids"] for one in held) == 4  # two hours, network and domain


async def test_a_wait_past_midnight_takes_that_days_batch_too(world: World) -> None:
    """Who waits over midnight and signs up again gets one mail on the new day, whichever is handled first."""
    await world.system("confirm")
    await rules(world, network_hour=1)
    world.clock.time = NOW - NOW % DAY + DAY - HOUR
    await work(world, [await sign_up(world, "first@a.example")])
    assert await work(world, [await sign_up(world, address) for address in ("ada@b.example", "bob@c.example")]) == []
    await rules(world, network_hour=0)
    world.clock.time += HOUR + limits.SPREAD
    new = await sign_up(world, "bob@c.example", "192.0.2.0/24")
    assert await work(world, [new]) == ["bob@c.example"]  # his new one goes, the old one is told by it
    assert await work(world, await due(world)) == ["ada@b.example"]
    assert await work(world, [await sign_up(world, "ada@b.example", "192.0.2.0/24")]) == []  # hers of today has gone
    assert await ends(world) == {"s": 3, chr(batch.SKIPPED_CROWDED): 1}
    assert not await due(world)
    world.clock.advance(DAY)
    assert await work(world, [await sign_up(world, "ada@b.example", "192.0.2.0/24")]) == ["ada@b.example"]


async def test_a_wait_past_midnight_does_not_give_way_to_one_that_waits_itself(world: World) -> None:
    """A stranger's sign-up of the new day, which waits in their crowd, keeps nobody's own of yesterday."""
    await world.system("confirm")
    await rules(world, network_hour=1)
    world.clock.time = NOW - NOW % DAY + DAY - HOUR
    await work(world, [await sign_up(world, "first@a.example")])
    assert await work(world, [await sign_up(world, "ada@b.example")]) == []
    world.clock.time += HOUR
    crowd = [await sign_up(world, address, "192.0.2.0/24") for address in ("own@c.example", "ada@b.example")]
    assert await work(world, crowd) == ["own@c.example"]
    world.clock.time += limits.SPREAD
    assert await work(world, await due(world)) == ["ada@b.example"]
    assert [await later(world) for _ in range(3)] == [[]] * 3 and await ends(world) == {"s": 3}


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_wait_past_midnight_survives_any_fault(world: World, n: int, fault: Fault) -> None:
    await world.system("confirm")
    await rules(world, network_hour=1)
    world.clock.time = NOW - NOW % DAY + DAY - HOUR
    await work(world, [await sign_up(world, "first@a.example")])
    await work(world, [await sign_up(world, "ada@b.example")])
    world.clock.time += HOUR + limits.SPREAD
    verbs = frozenset({"get", "get_many", "commit"})
    mailed: list[str] = []
    mailed += await work(world, await due(world), FaultyStore(world.store, nth(n, fault, verbs)))
    for _ in range(3):
        world.clock.advance(10 * 60_000)
        mailed += await work(world, await due(world))
    assert mailed == ["ada@b.example"]


async def test_a_wait_for_the_mail_server_is_no_wait_for_a_place(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=1)
    world.sender.answers = {"ada@a.example": [Outcome("temporary", "451")]}
    assert await work(world, [ada := await sign_up(world, "ada@a.example")]) == []
    world.clock.advance(25 * HOUR)
    await work(world, [await sign_up(world, "bob@b.example")])
    assert await work(world, [ada]) == []  # only now the network is full
    assert (await ends(world))["d"] == 1
    world.clock.time = (world.clock.now() // HOUR + 1) * HOUR + limits.SPREAD
    assert await work(world, [await sign_up(world, "eve@e.example"), ada]) == ["eve@e.example"]
    assert (await ends(world))["d"] == 1, "it waits for an hour, not for 26"
    assert await later(world) == ["ada@a.example"]


async def test_a_newer_sign_up_goes_before_one_that_waits_in_a_strangers_crowd(world: World) -> None:
    """And its link confirms that one."""
    await world.system("confirm")
    await rules(world, network_hour=1)
    await work(world, [await sign_up(world, "first@a.example")])
    assert await work(world, [await sign_up(world, "ada@b.example")]) == []
    crowded = await sign_up(world, "ada@b.example")
    before = world.versions()
    assert await work(world, [crowded]) == [] and world.versions() == before
    own = await sign_up(world, "ada@b.example", "192.0.2.0/24")
    assert await work(world, [own]) == ["ada@b.example"]
    body = message_from_bytes(world.sender.mails["ada@b.example"], policy=default).get_body(("plain",))
    assert body
    [token] = re.findall(r"/subscribe/confirm/([\w.~-]+)", body.get_content())
    assert world.links.read_confirm(token, NOW)[:2] == (world.sid("ada@b.example"), own["consent"])
    assert (await world.ledger(own["batch"], CONFIRM))["source"]["consent"] == own["consent"]
    assert await later(world) == [] and not await due(world)


async def test_who_had_themselves_erased_and_comes_back_the_same_day_gets_one_more(world: World) -> None:
    await world.system("confirm")
    assert await work(world, [await sign_up(world, "ada@a.example")]) == ["ada@a.example"]
    assert await work(world, [await sign_up(world, "ada@a.example")]) == []
    world.clock.advance(60_000)
    await world.store.commit(suppress(world.paths, world.sid("ada@a.example"), "erased", "x", world.clock.now()))
    assert await work(world, [await sign_up(world, "ada@a.example")]) == ["ada@a.example"]
    assert await work(world, [await sign_up(world, "ada@a.example")]) == []


async def test_what_a_confirmation_costs(world: World) -> None:
    """Reads: the campaign, the batch, the reader, the evidence, a place or two; the settings once a minute. Writes: two of the batch."""
    await world.system("confirm")
    requests = [await sign_up(world, address) for address in ("ada@gmail.com", "bob@gmail.com", "eve@firm.example")]
    step, operations = world.send_batch(), world.store.operations
    spent = []
    for request in requests:
        before = replace(operations)
        await step.handle(request)
        spent.append((operations.reads - before.reads, operations.writes - before.writes))
    assert spent == [(6, 3), (5, 3), (6, 4)]


async def test_a_full_hour_is_not_read_again(world: World) -> None:
    await world.system("confirm")
    await rules(world, network_hour=1)
    requests = [await sign_up(world, address) for address in people(5)]
    step, operations = world.send_batch(), world.store.operations
    spent = []
    for request in requests:
        before = asdict(operations)
        await step.handle(request)
        spent.append((operations.reads - before["reads"], operations.writes - before["writes"]))
    assert spent[0] == (7, 4)
    assert spent[1] == (6, 1)  # finds it full
    assert spent[2:] == [(4, 1)] * 3


async def test_everything_in_one_query_is_still_by_its_due_date(world: World) -> None:
    """What `due` above reads is what the tick's query finds."""
    await world.system("confirm")
    await rules(world, network_hour=1)
    await work(world, [await sign_up(world, address) for address in people(3)])
    world.clock.time = (NOW // HOUR + 1) * HOUR + limits.SPREAD
    found = await world.store.page(world.paths.batches(CONFIRM), Filter(at_most=("due", world.clock.now())))
    assert sorted(one.id for one in found) == sorted(one["batch"] for one in await due(world))
