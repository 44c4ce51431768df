"""An event as the operator's endpoints get it: a Standard Webhooks payload, ids only. docs/events-out.md shows one of each type."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from shared.model.event import Event

_LAST: Final = 253_402_300_799_999  # ms: the end of the year 9999, which ISO 8601 ends with


def type_of(event: Event) -> str:
    """As in `shared.model.endpoint.TYPES`."""
    return f"mail.{event.type}"


def webhook_id(tenant: str, event: Event) -> str:
    """The same for the same event, whenever and however often it is posted: made of what tells it from every other. A field that a later
    version adds must not join these, or an event on its way while that is deployed would have two ids."""
    what = [event.type, event.ref, event.at, event.label, event.reason, event.link, event.hard, event.counts]
    told = json.dumps([tenant, *what, event.code, event.provider, event.id])
    return "evt_" + hashlib.sha256(told.encode()).hexdigest()[:32]


def payload(event: Event) -> str:
    """JSON in ASCII, without spaces: what is signed is what is sent."""
    body = {"type": type_of(event), "timestamp": _iso(event.at), "data": _data(event)}
    return json.dumps(body, separators=(",", ":"))


def _data(event: Event) -> dict[str, Any]:
    mail = event.mail
    data: dict[str, Any] = {"mail": event.ref, "campaign": mail.campaign, "subscriber": mail.sid}
    if event.type == "bounced":
        data["bounce"] = "hard" if event.hard else "soft" if event.counts else "other"
    if event.link >= 0:
        data["link"] = event.link
    for name in ("label", "reason", "country", "city", "device", "code", "provider"):
        if value := getattr(event, name):
            data[name] = value
    if event.id:
        data["order" if event.type == "converted" else "provider_event"] = event.id
    if event.currency:
        data |= {"value": f"{Decimal(event.value).scaleb(-6):f}", "currency": event.currency}
    return data


def _iso(at: int) -> str:
    return datetime.fromtimestamp(min(at, _LAST) // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % 1000:03}Z"
