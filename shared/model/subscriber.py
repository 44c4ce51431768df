"""Who may be mailed. The subscriber document holds consent status, the mirrored suppressions and the segment index.

address     as we mail it; written by a confirmation or an import, absent while pending and after erasure
asked       the spelling of the latest sign-up, where its confirmation goes; anybody can write it, so nothing else does
status      "confirmed", or absent while pending
suppressed  reasons, mirrored from suppressions/{sid} in the same commit; absent or empty for none
bounced_at  the latest bounce for good (ms); delivered_at: the latest delivery that a provider told of (ms)
soft        {day modulo 90: the last soft bounce of that day that counts (ms)}, see shared/model/suppression.py
lifted      {reason: as of when somebody lifted it (ms)}
segments    an index for batches to read by, empty unless mailable; never the truth: everyone, tags, and segments by rule as of the last
            sweep (functions/sync_sheet/segments.py)
country     as declared; nothing located ever replaces it
located     {seen: {country: latest ms}, and of the latest confirmed sign-up: country, city, zone, at}
engaged_at  the last open or click by a person (ms), absent for never
engaged     {hour of the day, UTC, "00" to "23": the last click by a person in that hour (ms)}
opens, clicks, machines  {week modulo 26: the last open or click by a person in that week, and the last one taken for a person's that
            turned out to be a machine's (ms)}, see shared/model/score.py
asked_at    the latest sign-up (ms), absent once it was confirmed
wanted      what the latest sign-up asked for, replaced as a whole, see functions/subscribe/handler.py
confirmations {consent: {at (ms), network, agent, message}} of each sign-up that was confirmed
topics      {tag: {on, at (ms), consent}} of those tags that readers choose themselves: the choice; `tags` follows it
paused_until no mail of a campaign before (ms); frequency: "" for every mail, "weekly", "monthly": at most one in 7 or 30 days
consented_at when they last agreed (ms): the first import, a confirmed sign-up, the answer to a mail that asked again
tags, name, language, created_at, confirmed_at, consent
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from shared.model.paths import Paths
from shared.ports import ArrayUnion, Maximum, Merge, Minimum, Write

if TYPE_CHECKING:
    from shared.model.conditions import Rule

HOUR = 3_600_000  # ms
CONFIRMED = "confirmed"
EVERYONE = "everyone"
MAX_NAME = 100  # characters
WEEK = 7 * 24 * HOUR
WEEKS = 26  # of opens and clicks that are kept
Reason = Literal["complaint", "hard_bounce", "erased", "soft_bounces", "unsubscribed"]
REASONS: tuple[Reason, ...] = ("complaint", "hard_bounce", "erased", "soft_bounces", "unsubscribed")  # strongest first
LIFTABLE: frozenset[str] = frozenset({"erased", "soft_bounces", "unsubscribed"})  # a confirmed re-consent lifts these only

_INSIDE = frozenset(
    " -_&+#.\u200c\u200d"
)  # in a tag besides letters, numbers and marks: R&D, node.js, and the zero-width joiners


def mailable(subscriber: Mapping[str, Any]) -> bool:
    """Confirmed, not suppressed, and with an address."""
    return subscriber.get("status") == CONFIRMED and not subscriber.get("suppressed") and bool(subscriber.get("address"))


def segments_of(subscriber: Mapping[str, Any]) -> list[str]:
    """The index of a document that is about to be written: everyone, one per tag, and what it holds besides, which are the segments by
    rule that sync_sheet's last sweep found; none unless mailable."""
    if not mailable(subscriber):
        return []
    return list(dict.fromkeys([EVERYONE, *subscriber.get("tags", []), *subscriber.get("segments", [])]))


def in_segment(subscriber: Mapping[str, Any], segment: str, rule: Rule | None = None, at: int = 0) -> bool:
    """Whether everyone, a tag, or the `rule` of a segment by rule as of `at` (ms) holds the subscriber, on a document just read: the index
    may be stale."""
    if not mailable(subscriber):
        return False
    return rule.holds(subscriber, at) if rule else segment == EVERYONE or segment in subscriber.get("tags", [])


def country_of(subscriber: Mapping[str, Any]) -> str:
    """The declared country (ISO 3166-1 alpha-2), else the one located last, "" when neither is known."""
    seen: Mapping[str, int] = (subscriber.get("located") or {}).get("seen", {})
    return str(subscriber.get("country") or max(seen, key=lambda code: (seen[code], code), default=""))


def engaged(paths: Paths, sid: str, at: int, *, clicked: bool, country: str = "") -> Write:
    """The write that notes a person's open or click at `at` (ms), and the country of a click where it is known: blind, order-free and
    idempotent. It makes nobody mailable. Of somebody erased it makes times and a country beside the tombstone,
    which the step privacy takes away again within a day."""
    data: dict[str, Any] = {
        "engaged_at": Maximum(at),
        f"{'clicks' if clicked else 'opens'}.{at // WEEK % WEEKS:02d}": Maximum(at),
    }
    if clicked:
        data[f"engaged.{at // HOUR % 24:02d}"] = Maximum(at)
    if country:
        data[f"located.seen.{country}"] = Maximum(at)
    return Merge(paths.subscriber(sid), data)


def overruled(paths: Paths, sid: str, at: int) -> Write:
    """The write that notes that an open or click at `at` (ms), told before as a person's, was a machine's: blind, order-free and
    idempotent."""
    return Merge(paths.subscriber(sid), {f"machines.{at // WEEK % WEEKS:02d}": Maximum(at)})


def signed_up_from(held: Mapping[str, Any], place: Mapping[str, str], at: int) -> dict[str, Any]:
    """The field `located` after `held`, for a sign-up from `place` (country, city, zone) at `at` (ms): the latest one counts."""
    seen: Mapping[str, int] = held.get("seen", {})
    country = place["country"]
    latest = held if held.get("at", -1) > at else {**place, "at": at}
    return {**latest, "seen": {**seen, country: max(at, seen.get(country, 0))}}


def printable_name(text: str) -> bool:
    """Whether a name can be shown. The zero-width joiners count: names in Persian, Hindi or Sinhala are spelled with them."""
    return text.replace("\u200c", "").replace("\u200d", "").isprintable()


def tag_form(text: str) -> str:
    """The one spelling of a tag or segment: lower-case, NFC."""
    return unicodedata.normalize("NFC", text.strip().lower())


def tags_of(text: str) -> list[str]:
    """Tags from a cell or field: separated by commas or semicolons, in their one form, unique, in order; unusable ones are left out."""
    found = dict.fromkeys(tag_form(part) for part in re.split(r"[,;]", text))
    return [tag for tag in found if usable_tag(tag) and tag != EVERYONE][:20]


def left_out(text: str) -> list[str]:
    """The tags in a cell or field that `tags_of` leaves out, in order; `everyone` needs no tag."""
    found = dict.fromkeys(tag_form(part) for part in re.split(r"[,;]", text))
    kept = {"", EVERYONE, *tags_of(text)}
    return [tag for tag in found if tag not in kept]


def usable_tag(tag: str) -> bool:
    """Up to 40 letters, numbers and marks of any script, with signs in between; `c++` and `c#` may end in theirs."""
    kinds = [unicodedata.category(char)[0] for char in tag]
    return (
        0 < len(tag) <= 40
        and kinds[0] in "LN"
        and (kinds[-1] in "LMN" or tag[-1] in "+#")
        and all(kind in "LMN" or char in _INSIDE for kind, char in zip(kinds, tag, strict=True))
    )


def strongest(reasons: Iterable[str]) -> Reason | None:
    """The reason to show for a suppression."""
    held = set(reasons)
    return next((reason for reason in REASONS if reason in held), None)


def suppress(paths: Paths, sid: str, reason: Reason, source: str, at: int) -> list[Write]:
    """The writes that suppress somebody: blind, order-free and idempotent, so a replay or a race changes nothing.

    `source`: what told us, in ids and words ("campaign C-0001"); `at` in milliseconds. A bounce for good also notes its time on the
    subscriber: one that was lifted since has to be seen for what it is when it is told again. `left_at` is the last time that somebody
    left: a sign-up from before it brings nobody back.
    """
    told = {"reasons": ArrayUnion((reason,)), f"{reason}_at": Minimum(at), f"{reason}_sources": ArrayUnion((source,))}
    mirror: dict[str, Any] = {"suppressed": ArrayUnion((reason,)), "segments": []}
    if reason == "hard_bounce":
        mirror["bounced_at"] = Maximum(at)
    if reason == "unsubscribed":
        told["left_at"] = Maximum(at)
    return [Merge(paths.suppression(sid), told), Merge(paths.subscriber(sid), mirror)]
