"""Reasons that come with time and can be lifted: soft bounces that add up, and what an operator takes back.

The subscriber keeps what decides, as maxima only, so that any order and any repetition of the events ends in the same values:

    soft          {day modulo WINDOW: the last soft bounce of that UTC day that counts (ms)}. WINDOW days in a row fall on WINDOW
                  different keys, so a later day never hides one that still counts, and the map never grows beyond them
    delivered_at  the latest delivery; bounced_at: the latest bounce for good
    lifted        {reason: what is as old as this is lifted (ms)}
    confirmed_at  the latest confirmed consent of somebody who was not mailable: it lifts soft bounces as well

`in_force` is a function of these and of the reasons held. `suppressed`, and `reasons` of the suppression, are its result, kept because
segments, counts and the Sheet are read by them. A delivery that is told late takes soft bounces back, and a bounce that was lifted may be
told again, so the result cannot only grow: whoever adds to what decides reads the subscriber afterwards and, where `settled` says
so, puts the result right, on the version read. Of several at once the last reads all that was added, and what a stale one
would write is refused. So everything ends in the state that the set of the events says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.errors import BadInput
from shared.model.paths import Paths
from shared.model.subscriber import REASONS, segments_of
from shared.ports import ArrayUnion, Create, Document, Maximum, Merge, Minimum, Write

DAY: Final = 86_400_000  # ms
WINDOW: Final = 90  # days
ENOUGH: Final = 5  # days with a soft bounce


def soft_bounced(paths: Paths, sid: str, source: str, at: int) -> list[Write]:
    """The writes that note a soft bounce that counts, at `at` (ms): blind, order-free and idempotent. `settled` draws the conclusion."""
    return [
        Merge(paths.suppression(sid), {"soft_bounces_at": Minimum(at), "soft_bounces_sources": ArrayUnion((source,))}),
        Merge(paths.subscriber(sid), {f"soft.{at // DAY % WINDOW:02d}": Maximum(at)}),
    ]


def given_up(subscriber: Mapping[str, Any]) -> bool:
    """Whether ENOUGH of the WINDOW days up to the last soft bounce have one that nothing came after: no delivery, no confirmed
    consent, no lift."""
    since: int = max(
        subscriber.get("delivered_at", -1),
        subscriber.get("confirmed_at", -1),
        (subscriber.get("lifted") or {}).get("soft_bounces", -1),
    )
    times: list[int] = list((subscriber.get("soft") or {}).values())
    first = max(times, default=0) // DAY - WINDOW + 1  # day
    return sum(at > since and at // DAY >= first for at in times) >= ENOUGH


def in_force(subscriber: Mapping[str, Any]) -> list[str]:
    """The reasons that hold, strongest first."""
    held = set(subscriber.get("suppressed") or ())
    if (subscriber.get("lifted") or {}).get("hard_bounce", -1) >= subscriber.get("bounced_at", 0):
        held.discard("hard_bounce")
    held.discard("soft_bounces")
    if given_up(subscriber):
        held.add("soft_bounces")
    return [reason for reason in REASONS if reason in held]


def settled(paths: Paths, subscriber: Document) -> list[Write]:
    """The writes that make the reasons kept those in force, on the version read; none where they are. Every write of a reason
    changes the subscriber, so its version guards the suppression too."""
    reasons = in_force(subscriber.data)
    if set(reasons) == set(subscriber.data.get("suppressed") or ()):
        return []
    return _kept(paths, subscriber, reasons, {})


def lift(paths: Paths, subscriber: Document, reason: str, by: str, why: str, at: int) -> list[Write]:
    """The writes by which an operator takes a reason back: who (`by`), why, and when (ms), as a document of its own under the suppression
    that nothing changes later. What was told until then stays lifted however often it is told again; something new suppresses anew.

    Commit them together; Conflict means that the subscriber changed meanwhile (or that it was done): read it again. Raises BadInput for a
    complaint and an erasure, for a reason that is not there, and without a name or a reason why.
    """
    held: list[str] = list(subscriber.data.get("suppressed") or ())
    if reason == "complaint":
        raise BadInput("A complaint is never lifted: this reader reported our mail as unwanted.")
    if reason == "erased":
        raise BadInput("An erasure is taken back by its reader alone, who signs up again and confirms.")
    if reason not in held:
        raise BadInput("This reader is not suppressed for that reason.")
    if not by.strip() or not why.strip():
        raise BadInput("Say who lifts this and why.")
    told = {"hard_bounce": [subscriber.data.get("bounced_at", 0)], "soft_bounces": (subscriber.data.get("soft") or {}).values()}
    lifted = {**(subscriber.data.get("lifted") or {}), reason: max([at, *told.get(reason, ())])}
    trail = {"reason": reason, "by": by.strip()[:200], "why": why.strip()[:1000], "at": at, "reasons": held}
    return [
        *_kept(paths, subscriber, [other for other in held if other != reason], {"lifted": lifted}),
        Create(paths.lift(subscriber.id, f"{at}-{reason}"), trail),
    ]


def _kept(paths: Paths, subscriber: Document, reasons: list[str], data: Mapping[str, Any]) -> list[Write]:
    fresh = {**data, "suppressed": reasons}
    fresh["segments"] = segments_of({**subscriber.data, **fresh})
    return [
        Merge(subscriber.path, fresh, if_version=subscriber.version),
        Merge(paths.suppression(subscriber.id), {"reasons": reasons}),
    ]
