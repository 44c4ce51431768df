"""Every event, applied once: any order and any repetition ends in the same documents."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import engagement
from functions.record.handler import Record
from functions.track.recent import BURST, TRAP
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import BadInput, Conflict, Unavailable
from shared.model.event import Event
from shared.model.hits import SEEN_LATER
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.model.score import score
from shared.model.subscriber import country_of, mailable, segments_of
from shared.model.suppression import lift
from shared.ports import Create, Document, Merge, Write

from .fakes import HOUR, NOW
from .world import World

REF = MailRef("C-0001", "ab" * 16)
OTHER = MailRef("C-0001", "cd" * 16)
DAY = 86_400_000
_tenants = itertools.count()
_mails = st.sampled_from([REF.text, OTHER.text, MailRef("welcome", "ab" * 16, "k1").text])
_times = st.integers(NOW - 2, NOW + 3) | st.builds(lambda day, ms: NOW + day * DAY + ms, st.integers(0, 200), st.integers(0, 2))
_softs = st.builds(
    Event, st.just("bounced"), _mails, st.builds(lambda day: NOW + day * DAY, st.integers(0, 12)), counts=st.just(True)
)
_anything = (
    st.builds(
        Event,
        type=st.sampled_from(
            ["delivered", "deferred", "opened", "clicked", "bounced", "complained", "unsubscribed", "converted", "unknown"]
        ),
        ref=_mails,
        at=_times,
        label=st.sampled_from(["human", "suspect", "machine", ""]),
        reason=st.sampled_from(["", "known robot", "burst", "honeypot link"]),
        link=st.integers(-1, 2),
        code=st.sampled_from(["", "550 5.1.1"]),
        provider=st.sampled_from(["", "generic"]),
    )
    | st.builds(
        Event,
        type=st.just("clicked"),
        ref=_mails,
        at=_times,
        label=st.just("human"),
        country=st.sampled_from(["PT", "DE"]),
        city=st.sampled_from(["", "Porto"]),
    )
    | st.builds(Event, st.just("bounced"), _mails, _times, hard=st.just(True))
    | st.builds(
        Event,
        type=st.just("converted"),
        ref=_mails,
        at=_times,
        id=st.sampled_from(["", "7", "8"]),
        value=st.integers(0, 2),
        currency=st.sampled_from(["EUR", "USD"]),
    )
)
_events = st.builds(
    lambda *parts: [event for part in parts for event in part],
    st.lists(_softs, max_size=9),
    st.lists(
        st.builds(Event, st.just("delivered"), _mails, st.builds(lambda day: NOW + day * DAY, st.integers(0, 12))), max_size=1
    ),
    st.lists(_anything, max_size=8),
)
_known = st.fixed_dictionaries(
    {
        "address": st.just("a@example.com"),
        "status": st.sampled_from(["confirmed", ""]),
        "confirmed_at": st.sampled_from([0, NOW + 5 * DAY]),
        "segments": st.just([]),
        "suppressed": st.just(["unsubscribed"]) | st.just([]),
    },
    optional={
        "lifted": st.fixed_dictionaries({}, optional={"hard_bounce": st.just(NOW + 1), "soft_bounces": st.just(NOW + 3 * DAY)})
    },
).map(lambda data: {**data, "segments": segments_of(data)})


async def _state(world: World, events: list[Event], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a new tenant's documents hold after the events, lists in any order."""
    paths = Paths(f"r{next(_tenants)}")
    if known is not None:
        reasons = {"reasons": known["suppressed"]}
        await world.store.commit([Create(paths.subscriber(REF.sid), known), Create(paths.suppression(REF.sid), reasons)])
    for event in events:
        await Record(world.store, paths).handle(event.to_message())
    collections = [paths.subscribers, paths.suppressions, paths.deliveries("C-0001"), paths.deliveries("welcome")]
    found = [document for collection in collections for document in await world.store.page(collection)]
    return {_below(document.path): data for document in found if (data := engagement.normal(document.data))}


def _below(path: str) -> str:
    return path.split("/", 2)[2]


def _expected(events: list[Event], known: dict[str, Any] | None = None) -> dict[str, Any]:
    people = {} if known is None else {REF.sid: known}
    return {_below(path): data for path, data in engagement.expected(people, events).items()}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=_events, known=st.none() | _known, seed=st.integers(0, 1000))
async def test_order_and_repetition_change_nothing(
    world: World, events: list[Event], known: dict[str, Any] | None, seed: int
) -> None:
    again = events + events[: len(events) // 2]
    random.Random(seed).shuffle(again)
    assert await _state(world, again, known) == _expected(events, known)


async def test_two_workers_end_where_the_set_of_events_says(tmp_path: Path) -> None:
    wrong, figures = await engagement.run(2_000, tmp_path)
    assert wrong == [] and figures["deliveries of events"] == 2_000
    assert figures["  suppressed by soft_bounces"] and figures["  suppressed by hard_bounce"]


def test_the_comparison_of_the_bench_sees_a_difference() -> None:
    people = engagement.seeded(3)
    told = [Event("delivered", MailRef("C-0001", sid).text, NOW) for sid in people]
    wanted = engagement.expected(people, told)
    assert engagement.mismatches(wanted, engagement.expected(people, told[1:] + told)) == []
    first = min(people)
    missing = engagement.expected(people, [event for event in told if event.mail.sid != first])
    assert engagement.mismatches(missing, wanted) == [
        engagement.PATHS.delivery("C-0001", first),
        engagement.PATHS.subscriber(first),
    ]


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
            "labels": sorted(["opened", "opened.human", "clicked", "clicked.human", "clicked.machine", "delivered", "counted"]),
            "opened_human_at": NOW + 2,
            "clicked_human_at": NOW + 3,
            "clicked_machine_at": NOW + 4,
            "delivered_at": NOW + 1,
            "hits": {"o_032": {"human": NOW + 9, "first": NOW + 2}, "c2_032": {"human": NOW + 3, "first": NOW + 3}},
            "reasons": sorted(["mail image proxy", "known robot"]),
        },
        f"subscribers/{REF.sid}": {
            "engaged_at": NOW + 9,
            "engaged": {"08": NOW + 3},
            "opens": {"12": NOW + 9},
            "clicks": {"12": NOW + 3},
            "delivered_at": NOW + 1,
        },
    }


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Event("bounced", REF.text, NOW, hard=True, code="550 5.1.1", provider="generic"), "hard"),
        (Event("bounced", REF.text, NOW, counts=True, code="550 5.1.1", provider="generic"), "soft"),
        (Event("bounced", REF.text, NOW, code="550 5.1.1", provider="generic"), "other"),
    ],
)
async def test_a_bounce_has_a_class(world: World, event: Event, kind: str) -> None:
    await world.record().handle(event.to_message())
    assert await world.data(world.paths.delivery("C-0001", REF.sid)) == {
        "labels": ["bounced", f"bounced.{kind}", "counted"],
        "bounced_at": NOW,
        f"bounced_{kind}_at": NOW,
        "codes": ["550 5.1.1"],
        "providers": ["generic"],
    }


async def test_a_mail_that_is_put_off_is_no_bounce(world: World) -> None:
    found = await _state(world, [Event("deferred", REF.text, NOW, code="451 4.7.1"), Event("deferred", REF.text, NOW - 1)])
    timeline = {"labels": ["deferred"], "deferred_at": NOW - 1, "codes": ["451 4.7.1"]}
    assert found == {f"campaigns/C-0001/deliveries/{REF.sid}": timeline}


async def test_an_order_told_twice_is_one_conversion(world: World) -> None:
    first = Event("converted", REF.text, NOW, id="7", value=19_900_000, currency="EUR")
    free = Event("converted", REF.text, NOW)
    again = replace(first, at=NOW + 5)
    events = [
        again,
        first,
        free,
        free,
        replace(free, at=NOW + 1),
        replace(first, id="8", currency="USD"),
        replace(first, value=1),
    ]
    found = await _state(world, events)
    delivery = found[f"campaigns/C-0001/deliveries/{REF.sid}"]
    assert sorted(delivery["conversions"].values(), key=str) == [
        {"at": NOW, "EUR": 19_900_000},
        {"at": NOW, "USD": 19_900_000},
        {"at": NOW},
        {"at": NOW + 1},
    ]
    assert (delivery["labels"], delivery["converted_at"]) == (["converted", "counted"], NOW) and len(found) == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event("complained", REF.text, NOW), "complaint"),
        (Event("bounced", REF.text, NOW, hard=True, code="550 5.1.1"), "hard_bounce"),
        (Event("bounced", REF.text, NOW, code="450 4.2.2"), ""),
        (Event("bounced", REF.text, NOW, code="550 5.7.1"), ""),
        (Event("delivered", REF.text, NOW), ""),
        (Event("unsubscribed", REF.text, NOW), ""),  # the step that took it has suppressed already
        (Event("unsubscribed", REF.text, NOW, provider="sendgrid"), "unsubscribed"),
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


# --- soft bounces -----------------------------------------------------------------------------------------------------

PERSON = {"address": "a@example.com", "status": "confirmed", "tags": ["vip"], "segments": ["everyone", "vip"]}
FIVE = [Event("bounced", REF.text, NOW + day * DAY, counts=True) for day in range(5)]
COME = Event("delivered", REF.text, NOW + 2 * DAY + 1)


async def _person(world: World, **fields: Any) -> dict[str, Any]:
    await world.store.commit([Create(world.paths.subscriber(REF.sid), {**PERSON, **fields})])
    return PERSON


async def _tell(world: World, *events: Event) -> dict[str, Any]:
    for event in events:
        await world.record().handle(event.to_message())
    return await world.data(world.paths.subscriber(REF.sid))


async def test_soft_bounces_of_five_days_give_an_address_up(world: World) -> None:
    await _person(world)
    assert mailable(await _tell(world, *FIVE[:4], *FIVE[:4], replace(FIVE[0], at=NOW + 7)))
    found = await _tell(world, replace(FIVE[4], ref=MailRef("C-0002", REF.sid).text))
    assert (found["suppressed"], found["segments"], mailable(found)) == (["soft_bounces"], [], False)
    kept = await world.data(world.paths.suppression(REF.sid))
    assert (kept["reasons"], kept["soft_bounces_at"]) == (["soft_bounces"], NOW)
    assert sorted(kept["soft_bounces_sources"]) == ["mail of C-0001", "mail of C-0002"]


async def test_bounces_that_do_not_count_give_nobody_up(world: World) -> None:
    await _person(world)
    found = await _tell(world, *(replace(event, counts=False, code="550 5.7.1") for event in FIVE))
    assert found == PERSON and await world.all(world.paths.suppressions) == []


@pytest.mark.parametrize("order", [0, 3, 5])
async def test_a_delivery_in_between_begins_anew_whenever_it_is_told(world: World, order: int) -> None:
    await _person(world)
    found = await _tell(world, *FIVE[:order], COME, replace(COME, at=NOW - 1), *FIVE[order:])
    assert mailable(found) and found["segments"] == ["everyone", "vip"]
    assert not (await world.data(world.paths.suppression(REF.sid))).get("reasons")
    found = await _tell(world, *(replace(FIVE[4], at=FIVE[4].at + day * DAY) for day in (1, 2, 3)))
    assert found["suppressed"] == ["soft_bounces"]


async def test_who_comes_in_between_is_seen(world: World) -> None:
    """A delivery is told between our look and our write: the write is refused, and a second look sees it."""
    await _person(world)
    await _tell(world, *FIVE[:4])
    told: list[Event] = []

    class Slow(SqliteStore):
        async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
            found = await world.store.get(path, fields)
            if not told:
                told.append(COME)
                await world.record().handle(COME.to_message())
            return found

    with closing(Slow.open(world.file)) as slow:
        await Record(slow, world.paths).handle(FIVE[4].to_message())
    assert told and mailable(await world.data(world.paths.subscriber(REF.sid)))


@pytest.mark.parametrize("times", [1, 9])
async def test_a_refused_write_is_looked_at_again(world: World, times: int) -> None:
    await _person(world)
    await _tell(world, *FIVE[:4])

    class Refusing(SqliteStore):
        left = times

        async def commit(self, writes: Sequence[Write]) -> list[str]:
            done = await super().commit(writes)  # the reply is lost: our own write has changed the version
            if self.left and any(isinstance(write, Merge) and write.if_version for write in writes):
                self.left -= 1
                raise Conflict("x", "version")
            return done

    with closing(Refusing.open(world.file)) as refusing:
        await Record(refusing, world.paths).handle(FIVE[4].to_message())
    assert (await world.data(world.paths.subscriber(REF.sid)))["suppressed"] == ["soft_bounces"]


async def test_who_never_gets_a_turn_asks_for_another_delivery_of_the_message(world: World) -> None:
    await _person(world)
    await _tell(world, *FIVE[:4])

    class Contended(SqliteStore):
        async def commit(self, writes: Sequence[Write]) -> list[str]:
            if any(isinstance(write, Merge) and write.if_version for write in writes):
                raise Conflict("x", "version")
            return await super().commit(writes)

    with closing(Contended.open(world.file)) as contended, pytest.raises(Unavailable):
        await Record(contended, world.paths).handle(FIVE[4].to_message())
    assert (await _tell(world, FIVE[4]))["suppressed"] == ["soft_bounces"]


async def test_a_confirmed_return_begins_anew(world: World) -> None:
    await _person(world)
    left = await _tell(world, *FIVE)
    fresh = {"suppressed": [], "segments": ["everyone"], "confirmed_at": FIVE[4].at + 1}  # as subscribe does
    await world.store.commit([Merge(world.paths.subscriber(REF.sid), fresh)])
    assert left["suppressed"] == ["soft_bounces"] and mailable(await _tell(world, *FIVE))


# --- lifted -----------------------------------------------------------------------------------------------------------

HARD = Event("bounced", REF.text, NOW, hard=True)


async def _lift(world: World, reason: str, at: int) -> None:
    found = await world.store.get(world.paths.subscriber(REF.sid))
    assert found
    await world.store.commit(lift(world.paths, found, reason, "Ada", "The mailbox was moved.", at))


async def test_a_bounce_that_was_lifted_stays_lifted_and_a_new_one_counts(world: World) -> None:
    await _person(world)
    await _tell(world, HARD, replace(HARD, at=NOW - 7))
    await _lift(world, "hard_bounce", NOW + DAY)
    found = await _tell(world, HARD, replace(HARD, at=NOW + DAY))
    assert mailable(found) and found["segments"] == ["everyone", "vip"]
    assert (await world.data(world.paths.suppression(REF.sid)))["reasons"] == []
    found = await _tell(world, replace(HARD, at=NOW + DAY + 1), HARD)
    assert (found["suppressed"], found["segments"]) == (["hard_bounce"], [])
    assert (await world.data(world.paths.suppression(REF.sid)))["reasons"] == ["hard_bounce"]


async def test_soft_bounces_that_were_lifted_begin_anew(world: World) -> None:
    await _person(world)
    await _tell(world, *FIVE)
    await _lift(world, "soft_bounces", NOW)  # by a clock that is behind
    assert mailable(await _tell(world, *FIVE))
    after = [replace(event, at=event.at + 5 * DAY) for event in FIVE]
    assert mailable(await _tell(world, *after[:4]))
    assert (await _tell(world, after[4]))["suppressed"] == ["soft_bounces"]


async def test_a_lift_leaves_the_other_reasons(world: World) -> None:
    await _person(world)
    await _tell(world, HARD, Event("complained", REF.text, NOW))
    await _lift(world, "hard_bounce", NOW + 1)
    found = await _tell(world, HARD)
    assert (found["suppressed"], found["segments"]) == (["complaint"], [])


CLICK = Event("clicked", REF.text, NOW, label="human", link=1, country="PT", city="Porto")


async def test_a_located_click_is_noted_on_the_delivery_and_the_subscriber(world: World) -> None:
    path = world.paths.subscriber(REF.sid)
    person = {"address": "a@example.com", "status": "confirmed", "segments": ["everyone"], "country": "DE"}
    await world.store.commit([Create(path, person)])
    for event in (CLICK, replace(CLICK, at=NOW - 5), replace(CLICK, at=NOW - 1, country="BR", city="")):
        await world.record().handle(event.to_message())
    found = await world.data(path)
    noted = {
        "located": {"seen": {"PT": NOW, "BR": NOW - 1}},
        "engaged_at": NOW,
        "engaged": {"08": NOW, "07": NOW - 1},
        "clicks": {"12": NOW},
    }
    assert found == person | noted
    assert country_of(found) == "DE" and country_of({"located": found["located"]}) == "PT"
    delivery = await world.data(world.paths.delivery("C-0001", REF.sid))
    hours = {"c1_032": {"human": NOW, "first": NOW, "PT": NOW}}
    hours["c1_031"] = {"human": NOW - 1, "first": NOW - 5, "PT": NOW - 5, "BR": NOW - 1}
    assert (delivery["hits"], delivery["cities"]) == (hours, ["Porto"])


@pytest.mark.parametrize("late", [False, True])
async def test_a_hit_that_was_a_machines_is_no_persons_whichever_is_told_first(world: World, late: bool) -> None:
    told = [replace(CLICK, label="human"), replace(CLICK, label="machine", reason="burst", country="", city="")]
    for event in told[::-1] if late else told:
        await world.record().handle(event.to_message())
    found = await world.store.get(world.paths.delivery(REF.campaign, REF.delivery))
    assert found and "clicked.human" not in found.data["labels"] and "clicked.machine" in found.data["labels"]


@pytest.mark.parametrize(
    ("event", "reads", "writes"),
    [
        (CLICK, 1, 2),
        (replace(CLICK, country="", city=""), 1, 2),
        (replace(CLICK, country="", city="", label="suspect"), 0, 1),
        (Event("opened", REF.text, NOW, label="human"), 1, 2),
        (Event("opened", REF.text, NOW, label="machine"), 0, 1),
        (Event("opened", REF.text, NOW, label="machine", reason="burst"), 1, 2),
        (Event("deferred", REF.text, NOW), 0, 1),
        (Event("delivered", REF.text, NOW), 1, 2),
        (Event("converted", REF.text, NOW), 0, 1),
        (Event("complained", REF.text, NOW), 0, 3),
        (Event("bounced", REF.text, NOW, hard=True), 1, 3),
        (Event("bounced", REF.text, NOW, counts=True), 1, 3),
        (Event("bounced", REF.text, NOW), 0, 1),
    ],
)
async def test_an_event_costs_so_many_operations(world: World, event: Event, reads: int, writes: int) -> None:
    before = replace(world.store.operations)
    await world.record().handle(event.to_message())
    after = world.store.operations
    assert (after.reads - before.reads, after.writes - before.writes) == (reads, writes)


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


@pytest.mark.parametrize("reason", [BURST, TRAP])
async def test_a_click_that_turns_out_to_be_a_machines_counts_for_nobodys_score(world: World, reason: str) -> None:
    found = await _tell(world, CLICK, replace(CLICK, label="machine", reason=reason, country="", city=""))
    assert score(found, NOW) == 0 and {BURST, TRAP} == SEEN_LATER
    assert score(await _tell(world, replace(CLICK, at=NOW + 1)), NOW + 1) == 50


@pytest.mark.parametrize(
    ("event", "noted"),
    [
        (CLICK, {"located": {"seen": {"PT": NOW}}, "engaged_at": NOW, "engaged": {"08": NOW}, "clicks": {"12": NOW}}),
        (Event("opened", REF.text, NOW, label="human"), {"engaged_at": NOW, "opens": {"12": NOW}}),
    ],
)
async def test_an_open_or_click_of_somebody_erased_makes_nobody_mailable(
    world: World, event: Event, noted: dict[str, Any]
) -> None:
    await world.record().handle(event.to_message())
    found = await world.data(world.paths.subscriber(REF.sid))
    assert found == noted and not mailable(found) and segments_of(found) == []


GOOD = Event("opened", REF.text, NOW, label="human").to_message()
BOUGHT = Event("converted", REF.text, NOW, id="order 7", value=10**18, currency="EUR")


def test_a_message_holds_only_what_differs_from_the_defaults() -> None:
    assert {"type": "opened", "ref": REF.text, "at": NOW, "label": "human"} == GOOD
    every = Event("bounced", REF.text, NOW, "suspect", "why", 0, True, "550", "generic", "", "", False, "x" * 200)
    counted = Event("bounced", REF.text, NOW, code="452 4.2.2", counts=True)
    for event in (every, counted, CLICK, BOUGHT, Event("delivered", REF.text, 0), Event("deferred", REF.text, 0)):
        assert Event.from_message(event.to_message()) == event


async def test_what_a_later_publisher_adds_is_not_looked_at(world: World) -> None:
    await world.record().handle({**GOOD, "extra": 1, "": None})
    assert set((await world.data(world.paths.delivery(REF.campaign, REF.delivery)))["labels"]) == {
        "opened",
        "opened.human",
        "counted",
    }


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
        {**GOOD, "counts": True},  # only a soft bounce
        {**GOOD, "type": "bounced", "counts": True, "hard": True},
        {**GOOD, "type": "bounced", "counts": 1},
        {**GOOD, "id": "x" * 201},
        {**GOOD, "id": "\ud800"},
        {**GOOD, "id": 7},
        {**GOOD, "value": 1, "currency": "EUR"},  # only a conversion
        {**BOUGHT.to_message(), "value": -1},
        {**BOUGHT.to_message(), "value": 1.5},
        {**BOUGHT.to_message(), "value": True},
        {**BOUGHT.to_message(), "value": 10**18 + 1},
        {**BOUGHT.to_message(), "currency": ""},
        {**BOUGHT.to_message(), "currency": "eur"},
        {**BOUGHT.to_message(), "currency": "E.R"},
        {**BOUGHT.to_message(), "currency": "EUR\n"},
        {**BOUGHT.to_message(), "currency": None},
    ],
)
async def test_a_message_that_is_no_event_is_bad_input(world: World, message: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await world.record().handle(message)
    assert world.versions() == {}
