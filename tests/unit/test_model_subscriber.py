"""Who may be mailed, and what a suppression writes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.model import subscriber as model
from shared.model.paths import Paths
from shared.model.subscriber import in_segment, mailable, segments_of, strongest, suppress, tags_of

GOOD: dict[str, Any] = {"address": "a@example.com", "status": "confirmed", "tags": ["vip"]}


@pytest.mark.parametrize(
    ("changes", "yes"),
    [
        ({}, True),
        ({"suppressed": []}, True),
        ({"suppressed": ["unsubscribed"]}, False),
        ({"status": "pending"}, False),
        ({"status": None}, False),
        ({"address": ""}, False),
    ],
)
def test_mailable(changes: dict[str, Any], yes: bool) -> None:
    subscriber = GOOD | changes
    assert mailable(subscriber) is yes
    assert segments_of(subscriber) == (["everyone", "vip"] if yes else [])
    assert in_segment(subscriber, "vip") is yes and in_segment(subscriber, "other") is False


@pytest.mark.parametrize(
    ("fields", "country"),
    [
        ({}, ""),
        ({"located": {}}, ""),
        ({"located": None, "country": "DE"}, "DE"),
        ({"located": {"seen": {"PT": 1, "BR": 2, "FR": 1}}}, "BR"),
        ({"located": {"seen": {"PT": 2, "BR": 2}}}, "PT"),  # the same one each time
        ({"located": {"seen": {"BR": 2, "PT": 2}}}, "PT"),
        ({"located": {"seen": {"PT": 2}}, "country": "DE"}, "DE"),
        ({"located": {"seen": {"PT": 2}}, "country": ""}, "PT"),
    ],
)
def test_the_country_is_the_declared_one_else_the_last_located(fields: dict[str, Any], country: str) -> None:
    assert model.country_of(fields) == country


def test_an_older_sign_up_takes_nothing_back() -> None:
    held = {"seen": {"PT": 5}}
    older, newer = {"country": "PT", "city": "Porto"}, {"country": "PT", "city": "Lisbon"}
    assert model.signed_up_from(held, older, 3) == {"country": "PT", "city": "Porto", "at": 3, "seen": {"PT": 5}}
    for order in ([(older, 3), (newer, 9)], [(newer, 9), (older, 3)]):
        found: dict[str, Any] = held
        for place, at in order:
            found = model.signed_up_from(found, place, at)
        assert found == {"country": "PT", "city": "Lisbon", "at": 9, "seen": {"PT": 9}}


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        ("VIP", ["vip"]),
        ("a, b;c ,a,,", ["a", "b", "c"]),
        ("everyone, Everyone", []),
        ("coffee lovers, são paulo, 2026-q1", ["coffee lovers", "são paulo", "2026-q1"]),
        ("R&D, C++, C#, Node.js, .net, c., +1", ["r&d", "c++", "c#", "node.js"]),
        ("हिन्दी, ไทย, العربيّة, می\u200cخواهم", ["हिन्दी", "ไทย", "العربيّة", "می\u200cخواهم"]),
        ("CAFE\u0301, \u0301x", ["café"]),
        ("x" * 40, ["x" * 40]),
        ("=1+1, -x, x-, _y, a/b, " + "x" * 41, []),
        (",".join(f"t{n}" for n in range(50)), [f"t{n}" for n in range(20)]),
    ],
)
def test_tags(text: str, tags: list[str]) -> None:
    assert tags_of(text) == tags


def test_the_strongest_reason_is_shown() -> None:
    assert strongest(["unsubscribed", "complaint", "hard_bounce"]) == "complaint"
    assert strongest(["unsubscribed", "hard_bounce"]) == "hard_bounce"
    assert strongest([]) is None


def test_a_suppression_is_two_blind_writes() -> None:
    writes = suppress(Paths("t"), "s", "complaint", "mail of C-0001", 5)
    assert [write.path for write in writes] == ["tenants/t/suppressions/s", "tenants/t/subscribers/s"]
    assert all(getattr(write, "if_version", None) is None for write in writes)


def test_tags_left_out_are_named() -> None:
    assert model.left_out("VIP, a/b; everyone,, =1, A/B") == ["a/b", "=1"]
    assert model.left_out(",".join(f"t{n}" for n in range(22))) == ["t20", "t21"]
    assert model.left_out("") == []


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("Zoë", True),
        ("", True),
        ("می\u200cخواهم", True),
        ("ශ්\u200dරී", True),
        ("a\u200bb", False),
        ("a\u202eb", False),
        ("a\nb", False),
        ("\ud800", False),
    ],
)
def test_names_of_every_script_can_be_shown(name: str, good: bool) -> None:
    assert model.printable_name(name) is good
