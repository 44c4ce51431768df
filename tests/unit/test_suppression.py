"""Soft bounces that add up, and what an operator takes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.model.paths import Paths
from shared.model.subscriber import LIFTABLE, REASONS, strongest
from shared.model.suppression import DAY, given_up, in_force, lift, settled, soft_bounced
from shared.ports import Create, Document, Maximum, Merge

PATHS = Paths("t")
NOW = 1_800_000_000_000
SID = "ab" * 16
PERSON = {"address": "a@example.com", "status": "confirmed", "tags": ["vip"]}


def soft(*days: int) -> dict[str, Any]:
    """The field `soft` after a bounce at the same time of each of these days."""
    found: dict[str, int] = {}
    for day in days:
        write = soft_bounced(PATHS, SID, "mail of C-0001", NOW + day * DAY)[1]
        assert isinstance(write, Merge)
        [(key, latest)] = write.data.items()
        assert isinstance(latest, Maximum) and key.startswith("soft.")
        found[key[5:]] = max(int(latest.value), found.get(key[5:], 0))
    return {"soft": found}


def document(**fields: Any) -> Document:
    return Document(PATHS.subscriber(SID), "7", {**PERSON, **fields})


def test_the_writes_of_a_soft_bounce_are_blind() -> None:
    writes = soft_bounced(PATHS, SID, "mail of C-0001", NOW)
    assert [write.path for write in writes] == [PATHS.suppression(SID), PATHS.subscriber(SID)]
    assert all(isinstance(write, Merge) and write.if_version is None for write in writes)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, False),
        (soft(0, 1, 2, 3), False),
        (soft(0, 1, 2, 3, 3), False),
        (soft(0, 1, 2, 3, 4), True),
        (soft(4, 3, 2, 1, 0), True),
        (soft(0, 1, 2, 3, 89), True),
        (soft(0, 1, 2, 3, 90), False),  # on the place of day 0, which is too old
        (soft(0, 1, 2, 3, 100), False),
        ({**soft(0, 1, 2, 3, 4), "delivered_at": NOW - 1}, True),
        ({**soft(0, 1, 2, 3, 4), "delivered_at": NOW}, False),
        ({**soft(0, 1, 2, 3, 4), "confirmed_at": NOW}, False),
        ({**soft(0, 1, 2, 3, 4), "lifted": {"soft_bounces": NOW}}, False),
        ({**soft(0, 1, 2, 3, 4), "lifted": {"hard_bounce": NOW + 9 * DAY}}, True),
    ],
)
def test_who_is_given_up(fields: dict[str, Any], wanted: bool) -> None:
    assert given_up(fields) is wanted


@settings(deadline=None)
@given(days=st.lists(st.integers(0, 400), max_size=40), delivered=st.none() | st.integers(0, 400))
def test_what_is_kept_is_enough(days: list[int], delivered: int | None) -> None:
    """90 places say the same as a list of every soft bounce ever."""
    fields = soft(*days) | ({} if delivered is None else {"delivered_at": NOW + delivered * DAY})
    late = {day for day in days if day > max(days) - 90 and day > (-1 if delivered is None else delivered)}
    assert given_up(fields) is (len(late) >= 5) and len(fields["soft"]) <= 90


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, []),
        ({"suppressed": ["unsubscribed", "complaint"]}, ["complaint", "unsubscribed"]),
        ({"suppressed": ["hard_bounce"]}, ["hard_bounce"]),
        ({"suppressed": ["hard_bounce"], "bounced_at": NOW, "lifted": {"hard_bounce": NOW - 1}}, ["hard_bounce"]),
        ({"suppressed": ["hard_bounce"], "bounced_at": NOW, "lifted": {"hard_bounce": NOW}}, []),
        ({"suppressed": ["complaint"], "lifted": {"complaint": NOW, "hard_bounce": NOW}}, ["complaint"]),  # never
        ({"suppressed": ["soft_bounces"]}, []),  # as a delivery told late would have it
        ({"suppressed": ["unsubscribed"], **soft(0, 1, 2, 3, 4)}, ["soft_bounces", "unsubscribed"]),
    ],
)
def test_the_reasons_in_force(fields: dict[str, Any], wanted: list[str]) -> None:
    assert in_force(fields) == wanted
    writes = settled(PATHS, document(**fields))
    if set(wanted) == set(fields.get("suppressed", ())):
        assert writes == []
    else:
        segments = [] if wanted else ["everyone", "vip"]
        assert writes == [
            Merge(PATHS.subscriber(SID), {"suppressed": wanted, "segments": segments}, if_version="7"),
            Merge(PATHS.suppression(SID), {"reasons": wanted}),
        ]


@pytest.mark.parametrize("reason", ["hard_bounce", "soft_bounces", "unsubscribed"])
def test_a_lift_is_kept_with_who_and_why(reason: str) -> None:
    held = document(suppressed=["complaint", reason], bounced_at=NOW, **soft(0, 1, 2, 3, 4), lifted={"other": 3})
    changed, kept, trail = lift(PATHS, held, reason, " Ada ", "Asked by phone.", NOW - 5)
    assert isinstance(changed, Merge) and changed.if_version == "7"
    until = {"hard_bounce": NOW, "soft_bounces": NOW + 4 * DAY, "unsubscribed": NOW - 5}[reason]
    lifted = {"other": 3, reason: until}
    assert changed.data == {"suppressed": ["complaint"], "segments": [], "lifted": lifted}
    assert kept == Merge(PATHS.suppression(SID), {"reasons": ["complaint"]})
    told = {"reason": reason, "by": "Ada", "why": "Asked by phone.", "at": NOW - 5, "reasons": ["complaint", reason]}
    assert trail == Create(f"{PATHS.suppression(SID)}/lifts/{NOW - 5}-{reason}", told)  # a Create: nothing overwrites it


@pytest.mark.parametrize("reason", ["hard_bounce", "soft_bounces", "unsubscribed"])
def test_after_a_lift_the_reader_is_mailable_and_nothing_is_left_to_settle(reason: str) -> None:
    fields = {"hard_bounce": {"bounced_at": NOW}, "soft_bounces": soft(0, 1, 2, 3, 4), "unsubscribed": {}}[reason]
    held = document(suppressed=[reason], **fields)
    changed = lift(PATHS, held, reason, "Ada", "Asked by phone.", NOW)[0]
    assert isinstance(changed, Merge) and changed.data["segments"] == ["everyone", "vip"]
    assert settled(PATHS, document(**{**held.data, **changed.data})) == []


@pytest.mark.parametrize(
    ("reason", "by", "why", "sentence"),
    [
        ("complaint", "Ada", "They like us again.", "A complaint is never lifted: this reader reported our mail as unwanted."),
        ("soft_bounces", "Ada", "x", "This reader is not suppressed for that reason."),
        ("nonsense", "Ada", "x", "This reader is not suppressed for that reason."),
        ("hard_bounce", " ", "x", "Say who lifts this and why."),
        ("hard_bounce", "Ada", "", "Say who lifts this and why."),
    ],
)
def test_a_lift_that_is_refused(reason: str, by: str, why: str, sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        lift(PATHS, document(suppressed=["complaint", "hard_bounce"]), reason, by, why, NOW)
    assert str(error.value) == sentence


def test_what_a_confirmed_return_lifts() -> None:
    assert {"erased", "soft_bounces", "unsubscribed"} == LIFTABLE and set(REASONS) > LIFTABLE
    assert strongest(["unsubscribed", "soft_bounces"]) == "soft_bounces"
    assert strongest(["soft_bounces", "hard_bounce"]) == "hard_bounce"
