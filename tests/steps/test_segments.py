"""Segments by rule: what a row becomes, whom the index holds after a sweep, and that a campaign goes to those the rule holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from functions.launch.segment import WAITING
from functions.send_batch.audience import FIELDS, Audience
from functions.sync_sheet import segments
from shared.errors import Conflict, Unavailable
from shared.model import batch, console
from shared.model.subscriber import WEEK, suppress
from shared.ports import Merge, Write

from .fakes import DAY, NOW, Fault, FaultyStore
from .world import World

COUNTING = "Its readers are being counted."
READY = "Ready for campaigns. Counted 2027-01-15 08:00."


def opened(at: int) -> dict[str, Any]:
    return {"opens": {f"{at // WEEK % 26:02d}": at}}


async def tick(world: World, *rows: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Type these rows, if any, tick, and typed name -> (readers, answer)."""
    if not world.sheet.tabs:
        await world.sync_sheet().handle()
    if rows:
        world.sheet.tabs["Segments"][1:] = []
        world.sheet.put("Segments!A2", rows)
    await world.sync_sheet().handle()
    found = [[*row, "", ""][:3] for row in world.sheet.rows("'Segment results'!A2:Z")]
    return {name: (readers, answer) for name, readers, answer in found}


async def index(world: World, *addresses: str) -> list[list[str]]:
    return [sorted((await world.subscriber(address))["segments"]) for address in addresses]


@pytest.fixture
async def readers(world: World) -> None:
    await world.add("de@example.com", country="DE", tags=["press"])
    await world.add("at@gmail.com", country="AT")
    await world.add("gone@gmail.com", country="AT", suppressed=["unsubscribed"])
    await world.add("fresh@gmail.com", country="BR", **opened(NOW - DAY))


# --- the tab ---


@pytest.mark.usefixtures("readers")
async def test_a_row_becomes_a_segment_and_says_how_many_it_holds(world: World) -> None:
    found = await tick(world, ("DACH", "Country in de, AT"), ("opened", "opened in 7 days"), ("nobody", "tag is vip"))
    assert found == {"DACH": ("2", READY), "opened": ("1", READY), "nobody": ("0", READY)}
    held = await world.data(world.paths.segment("dach"))
    assert (held["rule"], held["answer"], held["readers"], len(held["version"])) == ("country in DE, AT", "", 2, 16)
    assert await index(world, "de@example.com", "at@gmail.com", "gone@gmail.com", "fresh@gmail.com") == [
        ["dach", "everyone", "press"],
        ["dach", "everyone"],
        [],
        ["everyone", "opened"],
    ]
    before = world.versions()
    world.sheet.changes.clear()
    await tick(world)
    assert (world.versions(), world.sheet.changes) == (before, [])


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize(
    ("name", "rule", "answer"),
    [
        ("x", "contry is DE", "At character 1 stands “contry”"),
        ("x", "", "The rule is empty. Write one such as: "),
        ("Press", "tag is press", "“press” is a tag already, and campaigns can go to it. Choose another name."),
        ("Everyone", "tag is press", "“everyone” is all readers already."),
        ("a/b", "tag is press", "Choose another name: up to 40 letters and numbers"),
        ("..", "tag is press", "Choose another name: "),
        ("TWICE", "tag is press", "The name “twice” stands in 2 rows."),
    ],
)
async def test_a_wrong_row_says_so_and_stops_no_other(world: World, name: str, rule: str, answer: str) -> None:
    found = await tick(world, (name, rule), ("good", "tag is press"), ("twice", "tag is press"))
    assert found[name][0] == "" and found[name][1].startswith(answer)
    assert found["good"] == ("1", READY)
    assert await index(world, "at@gmail.com") == [["everyone"]]


@pytest.mark.usefixtures("readers")
async def test_a_changed_rule_moves_readers_and_writes_nobody_else(world: World) -> None:
    await tick(world, ("here", "country in DE, AT"), ("other", "name is set"))
    before = world.versions()
    assert await tick(world, ("here", "country in AT, BR"), ("other", "name is unset")) == {
        "here": ("2", READY),
        "other": ("3", READY),
    }
    assert await index(world, "de@example.com", "fresh@gmail.com") == [
        ["everyone", "other", "press"],
        ["everyone", "here", "other"],
    ]
    await tick(world, ("here", "country in AT, BR"))
    assert await index(world, "de@example.com", "fresh@gmail.com") == [["everyone", "press"], ["everyone", "here"]]
    before_tick = world.versions()
    await tick(world)
    assert world.versions() == before_tick and (await world.data(world.paths.segment("other")))["rule"] == ""
    gone = world.paths.subscriber(world.sid("gone@gmail.com"))
    assert world.versions()[gone] == before[gone]


@pytest.mark.usefixtures("readers")
async def test_a_header_that_cannot_be_trusted_changes_nothing(world: World) -> None:
    before = await tick(world, ("here", "country in DE, AT"))
    world.sheet.put("Segments!A1", [["Name", "Rules"]])
    assert await tick(world) == before and await world.data(world.paths.segment("here"))
    notices = [row[1] for row in world.sheet.rows("Dashboard!A2:Z") if row[0] == "Notice"]
    assert notices == ["Segments: the column “Rule” is missing. Nothing in this tab is read until it is there once."]


@pytest.mark.usefixtures("readers")
async def test_a_number_is_a_name_that_the_lookup_finds(world: World) -> None:
    await tick(world, ("2027", "tag is press"))
    rows = await segments.run(world.store, world.paths, [["Name", "Rule"], ["2027", "tag is press"]], "UTC", NOW)
    assert rows == [[2027, 1, READY]]


# --- the sweep ---


async def test_a_tick_looks_at_so_many_and_no_count_is_shown_before_all_were(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PAGE", 2)
    monkeypatch.setattr(segments, "MOST", 4)
    addresses = [f"{n}@example.com" for n in range(10)]
    await world.add(*addresses, country="DE")
    for looked in (4, 8):
        assert await tick(world, ("here", "country is DE")) == {"here": ("", COUNTING)}
        assert sum("here" in found for found in await index(world, *addresses)) == looked
    assert await tick(world) == {"here": ("10", READY)}
    assert await tick(world, ("here", "country is AT")) == {"here": ("", COUNTING)}


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_sweep_that_is_cut_off_is_made_good_by_the_next_tick(world: World, fault: Fault) -> None:
    await world.add("a@example.com", "b@example.com", country="DE")
    await tick(world, ("x", "name is set"))
    world.sheet.put("Segments!A2", [("here", "country is DE")])
    for n in range(5):
        left = [n]

        def plan(verb: str, left: list[int] = left) -> Fault:
            left[0] -= verb in ("commit", "write_many")
            return fault if left[0] == -1 and verb in ("commit", "write_many") else ""

        try:
            await world.sync_sheet(FaultyStore(world.store, plan)).handle()
        except Unavailable:
            continue
    assert await tick(world) == {"here": ("2", READY)}
    assert await index(world, "a@example.com", "b@example.com") == [["everyone", "here"]] * 2


async def test_who_leaves_while_the_sweep_writes_is_not_put_back_and_who_changes_is_not_forgotten(world: World) -> None:
    await world.add("a@example.com", "b@example.com", country="DE")
    sid = world.sid("a@example.com")

    class Leaving(FaultyStore):
        async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
            if not (await world.subscriber("a@example.com")).get("suppressed"):
                await world.store.commit(suppress(world.paths, sid, "unsubscribed", "reader", NOW))
                await world.store.commit([Merge(world.paths.subscriber(world.sid("b@example.com")), {"name": "Bea"})])
            return await world.store.write_many(writes)

    await tick(world)
    world.sheet.put("Segments!A2", [("here", "country is DE")])
    await world.sync_sheet(Leaving(world.store, lambda verb: "")).handle()
    assert await index(world, "a@example.com", "b@example.com") == [[], ["everyone", "here"]]
    assert await tick(world) == {"here": ("1", READY)}


async def test_a_window_that_ends_is_seen_a_day_later(world: World) -> None:
    await world.add("a@example.com", **opened(NOW - 29 * DAY))
    assert (await tick(world, ("active", "opened in 30 days")))["active"][0] == "1"
    world.clock.advance(DAY - 1)
    assert (await tick(world))["active"][0] == "1"
    world.clock.advance(1)
    assert (await tick(world))["active"] == ("0", "Ready for campaigns. Counted 2027-01-16 08:00.")
    assert await index(world, "a@example.com") == [["everyone"]]


async def test_a_sweep_that_finds_nothing_new_writes_nobody_and_a_quiet_tick_looks_at_nobody(world: World) -> None:
    await world.add("a@example.com", country="DE", tags=["press"])
    await tick(world, ("here", "country is DE"), ("press", "name is set"))
    verbs: list[str] = []

    def noted(verb: str) -> Fault:
        verbs.append(verb)
        return ""

    await world.sync_sheet(FaultyStore(world.store, noted)).handle()
    quiet = verbs.count("page")
    verbs.clear()
    world.clock.advance(DAY)
    await world.sync_sheet(FaultyStore(world.store, noted)).handle()
    assert "write_many" not in verbs and verbs.count("page") == quiet + 3  # subscribers, campaigns, segments
    assert await tick(world) == {
        "here": ("1", "Ready for campaigns. Counted 2027-01-16 08:00."),
        "press": ("", "“press” is a tag already, and campaigns can go to it. Choose another name."),
    }


async def test_who_is_imported_again_stays_in_the_index(world: World) -> None:
    await world.add("a@example.com", country="DE")
    await tick(world, ("here", "country is DE"))
    world.sheet.put("Import!A2", [["I-0001", "a@example.com", "", "", "vip", "fair"]])
    await tick(world)
    assert await index(world, "a@example.com") == [["everyone", "here", "vip"]]


# --- campaigns ---


async def go(world: World, segment: str) -> dict[str, Any]:
    """Go in the first row, a tick of launch, and the campaign's document."""
    cells = {"ID": "C-0001", "Template": "letter", "Segment": segment, "Wanted": "Go"}
    world.sheet.put("Campaigns!A2", [[cells.get(name, "") for name in console.ROW_FIELDS]])
    await world.launch().handle()
    return await world.data(world.paths.campaign("C-0001"))


@pytest.mark.usefixtures("readers")
async def test_a_campaign_waits_for_a_sweep_and_goes_to_those_its_frozen_rule_holds(world: World) -> None:
    await tick(world, ("idle", "not opened in 30 days"))
    world.clock.advance(60_000)
    await world.add("new@example.com", tags=["x"])
    found = await go(world, "Idle")
    assert (found["state"], found["answer"]) == ("scheduled", WAITING)
    world.clock.advance(60_000)
    verbs: list[str] = []

    def noted(verb: str) -> Fault:
        verbs.append(verb)
        return ""

    await world.launch(FaultyStore(world.store, noted)).handle()
    assert "get" in verbs and "commit" not in verbs
    assert (await tick(world))["idle"][0] == "3"
    await world.launch().handle()
    found = await world.data(world.paths.campaign("C-0001"))
    assert (found["state"], found["expected"], found["segment"]) == ("running", 3, "idle")
    assert found["rule"] == "not opened in the last 30 days"
    assert found["rule_version"] == (await world.data(world.paths.segment("idle")))["version"]
    world.sheet.put("Segments!B2", [["tag is press"]])  # concerns the next campaign
    await world.store.commit([Merge(world.paths.subscriber(world.sid("at@gmail.com")), opened(world.clock.now()))])
    [message] = world.bus.take("send-requests")
    await world.send_batch().handle(message)
    assert sorted(world.sender.accepted) == ["de@example.com", "new@example.com"]
    assert await world.state_of("at@gmail.com") == "skipped"


@pytest.mark.usefixtures("readers")
async def test_a_campaign_on_a_rule_that_cannot_be_read_says_so(world: World) -> None:
    await tick(world, ("here", "country is Germany"))
    found = await go(world, "here")
    assert found["state"] == "draft"
    assert found["answer"].startswith(
        "The segment “here” cannot be used. Its row in the tab Segments says: At character 12, “Germany”"
    )


def test_the_rule_is_asked_as_of_the_launch_and_reads_what_it_needs() -> None:
    audience = Audience("C-0001", segment="active", frozen_at=NOW, rule="opened in 30 days or tag is vip")
    held = {"address": "a@example.com", "status": "confirmed", "segments": ["everyone", "active"]}
    assert set(audience.fields) == {*FIELDS, "opens", "machines"} and Audience("C-0001", segment="vip").fields is FIELDS
    assert audience.judge(held) == batch.SKIPPED_LEFT
    assert audience.judge(held | opened(NOW - 30 * DAY + 1)) == batch.HANDED
    assert audience.judge(held | opened(NOW - 30 * DAY)) == batch.SKIPPED_LEFT
    assert audience.judge(held | {"tags": ["vip"]}) == batch.HANDED
    assert audience.judge(held | {"tags": ["vip"], "status": ""}) == batch.SKIPPED_LEFT
    assert audience.judge(held | {"tags": ["vip"], "confirmed_at": NOW + 1}) == batch.SKIPPED_JOINED
