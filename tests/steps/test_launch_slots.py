"""Each reader's moment: in the reader's own time zone, or at the reader's best hour."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.launch import cut, slots
from functions.launch.rows import EARLIEST, Start, start
from functions.launch.tick import CUTTING
from shared.errors import BadInput, PipelineError
from shared.model import batch
from shared.paging import PAGE
from shared.ports import Merge

from .fakes import DAY, HOUR, NOW, Died, Fault, FaultyStore, nth
from .test_launch import GO, campaign, rows
from .world import World

MINUTE = 60_000
ZONES = [
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "Europe/Lisbon",
    "America/St_Johns",
    "Pacific/Pago_Pago",
    "Mars/Base",
    "",
]
WALL = datetime(2027, 1, 15, 9, 30)
zones = st.sampled_from(ZONES)
sids = st.binary(min_size=16, max_size=16).map(bytes.hex)

# --- the cell ---


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ("2027-01-16 09:30 local", Start(NOW + DAY + 90 * MINUTE - EARLIEST, "local", "2027-01-16T09:30")),
        ("2027-1-16 9:30:00  Local time", Start(NOW + DAY + 90 * MINUTE - EARLIEST, "local", "2027-01-16T09:30")),
        ("2027-01-16 best", Start(NOW + 16 * HOUR, "best")),
        ("2027-01-16 09:30 Best hour", Start(NOW + DAY + 90 * MINUTE, "best")),
        ("2027-01-15 best", Start(NOW - 8 * HOUR, "best")),
        ("best", Start(NOW, "best")),
    ],
)
def test_a_schedule_names_who_says_what_time_it_is(schedule: str, found: Start) -> None:
    assert start(schedule, "Europe/Lisbon", NOW) == found


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ("local", "must look like 2026-12-31 09:30 local and be"),
        ("2027-01-16 local", "must look like 2026-12-31 09:30 local and be"),
        ("tomorrow best", "must look like 2026-12-31 best, or"),
        ("2027-02-30 best", "must look like 2026-12-31 best, or"),
        ("2027-01-16 09:30 bester", "must look like 2026-12-31 09:30 and be"),
        ("2027-01-16 09:30best", "must look like"),
        ("2027-01-15 06:30 local", "has passed"),
        ("2027-01-15 06:30 best", "has passed"),
        ("2027-01-14 best", "has passed"),
    ],
)
def test_a_schedule_that_names_no_moment_is_a_sentence(schedule: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        start(schedule, "Europe/Lisbon", NOW)


# --- local time ---


def local(now: int = NOW, wall: datetime = WALL, zone: str = "Europe/Lisbon") -> slots.Local:
    return slots.Local(wall, zone, now)


@given(st.sampled_from(ZONES[:6]), st.integers(0, 40 * 365 * 24 * 4), st.integers(NOW - 2 * DAY, NOW + 2 * DAY))
def test_where_the_reader_is_the_clock_shows_the_schedules_time(zone: str, quarter: int, now: int) -> None:
    wall = datetime(2027, 1, 1) + timedelta(minutes=15 * quarter)
    due = local(0, wall).slot({"located": {"zone": zone}})
    shown = datetime.fromtimestamp(due / 1000, ZoneInfo(zone)).replace(tzinfo=None)
    assert shown == wall or shown - wall == timedelta(hours=1), "an hour later where the clocks went forward just then"
    assert local(now, wall).slot({"located": {"zone": zone}}) == max(now, due), "what has passed goes at once"
    assert due >= int(wall.replace(tzinfo=UTC).timestamp() * 1000) - EARLIEST, "the campaign has started by then"


@pytest.mark.parametrize(
    "located", [None, {}, {"zone": ""}, {"zone": "Mars/Base"}, {"zone": "Europe"}, {"zone": "../etc"}, {"zone": "a\0"}]
)
def test_who_is_nowhere_known_lives_by_the_workbooks_clock(located: Any) -> None:
    assert local(0).slot({"located": located}) == local(0).slot({"located": {"zone": "Europe/Lisbon"}}) == NOW + 90 * MINUTE


# --- the best hour ---


@pytest.mark.parametrize(
    ("engaged", "hour"),
    [
        ({}, slots.UNKNOWN),
        ({"07": NOW}, 7),
        ({"07": NOW - 60 * DAY, "18": NOW}, 18),
        ({"08": NOW - 9 * DAY, "09": NOW - 9 * DAY, "10": NOW - 9 * DAY, "21": NOW}, 9),  # a habit beats one late click
        ({"09": NOW - 400 * DAY, "10": NOW - 400 * DAY, "11": NOW - 400 * DAY, "21": NOW}, 21),  # but not an old one
        ({"23": NOW, "00": NOW, "01": NOW}, 0),
        ({"04": NOW, "14": NOW}, 4),
        ({"04": NOW + DAY, "14": NOW}, 4),  # a clock that was ahead
        ({"05": 0}, 5),
    ],
)
def test_the_best_hour_is_where_clicks_are_many_and_late(engaged: dict[str, int], hour: int) -> None:
    assert slots.best_hour(engaged, NOW) == hour


@given(st.integers(NOW, NOW + DAY), st.integers(0, 3 * DAY), st.dictionaries(st.integers(-1, 23), st.integers(1, 9)))
def test_everybodys_moment_is_within_a_day_of_the_schedule(base: int, late: int, readers: dict[int, int]) -> None:
    found = slots.Best(base, base + late).moments(readers)
    for hour in readers:
        assert max(base, base + late) <= found[hour] < max(base + DAY, base + late + 1)
        if hour != slots.UNKNOWN and found[hour] > base + late:
            assert datetime.fromtimestamp(found[hour] / 1000, UTC).hour == hour
    known = {hour: count for hour, count in readers.items() if hour != slots.UNKNOWN}
    if slots.UNKNOWN in readers and known:
        assert found[slots.UNKNOWN] in {found[hour] for hour, count in known.items() if count == max(known.values())}
    elif slots.UNKNOWN in readers:
        assert found[slots.UNKNOWN] == base + late


# --- rosters ---


Readers = dict[str, tuple[str, dict[str, int], int]]


def add(rosters: cut.Rosters, readers: Readers) -> None:
    for sid, (zone, engaged, at) in readers.items():
        address = f"{sid}@{'gmail.com' if at % 2 else 'brand.example'}"
        rosters.add(sid, {"located": {"zone": zone}, "engaged": engaged, "engaged_at": at, "address": address})


def in_pieces(readers: Readers, moments: slots.Slots, ranked: bool) -> cut.Rosters:
    """The same readers, three at a time, each piece as it is kept."""
    found, left = cut.Rosters(moments, ranked), list(readers.items())
    for n in range(0, len(left), 3):
        piece = cut.Rosters(moments, ranked)
        add(piece, dict(left[n : n + 3]))
        found.unpack(piece.packed())
    return found


@given(
    st.dictionaries(
        sids, st.tuples(zones, st.dictionaries(st.sampled_from(["00", "07", "23"]), st.integers(0, NOW)), st.integers(0, NOW))
    ),
    st.dictionaries(sids, zones),
    st.sampled_from(["together", "local", "best"]),
    st.booleans(),
    st.integers(1, 7),
)
async def test_whatever_zones_do_everybody_is_in_one_roster(
    readers: Readers, moved: dict[str, str], when: str, ranked: bool, size: int
) -> None:
    """The plan is read back from what was stored. Moving house between two attempts moves nobody: the first plan is the plan."""
    ways: dict[str, slots.Slots] = {"together": slots.Together(NOW), "local": local(), "best": slots.Best(NOW, NOW)}
    moments = ways[when]
    rosters = cut.Rosters(moments, ranked)
    add(rosters, readers)
    assert len(rosters) == len(readers)
    parts = rosters.parts(size)
    assert all(0 < len(part.roster) <= 16 * size for part in parts)
    assert sorted(sid for part in parts for sid in batch.sids(part.roster)) == sorted(readers)
    assert [part.due for part in parts] == sorted(part.due for part in parts)
    objects = Kept()
    assert await cut.kept(objects, await cut.keep(objects, parts)) == parts
    assert in_pieces(readers, moments, ranked).parts(size) == parts
    if ranked:
        groups = {part.group for part in parts}
        assert groups <= {"gmail", "other"}
        for group in groups:
            for due in {part.due for part in parts}:
                days = [
                    readers[sid][2] // DAY
                    for part in parts
                    if (part.group, part.due) == (group, due)
                    for sid in batch.sids(part.roster)
                ]
                assert days == sorted(days, reverse=True), "who engaged lately goes first"
    else:
        assert {part.group for part in parts} <= {""}
    if when == "local":
        assert all(
            part.due == moments.slot({"located": {"zone": readers[sid][0]}}) for part in parts for sid in batch.sids(part.roster)
        )


def test_mailbox_providers_take_turns() -> None:
    """None waits for the end of another's, when each has an allowance of its own."""
    rosters = cut.Rosters(slots.Together(NOW), ranked=True)
    for n in range(5):
        rosters.add(f"{n:032x}", {"address": f"{n}@gmail.com"})
        rosters.add(f"{n + 9:032x}", {"address": f"{n}@brand.example"})
    rosters.add(f"{20:032x}", {"address": "x@yahoo.com"})
    assert [part.group for part in rosters.parts(2)] == ["gmail", "other", "yahoo", "gmail", "other", "gmail", "other"]


class Kept:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def put(self, name: str, data: bytes) -> None:
        self.blobs[name] = data

    async def get(self, name: str) -> bytes:
        return self.blobs[name]

    async def list(self, prefix: str) -> list[str]:
        return [name for name in self.blobs if name.startswith(prefix)]

    async def delete(self, name: str) -> None:
        self.blobs.pop(name, None)


def test_a_roster_takes_16_bytes_a_reader() -> None:
    rosters = cut.Rosters(slots.Best(NOW, NOW), ranked=True)
    tracemalloc.start()
    for n in range(50_000):
        rosters.add(
            f"{n:032x}", {"engaged": {f"{n % 24:02d}": NOW - n}, "engaged_at": NOW - n * 100_000, "address": "a@gmail.com"}
        )
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000 * 32, "a bytearray may be twice as large as what it holds while it grows"


# --- campaigns ---

PLACES = {
    "east@example.com": "Pacific/Kiritimati",  # 09:30 there is 19:30 UTC the day before
    "nepal@example.com": "Asia/Kathmandu",
    "home@example.com": "",
    "berlin@example.com": "Europe/Berlin",
    "west@example.com": "Pacific/Pago_Pago",
}
UTC_0930 = NOW + DAY + 90 * MINUTE  # 2027-01-16 09:30 UTC, as in Lisbon
DUE = {
    "east@example.com": UTC_0930 - 14 * HOUR,
    "nepal@example.com": UTC_0930 - 5 * HOUR - 45 * MINUTE,
    "berlin@example.com": UTC_0930 - HOUR,
    "home@example.com": UTC_0930,
    "west@example.com": UTC_0930 + 11 * HOUR,
}


async def people(world: World) -> None:
    for address, zone in PLACES.items():
        await world.add(address, located={"zone": zone} if zone else {})


async def move(world: World, address: str, zone: str) -> None:
    await world.store.commit([Merge(world.paths.subscriber(world.sid(address)), {"located": {"zone": zone}})])


async def hours(world: World, count: int, step: int = 15 * MINUTE) -> dict[str, int]:
    """Ticks and workers for so many hours: address -> when it was mailed."""
    found: dict[str, int] = {}
    for _ in range(count * HOUR // step):
        await world.launch().handle()
        for message in world.bus.take(batch.TOPIC):
            await world.send_batch().handle(message)
        for address in world.sender.accepted:
            assert address not in found, "nobody twice"
            found[address] = world.clock.now()
        world.sender.accepted.clear()
        world.clock.advance(step)
    return found


async def test_each_reader_is_mailed_at_the_schedules_time_where_they_are(world: World) -> None:
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    found = await hours(world, 11)
    assert found == {} and (await campaign(world))["state"] == "scheduled"
    assert (await campaign(world))["answer"] == (
        "Scheduled for 2027-01-16 09:30 where each reader is, and in Europe/Lisbon where that is not known."
    )
    found = await hours(world, 5)
    assert found == {"east@example.com": DUE["east@example.com"]}
    assert (await campaign(world))["answer"] == "Sending to 5, each at 09:30 where they are."
    found |= await hours(world, 33)
    assert found == DUE
    ended = await campaign(world)
    assert (ended["state"], ended["totals"]["sent"], ended["totals"]["recipients"]) == ("completed", 5, 5)


async def test_who_moves_after_the_cut_is_mailed_once_and_never_forgotten(world: World) -> None:
    """Towards a zone whose moment has passed, and towards one whose moment is still to come."""
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    found = await hours(world, 15)
    await move(world, "west@example.com", "Pacific/Kiritimati")
    await move(world, "east@example.com", "Pacific/Pago_Pago")
    await move(world, "nepal@example.com", "Pacific/Pago_Pago")
    assert found | await hours(world, 40) == DUE


async def test_a_moment_that_has_passed_is_now(world: World) -> None:
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-15 07:30 local"})  # half an hour ago in Lisbon
    found = await hours(world, 24)
    assert found.pop("west@example.com") == NOW - 30 * MINUTE + 11 * HOUR
    assert found == dict.fromkeys(found, NOW) and len(found) == 4


async def test_each_reader_is_mailed_at_their_best_hour(world: World) -> None:
    for n in range(3):
        await world.add(f"ten{n}@example.com", engaged={"10": NOW - n * DAY, "03": NOW - 90 * DAY})
    await world.add("eight@example.com", engaged={"08": NOW})
    await world.add("five@example.com", engaged={"05": NOW})
    await world.add("silent@example.com")
    rows(world, {**GO, "Schedule": "2027-01-15 08:30 best"})
    found = await hours(world, 30)
    ten = NOW + 2 * HOUR
    assert found == {
        "eight@example.com": NOW + 30 * MINUTE,  # it is eight, and the schedule's moment
        "five@example.com": NOW + 21 * HOUR,  # tomorrow, within a day
        **{f"ten{n}@example.com": ten for n in range(3)},
        "silent@example.com": ten,
    }
    assert (await campaign(world))["state"] == "completed"


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (
            "2027-01-16 9:30:00 best hour",
            "Scheduled for each reader's best hour in the 24 hours from 2027-01-16 09:30 (Europe/Lisbon).",
        ),
        ("2027-01-16 BEST", "Scheduled for each reader's best hour in the 24 hours from 2027-01-16 (Europe/Lisbon)."),
        ("2027-01-16 09:30 local", "Scheduled for 2027-01-16 09:30 where each reader is, and in Europe/Lisbon where"),
    ],
)
async def test_the_answer_says_whose_time_it_is(world: World, schedule: str, sentence: str) -> None:
    await people(world)
    rows(world, {**GO, "Schedule": schedule})
    await world.launch().handle()
    assert (await campaign(world))["answer"].startswith(sentence)


async def test_without_any_click_the_best_hour_is_the_schedules(world: World) -> None:
    await world.add("a@example.com", "b@example.com")
    rows(world, {**GO, "Schedule": "best"})
    assert await hours(world, 1) == {"a@example.com": NOW, "b@example.com": NOW}


async def test_the_audience_is_read_once(world: World) -> None:
    await world.add(*(f"reader{n}@example.com" for n in range(450)), located={"zone": "Asia/Kathmandu"})
    await world.launch().handle()
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    await world.launch().handle()
    world.clock.advance(12 * HOUR)
    before = replace(world.store.operations)
    await world.launch().handle()
    spent = world.store.operations.reads - before.reads
    assert (await campaign(world))["cut"] and len(await world.all(world.paths.batches("C-0001"))) == 2
    assert spent <= 450 + 17 + 11, "a read for each reader; what any tick reads, and the preflight's sample"
    before = replace(world.store.operations)
    await world.launch().handle()
    assert world.store.operations.reads - before.reads <= 16


@pytest.mark.parametrize("n", range(10))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
async def test_a_cut_that_is_cut_off_anywhere_and_repeated_mails_each_once(world: World, n: int, fault: Fault) -> None:
    """Everybody moves in between: were the audience cut anew, some would be in two rosters, or in none."""
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    await world.launch().handle()
    world.clock.advance(12 * HOUR)
    try:
        await world.launch(FaultyStore(world.store, nth(n, fault))).handle()
    except (PipelineError, Died):
        pass
    for address, zone in zip(
        PLACES, ["Pacific/Pago_Pago", "Pacific/Kiritimati", "Europe/Berlin", "", "Asia/Kathmandu"], strict=True
    ):
        await move(world, address, zone)
    found = await hours(world, 40)
    assert sorted(found) == sorted(PLACES)
    assert (await campaign(world))["totals"]["sent"] == 5


async def test_one_tick_at_a_time_reads_the_audience(world: World) -> None:
    """Others that begin meanwhile leave it to the first; when that one died it is read again later."""
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    await world.launch().handle()
    world.clock.advance(12 * HOUR)
    pages, dying = 0, True

    class Large(FaultyStore):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            nonlocal pages
            if collection.endswith("/subscribers") and PAGE in arguments:
                pages += 1
                if pages < 3:  # or what this is about does not work
                    await asyncio.gather(*(world.launch(Large(world.store, lambda verb: "")).handle() for _ in range(2)))
                if dying:
                    raise Died
            return await super().page(collection, *arguments, **options)

    with pytest.raises(BaseExceptionGroup):
        await world.launch(Large(world.store, lambda verb: "")).handle()
    assert pages == 1 and not (await campaign(world))["cut"]
    dying = False
    world.clock.advance(CUTTING - 1)
    await world.launch(Large(world.store, lambda verb: "")).handle()
    assert pages == 1
    world.clock.advance(1)
    await world.launch(Large(world.store, lambda verb: "")).handle()
    assert pages == 2 and (await campaign(world))["cut"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_campaign_cancelled_around_its_cut_ends(world: World, when: str) -> None:
    await people(world)
    rows(world, {**GO, "Schedule": "2027-01-16 09:30 local"})
    await world.launch().handle()
    world.clock.advance(12 * HOUR)

    class Cancelling(FaultyStore):
        async def page(self, collection: str, *arguments: Any, **options: Any) -> Any:
            if collection.endswith("/subscribers") and PAGE in arguments and when == "before":
                await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "cancelled"})])
            return await super().page(collection, *arguments, **options)

    await world.launch(Cancelling(world.store, lambda verb: "")).handle()
    if when == "after":
        rows(world, {**GO, "Schedule": "2027-01-16 09:30 local", "Wanted": "Cancel"})
    assert set(await hours(world, 30)) <= {"east@example.com"}
    found = await campaign(world)
    assert (found["state"], found["active"]) == ("cancelled", False)
    assert found["totals"]["recipients"] == (5 if when == "after" else 0)
    assert found["totals"]["cancelled"] == (5 if when == "after" else 0)
