"""Brevo's transactional webhooks.

Sources, below https://developers.brevo.com/docs/: secured-webhooks, retry-mechanism, batch-webhooks, transactional-webhooks.

- Nothing is signed. Brevo logs in with a user and password of the URL, a bearer token, or headers of one's own (secured-webhooks).
  The secret is "user:password" or the token; headers of one's own may only be Authorization. Its IP ranges are no proof.
- Any 4xx but 429, and any 5xx, discards the webhook; 429 is sent again four times within eleven hours (retry-mechanism).
- One event, or up to 500 of them (batch-webhooks, which shows no body: both an object and a list are read).
- `ts_event` is when it happened, in seconds (transactional-webhooks). `ts_epoch` is of the sending there, and in seconds in the
  examples though milliseconds in the table, so it is not used. `id` is the webhook's: no event has one of its own.
- The header X-Mailin-custom comes back as it was given: it is our ref, or a JSON object with `ref`. So do tags, of which one may be
  our ref. By SMTP, `message-id` may be ours.
- A bounce's `reason` is what the server said, or words of Brevo's. Codes at its beginning are kept, and the milder of the event's name
  and the enhanced status decides (`weighed`).
- "invalid_email" is of the recipient on one page and of the sender on another (/reference/gettransacemailcontent), "blocked" is
  Brevo's own list, and "error" is not explained: none of these says anything of the address here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.http import Request
from shared.links import Links
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, check_login, listed, made, mail_of, name_of, objects, ref_in, reply, seconds

SECRET = "webhook-brevo"
ANSWER: Final = 200
RETRY: Final = 429

_TYPES: Mapping[str, tuple[Type, Bounce] | None] = {  # None: left out
    "delivered": ("delivered", ""),
    "deferred": ("deferred", ""),
    "hard_bounce": ("bounced", "hard"),
    "soft_bounce": ("bounced", "counts"),
    "blocked": ("bounced", ""),
    "invalid_email": ("bounced", ""),
    "error": ("bounced", ""),
    "spam": ("complained", ""),
    "complaint": ("complained", ""),
    "unsubscribe": ("unsubscribed", ""),
    "unsubscribed": ("unsubscribed", ""),
    **dict.fromkeys(("request", "sent", "opened", "unique_opened", "click", "proxy_open", "unique_proxy_open")),
}


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    check_login(request, keys)


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    return listed(objects(request.body), _event, links, now)


def _event(item: dict[str, Any], links: Links, now: int) -> Event | None:
    name = name_of(item)
    meaning = _TYPES.get(name, ("unknown", ""))
    if meaning is None:
        return None
    custom, tags = item.get("X-Mailin-custom"), item.get("tags")
    ref = mail_of(
        "brevo",
        links,
        custom,
        ref_in(custom),
        *(tags[:20] if isinstance(tags, list) else []),
        item.get("tag"),
        item.get("message-id"),
    )
    if ref is None:
        return None
    kind, bounce = meaning
    at = seconds(item.get("ts_event"), now)
    if kind not in ("bounced", "deferred"):
        return made("brevo", kind, ref, at)
    reason = item.get("reason")
    return made("brevo", kind, ref, at, bounce=weighed(bounce, reason), codes=[reply(reason), name])
