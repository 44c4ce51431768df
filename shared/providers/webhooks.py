"""The providers that call us. A module of WEBHOOKS is a `Webhook`, and is imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from shared.http import Request
from shared.links import Links
from shared.model.event import Event

WEBHOOKS = {"generic": "shared.providers.generic"}  # name in the webhook's path -> module


class Webhook(Protocol):
    """What a provider's module offers for its callbacks."""

    SECRET: str

    def verify(self, request: Request, keys: Sequence[bytes], now: int) -> None:
        """Check the raw body's proof at `now` (ms) against every valid key; raises Unauthenticated (401)."""
        ...

    def normalise(self, request: Request, links: Links, now: int) -> list[Event]:
        """The provider's words as our events; raises BadInput for a body that is not its own, or a time that cannot be."""
        ...


def webhook(name: str) -> Webhook | None:
    """The provider's callbacks; None for a name that nobody has."""
    module = WEBHOOKS.get(name)
    return cast(Webhook, importlib.import_module(module)) if module else None
