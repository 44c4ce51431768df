"""Provider callbacks: verified over the raw body, put into our words, published to engagement-events (consumed by record).

`{provider}`: POST. 401 for any proof that does not hold, or where there is no key; 400 for a body that is not the provider's;
503, or what else the provider understands, to be sent again. A callback that comes again is answered alike and publishes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared import http
from shared.errors import BadInput, ConfigError, Conflict, Unauthenticated, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import event
from shared.model.event import Event
from shared.model.paths import Paths
from shared.ports import Bus, Clock, Create, Expiry, Objects, Secrets, Store
from shared.providers.signatures import addressed
from shared.providers.webhooks import Asking, Fetch, Webhook, webhook

KEPT = 7 * 86_400_000  # ms that a callback is remembered: longer than any provider goes on trying
_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)  # of a body nobody foresaw


@dataclass(frozen=True)
class Webhooks:
    """The step's dependencies."""

    bus: Bus
    clock: Clock
    links: Links
    secrets: Secrets
    store: Store
    objects: Objects
    paths: Paths
    fetch: Fetch

    async def handle(self, request: Request) -> Response:
        """Accept one callback; raises Unauthenticated, BadInput, Unavailable."""
        await self.links.tokens.fresh()
        provider = webhook(request.path)
        if provider is None:
            return http.text("There is no such provider.", 404)
        if request.method == "HEAD" and getattr(provider, "PROBED", False):
            return Response(200)
        if request.method != "POST":
            return http.text("Only POST is understood here.", 405)
        try:
            await self._take(provider, addressed(request, f"{self.links.base}/webhooks/{request.path}"))
        except Unavailable as error:
            status = getattr(provider, "RETRY", 503)
            if status == 503:
                raise
            log("ERROR", str(error), provider=request.path)
            return Response(status, b"Please try again.\n", headers={"retry-after": "60"})
        return Response(getattr(provider, "ANSWER", 204))

    async def _take(self, provider: Webhook, request: Request) -> None:
        now, keys = self.clock.now(), await self._keys(provider)
        try:
            if isinstance(provider, Asking):
                await provider.prepare(request, keys, now, self.fetch)
            provider.verify(request, keys, now)
        except _MALFORMED as error:
            log("ERROR", f"webhook: {type(error).__name__} in a proof", provider=request.path)
            raise Unauthenticated("webhook: no valid proof") from None
        try:
            events = provider.normalise(request, self.links, now)
        except _MALFORMED as error:
            log("ERROR", f"webhook: {type(error).__name__} in a body", provider=request.path)
            raise BadInput("The body is not the provider's.") from None
        if isinstance(provider, Asking):
            await provider.settle(request, self.fetch)
        if events:
            await self._once(provider, request, events, now)

    async def _keys(self, provider: Webhook) -> list[bytes]:
        """The valid keys. An empty version opens nothing."""
        try:
            keys = [version.value for version in await self.secrets.get(provider.SECRET) if version.value.strip()]
        except ConfigError:
            keys = []
        if not keys:
            raise Unauthenticated("webhook: this provider has no key here")
        return keys

    async def _once(self, provider: Webhook, request: Request, events: Sequence[Event], now: int) -> None:
        """Publish, unless this callback was taken before. It is noted afterwards, so that none is lost: of two that come at the
        same time both may be published, and record applies them once."""
        signed = getattr(provider, "signed", None)
        told = signed(request) if signed else request.body
        digest = hashlib.sha256(f"{request.path}\0".encode() + told).hexdigest()
        path = self.paths.callback(digest)
        if await self.store.get(path, ("provider",)):
            metric("webhook: a callback that was here before", {"replays": 1}, provider=request.path, callback=digest)
            return
        if any(found.type == "unknown" for found in events):
            await self.objects.put(f"callbacks/unknown/{request.path}/{digest}", request.body)
            log("WARNING", "webhook: an event of an unknown kind was kept", provider=request.path, callback=digest)
        await self.bus.publish(event.TOPIC, [found.to_message() for found in events])
        try:
            await self.store.commit([Create(path, {"provider": request.path, "at": now, "expires_at": Expiry(now + KEPT)})])
        except Conflict:
            pass  # noted by another, or by us with its reply lost
