"""Callbacks of Twilio SendGrid: the Event Webhook, signed. Sending: sendgrid.py.

Secret `webhook-sendgrid`: the verification key that Settings > Mail Settings > Event Webhooks shows, one a version.

Sources: "security" is
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features, "the
reference" https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event.

- ECDSA (P-256) with SHA-256 over the timestamp's text and the raw body, its DER in base64 in a header, as is the timestamp
  (security).
- A list of events a POST (reference). Anything but a 2xx is sent again for 24 hours
  (https://sendgrid.com/docs/API_Reference/Webhooks/event.html says 200, so that is what it gets).
- Our custom_args stand in each event beside SendGrid's own names (reference). `smtp-id` is the Message-ID, ours where it was
  kept.
- A bounce's `type` is "bounce", or "blocked": turned away for now, and not suppressed by SendGrid. Its `bounce_classification` is
  one of seven (https://www.twilio.com/docs/sendgrid/ui/analytics-and-reporting/bounce-and-block-classifications), `status` the
  server's.
- A mail is dropped, not sent, because of an earlier bounce, complaint or wish to leave, told in `reason` (reference).
- Opens and clicks are told by our own links, and "processed" by the API's answer; lists of SendGrid's are not ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.errors import Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.logs import log
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, listed, made, mail_of, objects, seconds, text
from shared.providers.signatures import decoded, fresh, texts

SECRET = "webhook-sendgrid"
ANSWER = 200

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_PEM = "-----BEGIN PUBLIC KEY-----"

_TYPES: dict[str, Type | None] = {  # None: left out; others are "unknown"
    "delivered": "delivered",
    "deferred": "deferred",
    "bounce": "bounced",
    "dropped": "bounced",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": None,
    "processed": None,
    "open": None,
    "click": None,
    "account_status_change": None,
}
_CLASSES: dict[
    str, Bounce
] = {  # others say nothing of the address: Content, Frequency or Volume Too High, Reputation, Technical Failure
    "invalid address": "hard",
    "mailbox unavailable": "counts",
    "unclassified": "counts",
    "": "hard",  # before there were classes: a "bounce" is for good
}
_DROPPED: dict[str, tuple[Type, Bounce]] = {  # reason -> what it was; others say nothing of the address
    "bounced address": ("bounced", "hard"),
    "invalid": ("bounced", "hard"),
    "spam reporting address": ("complained", ""),
    "unsubscribed address": ("unsubscribed", ""),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    stamp = fresh(request.headers.get(_TIMESTAMP), now)
    proof = decoded(request.headers.get(_SIGNATURE))
    for written in texts(keys):
        if (key := _key(written)) and _holds(key, proof, stamp.encode() + request.body):
            return
    raise Unauthenticated("webhook: no valid signature")


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    return listed(objects(request.body), _event, links, now)


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    name = text(item.get("event"))
    kind = _TYPES.get(name, "unknown")
    ref = mail_of("sendgrid", links, item.get("ref"), item.get("smtp-id")) if kind else None
    if kind is None or ref is None:
        return None
    codes = [item.get("status"), name if kind == "unknown" else ""]
    bounce: Bounce = ""
    if name == "bounce":
        said = text(item.get("bounce_classification"))
        if item.get("type") != "blocked":
            bounce = weighed(_CLASSES.get(said.lower(), ""), item.get("status"))
        codes.append(said)
    elif name == "dropped":
        reason = text(item.get("reason"))
        kind, bounce = _DROPPED.get(reason.lower(), ("bounced", ""))
        codes = [reason if reason.lower() in _DROPPED else name]
    at = seconds(item["timestamp"], now) if "timestamp" in item else now
    return made("sendgrid", kind, ref, at, bounce=bounce, codes=codes, id=item.get("sg_event_id"))


@lru_cache(maxsize=8)
def _key(written: str) -> ec.EllipticCurvePublicKey | None:
    """A key in base64 as SendGrid shows it, or in PEM."""
    pem = written if written.startswith(_PEM) else f"{_PEM}\n{written}\n-----END PUBLIC KEY-----\n"
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    log("ERROR", f"secret {SECRET}: a version is no P-256 public key")
    return None


def _holds(key: ec.EllipticCurvePublicKey, proof: bytes, signed: bytes) -> bool:
    try:
        key.verify(proof, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
