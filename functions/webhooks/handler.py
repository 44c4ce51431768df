"""Provider callbacks: verified over the raw body, put into our words, published to engagement-events (consumed by record).

`{provider}`: POST. 401 for any proof that does not hold, 400 for a body that is not the provider's, 503 to be sent again.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import http
from shared.errors import ConfigError, Unauthenticated
from shared.http import Request, Response
from shared.links import Links
from shared.model import event
from shared.ports import Bus, Clock, Secrets
from shared.providers.webhooks import webhook


@dataclass(frozen=True)
class Webhooks:
    """The step's dependencies."""

    bus: Bus
    clock: Clock
    links: Links
    secrets: Secrets

    async def handle(self, request: Request) -> Response:
        """Accept one callback; raises Unauthenticated, BadInput, Unavailable."""
        await self.links.tokens.fresh()
        provider = webhook(request.path)
        if provider is None:
            return http.text("There is no such provider.", 404)
        if request.method != "POST":
            return http.text("Only POST is understood here.", 405)
        try:
            keys = [version.value for version in await self.secrets.get(provider.SECRET)]
        except ConfigError:
            raise Unauthenticated("webhook: this provider has no key here") from None
        now = self.clock.now()
        provider.verify(request, keys, now)
        events = provider.normalise(request, self.links, now)
        if events:
            await self.bus.publish(event.TOPIC, [found.to_message() for found in events])
        return Response(204)
