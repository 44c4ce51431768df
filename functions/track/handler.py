"""Opens and clicks. No store: the link carries its mail and its target, both signed, so a hit is one publish.

    o/{track token}            an open: always answered with the pixel
    k/{track token}/{target}   a click: redirects to the signed target; an unsigned one is a 404, so there is no open redirect

Publishes to engagement-events; consumed by record. A click whose target is ours but whose reader token is not goes on to the
target, uncounted: the reader did nothing wrong. Of a person's click the country is kept, never the address; of an open nothing is:
mail services fetch pictures from where they are.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal

from shared import http
from shared.errors import BadToken, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import event
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Bus, Clock, Geo, Location

from .robots import label, through_proxy

_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PIXEL = Response(200, _GIF, "image/gif", {"cache-control": "no-store, private", "x-content-type-options": "nosniff"})


@dataclass(frozen=True)
class Track:
    """The step's dependencies."""

    bus: Bus
    clock: Clock
    links: Links
    geo: Geo

    async def handle(self, request: Request) -> Response:
        """Answer one hit, at once, whatever becomes of the event. Raises BadToken (404) for a target that is not ours."""
        await self.links.tokens.fresh()
        if request.method not in ("GET", "HEAD"):
            return http.text("This method is not understood here.", 405)
        match request.path.split("/"):
            case ["o", token]:
                await self._hit("opened", token, request)
                return PIXEL
            case ["k", token, target]:
                campaign = token.partition("~")[0]  # unproven, but then no target verifies for it
                number, url = self.links.read_target(campaign, target)
                await self._hit("clicked", token, request, number)
                return http.redirect(url)
        return http.text("There is no such page.", 404)

    async def _hit(self, kind: Literal["opened", "clicked"], token: str, request: Request, link: int = -1) -> None:
        try:
            ref: MailRef = self.links.read_track(token)
        except BadToken:
            metric(f"{kind}: a token that is not ours", {"dead_tokens": 1}, "WARNING", kind=kind)
            return
        except Unavailable as error:
            log("ERROR", f"{kind}, but nobody can say whose: {error}")
            return
        who, reason = label(request)
        theirs = kind == "clicked" and who == "human" and not through_proxy(request)  # the address is the person's
        place = self.geo.locate(request.client) if theirs else Location()
        now = self.clock.now()
        hit = Event(kind, ref.text, now, label=who, reason=reason, link=link, country=place.country, city=place.city)
        try:
            await self.bus.publish(event.TOPIC, [hit.to_message()])
        except Unavailable as error:
            log("ERROR", f"{kind}, but the event was not published: {error}", mail=ref.text)
