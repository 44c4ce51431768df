"""Reports: what the deliveries say, whatever fell between, counted for people only, and at a bounded cost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.record.handler import Record
from functions.record.marks import Marks
from functions.report.handler import SOONEST, Report
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import Unavailable
from shared.model import marks, report
from shared.model.campaign import headlines
from shared.model.event import Event
from shared.model.hits import people, settled
from shared.model.marks import SLACK, WINDOW
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.model.report import Reading, Summary, ranges
from shared.ports import Create, Document, Store, Write

from .fakes import DAY, HOUR, NOW, Died, FakeClock, FaultyStore, nth
from .world import World

FAR = 16_000  # recipients: four ranges
SIDS = [f"{first:02x}{'5a' * 15}" for first in (0x01, 0x3F, 0x40, 0x80, 0xC0, 0xFF)]
REF = MailRef("C-0001", SIDS[0])
_tenants = itertools.count()


async def launched(store: Store, paths: Paths, expected: int = FAR, at: int = NOW, zone: str = "Europe/Lisbon") -> None:
    data = {"frozen_at": at, "expected": expected, "zone": zone, "row": {"name": "Spring"}, "state": "running"}
    await store.commit([Create(paths.campaign("C-0001"), data)])


def rows(found: Document | None) -> dict[tuple[str, str], dict[str, int]]:
    return {place: dict(numbers) for place, numbers in Summary.of(found.data["rows"] if found else ()).counts.items()}


async def shown(store: Store, paths: Paths) -> dict[tuple[str, str], dict[str, int]]:
    return rows(await store.get(paths.report("C-0001")))


async def wanted(store: Store, paths: Paths) -> dict[tuple[str, str], dict[str, int]]:
    """What the report must come to: all deliveries at once."""
    deliveries = await store.page(paths.deliveries("C-0001"), limit=10_000)
    readers = {found.id: found.data for found in await store.page(paths.subscribers, limit=10_000)}
    total = Reading("Europe/Lisbon").summarize(
        ((found.id, {**found.data, **settled(found.data)}) for found in deliveries), readers
    )
    return {place: dict(numbers) for place, numbers in total.counts.items()}


async def quiet(step: Report, clock: FakeClock, ticks: int = 6) -> None:
    """Ticks after the last event, until the report must have come."""
    for _ in range(ticks):
        clock.advance(7 * DAY)
        await step.handle()


def recorded(world: World, store: Store | None = None) -> Record:
    return Record(store or world.store, world.paths, Marks(world.clock, world.paths))


async def tell(record: Record, *events: Event) -> None:
    for event in events:
        await record.handle(event.to_message())


def click(sid: str = SIDS[0], at: int = NOW, link: int = 0, **more: Any) -> Event:
    return Event("clicked", MailRef("C-0001", sid).text, at, label="human", link=link, **more)


# --- the pure function ---


async def test_a_mail_is_broken_down(world: World) -> None:
    """Read by what record makes of the events."""
    anne = {"tags": ["vip", "tea"], "language": "pt", "located": {"zone": "America/Sao_Paulo", "seen": {"BR": 1}}}
    await world.store.commit([Create(world.paths.subscriber(SIDS[0]), anne)])
    text = REF.text
    events = [
        Event("opened", text, NOW, label="human", device="phone"),
        click(at=NOW + HOUR, link=2, country="PT", device="desktop"),
        click(at=NOW + 3 * HOUR, link=1, country="ES", device="phone"),
        Event("opened", text, NOW + 1, label="machine", reason="known robot"),
        Event("converted", text, NOW + 2 * HOUR, id="A-1", value=19_900_000, currency="EUR"),
        Event("bounced", MailRef("C-0001", SIDS[1]).text, NOW, hard=True, code="550 5.1.1", provider="sendgrid"),
        Event("delivered", MailRef("C-0001", SIDS[2]).text, NOW),
    ]
    await tell(recorded(world), *events)
    person = {"opened": 1, "clicked": 1, "opened_machine": 1, "conversions": 1, "revenue_EUR": 19_900_000}
    sale = {"conversions": 1, "revenue_EUR": 19_900_000}
    assert await wanted(world.store, world.paths) == {
        ("total", ""): {**person, "bounced": 1},
        ("provider", ""): person,
        ("provider", "sendgrid"): {"bounced": 1},
        ("segment", "vip"): person,
        ("segment", "tea"): person,
        ("country", "ES"): person,  # of the last click
        ("language", "pt"): person,
        ("link", "1"): {"clicked": 1},
        ("link", "2"): {"clicked": 1, **sale},  # the last one before it
        ("device", "phone"): {"opened": 1, "clicked": 1},
        ("device", "desktop"): {"clicked": 1, **sale},
        ("hour", "05"): {"opened": 1},  # 08:00 UTC, where she is
        ("hour", "06"): {"clicked": 1},
        ("hour", "07"): sale,
        ("day", "2027-01-15"): {"opened": 1, "clicked": 1, "bounced": 1, **sale},
        ("bounce", "hard 550 5.1.1"): {"bounced": 1},
    }


@pytest.mark.parametrize(
    ("clicked", "converted", "counts"),
    [
        ([0], 1, True),
        ([1], 0, False),  # nobody had clicked yet
        ([0], 30 * DAY, True),
        ([0], 30 * DAY + 1, False),
        ([0, 50 * DAY], 2, True),  # a click after it changes nothing
        ([0, 5], 3, True),  # nor one of the same hour
    ],
)
async def test_a_conversion_counts_for_a_click_before_it(world: World, clicked: list[int], converted: int, counts: bool) -> None:
    sale = Event("converted", REF.text, NOW + converted, id="1", value=5, currency="EUR")
    await tell(recorded(world), sale, *(click(at=NOW + at) for at in clicked))
    total = (await wanted(world.store, world.paths))["total", ""]
    assert (total.get("conversions", 0), total.get("revenue_EUR", 0)) == ((1, 5) if counts else (0, 0))


async def test_a_machines_click_earns_nothing(world: World) -> None:
    sale = Event("converted", REF.text, NOW + 9, id="1", value=5, currency="EUR")
    await tell(recorded(world), sale, click(), replace(click(), label="machine", reason="burst"))
    assert (await wanted(world.store, world.paths))["total", ""] == {}


@pytest.mark.parametrize(("expected", "parts"), [(0, 1), (4_000, 1), (4_001, 2), (8_001, 4), (1_000_000, 256), (9_000_000, 256)])
def test_ranges_leave_nobody_out(expected: int, parts: int) -> None:
    found = ranges(expected)
    assert len(found) == parts and max(1, parts // 2) * report.RANGE_SIZE >= min(expected // 2, 512_000)
    assert [part.first for part in found] == [0, *(part.beyond for part in found[:-1])] and found[-1].beyond == 256
    for sid in ("0" * 32, "f" * 32, *SIDS):
        assert sum(part.after < sid and (part.below is None or sid < part.below) for part in found) == 1


def test_a_breakdown_is_bounded_and_loses_no_sum() -> None:
    many = Summary({("segment", f"tag {n}"): {"opened": n + 1} for n in range(report.MOST + 5)})
    kept = many.rows()
    assert len(kept) == report.MOST + 1 and kept[-1] == {"by": "segment", "value": report.OTHERS, "opened": 1 + 2 + 3 + 4 + 5}
    assert Summary.of(kept).rows() == kept


# --- machines that were taken for people ---

HUMAN = [Event("opened", REF.text, NOW, label="human"), click(), click(link=1)]
OVER = [replace(event, label="machine", reason="burst") for event in HUMAN]


@pytest.mark.parametrize("seed", range(12))
async def test_a_machine_wins_in_headlines_and_breakdowns_in_any_order(world: World, seed: int) -> None:
    told = HUMAN + OVER + HUMAN[:1]
    random.Random(seed).shuffle(told)
    await launched(world.store, world.paths)
    step = Report(world.store, world.clock, world.paths)
    record = recorded(world)
    await tell(record, *told)
    await quiet(step, world.clock)
    found = await headlines(world.store, world.paths, "C-0001")
    assert (found["opened"], found["clicked"], found["opened_machine"]) == (0, 0, 1)
    assert (await shown(world.store, world.paths))["total", ""] == {"opened_machine": 1}
    await tell(record, click(at=world.clock.now()), *OVER)  # the reader comes later, and the machine is told again
    await quiet(step, world.clock)
    found = await headlines(world.store, world.paths, "C-0001")
    assert (found["opened"], found["clicked"]) == (0, 1)
    assert (await shown(world.store, world.paths))["total", ""] == {"opened_machine": 1, "clicked": 1}


async def test_record_takes_the_label_back_at_once(world: World) -> None:
    await tell(recorded(world), *HUMAN, *OVER)
    found = await headlines(world.store, world.paths, "C-0001")
    assert (found["opened"], found["clicked"]) == (0, 0)
    data = await world.data(world.paths.delivery("C-0001", SIDS[0]))
    assert people(data, "opened") == people(data, "clicked") == []


async def test_a_mail_stays_small_however_often_it_is_clicked(world: World) -> None:
    record = recorded(world)
    for hour in range(3 * 168):
        await tell(record, click(at=NOW + hour * HOUR + hour))
    data = await world.data(world.paths.delivery("C-0001", SIDS[0]))
    assert len(data["hits"]) == 168


# --- nothing falls between ---

_moves = st.lists(
    st.sampled_from(["event", "event", "event", "late", "tick", "other tick", "minute", "window", "hour"]),
    min_size=1,
    max_size=30,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(moves=_moves, between=_moves, seed=st.integers(0, 999))
async def test_what_a_report_says_is_what_the_deliveries_say(
    world: World, moves: list[str], between: list[str], seed: int
) -> None:
    """Events of two processes, ticks of two workers, and moves that happen in the middle of a tick's reading."""
    chance, paths = random.Random(seed), Paths(f"r{next(_tenants)}")
    clock = FakeClock()
    await launched(world.store, paths)
    waiting = list(between)

    class Between(SqliteStore):
        """After each page of deliveries somebody else has a turn."""

        async def page(self, collection: str, *args: Any, **more: Any) -> list[Document]:
            found = await world.store.page(collection, *args, **more)
            if collection.endswith("/deliveries") and waiting:
                await move(waiting.pop(), Report(world.store, clock, paths))
            return found

    with closing(Between.open(world.file)) as store:
        workers = [Report(store, clock, paths), Report(world.store, clock, paths)]
        processes = [Record(world.store, paths, Marks(clock, paths)) for _ in range(2)]

        async def move(name: str, other: Report) -> None:
            match name:
                case "event" | "late":
                    event = click(chance.choice(SIDS), clock.now(), chance.randrange(3))
                    if name == "late":  # its commit takes as long as it may
                        clock.advance(-marks.PROMPT)
                        event = replace(event, at=clock.now())
                        marking = Marks(clock, paths).begin(event.mail)
                        clock.advance(marks.PROMPT)
                        assert marking and marking.write
                        await world.store.commit([marking.write])
                        await Record(world.store, paths).handle(event.to_message())
                    else:
                        await tell(chance.choice(processes), event)
                case "tick":
                    await other.handle()
                case "other tick":
                    await workers[1].handle()
                case _:
                    clock.advance({"minute": 60_000, "window": WINDOW, "hour": HOUR}[name])

        for name in moves:
            await move(name, workers[0])
        await quiet(workers[1], clock, 8)
    assert await shown(world.store, paths) == await wanted(world.store, paths)
    due = (await world.store.get(paths.mark("C-0001"))) or Document("", "", {"due": marks.NEVER})
    assert due.data["due"] == marks.NEVER


async def test_what_is_written_while_a_range_is_read_is_not_claimed(world: World) -> None:
    await launched(world.store, world.paths)
    record = recorded(world)
    await tell(record, click())
    world.clock.advance(WINDOW + SLACK)
    told: list[Event] = []

    class Meanwhile(SqliteStore):
        async def page(self, collection: str, *args: Any, **more: Any) -> list[Document]:
            found = await world.store.page(collection, *args, **more)
            if collection.endswith("/deliveries") and not told:
                told.append(click(SIDS[0], world.clock.now(), 1))
                await tell(record, *told)
            return found

    with closing(Meanwhile.open(world.file)) as store:
        step = Report(store, world.clock, world.paths)
        await step.handle()
        assert told and ("link", "1") not in await shown(world.store, world.paths)
        await quiet(step, world.clock)
    assert (await shown(world.store, world.paths))["link", "1"] == {"clicked": 1}


async def test_of_two_workers_the_slower_one_is_refused(world: World) -> None:
    await launched(world.store, world.paths)
    record = recorded(world)
    await tell(record, click())
    world.clock.advance(WINDOW + SLACK)
    passed: list[int] = []

    class Slow(SqliteStore):
        async def page(self, collection: str, *args: Any, **more: Any) -> list[Document]:
            found = await world.store.page(collection, *args, **more)
            if collection.endswith("/deliveries") and not passed:
                passed.append(1)
                await tell(record, click(SIDS[0], world.clock.now(), 1))
                world.clock.advance(WINDOW + SLACK)
                await Report(world.store, world.clock, world.paths).handle()
            return found

    with closing(Slow.open(world.file)) as store:
        await Report(store, world.clock, world.paths).handle()
    part = ranges(FAR)[0].id
    assert ("link", "1") in rows(await world.store.get(world.paths.summary("C-0001", part)))


async def test_a_write_that_took_long_is_marked_once_more(world: World) -> None:
    class Slow(SqliteStore):
        async def commit(self, writes: Sequence[Write]) -> list[str]:
            if any(write.path == world.paths.delivery("C-0001", SIDS[0]) for write in writes):
                world.clock.advance(WINDOW)  # made in one window, done in the next
            return await super().commit(writes)

    with closing(Slow.open(world.file)) as store:
        await tell(recorded(world, store), click())
    dirty = (await world.data(world.paths.mark("C-0001")))["dirty"]
    assert dirty == {"01": NOW // WINDOW, "every": NOW // WINDOW + 1}


async def test_a_mark_counts_when_it_was_answered(world: World) -> None:
    """The reply is lost: the next event brings the mark again."""
    store = FaultyStore(world.store, nth(0, "refused"))
    record = recorded(world, store)
    with pytest.raises(Unavailable):
        await tell(record, click())
    assert await world.data(world.paths.mark("C-0001")) == {}
    await tell(record, click(link=1))
    assert (await world.data(world.paths.mark("C-0001")))["dirty"] == {"01": NOW // WINDOW}


@pytest.mark.parametrize(("rate", "most"), [(1, 3), (10, 3), (300, 3)])
async def test_marks_are_few(world: World, rate: int, most: int) -> None:
    """In one window, of one process: at 1, 10 and 300 events a second."""
    step, made = Marks(world.clock, world.paths), 0
    chance = random.Random(1)
    for number in range(rate * WINDOW // 1000):
        world.clock.time = NOW + number * 1000 // rate
        marking = step.begin(MailRef("C-0001", chance.randbytes(16).hex()))
        assert marking and step.end(marking) is None
        made += marking.write is not None
    assert made == most


# --- cost ---


async def test_a_quiet_tick_reads_next_to_nothing(world: World) -> None:
    await launched(world.store, world.paths)
    await tell(recorded(world), click())
    step = Report(world.store, world.clock, world.paths)
    await quiet(step, world.clock)
    before, versions = world.store.operations.reads, world.versions()
    await step.handle()
    assert (world.store.operations.reads - before, world.versions()) == (1, versions)


async def test_only_the_ranges_that_changed_are_read(world: World) -> None:
    await launched(world.store, world.paths)
    record, step = recorded(world), Report(world.store, world.clock, world.paths)
    await tell(record, *(click(sid) for sid in SIDS))
    await quiet(step, world.clock)
    before = {found.id: found.version for found in await world.all(world.paths.summaries("C-0001"))}
    assert list(before) == [part.id for part in ranges(FAR)]
    await tell(record, click(SIDS[2], world.clock.now(), 1))
    await quiet(step, world.clock)
    after = {found.id: found.version for found in await world.all(world.paths.summaries("C-0001"))}
    assert [id for id in before if before[id] != after[id]] == ["40-7f"]


async def test_readings_get_rarer_with_the_campaigns_age(world: World) -> None:
    """A click in every window of two weeks: the report is made a few times, not 4,000."""
    await launched(world.store, world.paths, expected=100)
    record, step, made = recorded(world), Report(world.store, world.clock, world.paths), set[int]()
    while world.clock.now() < NOW + 14 * DAY:
        await tell(record, click(SIDS[0], world.clock.now()))
        world.clock.advance(WINDOW)
        await step.handle()
        made.add((await world.data(world.paths.report("C-0001"))).get("at", 0))
    times = sorted(made - {0})
    assert times[0] - NOW <= 3 * WINDOW and times[1] - times[0] <= SOONEST + WINDOW
    assert 15 <= len(times) <= 30 and times[-1] > NOW + 9 * DAY


async def test_a_tick_out_of_time_leaves_the_rest_to_the_next(world: World) -> None:
    await launched(world.store, world.paths)
    await tell(recorded(world), *(click(sid) for sid in SIDS))
    world.clock.advance(WINDOW + SLACK)

    class Slow(SqliteStore):
        async def commit(self, writes: Sequence[Write]) -> list[str]:
            if any("/summaries/" in write.path for write in writes):
                world.clock.advance(60_000)
            return await super().commit(writes)

    with closing(Slow.open(world.file)) as store:
        step = Report(store, world.clock, world.paths, budget=100_000)
        await step.handle()
        assert len(await world.all(world.paths.summaries("C-0001"))) == 2 and await shown(world.store, world.paths) == {}
        await step.handle()
    assert await shown(world.store, world.paths) == await wanted(world.store, world.paths)


@pytest.mark.parametrize("fault", ["lost", "refused", "conflict", "died after"])
@pytest.mark.parametrize("n", range(5))
async def test_a_tick_that_is_cut_off_is_made_good(world: World, fault: Any, n: int) -> None:
    await launched(world.store, world.paths)
    await tell(recorded(world), *(click(sid) for sid in SIDS))
    world.clock.advance(WINDOW + SLACK)
    with suppress(Died):
        await Report(FaultyStore(world.store, nth(n, fault)), world.clock, world.paths).handle()
    await quiet(Report(world.store, world.clock, world.paths), world.clock)
    assert await shown(world.store, world.paths) == await wanted(world.store, world.paths)


async def test_who_mailed_is_taken_from_the_ledger(world: World) -> None:
    await launched(world.store, world.paths)
    ledger = {"providers": ["main"], "via": bytes([0, 0, 0]), "states": b"ssf"}
    await world.store.commit([Create(world.paths.batch("C-0001", "000000"), ledger)])
    await tell(recorded(world), click())
    await quiet(Report(world.store, world.clock, world.paths), world.clock)
    found = await shown(world.store, world.paths)
    assert found["provider", "main"] == {"sent": 2, "clicked": 1} and found["total", ""] == {"sent": 2, "clicked": 1}


async def test_deliveries_of_a_campaign_that_is_not_there_stop_nothing(world: World) -> None:
    record = recorded(world)
    await tell(record, replace(click(), ref=MailRef("C-0000", SIDS[0]).text))
    await launched(world.store, world.paths)
    await tell(record, click())
    await quiet(Report(world.store, world.clock, world.paths), world.clock)
    assert (await shown(world.store, world.paths))["total", ""] == {"clicked": 1}
    assert (await world.data(world.paths.mark("C-0000")))["due"] == marks.NEVER


async def test_system_mails_are_not_marked(world: World) -> None:
    await tell(recorded(world), Event("delivered", MailRef("welcome", SIDS[0], "k").text, NOW))
    assert await world.all(world.paths.marks) == []


@pytest.mark.parametrize("number", [0, 6_000_000])
def test_a_window_is_claimed_only_when_its_slowest_write_is_in(number: int) -> None:
    """A write made in its last moment, on a clock that is behind, and answered as late as needs no other mark."""
    last = (number + 1) * WINDOW - 1 + marks.PROMPT + (SLACK - marks.PROMPT)
    assert marks.over(last) == number - 1 and marks.over(marks.ended(number)) == number
