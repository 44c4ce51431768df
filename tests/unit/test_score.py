"""How engaged somebody is: from kept times only, decayed when asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.documents import names
from shared.model.paths import Paths
from shared.model.score import DAY, dormant, score
from shared.model.subscriber import WEEK, WEEKS, engaged, overruled
from shared.ports import Maximum, Merge

NOW = 1_800_000_000_000


def after(*hits: tuple[int, bool]) -> dict[str, Any]:
    """The subscriber after opens and clicks (False, True) at these times, in this order."""
    found: dict[str, Any] = {}
    for at, clicked in hits:
        write = engaged(Paths("t"), "s", at, clicked=clicked)
        assert isinstance(write, Merge)
        for key, value in write.data.items():
            assert isinstance(value, Maximum)
            inside = found
            *outer, last = names(key)
            for name in outer:
                inside = inside.setdefault(name, {})
            inside[last] = max(value.value, inside.get(last, value.value))
    return found


@pytest.mark.parametrize(
    ("hits", "wanted"),
    [
        ([], 0),
        ([(NOW, True)], 50),
        ([(NOW, False)], 25),
        ([(NOW, False), (NOW, True)], 50),  # one week, one worth
        ([(NOW - 30 * DAY, True)], 33),
        ([(NOW - 60 * DAY, True)], 20),
        ([(NOW - 30 * DAY, False)], 14),
        ([(NOW, True), (NOW - WEEK, True)], 65),
        ([(NOW - week * WEEK, True) for week in range(40)], 87),
        ([(NOW - (WEEKS - 1) * WEEK, True)], 2),
        ([(NOW - WEEKS * WEEK, True)], 0),  # forgotten
        ([(NOW + DAY, True)], 50),  # a clock that is ahead
    ],
)
def test_the_score(hits: list[tuple[int, bool]], wanted: int) -> None:
    assert score(after(*hits), NOW) == wanted


_hits = st.lists(st.tuples(st.integers(NOW - 400 * DAY, NOW), st.booleans()), max_size=30)


@settings(deadline=None)
@given(hits=_hits, shuffled=st.randoms(use_true_random=False), later=st.integers(0, 400))
def test_the_score_knows_no_order_and_only_falls_with_time(hits: list[tuple[int, bool]], shuffled: Any, later: int) -> None:
    again = hits + hits[: len(hits) // 2]
    shuffled.shuffle(again)
    subscriber = after(*hits)
    assert after(*again) == subscriber
    assert 0 <= score(subscriber, NOW + later * DAY) <= score(subscriber, NOW) <= 100
    assert score(after(*hits, (NOW, True)), NOW) >= score(subscriber, NOW)
    assert len(subscriber.get("opens", {})) <= WEEKS and len(subscriber.get("clicks", {})) <= WEEKS


@settings(deadline=None)
@given(hits=_hits)
def test_what_is_kept_forgets_nothing_that_counts(hits: list[tuple[int, bool]]) -> None:
    """A week shares its place only with weeks that are too old: leaving those out beforehand changes nothing."""
    recent = [(at, clicked) for at, clicked in hits if NOW // WEEK - at // WEEK < WEEKS]
    assert score(after(*hits), NOW) == score(after(*recent), NOW)


def machine(subscriber: dict[str, Any], at: int) -> dict[str, Any]:
    """The subscriber once a hit at `at` has turned out to be a machine's."""
    write = overruled(Paths("t"), "s", at)
    assert isinstance(write, Merge)
    [(key, latest)] = write.data.items()
    assert key.startswith("machines.") and latest == Maximum(at)
    return {**subscriber, "machines": {key[9:]: at}}


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (NOW, 0),  # it was this one
        (NOW - 1, 50),  # the reader came after it
        (NOW + 1, 0),
        (NOW - WEEK, 50),  # of another week
        (NOW - WEEKS * WEEK, 50),  # the same place, long ago
    ],
)
def test_what_turns_out_to_be_a_machines_does_not_count(at: int, wanted: int) -> None:
    assert score(machine(after((NOW, True), (NOW - 2, False)), at), NOW) == wanted
    reader = machine(after((NOW, True)), at) | {"confirmed_at": 0}
    assert dormant(reader, NOW, 90) is (not wanted)


CONFIRMED = {"confirmed_at": NOW - 170 * DAY}


@pytest.mark.parametrize(
    ("subscriber", "wanted"),
    [
        ({"confirmed_at": NOW - 90 * DAY}, True),
        ({"confirmed_at": NOW - 90 * DAY + 1}, False),  # had no time yet
        (CONFIRMED | after((NOW - 90 * DAY - 1, True)), True),
        (CONFIRMED | after((NOW - 90 * DAY, True)), False),
        (CONFIRMED | after((NOW - 90 * DAY - 1, True), (NOW - 90 * DAY, False)), False),
        (CONFIRMED | {"delivered_at": NOW}, True),
        ({}, False),  # never confirmed: gets no mail anyway
    ],
)
def test_who_is_dormant(subscriber: dict[str, Any], wanted: bool) -> None:
    assert dormant(subscriber, NOW, 90) is wanted


def test_nobody_is_dormant_for_longer_than_is_known() -> None:
    assert dormant(CONFIRMED, NOW + 10 * DAY, 7 * (WEEKS - 1))
    with pytest.raises(ValueError, match="176 days"):
        dormant(CONFIRMED, NOW, 7 * (WEEKS - 1) + 1)
