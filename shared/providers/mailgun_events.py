"""Callbacks of Mailgun. Sending: mailgun.py.

Secret `webhook-mailgun`: the HTTP webhook signing key of the account, one a version.

Sources: "security" is https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks, "events"
https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure, "retries"
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries.

- HMAC-SHA-256 over timestamp and token, in hex, all three in the body (security). The event is not signed, so a token is good for
  one callback: what comes with it a second time is taken for a repetition, whatever it says.
- A 200 is success, 406 is given up, and anything else is sent again for 8 hours, but for "delivered" (retries).
- User variables (v:) come back as `user-variables`. A `failed` mail that Mailgun goes on trying has the severity "temporary"
  (events).
- A `reason` that begins with "suppress-" is an address on one of Mailgun's own lists, "old" one that was tried for hours in vain.
  These words are in the examples and nowhere listed, so others go by the server's code (`delivery-status`).
- Opens and clicks are told by our own links, "accepted" by the API's answer.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Sequence
from typing import Any

from shared.errors import BadInput, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, made, mail_of, objects, seconds, text, within
from shared.providers.signatures import fresh, proof, same, texts

SECRET = "webhook-mailgun"
ANSWER = 200

_TYPES: dict[str, Type | None] = {  # None: left out; others are "unknown"
    "delivered": "delivered",
    "failed": "bounced",
    "rejected": "bounced",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "accepted": None,
    "stored": None,
    "opened": None,
    "clicked": None,
}
_REASONS: dict[str, tuple[Type, Bounce]] = {
    "suppress-bounce": ("bounced", "hard"),
    "suppress-complaint": ("complained", ""),
    "suppress-unsubscribe": ("unsubscribed", ""),
    "old": ("bounced", "counts"),
}
_CODES: dict[str, Bounce] = {  # others say nothing of the address
    **dict.fromkeys(("550", "551", "553", "556", "605"), "hard"),
    **dict.fromkeys(("552", "498", "499"), "counts"),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    given = proof(request.body).get("signature")
    token, signature = within(given, "token"), within(given, "signature")
    stamp = fresh(within(given, "timestamp"), now)
    if not (isinstance(token, str) and token.isascii() and 0 < len(token) <= 200 and isinstance(signature, str)):
        raise Unauthenticated("webhook: no signature")
    signed = f"{stamp}{token}".encode()
    if not any(same(signature, hmac.digest(key.encode(), signed, "sha256").hex()) for key in texts(keys)):
        raise Unauthenticated("webhook: no valid signature")


def signed(request: Request) -> bytes:
    """Timestamp and token, of a verified callback."""
    given = proof(request.body)["signature"]
    return f"{given['timestamp']}{given['token']}".encode()


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    item = objects(request.body)[0].get("event-data")
    if not isinstance(item, dict) or not (name := text(item.get("event"))):
        raise BadInput("The body is not the provider's.")
    kind = _TYPES.get(name, "unknown")
    message_id = within(item, "message", "headers", "message-id")
    ref = mail_of("mailgun", links, within(item, "user-variables", "ref"), message_id) if kind else None
    if kind is None or ref is None:
        return []
    bounce: Bounce = ""
    codes = [within(item, "delivery-status", "enhanced-code"), within(item, "delivery-status", "code"), item.get("reason")]
    if name == "failed":
        kind, bounce = _failed(item)
    elif kind in ("unknown", "bounced"):
        codes = [name]
    at = item.get("timestamp", now // 1000)
    at = seconds(int(at) if isinstance(at, float) and math.isfinite(at) else at, now)
    return [made("mailgun", kind, ref, at, bounce=bounce, codes=codes, id=item.get("id"))]


def _failed(item: dict[str, Any]) -> tuple[Type, Bounce]:
    if item.get("severity") == "temporary":
        return "deferred", ""
    reason = text(item.get("reason"))
    if reason in _REASONS:
        return _REASONS[reason]
    code, status = (within(item, "delivery-status", name) for name in ("code", "enhanced-code"))
    return "bounced", weighed(_CODES.get(text(code), ""), status)
