"""Which way each mail goes: by the recipient's domain and engagement, by weight, and past providers that are down or used up.

A mail keeps to the way it went last while that is open, because a server that greylists wants to see the same sender again. A provider of
weight 0 stands by: it is taken when no other that may take the mail is open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from shared.errors import Unavailable
from shared.logs import log
from shared.model.batch import BATCH_SIZE
from shared.model.paths import Paths
from shared.model.provider import ENGAGED_FOR, Provider, parse
from shared.ports import Maximum, Merge, Secrets, Sender, Store
from shared.providers import Given
from shared.providers.senders import open_sender
from shared.stack.secrets import newest

FRESH: Final = 30_000  # ms what other processes met is believed
LONGEST: Final = 900_000  # ms a provider is left alone at most
Shut = Literal["down", "throttle", "quota"]  # why no way is open, the longest wait first
_SHUT: tuple[Shut, ...] = ("quota", "throttle", "down")


@dataclass
class Route:
    """One provider, and what this process knows of it. Times in ms."""

    provider: Provider
    sender: Sender
    per_mail: float = 0.0  # seconds a mail took lately
    down_until: int = 0
    slow_until: int = 0  # it asked us to wait
    trips: int = 0  # times in a row that it was found down

    def took(self, seconds: float, mails: int) -> None:
        """A window went well."""
        self.trips = 0
        self.per_mail = 0.7 * self.per_mail + 0.3 * seconds / mails if self.per_mail else seconds / mails

    def size(self, most: float) -> int:
        """Mails of a window that should take no longer than `most` seconds."""
        return max(1, min(self.sender.window, int(most / self.per_mail) if self.per_mail else self.sender.window))


class Routes:
    """All ways out. `wait` (ms): how long a provider that is down is left alone at first; doubles from there."""

    def __init__(self, routes: Sequence[Route], store: Store, paths: Paths, wait: int) -> None:
        self.all = list(routes)
        self._store, self._paths, self._wait = store, paths, wait
        self._asked = -math.inf
        self.each = 0.0  # seconds that a reader of a range took lately: what `Turn` reads ahead by

    @classmethod
    def configured(cls, providers: str, secrets: Secrets, public_url: str, store: Store, paths: Paths, wait: int) -> Routes:
        """The ways that the setting PROVIDERS names; raises ConfigError. The key of each is the secret `provider-{name}`."""
        hello = urlsplit(public_url).hostname or "localhost"

        def opened(provider: Provider) -> Route:
            secret = partial(newest, secrets, f"provider-{provider.name}")
            given = Given(name=provider.name, options=provider.options, secret=secret, hello=hello)
            return Route(provider, open_sender(provider.kind, given))

        return cls([opened(provider) for provider in parse(providers)], store, paths, wait)

    @classmethod
    def only(cls, sender: Sender, store: Store, paths: Paths, wait: int) -> Routes:
        """One way, for everybody."""
        return cls([Route(Provider("smtp", "smtp"), sender)], store, paths, wait)

    @property
    def window(self) -> int:
        """Documents worth reading at once."""
        return min(BATCH_SIZE, sum(route.sender.window for route in self.all))

    async def refresh(self, now: int) -> None:
        """Learn what other processes met; without an answer, go on with what is known here."""
        if now - self._asked < FRESH or len(self.all) < 2:
            return
        self._asked = now
        try:
            found = await self._store.get_many([self._paths.provider(route.provider.name) for route in self.all], ["down_until"])
        except Unavailable as error:
            log("WARNING", f"the providers' health is not known: {error}")
            return
        for route, document in zip(self.all, found, strict=True):
            if document:
                route.down_until = max(route.down_until, document.data.get("down_until", 0))

    def choose(
        self, sid: str, data: Mapping[str, Any], last: str, grants: Mapping[str, Mapping[str, Any]] | None, now: int
    ) -> Route | Shut:
        """The way for a subscriber's mail, or why there is none now. `last`: the provider that it went to before, "" for none;
        `grants`: the batch's, None for a mail that needs none."""
        domain = str(data.get("address") or data.get("asked") or "").rpartition("@")[2].lower()
        engaged = data.get("engaged_at", 0) > now - ENGAGED_FOR
        able = [route for route in self.all if route.provider.takes(domain, engaged)] or self.all
        shut: set[Shut] = set()
        open_ways: list[Route] = []
        for route in able:
            if route.down_until > now:
                shut.add("down")
            elif grants is not None and route.provider.limited and not grants.get(route.provider.name, {}).get("mails"):
                shut.add("quota")
            elif route.slow_until > now:
                if route.provider.name == last:
                    return "throttle"
                shut.add("throttle")
            else:
                open_ways.append(route)
        if not open_ways or ("throttle" in shut and not any(route.provider.weight for route in open_ways)):
            return next(why for why in _SHUT[::-1] if why in shut)
        for route in open_ways:
            if route.provider.name == last:
                return route
        return _weighed(open_ways, int(sid[-8:], 16) / (1 << 32))

    async def down(self, route: Route, code: str, now: int) -> None:
        """Take a provider out for a while, everywhere."""
        route.down_until = now + min(LONGEST, self._wait << min(route.trips, 10))
        route.trips += 1
        log("ERROR", "a provider is down", provider=route.provider.name, code=code, trips=route.trips)
        if len(self.all) < 2 and not route.provider.limited:
            return  # nobody could go another way
        try:
            changes = {"down_until": Maximum(route.down_until), "down_code": code}
            await self._store.commit([Merge(self._paths.provider(route.provider.name), changes)])
        except Unavailable as error:  # the others find out for themselves
            log("WARNING", f"not told: {error}", provider=route.provider.name)

    async def close(self) -> None:
        for route in self.all:
            await route.sender.close()


def _weighed(ways: Sequence[Route], share: float) -> Route:
    """One of `ways` by weight; `share` is uniform in [0, 1) and belongs to the subscriber, so that choosing again chooses the same."""
    total = sum(route.provider.weight for route in ways)
    if not total:
        return ways[0]
    reached = 0.0
    for route in ways:
        reached += route.provider.weight / total
        if share < reached and route.provider.weight:
            return route
    return next(route for route in reversed(ways) if route.provider.weight)
