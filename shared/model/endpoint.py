"""Where the operator wants to be told of events: docs/events-out.md.

EVENTS_OUT is a JSON list:

    [{"name": "crm", "url": "https://crm.example/hooks/mail", "types": ["mail.clicked", "mail.bounced"], "campaigns": ["C-0001"]}]

Only `name` and `url` must be there. What it is signed with is the secret `events-out-{name}`: "whsec_" and the base64 of 24 to 64 bytes.
Each has a push subscription of its own, `notify-{name}`. What is known of one is kept in `endpoints/{name}`:

    failing_since   the first failure after the last success (ms), 0 while all is well
    disabled_at     since when nothing is posted there (ms), 0 while it is; `reason`: "gone" (it answered 410) or "failing"
    url             digest of the URL that this is about: another URL begins anew

and, beside it, what became of its events: `minutes/{id}`, see functions/notify/tally.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.model.event import Type
from shared.model.ref import CAMPAIGN_ID

SUBSCRIPTION: Final = "notify-"  # and the endpoint's name
TYPES: Final = tuple(f"mail.{kind}" for kind in get_args(Type))
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One receiver, as configured. `types` of TYPES and `campaigns` that it wants to hear of, () for all."""

    name: str
    url: str
    types: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()

    def wants(self, type: str, campaign: str) -> bool:
        return (not self.types or type in self.types) and (not self.campaigns or campaign in self.campaigns)

    @property
    def secret(self) -> str:
        return f"events-out-{self.name}"

    @property
    def subscription(self) -> str:
        return f"{SUBSCRIPTION}{self.name}"

    @property
    def digest(self) -> str:
        """Of the URL, which may hold something secret."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]


def parse(text: str, local: bool = False) -> dict[str, Endpoint]:
    """The endpoints of EVENTS_OUT by name, none for "". `local`: http://127.0.0.1 is good too, for the twin. Raises ConfigError naming
    what is wrong, without the URL."""
    if not text:
        return {}
    try:
        given = json.loads(text)
    except ValueError:
        raise ConfigError("EVENTS_OUT is not JSON") from None
    if not isinstance(given, list):
        raise ConfigError("EVENTS_OUT must be a list of endpoints")
    found = [_one(item, local) for item in given]
    if len({endpoint.name for endpoint in found}) < len(found):
        raise ConfigError("EVENTS_OUT: each endpoint needs a name of its own")
    return {endpoint.name: endpoint for endpoint in found}


def _one(item: Any, local: bool) -> Endpoint:
    if not isinstance(item, dict):
        raise ConfigError("EVENTS_OUT: each entry must be an object with name and url")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("-dead"):  # so end the dead letters' subscriptions
        raise ConfigError(
            "EVENTS_OUT: a name is lower-case letters, digits and hyphens, 30 at most, not ending in -dead, such as crm"
        )

    def wrong(what: str) -> ConfigError:
        return ConfigError(f"EVENTS_OUT: {name}: {what}")

    if unknown := sorted(set(item) - set(Endpoint.__slots__)):
        raise wrong(f"there is no setting {unknown[0]!r}")
    url = item.get("url")
    if not isinstance(url, str) or not _good(url, local):
        raise wrong("url must be an https:// address without a user, a password or a fragment")
    types, campaigns = item.get("types") or [], item.get("campaigns") or []
    if not isinstance(types, list) or not set(map(str, types)) <= set(TYPES):
        raise wrong(f"types must be some of {', '.join(TYPES)}")
    if not isinstance(campaigns, list) or not all(isinstance(one, str) and CAMPAIGN_ID.fullmatch(one) for one in campaigns):
        raise wrong("campaigns must be ids, such as C-0001")
    return Endpoint(name, url, tuple(types), tuple(campaigns))


def _good(url: str, local: bool) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and not parts.fragment and parts.username is None
    secure = parts.scheme == "https" or (local and parts.scheme == "http" and parts.hostname == "127.0.0.1")
    return bool(plain and secure and parts.hostname and port != 0)
