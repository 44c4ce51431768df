"""Mailjet's event API.

Sources: "the guide" is https://dev.mailjet.com/email/guides/webhooks/ (source: github.com/mailjet/api-documentation,
guides/_event-api.md).

- Nothing is signed. The guide recommends HTTPS with a user and password in the URL, so Mailjet logs in by HTTP basic: the secret is
  "user:password". Nothing is said of the addresses it calls from.
- One event, or a list of them where events are grouped. Anything but 200 is sent again. Times are Unix seconds. No event has an id.
- CustomID or Payload come back as they were given at sending, by API or in the headers X-MJ-CustomID and X-MJ-EventPayload: one of
  them is our ref, or Payload is a JSON object with `ref`.
- `hard_bounce` says that an error was permanent; the table of errors says whose it was (guide). Errors of spam, system and mailjet are
  not the address's, nor is a server that refuses to talk. "quota exceeded" is "non-permanent". A greylisted mail comes again.
- "blocked" was not tried: Mailjet knew of earlier errors of the address, so it never is for good by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.events import Bounce, check_login, listed, made, mail_of, name_of, objects, ref_in, seconds

SECRET = "webhook-mailjet"
ANSWER: Final = 200

_TYPES: Mapping[str, Type | None] = {  # None: left out, our own links count them
    "sent": "delivered",  # the destination's server has accepted it
    "bounce": "bounced",
    "blocked": "bounced",
    "spam": "complained",
    "unsub": "unsubscribed",
    "open": None,
    "click": None,
}

_BOUNCES: Mapping[str, tuple[Bounce, Bounce]] = {  # error -> when permanent, when not. Others say nothing of the address
    "user unknown": ("hard", "counts"),
    "mailbox inactive": ("hard", "counts"),
    "quota exceeded": ("counts", "counts"),
    "invalid domain": ("hard", "counts"),
    "no mail host": ("hard", "counts"),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    check_login(request, keys)


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    return listed(objects(request.body), _event, links, now)


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    name = name_of(item)
    kind = _TYPES.get(name, "unknown")
    if kind is None:
        return None
    payload = item.get("Payload")
    ref = mail_of("mailjet", links, item.get("CustomID"), payload, ref_in(payload))
    if ref is None:
        return None
    error, at = item.get("error"), seconds(item.get("time"), now)
    if kind != "bounced":
        return made("mailjet", kind, ref, at)
    if error == "greylisted" and item.get("hard_bounce") is not True:
        return made("mailjet", "deferred", ref, at, codes=[error])
    permanent, otherwise = _BOUNCES.get(error, ("", "")) if isinstance(error, str) else ("", "")
    bounce = permanent if name == "bounce" and item.get("hard_bounce") is True else otherwise
    return made("mailjet", kind, ref, at, bounce=bounce, codes=[error, name])
