"""The generic webhook: for any system that can sign a body with HMAC. The twin's mailbox is one.

webhook-timestamp: 1767225600
webhook-signature: v1,{base64 HMAC-SHA-256(key, "{timestamp}.{body}")}      several, space-separated, while a key rotates

{"id": "…", "event": "delivered" | "deferred" | "bounced" | "complained" | "unsubscribed", "message_id": "<…>",
 "at": milliseconds, "hard": false, "counts": false, "code": "550 5.1.1"}   or a list of these

`hard` and `counts`: see `Event`. The `id` tells one event from every other.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Any

from shared.errors import BadInput, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.events import AHEAD, EARLIEST, Bounce, made, mail_of, objects
from shared.providers.signatures import fresh, same

SECRET = "webhook-generic"

_TYPES: dict[str, Type] = {
    "delivered": "delivered",
    "deferred": "deferred",
    "bounced": "bounced",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
}


def sign(body: bytes, key: bytes, timestamp: int) -> str:
    """The value of `webhook-signature` for one key."""
    return _signed(body, key, str(timestamp))


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """Constant-time, over the raw body; raises Unauthenticated for anything malformed, stale or unsigned."""
    stamp = fresh(request.headers.get("webhook-timestamp"), now)
    proofs = request.headers.get("webhook-signature", "").split(" ")[:8]
    if "" in proofs or not any(same(proof, _signed(request.body, key, stamp)) for key in keys for proof in proofs):
        raise Unauthenticated("webhook: no valid signature")


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """Events of ours. One that speaks of no mail of ours is logged and left out: the sender cannot mend it."""
    events = [_event(item, links, now) for item in objects(request.body)]
    return [event for event in events if event]


def _signed(body: bytes, key: bytes, stamp: str) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, f"{stamp}.".encode() + body, "sha256")).decode()


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    if not isinstance(item.get("message_id"), str):
        raise BadInput("Each event needs an id, an event, a message_id and a time in milliseconds.")
    at = item.get("at")
    if type(at) is not int or not EARLIEST <= at <= now + AHEAD:
        raise BadInput("The time of an event must be in milliseconds, since 2000 and at most a day ahead.")
    ref = mail_of("generic", links, item["message_id"])
    if ref is None:
        return None
    bounce: Bounce = "hard" if item.get("hard") is True else "counts" if item.get("counts") is True else ""
    code = re.sub(r"[^ -~]", "", str(item.get("code") or ""))[:40]
    kind = _TYPES.get(str(item.get("event")), "unknown")
    return made("generic", kind, ref, at, bounce=bounce, codes=[code], id=item.get("id"))
