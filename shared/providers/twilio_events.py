"""Twilio's status callbacks of messages (SMS).

Sources: "security" is https://www.twilio.com/docs/usage/webhooks/webhooks-security, "status"
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status, "overrides"
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides, "library" request_validator.py of Twilio's package, 9.13.

- X-Twilio-Signature is base64 HMAC-SHA-1(auth token, URL + each form field's name and value, sorted by name). The URL of a JSON body
  has the query parameter bodySHA256, in hexadecimal, and no field is added (security). The URL is the one Twilio was given, with its
  query and without a fragment; with or without a port, for Twilio does both; equal values of one field count once (library).
- With X-Twilio-Webhooks-Signature-Settings a shared key stands for the auth token, with the algorithm named there (library).
- Nothing that is signed says when. MessageSid and status make an event's id; the header I-Twilio-Idempotency-Token is not signed.
- A callback that fails is sent again only if its URL ends in #rc=5&rp=all (overrides).
- The callback's URL carries our ref as its query parameter `ref`. It is put together again from what came, so it has to be spelled as
  urllib.parse.urlencode does with quote, which leaves a ref as it is.
- No field says when, but RawDlrDoneDate, without a time zone: an event happened when it came.
- A text message that did not arrive says nothing of a mail's address, which is what a hard or a counted bounce would give up. It is
  neither; `code` is Twilio's ErrorCode (https://www.twilio.com/docs/api/errors).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs, quote, urlencode

from shared.errors import BadInput, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.events import made, mail_of, objects, text
from shared.providers.signatures import URL, same, texts

SECRET = "webhook-twilio"

BODY: Final = "bodySHA256"  # the query parameter that stands for a JSON body
MOST_FIELDS: Final = 200

_URL = re.compile(r"(https?)(://[^/?#:@\s]+)(:[0-9]{1,5}|)(/[^?#\s]*)")
_PORTS = {"http": ":80", "https": ":443"}
_HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_ALGORITHM = re.compile(r"(?:^|,) *algorithm=([^,]*)")

_TYPES: Mapping[str, Type | None] = {  # None: left out, for it says nothing of the end
    "delivered": "delivered",
    "undelivered": "bounced",
    "failed": "bounced",
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent", "read")),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    named = _ALGORITHM.search(request.headers.get("x-twilio-webhooks-signature-settings", ""))
    algorithm = _HASHES.get(named[1] if named else "HMAC_SHA1")
    if algorithm is None:
        raise Unauthenticated("webhook: the algorithm is not known")
    given = request.headers.get("x-twilio-signature", "")
    for key in texts(keys):
        digests = [hmac.digest(key.encode(), spelling, algorithm) for spelling in _spellings(request)]
        if any(same(given, base64.b64encode(digest).decode()) for digest in digests):
            return
    raise Unauthenticated("webhook: no valid signature")


def signed(request: Request) -> bytes:
    """What the proof covers, in one spelling."""
    return _spellings(request)[0]


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    found = (
        (objects(request.body) or [{}])[0]
        if BODY in request.query
        else {name: values[-1] for name, values in _form(request).items()}
    )
    sid, status = (text(found.get(f"Message{name}") or found.get(f"Sms{name}")) for name in ("Sid", "Status"))
    if not sid or not status:
        raise BadInput("A status callback needs a MessageSid and a MessageStatus.")
    kind = _TYPES.get(status, "unknown")
    ref = mail_of("twilio", links, request.query.get("ref")) if kind else None
    if kind is None or ref is None:
        return []
    return [made("twilio", kind, ref, now, codes=[found.get("ErrorCode")], id=f"{sid}.{status}")]


def _spellings(request: Request) -> list[bytes]:
    """What may be signed: the URL as we know it, without a port and with its usual one. Raises Unauthenticated."""
    parts = _URL.fullmatch(request.headers.get(URL, ""))
    if parts is None:
        raise Unauthenticated("webhook: the URL that was called is not known")
    scheme, host, port, rest = parts.groups()
    if request.query:
        rest += "?" + urlencode(request.query, quote_via=quote, errors="surrogatepass")
    if BODY in request.query:
        if not same(request.query[BODY], hashlib.sha256(request.body).hexdigest()):
            raise Unauthenticated("webhook: another body was signed")
    else:
        try:
            form = _form(request)
        except BadInput:
            raise Unauthenticated("webhook: no form was signed") from None
        rest += "".join([name + value for name in sorted(form) for value in sorted(set(form[name]))])
    return [f"{scheme}{host}{spelling}{rest}".encode("utf-8", "surrogatepass") for spelling in (port, "", _PORTS[scheme])]


def _form(request: Request) -> dict[str, list[str]]:
    """Each field's values; raises BadInput."""
    try:
        return parse_qs(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadInput("The body must be a form.") from None
