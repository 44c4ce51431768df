"""Callbacks of Mailchimp Transactional (Mandrill). Sending: mandrill.py.

Secret `webhook-mandrill`: the key of the webhook (Settings > Webhooks), one a version. Its URL must be ours without a query.

Articles are at https://mandrill.zendesk.com/hc/en-us/articles/.

- HMAC-SHA-1 over the webhook's URL as it was entered and the POST's variables, each name and value, sorted by name; in base64 in
  X-Mandrill-Signature (article 360039232513). No time is signed, so a callback that is repeated is known by what was signed.
- One variable, `mandrill_events`: a JSON list of up to 1,000 events (article 360038740594, 205583307). Metadata come back in
  `msg`.
- Before a webhook is saved a HEAD asks whether its address is there; 200 is the answer (article 360038740014). Batches that are
  not answered so are tried again (article 205583277).
- Hard: "permanent errors such as invalid mailboxes"; soft: "quota errors and other temporary problems", and many of them mean
  that "the address is unusable" (article 205582937). `diag` is the server's reply.
- A mail is rejected, not sent, because of an earlier bounce, complaint or wish to leave.
- Opens and clicks are told by our own links, "send" by the API's answer; entries of Mandrill's lists have no mail.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from shared.errors import Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.bounces import status_in, weighed
from shared.providers.events import Bounce, listed, made, mail_of, objects, seconds, text, within
from shared.providers.signatures import URL, same, texts

SECRET = "webhook-mandrill"
ANSWER = 200
PROBED = True

_HEADER = "x-mandrill-signature"
_TYPES: dict[str, Type | None] = {  # None: left out; others are "unknown"
    "delivered": "delivered",
    "deferral": "deferred",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "reject": "bounced",
    "spam": "complained",
    "unsub": "unsubscribed",
    "send": None,
    "open": None,
    "click": None,
}
_BOUNCES: dict[str, Bounce] = {"hard_bounce": "hard", "soft_bounce": "counts"}
_REJECTED: dict[str, tuple[Type, Bounce]] = {  # reason; others say nothing of the address
    "hard-bounce": ("bounced", "hard"),
    "soft-bounce": ("bounced", "counts"),
    "invalid": ("bounced", "hard"),
    "spam": ("complained", ""),
    "unsub": ("unsubscribed", ""),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    given, told = request.headers.get(_HEADER, ""), signed(request)
    if not any(same(given, base64.b64encode(hmac.digest(key.encode(), told, "sha1")).decode()) for key in texts(keys)):
        raise Unauthenticated("webhook: no valid signature")


def signed(request: Request) -> bytes:
    """The URL and the variables; raises Unauthenticated for a body that is no form, or names a variable twice."""
    pairs = _pairs(request.body)
    if not pairs or len(dict(pairs)) < len(pairs):
        raise Unauthenticated("webhook: no form")
    return (request.headers[URL] + "".join([name + value for name, value in sorted(pairs)])).encode("utf-8", "surrogateescape")


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    found = objects(dict(_pairs(request.body)).get("mandrill_events", "").encode("utf-8", "surrogateescape"))
    return listed(found, _event, links, now)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """The variables of a POST; [] for a body that is no form."""
    try:
        return parse_qsl(body.decode("ascii"), True, True, errors="surrogateescape", max_num_fields=20)
    except ValueError:
        return []


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    name = text(item.get("event"))
    kind = _TYPES.get(name, "unknown") if "event" in item else None
    ref = mail_of("mandrill", links, within(item, "msg", "metadata", "ref")) if kind else None
    if kind is None or ref is None:
        return None
    status = status_in(within(item, "msg", "diag"))
    codes, bounce = [status], _BOUNCES.get(name, "")
    if bounce:
        bounce = weighed(bounce, status)
        codes.append(text(within(item, "msg", "bounce_description")))
    elif name == "reject":
        reason = text(within(item, "msg", "reject", "reason") or within(item, "reject", "reason"))
        kind, bounce = _REJECTED.get(reason, ("bounced", ""))
        codes = [reason, name]
    elif kind == "unknown":
        codes = [name]
    at = seconds(item["ts"], now) if "ts" in item else now
    return made("mandrill", kind, ref, at, bounce=bounce, codes=codes)
