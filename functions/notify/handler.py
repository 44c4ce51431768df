"""Events out: each event of the mails, posted to those of the operator's endpoints that want it, signed as Standard Webhooks has it.

Consumes engagement-events (published by track, webhooks, unsubscribe and send_batch) through a push subscription for each endpoint, so
that each has its own retries, back-off and dead letters, and one that is down or slow neither delays the others nor repeats theirs.
An endpoint may get an event more than once, in any order, always under the same webhook-id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared.logs import log
from shared.model.endpoint import SUBSCRIPTION, Endpoint
from shared.model.event import Event
from shared.model.paths import Paths
from shared.outward import public
from shared.ports import Clock, Secrets, Store

from .desk import Desk, Exchange
from .payload import type_of

TIMEOUT, CONNECT = 15.0, 5.0  # seconds for a whole post, and of which for connecting
MOST: Final = 1 << 16  # bytes of an answer, which nobody reads


def client(endpoint: Endpoint, local: bool) -> Exchange:
    """Connections of its own, which lead to the public internet only."""
    from shared.providers.api_http import Http  # 360 ms: only once there is something to post

    def allowed(address: str) -> bool:
        good = public(address) or (local and address == "127.0.0.1")
        if not good:
            log("ERROR", "an endpoint's host has an address that is not public", endpoint=endpoint.name)
        return good

    return Http(TIMEOUT, CONNECT, most=MOST, allowed=allowed)


@dataclass(frozen=True)
class Notify:
    """The step's dependencies. `endpoints` by name; `local`: one may be on this machine; `open` makes the client for an endpoint."""

    endpoints: Mapping[str, Endpoint]
    store: Store
    secrets: Secrets
    clock: Clock
    paths: Paths
    local: bool = False
    open: Callable[[Endpoint, bool], Exchange] = client
    desks: dict[str, Desk] = field(default_factory=dict)

    async def handle(self, message: Mapping[str, Any], subscription: str) -> None:
        """Post one event to the endpoint that the subscription belongs to. A message that was replayed for one endpoint names it. Raises
        BadInput for a message that is no event, Unavailable to retry."""
        event, name = Event.from_message(message), subscription.removeprefix(SUBSCRIPTION)
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            if self.endpoints:
                log("WARNING", "an event for an endpoint that is not configured any more", subscription=subscription)
        elif message.get("endpoint", name) == name and endpoint.wants(type_of(event), event.mail.campaign):
            await self._desk(endpoint).post(event)

    def _desk(self, endpoint: Endpoint) -> Desk:
        if endpoint.name not in self.desks:
            http = self.open(endpoint, self.local)
            self.desks[endpoint.name] = Desk(endpoint, self.store, self.secrets, self.clock, self.paths, http)
        return self.desks[endpoint.name]
