"""The generic webhook: for any system that can sign a body with HMAC. The twin's mailbox is one.

webhook-timestamp: 1767225600
webhook-signature: v1,{base64 HMAC-SHA-256(key, "{timestamp}.{body}")}      several, space-separated, while a key rotates

{"id": "…", "event": "delivered" | "bounced" | "complained", "message_id": "<…>", "at": milliseconds,
 "hard": false, "code": "550 5.1.1"}                                        or a list of these
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Sequence
from typing import Any

from shared.errors import BadInput, BadToken, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.logs import log
from shared.model.event import Event, Type

SECRET = "webhook-generic"
WINDOW = 300  # seconds, to both sides
EARLIEST = 946_684_800_000  # 2000-01-01: a smaller time is in other units, or none
AHEAD = 86_400_000  # ms that the sender's clock may run before ours

_TYPES: dict[str, Type] = {
    "delivered": "delivered",
    "bounced": "bounced",
    "complained": "complained",
}


def sign(body: bytes, key: bytes, timestamp: int) -> str:
    """The value of `webhook-signature` for one key."""
    digest = hmac.digest(key, f"{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """Constant-time, over the raw body; raises Unauthenticated for anything malformed, stale or unsigned."""
    stamp = request.headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13) or abs(now / 1000 - int(stamp)) > WINDOW:
        raise Unauthenticated("webhook: no fresh timestamp")
    for proof in request.headers.get("webhook-signature", "").split()[:8]:
        version, _, encoded = proof.partition(",")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        for key in keys:
            expected = hmac.digest(key, f"{stamp}.".encode() + request.body, "sha256")
            if version == "v1" and hmac.compare_digest(given, expected):
                return
    raise Unauthenticated("webhook: no valid signature")


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """Events of ours. One that speaks of no mail of ours is logged and left out: the sender cannot mend it."""
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        raise BadInput("The body must be JSON.") from None
    events = [_event(item, links, now) for item in (found if isinstance(found, list) else [found])]
    return [event for event in events if event]


def _event(item: Any, links: Links, now: int) -> Event | None:
    if not isinstance(item, dict) or not isinstance(item.get("message_id"), str):
        raise BadInput("Each event needs an id, an event, a message_id and a time in milliseconds.")
    at = item.get("at")
    if type(at) is not int or not EARLIEST <= at <= now + AHEAD:
        raise BadInput("The time of an event must be in milliseconds, since 2000 and at most a day ahead.")
    try:
        ref = links.read_message_id(item["message_id"])
    except BadToken:
        log("WARNING", "webhook: a message id that is not ours")
        return None
    event = Event(
        type=_TYPES.get(str(item.get("event")), "unknown"),
        ref=ref.text,
        at=at,
        hard=item.get("hard") is True,
        code=re.sub(r"[^ -~]", "", str(item.get("code") or ""))[:40],
        provider="generic",
    )
    return Event.from_message(event.to_message())
