"""What happens to a mail after it was handed over. Published by track, webhooks, unsubscribe and send_batch to
`engagement-events`; consumed by record. Past tense, ids only, never an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from shared.errors import BadInput, BadToken
from shared.model.ref import MailRef

TOPIC = "engagement-events"
MOST_VALUE = 10**18  # millionths: a million million units, which a signed 64-bit number still holds

Type = Literal["delivered", "deferred", "opened", "clicked", "bounced", "complained", "unsubscribed", "converted", "unknown"]
Label = Literal["human", "suspect", "machine", ""]
Device = Literal["desktop", "phone", "tablet", "other", ""]


@dataclass(frozen=True, slots=True)
class Event:
    """`at`: when it happened (ms). `label` and `reason`: who made an open or click, and why we think so. `link`: its number, -1
    for none. `code`: the provider's or SMTP's code or word, never free text, never an address. `id`: the provider's own id of the
    event, and of a conversion the order's, "" where there is none. `country` (ISO 3166-1 alpha-2) and `city`: where the person who
    clicked was; of nothing else, since opens come from the mail services' proxies. `device`: what a person opened or clicked on, ""
    where that is not known, as behind those proxies.

    Of a bounce, `hard`: for good; else `counts`: a soft one that counts towards giving the address up. With neither it says nothing
    of the address: a spam block, a configuration of ours (5.7.x), a busy mailbox, unknown words. "deferred" is still on its way.

    `value` and `currency` of a conversion: millionths of the currency's unit (1.50 EUR is 1,500,000), and its ISO 4217 code."""

    type: Type
    ref: str  # MailRef.text
    at: int
    label: Label = ""
    reason: str = ""
    link: int = -1
    hard: bool = False
    code: str = ""
    provider: str = ""
    country: str = ""
    city: str = ""
    counts: bool = False
    id: str = ""
    value: int = 0
    currency: str = ""
    device: Device = ""

    @property
    def mail(self) -> MailRef:
        return MailRef.parse(self.ref)

    def to_message(self) -> dict[str, Any]:
        """Only what differs from the defaults, which therefore never change."""
        return {name: value for name, default in _DEFAULTS if (value := getattr(self, name)) != default}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Event:
        """Raises BadInput for anything that `to_message` would not make. Fields it does not know are of a later version that is
        being deployed: they are left out."""
        try:
            event = cls(**{name: message[name] for name, _ in _DEFAULTS if name in message})
            MailRef.parse(event.ref)
        except (TypeError, BadToken):
            raise BadInput("not an engagement event") from None
        checks = (
            event.type in get_args(Type),
            event.label in get_args(Label),
            event.device in get_args(Device),
            not event.device or (event.type in ("opened", "clicked") and event.label == "human"),
            type(event.at) is int and 0 <= event.at < 1 << 53,
            type(event.link) is int,
            type(event.hard) is bool,
            type(event.counts) is bool,
            type(event.value) is int and 0 <= event.value <= MOST_VALUE,
            all(_storable(text) for text in (event.reason, event.code, event.provider, event.country, event.city, event.id)),
            _storable(event.currency),
        )
        if not all(checks) or not _placed(event) or not _judged(event) or not _priced(event):
            raise BadInput("not an engagement event")
        return event


_DEFAULTS = [(item.name, item.default) for item in fields(Event)]


def _placed(event: Event) -> bool:
    """A person's click may have a country, which becomes a field's name, and then a city; nothing else may."""
    if not event.country:
        return not event.city
    return (event.type, event.label) == ("clicked", "human") and re.fullmatch("[A-Z]{2}", event.country) is not None


def _judged(event: Event) -> bool:
    """Only a soft bounce counts towards giving an address up."""
    return not event.counts or (event.type == "bounced" and not event.hard)


def _priced(event: Event) -> bool:
    """A conversion may have a value, and then a currency, which becomes a field's name; nothing else may."""
    if not event.currency:
        return not event.value
    return event.type == "converted" and re.fullmatch("[A-Z]{3}", event.currency) is not None


def _storable(text: object) -> bool:
    """A short text without lone surrogates, which JSON can carry and no store takes."""
    return isinstance(text, str) and len(text) <= 200 and not any("\ud800" <= char <= "\udfff" for char in text)
