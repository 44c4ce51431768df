"""Valid callbacks of any provider, and ways to spoil a text, for whoever tries the hooks of all of them."""

from __future__ import annotations

import importlib
import random

from shared.http import Request
from shared.providers import generic

from .webhook_contract import LINKS, NOW, REF, WebhookContract


class Generic(WebhookContract):
    """How a callback of the generic webhook is made."""

    NAME, PLAIN, SIGNED = "generic", "delivered", True
    PROOFS = ("webhook-timestamp", "webhook-signature")
    hook = generic

    def request(self, body: bytes, key: bytes) -> Request:
        second = NOW // 1000
        proof = {"webhook-timestamp": str(second), "webhook-signature": generic.sign(body, key, second)}
        return Request("POST", "generic", headers=proof, body=body)

    def bodies(self) -> dict[str, object]:
        mail = {"message_id": LINKS.message_id(REF, "news.example"), "at": NOW - 5}
        return {event: {"id": event, "event": event, **mail} for event in ("delivered", "bounced", "complained")}


def contract(name: str) -> WebhookContract:
    """What makes callbacks of a provider."""
    if name == "generic":
        return Generic()
    module = importlib.import_module(f"tests.providers.test_{name}_events")
    [found] = [cls for cls in vars(module).values() if isinstance(cls, type) and getattr(cls, "NAME", "") == name]
    made: WebhookContract = found()
    return made


def mutated(chance: random.Random, text: str) -> str:
    """The text with something put in, taken away or changed at one place; now and then the same."""
    at = chance.randrange(len(text) + 1)
    mark = chance.choice(
        ["", chr(chance.randrange(32, 127)), chr(chance.randrange(128, 0x2FFF)), "\x00", "\ud800", text[at : at + 9]]
    )
    return text[:at] + mark + text[at + chance.randrange(3) :]
