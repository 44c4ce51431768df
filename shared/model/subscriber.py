"""Who may be mailed. The subscriber document holds consent status, the mirrored suppressions and the segment index.

address     as we mail it; absent after erasure
status      "confirmed", or absent while pending
suppressed  reasons, mirrored from suppressions/{sid} in the same commit
segments    an index for batches to read by, empty unless mailable; never the truth
tags, name, language, created_at, confirmed_at, consent
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from shared.model.paths import Paths
from shared.ports import ArrayUnion, Merge, Minimum, Write

CONFIRMED = "confirmed"
EVERYONE = "everyone"
Reason = Literal["complaint", "hard_bounce", "unsubscribed"]
REASONS: tuple[Reason, ...] = ("complaint", "hard_bounce", "unsubscribed")  # strongest first
LIFTABLE: frozenset[str] = frozenset({"unsubscribed"})  # a confirmed re-consent lifts these only

_TAG = re.compile(r"[^\W_](?:[\w -]{0,38}[^\W_])?")


def mailable(subscriber: Mapping[str, Any]) -> bool:
    """Confirmed, not suppressed, and with an address."""
    return subscriber.get("status") == CONFIRMED and not subscriber.get("suppressed") and bool(subscriber.get("address"))


def segments_of(subscriber: Mapping[str, Any]) -> list[str]:
    """Every segment the subscriber is in by rule: everyone, and one per tag; none unless mailable."""
    return [EVERYONE, *subscriber.get("tags", [])] if mailable(subscriber) else []


def in_segment(subscriber: Mapping[str, Any], segment: str) -> bool:
    """The rule itself, on a document just read: the index may be stale."""
    return segment in segments_of(subscriber)


def tags_of(text: str) -> list[str]:
    """Tags from a cell or field: separated by commas or semicolons, lower-case, unique, in order; unusable ones are left out."""
    found = (part.strip().lower() for part in re.split(r"[,;]", text))
    return list(dict.fromkeys(tag for tag in found if _TAG.fullmatch(tag) and tag != EVERYONE))[:20]


def strongest(reasons: Iterable[str]) -> Reason | None:
    """The reason to show for a suppression."""
    held = set(reasons)
    return next((reason for reason in REASONS if reason in held), None)


def suppress(paths: Paths, sid: str, reason: Reason, source: str, at: int) -> list[Write]:
    """The writes that suppress somebody: blind, order-free and idempotent, so a replay or a race changes nothing.

    `source`: what told us, in ids and words ("campaign C-0001"); `at` in milliseconds.
    """
    return [
        Merge(
            paths.suppression(sid),
            {"reasons": ArrayUnion((reason,)), f"{reason}_at": Minimum(at), f"{reason}_sources": ArrayUnion((source,))},
        ),
        Merge(paths.subscriber(sid), {"suppressed": ArrayUnion((reason,)), "segments": []}),
    ]
