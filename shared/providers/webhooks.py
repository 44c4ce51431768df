"""The providers that call us. A module of WEBHOOKS is a `Webhook`, and is imported when first asked for.

It may say more, where the provider asks for more:

    ANSWER: int = 204     the status of a success
    RETRY: int = 503      the status that makes it send again, when we cannot take the callback now
    PROBED = True         a HEAD asks whether the address is there
    signed(request)       what the proof covers, by which a callback is told from every other; the raw body unless given
    prepare, settle       see `Asking`

`request.headers` of a callback also hold the public URL of its hook: `signatures.URL`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, cast, runtime_checkable

from shared.http import Request
from shared.links import Links
from shared.model.event import Event

WEBHOOKS = {  # name in the webhook's path -> module
    "brevo": "shared.providers.brevo_events",
    "generic": "shared.providers.generic",
    "inbound": "shared.providers.inbound",
    "mailgun": "shared.providers.mailgun_events",
    "mailjet": "shared.providers.mailjet_events",
    "mandrill": "shared.providers.mandrill_events",
    "postmark": "shared.providers.postmark_events",
    "resend": "shared.providers.resend_events",
    "sendgrid": "shared.providers.sendgrid_events",
    "ses": "shared.providers.ses_events",
    "sparkpost": "shared.providers.sparkpost_events",
    "twilio": "shared.providers.twilio_events",
}

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""GET an https URL, without following redirects: the body of a 200. Raises Unavailable when later may work, else NotFound."""


class Webhook(Protocol):
    """What a provider's module offers for its callbacks."""

    SECRET: str

    def verify(self, request: Request, keys: Sequence[bytes], now: int) -> None:
        """Check the raw body's proof at `now` (ms) against every valid key; raises Unauthenticated (401)."""
        ...

    def normalise(self, request: Request, links: Links, now: int) -> list[Event]:
        """The provider's words as our events; raises BadInput for a body that is not its own, or a time that cannot be."""
        ...


@runtime_checkable
class Asking(Protocol):
    """A provider that has to be asked something."""

    async def prepare(self, request: Request, keys: Sequence[bytes], now: int, fetch: Fetch) -> None:
        """Get what `verify` needs; nothing of the request is believed yet. Raises Unauthenticated, Unavailable."""
        ...

    async def settle(self, request: Request, fetch: Fetch) -> None:
        """Do what a verified callback asks for. Raises BadInput, Unavailable."""
        ...


def webhook(name: str) -> Webhook | None:
    """The provider's callbacks; None for a name that nobody has."""
    module = WEBHOOKS.get(name)
    return cast(Webhook, importlib.import_module(module)) if module else None
