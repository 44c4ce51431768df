"""How fast a campaign goes, and at what hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.launch import pace
from shared.errors import BadInput, PipelineError
from shared.model import batch, console
from shared.ports import Document, Merge

from .fakes import DAY, HOUR, NOW, Died, Fault, FaultyStore, nth
from .test_launch import GO, campaign, finish, rows
from .world import World

MINUTE = 60_000
ALL = [*range(7)]

# --- the cells ---


@pytest.mark.parametrize(
    ("text", "an_hour"),
    [
        ("", 0),
        ("2,000/h", 2000),
        ("2.000 / h", 2000),
        ("2 000 per hour", 2000),
        ("500 per hour", 500),
        ("100 a minute", 6000),
        ("100/min", 6000),
        ("10 per Second", 36_000),
        ("2400 a day", 100),
        ("1 a day", 1),
        ("1,000,000,000 a second", pace.MOST),
    ],
)
def test_a_rate_is_read(text: str, an_hour: int) -> None:
    assert pace.rate(text) == an_hour


@pytest.mark.parametrize("text", ["2000", "fast", "0/h", "-5/h", "2,00/h", "1.5/h", "5 per week", "/h", "2000/h now", "٣/h"])
def test_a_rate_that_is_none_is_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match=r"^The rate “.+” must look like 2,000/h, 500 per hour or 100 a minute"):
        pace.rate(text)


@pytest.mark.parametrize(
    ("text", "start", "end", "days"),
    [
        ("09:00-17:00 Mon-Fri", 540, 1020, [0, 1, 2, 3, 4]),
        ("8-20", 480, 1200, ALL),
        ("8:30 – 20", 510, 1200, ALL),
        ("9 to 17 mon, Wednesday, Fri.", 540, 1020, [0, 2, 4]),
        ("0-24 Sat-Mon", 0, 1440, [0, 5, 6]),
        ("22-6", 1320, 360, ALL),
    ],
)
def test_hours_are_read(text: str, start: int, end: int, days: list[int]) -> None:
    assert pace.hours(text, "Europe/Lisbon") == {"from": start, "to": end, "days": days, "zone": "Europe/Lisbon"}
    assert pace.hours("", "no zone") == {}


@pytest.mark.parametrize(
    "text",
    [
        "always",
        "9",
        "9-9",
        "25-26",
        "9:60-10",
        "24-3",
        "9-24:30",
        "9-17 Mo",
        "9-17 Mon-Tue-Wed",
        "9-17 weekly",
        "8/20/2026",
        "9-17 -",
    ],
)
def test_hours_that_are_none_are_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match=r"^The hours “.+” must look like 09:00-17:00 Mon-Fri or 08:00-20:00"):
        pace.hours(text, "UTC")
    with pytest.raises(BadInput, match="time zone “Mars” is not known"):
        pace.hours("9-17", "Mars")


def test_limits_are_told_in_words() -> None:
    hours = pace.hours("9-17 Mon-Fri", "UTC")
    assert pace.said({"rate": 2000, "hours": hours}) == ", at most 2,000 an hour, 09:00-17:00 Mon-Fri (UTC)"
    assert pace.said({"hours": pace.hours("22-6 sun wed", "UTC")}) == ", 22:00-06:00 Wed Sun (UTC)"
    assert pace.said({"hours": pace.hours("0-12", "UTC"), "rate": 0}) == ", 00:00-12:00 (UTC)"
    assert pace.said({}) == ""


# --- windows ---


def ms(*parts: int, zone: str = "Europe/Lisbon") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "at", "end"),
    [
        ("9-17 Mon-Fri", (2027, 1, 15, 9, 0), (2027, 1, 15, 17, 0)),  # a Friday
        ("9-17 Mon-Fri", (2027, 1, 15, 8, 59), None),
        ("9-17 Mon-Fri", (2027, 1, 15, 17, 0), None),
        ("9-17 Mon-Fri", (2027, 1, 16, 12, 0), None),
        ("22-6 Fri", (2027, 1, 16, 5, 0), (2027, 1, 16, 6, 0)),
        ("22-6 Fri", (2027, 1, 15, 5, 0), None),
        ("0-24 Fri-Sat", (2027, 1, 15, 12, 0), (2027, 1, 17, 0, 0)),  # two windows that touch
        ("12-11 Fri", (2027, 1, 16, 10, 0), (2027, 1, 16, 11, 0)),
        ("0-4", (2027, 3, 28, 3, 30), (2027, 3, 28, 4, 0)),  # the clocks went forward at one
        ("0-4", (2027, 10, 31, 0, 30), (2027, 10, 31, 4, 0)),  # and back at two: five hours
    ],
)
def test_a_window_ends_where_the_clock_says(text: str, at: tuple[int, ...], end: tuple[int, ...] | None) -> None:
    assert pace.window(pace.hours(text, "Europe/Lisbon"), ms(*at)) == (ms(*end) if end else None)


@given(
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sets(st.integers(0, 6), min_size=1),
    st.sampled_from(["UTC", "Europe/Lisbon", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago"]),
    st.integers(NOW, NOW + 400 * DAY),
)
def test_now_is_within_a_window_exactly_when_the_clock_on_the_wall_is(
    start: int, end: int, days: set[int], zone: str, now: int
) -> None:
    if start == end % 1440:
        return
    found = pace.window({"from": start, "to": end, "days": sorted(days), "zone": zone}, now)
    wall = datetime.fromtimestamp(now / 1000, ZoneInfo(zone))
    minute, today, yesterday = wall.hour * 60 + wall.minute, wall.weekday() in days, (wall.weekday() - 1) % 7 in days
    inside = (today and start <= minute < end) if start < end else (today and minute >= start) or (yesterday and minute < end)
    assert (found is not None) == inside
    if found is not None:
        assert now < found <= now + 9 * DAY


# --- the rate ---


def waiting(mails: int, count: int) -> list[Document]:
    data = {"source": {"roster": mails}, "key": "", "tally": {}, "read_all": False}
    return [Document(f"b/{n:06d}", "1", data) for n in range(count)]


def test_a_batch_of_a_slow_campaign_is_small() -> None:
    assert [pace.size(rate) for rate in (0, 1, 240, 241, 2_000, 100_000)] == [400, 20, 20, 21, 167, 400]


@given(st.integers(1, 200_000), st.lists(st.integers(0, 5 * MINUTE), min_size=1, max_size=80), st.integers(0, 20))
@example(600, [MINUTE] * 60, 0)
def test_no_stretch_of_time_gets_more_than_the_rate_and_a_batch(rate: int, pauses: list[int], late: int) -> None:
    """Ticks at any distance; also after a pause of any length nothing is made up for."""
    size = pace.size(rate)
    data: dict[str, Any] = {"rate": rate, "next_at": 0}
    now, gone = NOW, []
    for pause in pauses:
        now += pause
        room = pace.room(data, now)
        going, data["next_at"] = pace.fits(waiting(size, 40), data, now)
        assert len(going) == min(room, 40)
        gone.append((now, size * len(going)))
    for start, (since, _) in enumerate(gone):
        for end, (until, _) in enumerate(gone[start:], start):
            mails = sum(mails for _, mails in gone[start : end + 1])
            assert mails <= rate * (until - since + MINUTE) / HOUR + size + 1


def test_every_minute_is_used() -> None:
    data: dict[str, Any] = {"rate": 6000, "next_at": 0}
    total = 0
    for n in range(61):
        going, data["next_at"] = pace.fits(waiting(400, 40), data, NOW + n * MINUTE)
        total += 400 * len(going)
    assert 6000 <= total <= 6000 + 400 + 200


def test_what_is_left_of_a_batch_counts() -> None:
    sends = {"sends": [{"key": "", "expected": 1000, "parts": 10}, {"key": "r1", "expected": 5, "parts": 0}]}

    def left(source: dict[str, Any], tally: dict[str, int], read_all: bool = False, key: str = "") -> int:
        return pace.mails(Document("b/1", "1", {"source": source, "key": key, "tally": tally, "read_all": read_all}), sends)

    assert left({"low": "", "high": ""}, {}) == 100
    assert left({"low": "", "high": ""}, {"sent": 30, "deferred": 5}) == 70
    assert left({"low": "", "high": ""}, {"sent": 130}) == 1
    assert left({"low": "", "high": ""}, {"sent": 95, "deferred": 5}, read_all=True) == 5
    assert left({"roster": 50}, {"sent": 20, "deferred": 2}, key="r1") == 30


# --- campaigns ---


HEADER = [*console.ROW_FIELDS, *console.ROW_OPTIONS]


class Thousand(FaultyStore):
    """An audience of 1,000, as far as it is counted."""

    async def count(self, collection: str, *filter: Any) -> int:
        return 1000 if collection.endswith("/subscribers") else await super().count(collection, *filter)


async def minute(world: World, **cells: str) -> list[str]:
    """The batches that go in a tick, which comes a minute after the last; `cells`: typed before it."""
    world.clock.advance(MINUTE)
    if cells:
        rows(world, {**GO, **cells}, header=HEADER)
    await world.launch(Thousand(world.store, lambda verb: "")).handle()
    return [message["batch"] for message in world.bus.take(batch.TOPIC)]


async def through(world: World, minutes: int) -> dict[str, int]:
    """Batch -> the minute in which it went; workers are through with each in no time."""
    found: dict[str, int] = {}
    for n in range(1, minutes + 1):
        for name in await minute(world):
            found[name] = n
            await finish(world, name)
    return found


async def test_a_rate_lets_go_what_the_coming_minute_allows(world: World) -> None:
    assert await minute(world, Rate="2,000/h") == ["000000"]
    await finish(world)
    found = await campaign(world)
    assert found["answer"] == "Sending to 1,000, at most 2,000 an hour."
    assert (found["rate"], found["sends"][0]["parts"]) == (2000, 6)
    held = await world.all(world.paths.batches("C-0001"))
    assert [document.data["source"] for document in held] == batch.ranges(6 * batch.BATCH_SIZE)
    assert await through(world, 30) == {"000001": 5, "000002": 10, "000003": 15, "000004": 20, "000005": 25}
    assert (await campaign(world))["state"] == "completed"


async def test_a_fast_rate_lets_several_go_at_once(world: World) -> None:
    assert await minute(world, Rate="60,000/h") == ["000000", "000001", "000002"]
    for n in range(3):
        await finish(world, f"{n:06d}")
    assert await minute(world, Rate="600 a minute", ID="C-0002") == ["000000", "000001"]


async def test_a_pause_is_not_made_up_for(world: World) -> None:
    await minute(world, Rate="2,000/h")
    await finish(world)
    await minute(world, Rate="2,000/h", Wanted="Pause")
    assert await through(world, 120) == {}
    assert await minute(world, Rate="2,000/h") == ["000001"]
    await finish(world, "000001")
    assert await through(world, 12) == {"000002": 5, "000003": 10}


async def test_going_on_takes_the_cells_as_they_are_now(world: World) -> None:
    await minute(world, Rate="2,000/h")
    await finish(world)
    await minute(world, Rate="2,000/h", Wanted="Pause")
    await minute(world, Rate="quickly", Wanted="Go")
    found = await campaign(world)
    assert (found["state"], found["answer"][:40]) == ("paused", "Still paused. The rate “quickly” must lo")
    await minute(world, Rate="", Wanted="Pause", Priority="3")
    assert await minute(world, Priority="3") == [f"00000{n}" for n in range(1, 6)]
    found = await campaign(world)
    assert (found["state"], found["rate"], found["priority"], found["answer"]) == ("running", 0, 3, "Resumed.")


async def test_a_rate_that_changes_on_the_way_is_kept_from_then_on(world: World) -> None:
    await minute(world, Rate="2,000/h")
    await finish(world)
    await minute(world, Rate="slowly")
    assert (await campaign(world))["answer"].startswith("It goes on as before. The rate “slowly” must look like")
    await minute(world, Rate="20,000/h")
    found = await campaign(world)
    assert (found["rate"], found["answer"]) == (20_000, "Sending to 1,000, at most 20,000 an hour.")


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"Rate": "2000"}, "The rate “2000” must look like 2,000/h"),
        ({"Hours": "office"}, "The hours “office” must look like 09:00-17:00 Mon-Fri"),
        ({"Priority": "high"}, "The priority “high” must be a whole number"),
        ({"Priority": "1.5"}, "The priority “1.5” must be"),
        ({"Priority": "1001"}, "The priority “1001” must be a whole number, at most 1,000,"),
    ],
)
async def test_a_wrong_cell_is_a_sentence_and_starts_nothing(world: World, cells: dict[str, str], sentence: str) -> None:
    assert await minute(world, **cells) == []
    found = await campaign(world)
    assert (found["state"], found["active"], found["answer"][: len(sentence)]) == ("draft", False, sentence)
    assert len(await minute(world, Priority="2")) == 3
    assert (await campaign(world))["priority"] == 2


async def test_hours_open_and_close(world: World) -> None:
    world.clock.time = NOW - 2 * MINUTE  # 07:58 on a Friday, in winter
    assert await minute(world, Hours="08:00-08:05 Mon-Fri") == []
    found = await campaign(world)
    assert found["answer"] == "Sending to 1,000, 08:00-08:05 Mon-Fri (Europe/Lisbon)."
    assert (found["state"], found["until"]) == ("running", 0)
    assert await minute(world) == ["000000", "000001", "000002"]
    assert (await campaign(world))["until"] == NOW + 5 * MINUTE
    await finish(world, "000000")
    for _ in range(4):
        assert await minute(world) == ["000001", "000002"]  # no worker takes them
    assert await minute(world) == []  # 08:05
    world.clock.time = NOW + DAY - MINUTE
    assert await minute(world) == []  # Saturday
    world.clock.time = NOW + 3 * DAY - MINUTE
    assert await minute(world) == ["000001", "000002"]
    assert (await campaign(world))["until"] == NOW + 3 * DAY + 5 * MINUTE


async def test_a_campaign_ends_outside_its_hours_too(world: World) -> None:
    assert len(await minute(world, Hours="08:00-08:05")) == 3
    world.clock.advance(HOUR)
    for n in range(3):
        await finish(world, f"{n:06d}")
    assert await minute(world) == [] and (await campaign(world))["state"] == "completed"


async def test_cancelling_frees_what_waits_at_once(world: World) -> None:
    await minute(world, Rate="20 per day", Hours="08:00-09:00")
    world.clock.advance(2 * HOUR)
    await world.store.commit([Merge(world.paths.batch("C-0001", "000007"), {"not_before": NOW + DAY, "due": NOW + DAY})])
    assert await minute(world) == []
    assert (await campaign(world))["until"]
    assert len(await minute(world, Wanted="Cancel", Rate="20 per day")) == 50
    assert (await campaign(world))["until"] == 0 and (await world.ledger("000007"))["not_before"] == 0
    world.clock.advance(-MINUTE // 2)
    assert await minute(world) == [], "half a minute later"
    world.clock.advance(-MINUTE // 2)
    held = {"lease_until": NOW + 9 * HOUR, "due": NOW + 9 * HOUR}
    await world.store.commit([Merge(world.paths.batch("C-0001", "000008"), held)])
    assert len(await minute(world)) == 49  # nobody took them
    for n in range(50):
        assert (await campaign(world))["active"]
        await finish(world, f"{n:06d}", b"c", b"\1" * 16)
    assert await minute(world) == []
    found = await campaign(world)
    assert (found["state"], found["active"], found["totals"]["cancelled"]) == ("cancelled", False, 50)


@pytest.mark.parametrize("n", range(14))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
async def test_a_tick_cut_off_at_any_write_exceeds_no_rate(world: World, n: int, fault: Fault) -> None:
    """Two batches of the minute are enough; what was cut off goes later, and all of it goes."""
    rows(world, {**GO, "Rate": "24,000/h"}, header=HEADER)
    try:
        await world.launch(Thousand(world.store, nth(n, fault))).handle()
    except (PipelineError, Died):
        pass
    found = [message["batch"] for message in world.bus.take(batch.TOPIC)]
    assert len(found) <= 2
    for _ in range(8):
        for name in found:
            await finish(world, name)
        found = await minute(world)
        assert len(found) <= 2
    assert (await campaign(world))["state"] == "completed"


async def test_a_tick_in_mid_campaign_reads_a_handful(world: World) -> None:
    """However many batches are open."""
    for id, parts in (("C-0001", 3), ("C-0002", 300)):
        await world.campaign(id, parts=parts)
    await world.launch().handle()
    await world.launch().handle()
    before, versions = replace(world.store.operations), world.versions()
    await world.launch().handle()
    done = world.store.operations
    assert world.versions() == versions
    assert done.reads - before.reads <= 18, "nine for the rows and system mails, and two for each campaign"
    assert done.writes == before.writes


async def test_a_tick_in_a_slow_campaign_reads_and_writes_what_goes(world: World) -> None:
    await minute(world, Rate="100 a minute")
    await finish(world)
    went = []
    for _ in range(6):
        before = replace(world.store.operations)
        names = await minute(world)
        done = world.store.operations
        assert done.reads - before.reads <= 15 + len(names)
        assert done.writes - before.writes == 2 * len(names), "the batch, and the campaign's next_at"
        for name in names:
            await finish(world, name)
        went.append(len(names))
    assert went == [0, 0, 1, 0, 0, 1]
