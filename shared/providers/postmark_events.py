"""Callbacks of Postmark. Sending: postmark.py.

Secret `webhook-postmark`: `user:password` of the webhook's basic authentication, or the value of the header X-Webhook-Token that
it was given; one a version.

Sources: https://postmarkapp.com/developer/webhooks/webhooks-overview and its pages on each event, "types"
https://postmarkapp.com/developer/api/bounce-api#bounce-types, "retries"
https://postmarkapp.com/support/article/understanding-inbound-webhook-retries-in-postmark.

- Nothing is signed: whoever knows the password is Postmark, and a callback that is repeated is known by its body.
- Anything but 200 is sent again, a 403 never (retries).
- One event a POST, its kind in RecordType, a bounce's in Type (types). Metadata come back as they were given.
- SubscriptionChange tells whom Postmark will write to no more, and why; that it will again is not ours to follow.
- Opens and clicks are told by our own links.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.events import Bounce, check_login, iso, listed, made, mail_of, objects, within

SECRET = "webhook-postmark"
ANSWER = 200

_TIMES = ("BouncedAt", "DeliveredAt", "ChangedAt", "ReceivedAt")
_TYPES: dict[str, tuple[Type, Bounce] | None] = {  # Type of a bounce; None: left out; others say nothing of the address
    "HardBounce": ("bounced", "hard"),
    "BadEmailAddress": ("bounced", "hard"),
    "SoftBounce": ("bounced", "counts"),
    "Transient": ("deferred", ""),
    "DnsError": ("deferred", ""),  # "a temporary DNS error"
    "SpamComplaint": ("complained", ""),
    "Unsubscribe": ("unsubscribed", ""),
    "Subscribe": None,
    "AutoResponder": None,  # it arrived
    "AddressChange": None,
}
_OTHER: tuple[Type, Bounce] = ("bounced", "")
_STOPPED: dict[str, tuple[Type, Bounce]] = {  # SuppressionReason
    "HardBounce": ("bounced", "hard"),
    "SpamComplaint": ("complained", ""),
    "ManualSuppression": ("unsubscribed", ""),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    check_login(request, keys, "x-webhook-token")


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    return listed(objects(request.body), _event, links, now)


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    kind, code = _kind(item)
    ref = mail_of("postmark", links, _ref(item)) if kind else None
    if kind is None or ref is None:
        return None
    at = next((iso(item[name], now) for name in _TIMES if item.get(name)), now)
    return made("postmark", kind[0], ref, at, bounce=kind[1], codes=[code], id=item.get("ID"))


def _kind(item: dict[str, Any]) -> tuple[tuple[Type, Bounce] | None, object]:
    """What happened (None: left out), and its code."""
    match item.get("RecordType"):
        case "Delivery":
            return ("delivered", ""), ""
        case "Bounce":
            return _TYPES.get(str(item.get("Type")), _OTHER), item.get("Type")
        case "SpamComplaint":
            return ("complained", ""), item.get("Type")
        case "SubscriptionChange":
            reason = item.get("SuppressionReason")
            return (_STOPPED.get(str(reason)) if item.get("SuppressSending") is True else None), reason
        case "Open" | "Click":
            return None, ""
        case other:
            return ("unknown", ""), other


def _ref(item: dict[str, Any]) -> str:
    """See `postmark.metadata`."""
    first, second = within(item, "Metadata", "ref"), within(item, "Metadata", "ref2")
    return f"{first or ''}{second or ''}"
