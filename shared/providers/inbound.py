"""Bounces and complaints that a mail server posts as mail: the body is the raw message (RFC 5322), signed like `generic`'s.

webhook-timestamp: 1767225600
webhook-signature: v1,{base64 HMAC-SHA-256(key, "{timestamp}.{body}")}

The key is text. Only what is signed is believed, so the address the mail came to stands in the mail, where the server that received it
writes it (`Delivered-To`, `X-Original-To`); no header of the request is read for it. The time of the event is that of the callback:
dates in a mail are anybody's. What is posted may be cut after `mail.MAX_BYTES`, for no more is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from shared.bounces.read import read_mail
from shared.errors import BadInput
from shared.http import Request
from shared.links import Links
from shared.logs import log
from shared.model.event import Event
from shared.providers import generic
from shared.providers.signatures import texts

SECRET = "webhook-inbound"

_MAIL = re.compile(rb"(?:From [^\n]*\n)?[\w.-]{1,80}:", re.ASCII)  # its first header; mbox has a line of its own before it


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    generic.verify(request, [key.encode() for key in texts(keys)], now)


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`. A mail that is no bounce, or a bounce of no mail of ours, is logged and left out."""
    if not _MAIL.match(request.body):
        raise BadInput("The body must be a mail (RFC 5322).")
    found = read_mail(request.body, links, now)
    if found.what == "nothing":
        log("INFO", "webhook: a mail that is no bounce", provider="inbound", reason=found.reason)
    elif found.event is None:
        log("WARNING", "webhook: an event of no mail of ours", provider="inbound", reason=found.reason)
    return [replace(found.event, provider="inbound")] if found.event else []
