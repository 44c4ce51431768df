"""Leaving. RFC 8058 one-click: a POST with no cookie, no redirect and no question; a GET only shows a button.

A POST commits the suppression and the subscriber's status before it answers, then publishes the fact to engagement-events
(consumed by record, for the campaign's report). Replays and tokens that are not ours get the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared import http
from shared.errors import BadToken, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import event
from shared.model.event import Event
from shared.model.paths import Paths
from shared.model.subscriber import suppress
from shared.pages import page
from shared.ports import Bus, Clock, Store

PAGES = Path(__file__).parent / "pages"


@dataclass(frozen=True)
class Unsubscribe:
    """The step's dependencies; `brand` heads the pages, `base` is the public URL."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    brand: str
    base: str

    async def handle(self, request: Request) -> Response:
        """`{leave token}`: GET asks, POST leaves. Raises Unavailable (503) when the suppression could not be stored."""
        await self.links.tokens.fresh()
        match request.method:
            case "GET" | "HEAD":
                return page(PAGES, "ask.html", brand=self.brand)
            case "POST":
                await self._leave(request.path)
                return page(PAGES, "done.html", brand=self.brand, again=f"{self.base}/subscribe")
        return http.text("This method is not understood here.", 405)

    async def _leave(self, token: str) -> None:
        try:
            ref = self.links.read_leave(token)
        except BadToken:
            metric("an unsubscribe link that is not ours", {"dead_tokens": 1}, "WARNING", kind="leave")
            return
        now = self.clock.now()
        await self.store.commit(suppress(self.paths, ref.sid, "unsubscribed", f"mail of {ref.campaign}", now))
        try:
            await self.bus.publish(event.TOPIC, [Event("unsubscribed", ref.text, now).to_message()])
        except Unavailable as error:  # they have left; only the campaign's report misses one
            log("ERROR", f"unsubscribed, but the event was not published: {error}", mail=ref.text)
