"""The ways out for mail that an operator has, and what is known of each.

PROVIDERS is a JSON list, in the order of preference:

    [{"name": "ses", "kind": "ses", "options": {"region": "eu-west-1"}, "weight": 3, "rate": 14, "daily": 50000,
      "domains": ["gmail.com", "*.fr"], "engaged": "any", "warm_up": "2026-12-01"}]

Only `name` and `kind` must be there. What is known of one is kept in `providers/{name}`, by the tick, except for `down_until`:

    kind, weight, rate, daily, warm_up      as configured, for the Sheet
    day         the UTC day ("2026-12-01") that `used` speaks of; `used`: mails leased today
    credit      mails that may be leased at once for the rate's sake, `credit_at`: as of when (ms)
    groups      mailbox provider -> the state of its warm-up (functions/launch/warmup.py has the fields)
    waiting, goes_by   mails that wait for it, and the day on which the last of them should go, for the Sheet
    gone        no longer configured; what is known stays, so that an hour without it does not begin a warm-up anew
    down_until  no mail goes this way before (ms; Maximum, by whoever met it), `down_code`: what it answered
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal, get_args

from shared.errors import ConfigError

Engaged = Literal["any", "engaged", "lapsed"]
ENGAGED_FOR: Final = 90 * 86_400_000  # ms after a person's last open or click
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")

# Mailbox providers that keep a reputation of each sender, by the domains their readers have. The rest is "other".
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "gmail": ("gmail.com", "googlemail.com"),
    "microsoft": ("outlook.com", "hotmail.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr", "outlook.fr", "live.fr"),
    "yahoo": ("yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.co.jp"),
    "apple": ("icloud.com", "me.com", "mac.com"),
}
_GROUP_OF = {domain: group for group, domains in GROUPS.items() for domain in domains}


@dataclass(frozen=True, slots=True)
class Provider:
    """One way out, as configured. `rate`: mails a second, `daily`: a day (UTC), 0 for no limit. `domains`: of recipients it takes
    ("*.fr" for all below one), () for all. `engaged`: whether it takes only readers who opened or clicked in ENGAGED_FOR, or only the
    others. `warm_up`: its first day, None when its reputation is established."""

    name: str
    kind: str
    options: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1
    rate: float = 0
    daily: int = 0
    domains: tuple[str, ...] = ()
    engaged: Engaged = "any"
    warm_up: date | None = None

    @property
    def limited(self) -> bool:
        """Whether a campaign's mails go this way only by a lease of the tick. Confirmations and welcomes do not wait for one: somebody
        sits before the inbox, and how many there can be is limited where people sign up."""
        return bool(self.rate or self.daily or self.warm_up)

    def takes(self, domain: str, engaged: bool) -> bool:
        """Whether a reader at `domain` (lower case) may be mailed this way."""
        if self.engaged != "any" and engaged != (self.engaged == "engaged"):
            return False
        return not self.domains or any(
            domain == wanted or (wanted.startswith("*.") and domain.endswith(wanted[1:])) for wanted in self.domains
        )


def group_of(address: str) -> str:
    """The mailbox provider of an address: a key of GROUPS, or "other"."""
    return _GROUP_OF.get(address.rpartition("@")[2].lower(), "other")


def parse(text: str) -> list[Provider]:
    """The providers of PROVIDERS; raises ConfigError naming what is wrong."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"PROVIDERS is not JSON: {error}") from None
    if not isinstance(given, list) or not given:
        raise ConfigError("PROVIDERS must be a list of at least one provider")
    found = [_one(item) for item in given]
    names = [provider.name for provider in found]
    if len(set(names)) < len(names):
        raise ConfigError("PROVIDERS: each provider needs a name of its own")
    return found


def _one(item: Any) -> Provider:
    if not isinstance(item, dict):
        raise ConfigError("PROVIDERS: each entry must be an object with name and kind")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("PROVIDERS: a name is lower-case letters, digits and hyphens, such as ses-main")

    def wrong(what: str) -> ConfigError:
        return ConfigError(f"PROVIDERS: {name}: {what}")

    if unknown := sorted(set(item) - set(Provider.__slots__)):
        raise wrong(f"there is no setting {unknown[0]!r}")
    if not isinstance(item.get("kind"), str):
        raise wrong("kind is missing")
    options = item.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise wrong("options must be texts by name")
    for key in ("weight", "rate", "daily"):
        value = item.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise wrong(f"{key} must be a number, not negative")
    domains = item.get("domains", [])
    if not isinstance(domains, list) or not all(isinstance(domain, str) and domain == domain.lower() for domain in domains):
        raise wrong("domains must be a list of lower-case domains")
    if item.get("engaged", "any") not in get_args(Engaged):
        raise wrong(f"engaged must be one of {', '.join(get_args(Engaged))}")
    try:
        warm_up = date.fromisoformat(item["warm_up"]) if item.get("warm_up") else None
    except (TypeError, ValueError):
        raise wrong("warm_up must be its first day, such as 2026-12-01") from None
    fields = {**item, "domains": tuple(domains), "warm_up": warm_up, "daily": int(item.get("daily", 0))}
    return Provider(**fields)
