"""Resend's webhooks, signed by Svix.

Sources: "verifying" is https://docs.svix.com/receiving/verifying-payloads/how-manual (https://resend.com/docs/webhooks/verify-webhooks-requests
points there), "events" https://resend.com/docs/webhooks/event-types, "bounces" https://resend.com/docs/dashboard/emails/email-bounces.

- svix-signature is a list of "v1,{base64 HMAC-SHA-256(key, "{svix-id}.{svix-timestamp}.{body}")}", several while a key rotates; the key
  is the base64 after "whsec_" of the signing secret; the timestamp is in seconds, five minutes to both sides (verifying).
- svix-id names an event, also when it is sent again; `created_at` is when it happened, that of `data` when the mail was made (events).
- Tags come back, as an object of names and values (events) or a list of {name, value}. A value holds ASCII letters, digits, _ and - only,
  so the tag `ref` is our ref with "_" for "~". `message_id`, and a Message-ID among `headers`, may be ours.
- A bounce has a type and a subtype (bounces). "Permanent" is for good where it speaks of the address. The page of email.bounced says
  "Temporary" where that of bounces says "Transient": both are read. What servers said (`diagnosticCode`) can only make it milder.
- A suppressed mail was not tried; of a failed one Resend says that it was ours (quota, domain, key).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shared.errors import BadInput, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, iso, made, mail_of, objects, reply, text, within
from shared.providers.signatures import fresh, same, texts

SECRET = "webhook-resend"
ANSWER: Final = 200

_ID = re.compile(r"[!-\-/-~]{1,200}")  # without a dot, which parts what is signed
_TAG = re.compile(r"([A-Za-z0-9-]{1,40})_([A-Za-z0-9_-]{22})_([A-Za-z0-9-]{0,40})")

_TYPES: Mapping[str, Type | None] = {  # None: left out
    "email.delivered": "delivered",
    "email.delivery_delayed": "deferred",
    "email.bounced": "bounced",
    "email.failed": "bounced",
    "email.suppressed": "bounced",
    "email.complained": "complained",
    **dict.fromkeys(("email.sent", "email.scheduled", "email.opened", "email.clicked", "email.received")),
}

_BOUNCES: Mapping[tuple[str, str], Bounce] = {  # others say nothing of the address
    ("Permanent", "General"): "hard",
    ("Permanent", "NoEmail"): "hard",
    ("Permanent", "Suppressed"): "hard",  # "a history of producing hard bounces"
    ("Permanent", "OnAccountSuppressionList"): "hard",
    ("Transient", "General"): "counts",
    ("Transient", "MailboxFull"): "counts",
    ("Temporary", "General"): "counts",
    ("Temporary", "MailboxFull"): "counts",
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    id = request.headers.get("svix-id", "")
    if not _ID.fullmatch(id):
        raise Unauthenticated("webhook: no message id")
    signed = f"{id}.{fresh(request.headers.get('svix-timestamp'), now)}.".encode() + request.body
    proofs = request.headers.get("svix-signature", "").split(" ")[:8]
    for key in _keys(keys):
        expected = f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
        if any(same(given, expected) for given in proofs):
            return
    raise Unauthenticated("webhook: no valid signature")


def _keys(secrets: Sequence[bytes]) -> Iterator[bytes]:
    """The keys in the secrets of the right form; their padding may be missing."""
    for secret in texts(secrets):
        encoded = secret.removeprefix("whsec_").rstrip("=")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except ValueError:
            continue
        if key:
            yield key


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    id = request.headers.get("svix-id", "")
    events = [_event(item, id, links, now) for item in objects(request.body)]
    return [event for event in events if event]


def _event(item: Mapping[str, Any], id: str, links: Links, now: int) -> Event | None:
    name, data = item.get("type"), item.get("data")
    if not isinstance(name, str) or not isinstance(data, dict):
        raise BadInput("An event must have its name in type, and data.")
    kind = _TYPES.get(name, "unknown" if name.startswith("email.") else None)
    if kind is None:
        return None
    ref = mail_of("resend", links, *_refs(data))
    if ref is None:
        return None
    at = iso(item.get("created_at"), now)
    bounce, codes = _bounce(data.get("bounce")) if name == "email.bounced" else ("", [])
    words = [*codes, within(data, "suppressed", "type"), within(data, "failed", "reason")]
    return made("resend", kind, ref, at, bounce=bounce, codes=words, id=id)


def _bounce(found: object) -> tuple[Bounce, list[object]]:
    """What it says of the address, the milder of its type and of the servers' answers, and its codes."""
    type, subtype, answers = (within(found, name) for name in ("type", "subType", "diagnosticCode"))
    answers = answers[:20] if isinstance(answers, list) else [answers]
    bounce: Bounce = _BOUNCES.get((text(type), text(subtype)), "")
    for answer in answers:
        bounce = weighed(bounce, answer)
    return bounce, [reply(*answers), subtype]


def _refs(data: Mapping[str, Any]) -> Iterator[object]:
    """What may name our mail: the tag, then the Message-ID."""
    tags = data.get("tags")
    named = within(tags, "ref") if isinstance(tags, dict) else _named(tags, "ref")
    found = _TAG.fullmatch(text(named))
    yield "~".join(found.groups()) if found else ""
    yield data.get("message_id")
    yield _named(data.get("headers"), "message-id")


def _named(pairs: object, name: str) -> object:
    """The value of a name, in any case, in a list of {name, value}."""
    listed = pairs if isinstance(pairs, list) else []
    return next((within(pair, "value") for pair in listed if text(within(pair, "name")).lower() == name), None)
