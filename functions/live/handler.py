"""GET /live/{token}: a running campaign's page; GET /live/{token}/events: its numbers as they change, as server-sent events.

The token is the proof: it names the campaign and until when it may be looked at. Numbers only: no reader, no address.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

from shared import http
from shared.http import Request, Response
from shared.links import Links
from shared.model.paths import Paths
from shared.ports import Clock
from shared.streams import ALIVE, HEADERS, Stream, event, retry

from .page import page
from .watch import Watch, Watches

RETRY: Final = 3_000  # ms from the end of a stream to the next
FULL: Final = 30  # seconds until a viewer who found no room tries again


@dataclass(frozen=True)
class Live:
    """The step's dependencies. `viewers`: streams at most; `lasting`: seconds of one; `alive`: seconds of silence, at most."""

    watches: Watches
    clock: Clock
    links: Links
    paths: Paths
    brand: str
    viewers: int
    lasting: float
    alive: float = 15.0

    async def handle(self, request: Request) -> Response | Stream:
        """Raises BadToken (404) for a token that is not ours, not this tenant's or expired, Unavailable."""
        if request.method not in ("GET", "HEAD"):
            return http.text("This method is not understood here.", 405)
        token, _, rest = request.path.partition("/")
        if rest not in ("", "events"):
            return http.text("There is no such page.", 404)
        await self.links.tokens.fresh()
        campaign, until = self.links.read_live(token, self.paths.tenant_id, self.clock.now())
        if request.method == "HEAD":  # it promises what GET would bring, and looks nothing up
            return Response(200, b"", "text/event-stream; charset=utf-8" if rest else "text/html; charset=utf-8", HEADERS)
        watch = self.watches.of(campaign)
        if not rest:
            await watch.current()
            return page(self.brand, campaign, watch.numbers, watch.points, until)
        if self.watches.viewers >= self.viewers:
            return Response(503, b"Too many are looking.\n", headers={**HEADERS, "retry-after": str(FULL)})
        return Stream(self._events(watch, until, request.headers.get("last-event-id", "")))

    async def _events(self, watch: Watch, until: int, last: str) -> AsyncGenerator[bytes, None]:
        """All numbers, then all of them whenever one has changed; "end" says why it is over: "campaign", "link" or "time", after which
        the viewer comes back. `last`: the id of the event that the viewer saw last, the time of its numbers."""
        started = self.clock.now()
        end = min(until, started + round(self.lasting * 1000))
        since = int(last) if last.isascii() and last.isdigit() else 0
        async with watch.joined():
            yield retry(RETRY)
            await watch.current()
            version = watch.version
            points = [point for point in watch.points if point[0] > since]
            yield self._event(watch, points=points)
            while not watch.over and (left := end - self.clock.now()) > 0:
                await watch.news(version, min(self.alive, left / 1000))
                if watch.version == version:
                    yield ALIVE
                else:
                    version = watch.version
                    yield self._event(watch)
            if watch.version != version:
                yield self._event(watch)
            yield event({"why": "campaign" if watch.over else "link" if end == until else "time"}, "end")

    def _event(self, watch: Watch, **more: Any) -> bytes:
        """`now`: what time it is here, since viewers' clocks differ."""
        return event({**watch.numbers, **more, "now": self.clock.now()}, id=str(watch.numbers["at"]))
