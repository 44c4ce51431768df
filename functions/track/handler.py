"""Opens, clicks and conversions. No store: the link carries its mail and its target, both signed, so a hit is one publish.

    o/{track token}            an open: always answered with the pixel
    k/{track token}/{target}   a click: redirects to the signed target; an unsigned one is a 404, so there is no open redirect
    h/{track token}            the link that nobody sees: who follows it is a machine
    c                          a conversion, by GET (a pixel) or POST: fields `sp` (the token), `value`, `currency`, `order`

Publishes to engagement-events; consumed by record. The buses gather what is published at once into one call, so hits are group
commits: each is answered when its own group is durable, and hears of its own group's failure. A click whose target is ours but
whose reader token is not goes on to the target, uncounted: the reader did nothing wrong. Of a person's click the country is kept,
never the address; of an open nothing is: mail services fetch pictures from where they are.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from shared import http
from shared.errors import BadInput, BadToken, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import event
from shared.model.event import Event, Label
from shared.model.ref import MailRef
from shared.ports import Bus, Clock, Geo, Location

from .conversions import VISITOR, sale, visiting
from .devices import device
from .recent import TRAP, Recent
from .robots import LONGEST, label, through_proxy

PATIENCE = 5.0  # seconds that a reader waits for the bus, at most; then the event is lost, and the log says so
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PIXEL = Response(200, _GIF, "image/gif", {"cache-control": "no-store, private", "x-content-type-options": "nosniff"})
_NOWHERE = Location()
_NOTED = Response(204, headers={"cache-control": "no-store"})


@dataclass(frozen=True)
class Track:
    """The step's dependencies. `domains`: where clicks carry their token, see `conversions.visiting`."""

    bus: Bus
    clock: Clock
    links: Links
    geo: Geo
    domains: Set[str] = frozenset()
    recent: Recent = field(default_factory=Recent)

    async def handle(self, request: Request) -> Response:
        """Answer one hit, at once, whatever becomes of the event. Raises BadToken (404) for a target that is not ours, BadInput
        for a posted conversion that cannot be."""
        await self.links.tokens.fresh()
        path = request.path.split("/")
        if request.method not in ("GET", "HEAD") and (request.method, path) != ("POST", ["c"]):
            return http.text("This method is not understood here.", 405)
        match path:
            case ["o", token]:
                await self._hit("opened", token, request)
                return PIXEL
            case ["k", token, target]:
                campaign = token.partition("~")[0]  # unproven, but then no target verifies for it
                number, url = self.links.read_target(campaign, target)
                who = await self._hit("clicked", token, request, number)
                return http.redirect(url if who in ("", "machine") else visiting(url, token, self.domains))
            case ["h", token]:
                await self._hit("clicked", token, request, trap=True)
                return http.text("There is nothing to see here.")
            case ["c"]:
                return await self._conversion(request)
        return http.text("There is no such page.", 404)

    async def _hit(
        self, kind: Literal["opened", "clicked"], token: str, request: Request, link: int = -1, trap: bool = False
    ) -> Label:
        """Publish a hit, and what it shows of earlier ones; its label, "" when nobody can say whose it is."""
        found = self._reader(kind, token)
        if found is None:
            return ""
        ref, at = found
        now = self.clock.now()
        trapped: tuple[Label, str] = ("machine", TRAP)
        who, reason = trapped if trap else label(kind, request, now - at if at else None)
        source = hash((request.headers.get("user-agent", "")[:LONGEST], request.client))
        hit, *others = self.recent.judge(Event(kind, ref.text, now, label=who, reason=reason, link=link), source)
        if hit.label == "human":
            own = kind == "clicked" and not through_proxy(request)  # the address is the person's
            place = self.geo.locate(request.client) if own else _NOWHERE
            hit = replace(hit, country=place.country, city=place.city, device=device(request))
        await self._publish([hit, *others])
        return hit.label

    async def _conversion(self, request: Request) -> Response:
        """A conversion has no label: sites tell of it from a server as well, and the token came with a click. HEAD tells nothing."""
        posted = request.method == "POST"
        answer = _NOTED if posted else PIXEL
        fields = request.form() if posted else request.query
        found = self._reader("converted", fields.get(VISITOR, "")) if request.method != "HEAD" else None
        if found is None:
            return answer
        try:
            value, currency, order = sale(fields)
            sold = Event("converted", found[0].text, self.clock.now(), id=order, value=value, currency=currency)
            Event.from_message(sold.to_message())  # or it would end as a dead letter
        except BadInput as error:
            if posted:
                raise
            log("WARNING", f"a conversion that does not count: {error}", mail=found[0].text)
            return answer
        await self._publish([sold])
        return answer

    def _reader(self, kind: str, token: str) -> tuple[MailRef, int] | None:
        """Whose token it is, and when the mail was handed over (ms, 0 for unknown); None, logged, when nobody can say."""
        try:
            return self.links.read_track(token)
        except BadToken:
            metric(f"{kind}: a token that is not ours", {"dead_tokens": 1}, "WARNING", kind=kind)
        except Unavailable as error:
            log("ERROR", f"{kind}, but nobody can say whose: {error}")
        return None

    async def _publish(self, events: Sequence[Event]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.bus.publish(event.TOPIC, [each.to_message() for each in events])
        except (Unavailable, TimeoutError) as error:
            why = str(error) or f"no answer within {PATIENCE:g} s"
            log("ERROR", f"{events[0].type}, but the event was not published: {why}", mail=events[0].ref)
