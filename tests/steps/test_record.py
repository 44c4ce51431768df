"""Every event, applied once: any order and any repetition ends in the same documents."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.record.handler import Record
from shared.errors import BadInput
from shared.model.event import Event
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.model.subscriber import country_of, mailable, segments_of
from shared.ports import Create

from .fakes import HOUR, NOW
from .world import World

REF = MailRef("C-0001", "ab" * 16)
_tenants = itertools.count()
_events = st.lists(
    st.builds(
        Event,
        type=st.sampled_from(["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"]),
        ref=st.sampled_from([REF.text, MailRef("C-0001", "cd" * 16).text, MailRef("welcome", "ab" * 16, "k1").text]),
        at=st.integers(NOW - 2, NOW + 3),  # two hours of the day
        label=st.sampled_from(["human", "suspect", "machine", ""]),
        reason=st.sampled_from(["", "known robot"]),
        link=st.integers(-1, 2),
        hard=st.booleans(),
        code=st.sampled_from(["", "550 5.1.1"]),
    )
    | st.builds(
        Event,
        type=st.just("clicked"),
        ref=st.sampled_from([REF.text, MailRef("welcome", "ab" * 16, "k1").text]),
        at=st.integers(NOW - 2, NOW + 3),  # two hours of the day
        label=st.just("human"),
        country=st.sampled_from(["PT", "DE"]),
        city=st.sampled_from(["", "Porto"]),
    ),
    max_size=8,
)


async def _state(world: World, events: list[Event]) -> dict[str, Any]:
    """What a new tenant's documents hold after the events, lists in any order."""
    paths = Paths(f"r{next(_tenants)}")
    for event in events:
        await Record(world.store, paths).handle(event.to_message())
    collections = [paths.subscribers, paths.suppressions, paths.deliveries("C-0001"), paths.deliveries("welcome")]
    found = [document for collection in collections for document in await world.store.page(collection)]
    return {
        document.path.partition("/")[2].partition("/")[2]: {
            key: sorted(value, key=str) if isinstance(value, list) else value for key, value in document.data.items()
        }
        for document in found
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=_events, seed=st.integers(0, 1000))
async def test_order_and_repetition_change_nothing(world: World, events: list[Event], seed: int) -> None:
    again = events + events[: len(events) // 2]
    random.Random(seed).shuffle(again)
    assert await _state(world, again) == await _state(world, events)


async def test_an_event_becomes_times_labels_and_links(world: World) -> None:
    found = await _state(
        world,
        [
            Event("opened", REF.text, NOW + 9, label="human", reason="mail image proxy"),
            Event("opened", REF.text, NOW + 2, label="human"),
            Event("clicked", REF.text, NOW + 3, label="human", link=2),
            Event("clicked", REF.text, NOW + 4, label="machine", link=1, reason="known robot"),
            Event("delivered", REF.text, NOW + 1),
        ],
    )
    assert found == {
        f"campaigns/C-0001/deliveries/{REF.sid}": {
            "labels": sorted(["opened", "opened.human", "clicked", "clicked.human", "clicked.machine", "delivered"]),
            "opened_human_at": NOW + 2,
            "clicked_human_at": NOW + 3,
            "clicked_machine_at": NOW + 4,
            "delivered_at": NOW + 1,
            "links": [2],
            "reasons": sorted(["mail image proxy", "known robot"]),
        },
        f"subscribers/{REF.sid}": {"engaged_at": NOW + 9, "engaged": {"08": NOW + 3}},
    }


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event("complained", REF.text, NOW), "complaint"),
        (Event("bounced", REF.text, NOW, hard=True, code="550 5.1.1"), "hard_bounce"),
        (Event("bounced", REF.text, NOW, code="450 4.2.2"), ""),
        (Event("delivered", REF.text, NOW), ""),
        (Event("unsubscribed", REF.text, NOW), ""),  # the step that took it has suppressed already
        (Event("delivered", REF.text, NOW, hard=True), ""),
    ],
)
async def test_complaints_and_bounces_for_good_suppress(world: World, event: Event, reason: str) -> None:
    path = world.paths.subscriber(REF.sid)
    await world.store.commit([Create(path, {"address": "a@example.com", "status": "confirmed", "segments": ["everyone"]})])
    await world.record().handle(event.to_message())
    found = await world.data(path)
    kept = await world.data(world.paths.suppression(REF.sid))
    if reason:
        assert (found["suppressed"], found["segments"]) == ([reason], [])
        assert (kept["reasons"], kept[f"{reason}_at"], kept[f"{reason}_sources"]) == ([reason], NOW, ["mail of C-0001"])
    else:
        assert found["segments"] == ["everyone"] and "suppressed" not in found and kept == {}


CLICK = Event("clicked", REF.text, NOW, label="human", link=1, country="PT", city="Porto")


async def test_a_located_click_is_noted_on_the_delivery_and_the_subscriber(world: World) -> None:
    path = world.paths.subscriber(REF.sid)
    person = {"address": "a@example.com", "status": "confirmed", "segments": ["everyone"], "country": "DE"}
    await world.store.commit([Create(path, person)])
    for event in (CLICK, replace(CLICK, at=NOW - 5), replace(CLICK, at=NOW - 1, country="BR", city="")):
        await world.record().handle(event.to_message())
    found = await world.data(path)
    noted = {"located": {"seen": {"PT": NOW, "BR": NOW - 1}}, "engaged_at": NOW, "engaged": {"08": NOW, "07": NOW - 1}}
    assert found == person | noted
    assert country_of(found) == "DE" and country_of({"located": found["located"]}) == "PT"
    delivery = await world.data(world.paths.delivery("C-0001", REF.sid))
    assert (delivery["countries"], delivery["cities"]) == (["PT", "BR"], ["Porto"])


@pytest.mark.parametrize(
    ("event", "count"),
    [
        (CLICK, 2),
        (replace(CLICK, country="", city=""), 2),
        (replace(CLICK, country="", city="", label="suspect"), 1),
        (Event("opened", REF.text, NOW, label="human"), 2),
        (Event("opened", REF.text, NOW, label="machine"), 1),
        (Event("delivered", REF.text, NOW, label="human"), 1),
        (Event("complained", REF.text, NOW), 3),
    ],
)
async def test_an_event_costs_so_many_writes_and_no_read(world: World, event: Event, count: int) -> None:
    before = replace(world.store.operations)
    await world.record().handle(event.to_message())
    after = world.store.operations
    assert (after.reads - before.reads, after.writes - before.writes) == (0, count)


@pytest.mark.parametrize(
    ("at", "hour"), [(NOW - 8 * HOUR, "00"), (NOW - 8 * HOUR - 1, "23"), (NOW + HOUR - 1, "08"), (NOW + HOUR, "09"), (0, "00")]
)
async def test_a_click_is_noted_at_its_hour_of_the_day(world: World, at: int, hour: str) -> None:
    for event in (replace(CLICK, at=at), replace(CLICK, at=at, label="machine", country="", city="")):
        await world.record().handle(event.to_message())
    found = await world.data(world.paths.subscriber(REF.sid))
    assert (found["engaged_at"], found["engaged"]) == (at, {hour: at})


@pytest.mark.parametrize("label", ["suspect", "machine", ""])
@pytest.mark.parametrize("type", ["opened", "clicked"])
async def test_only_people_are_engaged(world: World, type: Any, label: Any) -> None:
    await world.record().handle(Event(type, REF.text, NOW, label=label).to_message())
    assert await world.data(world.paths.subscriber(REF.sid)) == {}


@pytest.mark.parametrize(
    ("event", "noted"),
    [
        (CLICK, {"located": {"seen": {"PT": NOW}}, "engaged_at": NOW, "engaged": {"08": NOW}}),
        (Event("opened", REF.text, NOW, label="human"), {"engaged_at": NOW}),
    ],
)
async def test_an_open_or_click_of_somebody_erased_makes_nobody_mailable(
    world: World, event: Event, noted: dict[str, Any]
) -> None:
    await world.record().handle(event.to_message())
    found = await world.data(world.paths.subscriber(REF.sid))
    assert found == noted and not mailable(found) and segments_of(found) == []


GOOD = Event("opened", REF.text, NOW, label="human").to_message()


def test_a_message_holds_only_what_differs_from_the_defaults() -> None:
    assert {"type": "opened", "ref": REF.text, "at": NOW, "label": "human"} == GOOD
    every = Event("bounced", REF.text, NOW, "suspect", "why", 0, True, "550", "generic", "", "")
    for event in (every, CLICK, Event("delivered", REF.text, 0)):
        assert Event.from_message(event.to_message()) == event


async def test_what_a_later_publisher_adds_is_not_looked_at(world: World) -> None:
    await world.record().handle({**GOOD, "extra": 1, "": None})
    assert set((await world.data(world.paths.delivery(REF.campaign, REF.delivery)))["labels"]) == {"opened", "opened.human"}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "opened"},
        {**GOOD, "ref": "x"},
        {**GOOD, "ref": 3},
        {**GOOD, "ref": REF.text + "/../x"},
        {**GOOD, "type": "fell"},
        {**GOOD, "type": ["opened"]},
        {**GOOD, "label": "robot"},
        {**GOOD, "at": "now"},
        {**GOOD, "at": True},
        {**GOOD, "at": -1},
        {**GOOD, "at": 1 << 53},
        {**GOOD, "link": "1"},
        {**GOOD, "hard": 1},
        {**GOOD, "code": "x" * 201},
        {**GOOD, "reason": None},
        {**GOOD, "reason": "\ud800"},
        {**GOOD, "code": "\ud800"},
        {**GOOD, "provider": "\udfff"},
        {**GOOD, "country": "PT"},  # opens are not located
        {**CLICK.to_message(), "label": "machine"},
        {**CLICK.to_message(), "country": ""},
        {**CLICK.to_message(), "country": "pt"},
        {**CLICK.to_message(), "country": "P.T"},
        {**CLICK.to_message(), "country": "PT\n"},
        {**CLICK.to_message(), "country": 3},
        {**CLICK.to_message(), "city": None},
        {**CLICK.to_message(), "city": "\ud800"},
    ],
)
async def test_a_message_that_is_no_event_is_bad_input(world: World, message: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await world.record().handle(message)
    assert world.versions() == {}
