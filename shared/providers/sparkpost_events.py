"""SparkPost's event webhooks.

Sources: "the reference" is https://developers.sparkpost.com/api/webhooks, "authentication"
https://support.sparkpost.com/docs/tech-resources/webhook-authentication, "classes"
https://support.sparkpost.com/docs/deliverability/bounce-classification-codes.

- Nothing is signed. SparkPost logs in as the webhook says: with a user and password, with the bearer token of an OAuth server, or, of
  old webhooks, with a token in X-MessageSystems-Webhook-Token (authentication). The secret is "user:password" or such a token; there
  is no token server here. The addresses it calls from are no proof.
- A batch is a list of {"msys": {class: event}}. The test batch has an empty "msys". Anything but 200 is sent again for 8 hours, and an
  event's `event_id` is unique (reference). Times are Unix seconds, written as text.
- Metadata given at sending come back in `rcpt_meta` (reference), by API or in the header X-MSYS-API
  (https://developers.sparkpost.com/api/smtp): `ref` is ours.
- A bounce is judged by its class; an enhanced status in `reason` can only make it milder. Timeouts (24) and transient failures (70)
  are soft there and say nothing of the address here, nor does what is undetermined (1). A person's robot that answers (60, 100) and a
  subscription (80) are no bounce.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.errors import BadInput
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, check_login, listed, made, mail_of, objects, ref_in, seconds, text

SECRET = "webhook-sparkpost"
ANSWER: Final = 200
TOKEN: Final = "x-messagesystems-webhook-token"

_CLASSES = ("message_event", "gen_event", "unsubscribe_event")  # others speak of opens, clicks, inbound mail and tests

_TYPES: Mapping[str, Type | None] = {  # None: left out
    "delivery": "delivered",
    "delay": "deferred",
    "bounce": "bounced",
    "out_of_band": "bounced",
    "policy_rejection": "bounced",
    "generation_failure": "bounced",
    "generation_rejection": "bounced",
    "spam_complaint": "complained",
    "list_unsubscribe": "unsubscribed",
    "link_unsubscribe": "unsubscribed",
    "injection": None,
    "sms_status": None,
}

_BOUNCES: Mapping[str, Bounce | None] = {  # bounce_class; None: no bounce. Others say nothing of the address
    "10": "hard",  # invalid recipient
    "20": "counts",  # soft bounce
    "21": "counts",  # DNS failure
    "22": "counts",  # mailbox full
    "23": "counts",  # too large for the recipient
    "30": "hard",  # no recipient
    "40": "counts",  # generic
    "60": None,  # auto-reply
    "80": None,  # subscribe
    "90": "hard",  # unsubscribe: not to be mailed again
    "100": None,  # challenge-response
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    check_login(request, keys, TOKEN)


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    return listed(objects(request.body), _event, links, now)


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    wrapped = item.get("msys")
    if not isinstance(wrapped, dict) or not all(isinstance(found, dict) for found in wrapped.values()):
        raise BadInput("Each event must be an object in msys.")
    found = next((wrapped[name] for name in _CLASSES if name in wrapped), None)
    if found is None:
        return None
    kind = _TYPES.get(text(found.get("type")), "unknown")
    grade = text(found.get("bounce_class"))
    bounce = _BOUNCES.get(grade, "") if text(found.get("type")) in ("bounce", "out_of_band") else ""
    if kind is None or bounce is None:
        return None
    ref = mail_of("sparkpost", links, ref_in(found.get("rcpt_meta")))
    if ref is None:
        return None
    codes = [found.get("error_code"), found.get("bounce_class")] if kind in ("bounced", "deferred") else []
    at = seconds(found.get("timestamp"), now)
    return made("sparkpost", kind, ref, at, bounce=weighed(bounce, found.get("reason")), codes=codes, id=found.get("event_id"))
