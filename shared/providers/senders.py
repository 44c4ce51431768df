"""The kinds of providers that mail can go by. A module of PROVIDERS offers `open(given) -> Sender`; it is imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from shared.errors import ConfigError
from shared.ports import Outcome, Sender
from shared.providers import Given

PROVIDERS = {  # kind -> module
    "mailgun": "shared.providers.mailgun",
    "mandrill": "shared.providers.mandrill",
    "postmark": "shared.providers.postmark",
    "sendgrid": "shared.providers.sendgrid",
    "ses": "shared.providers.ses",
    "smtp": "shared.providers.smtp",
}


class Reconciles(Protocol):
    """A sender whose provider can be asked whether it has a mail."""

    async def found(self, refs: Sequence[str]) -> dict[str, Outcome]:
        """What became of those that the provider has. It says nothing of the others: they may only be too fresh or too old.
        Raises Unavailable."""
        ...


def open_sender(kind: str, given: Given) -> Sender:
    """A sender of that kind; raises ConfigError."""
    if kind not in PROVIDERS:
        raise ConfigError(f"PROVIDERS: {given.name}: there is no kind {kind!r} (there are: {', '.join(sorted(PROVIDERS))})")
    return cast(Sender, importlib.import_module(PROVIDERS[kind]).open(given))
