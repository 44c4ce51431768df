"""Who may be mailed, and what a suppression writes."""

from __future__ import annotations

from typing import Any

import pytest

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
    ("text", "tags"),
    [
        ("", []),
        ("VIP", ["vip"]),
        ("a, b;c ,a,,", ["a", "b", "c"]),
        ("everyone, Everyone", []),
        ("coffee lovers, são paulo, 2026-q1", ["coffee lovers", "são paulo", "2026-q1"]),
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
