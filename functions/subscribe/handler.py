"""Sign-up with double opt-in. A GET shows a page and changes nothing; a POST writes first, then publishes.

    ""               GET the form · POST a sign-up (form or JSON): consent evidence + subscriber, then a send request · OPTIONS for scripts
    embed            the same form, for the tenant's own sites to frame
    confirm/{token}  GET a page with a button · POST confirms, lifts an earlier "unsubscribed", welcomes who joins
    health           GET: every dependency is asked, at most once in five seconds

A form post counts when somebody saw our form, or when it comes from one of the tenant's sites; any other is asked for one more click, and
nothing is written. Publishes to send-requests; consumed by send_batch, which holds each address to one confirmation a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from shared import http
from shared.errors import BadToken
from shared.http import Request, Response
from shared.links import Links
from shared.logs import metric
from shared.model import batch
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.model.ref import MailRef
from shared.pages.faces import Faces, Shown
from shared.ports import Bus, Clock, Geo, Secrets, Store

from .coalesce import WAITING, Coalesced
from .confirming import Confirming
from .drawing import PAGES
from .health import Health
from .mail_domains import MailDomains
from .origins import preflight
from .sign_up import SigningUp

MAX_BODY: Final = 64 << 10  # bytes


@dataclass(frozen=True)
class Subscribe:
    """The step's dependencies. `pepper` makes subscriber ids; `base` is the public URL; `secrets` has a CAPTCHA's; `domains`: who asks DNS
    whether a domain takes mail, None for nobody; `waiting`, `rest`: see Coalesced."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    pepper: bytes
    faces: Faces
    base: str
    geo: Geo
    secrets: Secrets
    domains: Callable[[], MailDomains] | None = None
    waiting: int = WAITING
    rest: float = 0.0

    async def handle(self, request: Request) -> Response:
        """Route one request. Raises Unavailable (503: nothing was lost, a repeat is harmless)."""
        head, _, tail = request.path.partition("/")
        if head == "health" and request.method in ("GET", "HEAD"):
            return await self._health.answer()
        await self.links.tokens.fresh()
        match head, request.method:
            case (("" | "embed"), "GET" | "HEAD"):
                return self._signing_up.form(await self.faces.get(), request)
            case (("" | "embed"), "POST"):
                return await self._signing_up.take(await self.faces.get(), request)
            case "", "OPTIONS":
                return preflight(request, (await self.faces.get()).tenant.face.signup.sites)
            case "confirm", "GET" | "HEAD":
                return self._ask(await self.faces.get(), request, tail)
            case "confirm", "POST":
                return await self._confirm(await self.faces.get(), request, tail)
            case (("" | "embed" | "confirm" | "health"), _):
                return http.text("This method is not understood here.", 405)
        return http.text("There is no such page.", 404)

    @cached_property
    def _signing_up(self) -> SigningUp:
        writes = Coalesced(self.store, self.waiting, self.rest)
        ours = self.clock, self.links, self.paths, self.pepper, self.base
        return SigningUp(writes, self.bus, *ours, self.geo, self.secrets, self.domains)

    @cached_property
    def _health(self) -> Health:
        return Health(self.store, self.bus, self.clock, self.paths)

    def _ask(self, shown: Shown, request: Request, token: str) -> Response:
        try:
            self.links.read_confirm(token, self.clock.now())
        except BadToken:
            return self._dead(shown, request)
        return PAGES.draw(shown, request, "confirm.html", name="confirm")

    async def _confirm(self, shown: Shown, request: Request, token: str) -> Response:
        try:
            sid, consent, key = self.links.read_confirm(token, self.clock.now())
        except BadToken:
            return self._dead(shown, request)
        confirming = Confirming(self.store, self.clock, self.links, self.paths, shown.tenant.identity.list_domain)
        outcome, reader = await confirming.confirm(request, sid, consent, key)
        if outcome == "dead":
            return self._dead(shown, request, reader)
        if outcome == "unmailable":
            return PAGES.draw(shown, request, "message.html", name="unmailable", reader=reader, again="")
        if outcome == "joined":
            await self.bus.publish(batch.TOPIC, [batch.request(WELCOME, f"{sid}.{consent}")])
        # Of several sign-ups in a day one is confirmed, maybe not the reader's own: here they can see what it said of them.
        own, joined = self.links.preferences(MailRef(CONFIRM, sid, key)), outcome == "joined"
        return PAGES.draw(shown, request, "confirmed.html", name="confirmed", reader=reader, welcome=joined, preferences=own)

    def _dead(self, shown: Shown, request: Request, reader: str = "") -> Response:
        metric("a confirmation link that does not work", {"dead_tokens": 1}, "WARNING", kind="confirm")
        return PAGES.draw(shown, request, "message.html", 404, name="dead", reader=reader, again=f"{self.base}/subscribe")
