"""What everybody may see of campaigns: GET /archive, a list of those that are public; GET /archive/feed, the newest of them as RSS;
GET /archive/{view token}, one mail in the browser. It only reads.

The token in a mail is the same for all its readers: whoever gets it forwarded can neither see nor unsubscribe anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from shared import http
from shared.errors import BadToken, NotFound, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import metric
from shared.model.paths import Paths
from shared.pages import Pages
from shared.pages.faces import Faces, Shown
from shared.pages.languages import OWN, suiting
from shared.ports import Clock, Objects, Store

from . import feed, view
from .conditional import answer
from .held import FOR_EVER, Held
from .leaves import ROOM, YEAR, YEARS, Leaf, Leaves
from .listing import Campaigns, Entry, Listing, ordered

PAGES: Final = Pages(Path(__file__).parent / "pages")
PUBLIC: Final = "public, max-age=300"
VOLUMES: Final = 128  # kept in a process: 10,000 campaigns in one language are 100, of 50 KB
T = TypeVar("T")


@dataclass(frozen=True)
class Archive:
    """The step's dependencies."""

    store: Store
    objects: Objects
    clock: Clock
    links: Links
    paths: Paths
    faces: Faces

    @cached_property
    def _listings(self) -> Held[Listing]:
        return Held(self.clock, 1)

    @cached_property
    def _volumes(self) -> Held[Campaigns]:
        return Held(self.clock, VOLUMES, FOR_EVER)

    @cached_property
    def _campaigns(self) -> Held[view.Views]:
        return Held(self.clock, view.CAMPAIGNS)

    @cached_property
    def _pages(self) -> Held[bytes | None]:
        return Held(self.clock, view.KEPT)

    async def handle(self, request: Request) -> Response:
        """Raises Unavailable."""
        if request.method not in ("GET", "HEAD"):
            refused = http.text("This method is not understood here.", 405)
            return replace(refused, headers={**refused.headers, "allow": "GET, HEAD"})
        await self.links.tokens.fresh()
        shown = await self.faces.get()
        if request.path not in ("", "feed"):
            return await self._view(shown, request)
        if not shown.tenant.face.archive:
            return self._lost(shown, request)
        return await (self._feed(shown, request) if request.path else self._list(shown, request))

    # --- what is public ---

    async def _with(self, work: Callable[[Listing], Awaitable[T]]) -> T:
        """What is made of the listing: of the newest, when one of its volumes is replaced meanwhile. Raises Unavailable."""
        for _ in range(2):
            listing = await self._listings.get("", self._listing)
            try:
                return await work(listing)
            except NotFound:
                self._listings.forget("", listing)
        raise Unavailable("the archive", "a volume is not there")

    async def _listing(self) -> Listing:
        found = await self.store.get(self.paths.archive)
        return Listing.of(found.data if found else {})

    async def _volume(self, number: int) -> Campaigns:
        async def read() -> Campaigns:
            found = await self.store.get(self.paths.archive_volume(number))
            campaigns = ordered(found.data if found else {})
            if not campaigns:
                raise NotFound(f"volume {number}")
            return campaigns

        return await self._volumes.get(number, read)

    # --- the list ---

    async def _list(self, shown: Shown, request: Request) -> Response:
        language = PAGES.language(shown, request, "archive")

        async def read(listing: Listing) -> tuple[Leaf | None, tuple[str, ...]]:
            years = listing.years[:YEARS] if len(listing.years) > 1 else ()
            room = ROOM - len(shown.tenant.face.logo) - YEAR * len(years)
            return await Leaves(listing, self._volume, language, room).asked(request.query), years

        leaf, years = await self._with(read)
        return self._lost(shown, request) if leaf is None else self._drawn(shown, request, language, leaf, years)

    def _drawn(self, shown: Shown, request: Request, language: str, leaf: Leaf, years: tuple[str, ...]) -> Response:
        texts = {key: PAGES.text(language, key) for key in ("months", "date")}
        items = [
            {
                "href": _path(self.links, self.links.view(one.id, one.spoken)),
                "subject": one.subject,
                "language": one.spoken or shown.tenant.identity.language.lower(),
                "day": one.day,
                "date": _date(one.day, texts),
            }
            for one in leaf.entries
        ]
        kept = f"?lang={language}&" if "lang" in request.query else "?"
        older, newer = (f"{kept}{query}" if query else "" for query in (leaf.older, leaf.newer))
        own = self._feed_of(language if "lang" in request.query else "")
        drawn = PAGES.draw(
            shown,
            request,
            "list.html",
            name="archive",
            items=items,
            older=older,
            newer=newer,
            years={year: f"{kept}year={year}" for year in years},
            feed=own,
            sign_up=self._at("subscribe"),
        )
        named = {"next": older, "prev": newer}
        link = [f'<{self._at("archive")}{where}>; rel="{rel}"' for rel, where in named.items() if where]
        link.append(f'<{own}>; rel="alternate"; type="application/rss+xml"')
        headers = {**drawn.headers, "cache-control": PUBLIC, "vary": "accept-language", "link": ", ".join(link)}
        return answer(request, replace(drawn, headers=headers))

    # --- the feed ---

    async def _feed(self, shown: Shown, request: Request) -> Response:
        asked, own = request.query.get("lang", ""), shown.tenant.identity.language.lower()

        async def read(listing: Listing) -> tuple[Listing, str, list[Entry]]:
            language = suiting(asked, {*OWN, *listing.languages}) or own
            return listing, language, await Leaves(listing, self._volume, language).newest(feed.MOST)

        listing, language, entries = await self._with(read)
        channel = feed.Channel(
            title=shown.tenant.name,
            about=PAGES.text(language, "archive.intro", brand=shown.tenant.name),
            link=self._at("archive"),
            own=self._feed_of(language if asked else ""),
            language=language,
            changed_at=listing.changed_at,
        )
        domain = shown.tenant.identity.list_domain
        items = [
            feed.Item(f"{one.id}@{domain}", self.links.view(one.id, one.spoken), one.subject, one.about, one.at)
            for one in entries
        ]
        headers = {"cache-control": PUBLIC, "x-content-type-options": "nosniff"}
        return answer(request, Response(200, feed.rss(channel, items), feed.TYPE, headers), listing.changed_at)

    # --- a mail ---

    async def _view(self, shown: Shown, request: Request) -> Response:
        try:
            campaign, spoken = self.links.read_view(request.path)
        except BadToken:
            metric("an archive link that is not ours", {"dead_tokens": 1}, "WARNING", kind="view")
            return self._lost(shown, request)
        views = await self._campaigns.get(campaign, lambda: view.found(self.store, self.paths, campaign))
        name = views.objects.get(suiting(request.query.get("lang") or spoken, views.objects))
        page = await self._pages.get(name, lambda: view.page(self.objects, name)) if name else None
        if page is None:
            return PAGES.draw(shown, request, "message.html", 404, name="unshown", again="")
        indexed = views.public and shown.tenant.face.archive
        return answer(request, view.response(page, self.links.base, indexed))

    # --- both ---

    def _lost(self, shown: Shown, request: Request) -> Response:
        return PAGES.draw(shown, request, "message.html", 404, name="lost", again="")

    def _at(self, place: str) -> str:
        return f"{self.links.base}/{place}"

    def _feed_of(self, language: str) -> str:
        return self._at("archive/feed") + (f"?lang={language}" if language else "")


def _path(links: Links, address: str) -> str:
    """An address of ours without its origin, which every item of a list would repeat."""
    return "/" + address.removeprefix(links.base).lstrip("/")


def _date(day: str, texts: Mapping[str, Any]) -> str:
    """2026-12-31 as people write it."""
    year, month, number = day.split("-")
    named = {"day": int(number), "month": texts["months"].split(",")[int(month) - 1], "year": year}
    return str(texts["date"]).format(**named)
