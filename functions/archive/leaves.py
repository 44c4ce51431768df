"""The pages of the list. A page begins at a campaign, not at a number: what is on it stays the same while newer mails come, and it is
drawn without counting those before it, whose number on a page depends on the language. A month would be a page of one mail here and of
three hundred there; a year is only a place to begin at.

    ?before={at}.{id}   the campaigns after this one in the list, which is older than the page before
    ?after={at}.{id}    those before it, the nearest; the newest page when there are not enough of them
    ?year=2026          the campaigns of that year, and then those before
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from .listing import Campaigns, Entry, Listing, Place, entry

PAGE: Final = 50  # mails on a page
FEW: Final = 5  # on each, whatever else is there
ROOM: Final = 12_500  # bytes of the list, the years and the logo: a page has to stay below 20 KB
ITEM: Final = 190  # bytes of an item without its subject
YEAR: Final = 60  # of the link to a year
YEARS: Final = 40  # the latest that have a link
_BEHIND: Final = 12 * 3_600_000  # ms by which the last zones of the world are behind UTC
_TOP: Place = (-(10**18), "")
_PLACE = re.compile(r"(\d{1,15})\.([A-Za-z0-9-]{1,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page. `newer`, `older`: the queries of those beside it, "" for none."""

    entries: list[Entry]
    newer: str = ""
    older: str = ""


@dataclass(frozen=True, slots=True)
class Leaves:
    """`read` gives the campaigns of the volume with a number; what it raises they raise. `room`: bytes of a page's list."""

    listing: Listing
    read: Callable[[int], Awaitable[Campaigns]]
    language: str
    room: int = ROOM

    async def asked(self, query: Mapping[str, str]) -> Leaf | None:
        """The page of a query; None for what asks for none, or for one where nothing is."""
        named = [name for name in ("before", "after", "year") if name in query]
        if not named:
            return await self.older(_TOP)
        if len(named) > 1:
            return None
        text = query[named[0]]
        if named[0] == "year":
            found = await self._year(text) if text in self.listing.years else None
        else:
            place = _place(text)
            found = place and (await self.older(place) if named[0] == "before" else await self.newer(place))
        return found if found and found.entries else None

    async def newest(self, count: int) -> list[Entry]:
        """So many, or as many as there are."""
        found: list[Entry] = []
        async for place, one in self._down(_TOP):
            if len(found) == count:
                break
            found.append(entry(place, one, self.language))
        return found

    async def older(self, place: Place, within: str = "9999") -> Leaf:
        """The page of what stands after a place, up to a year."""
        found, more = await self._cut(self._down(place), within)
        return await self._leaf(found, older=more)

    async def newer(self, place: Place) -> Leaf:
        """The page of what stands before a place and next to it."""
        found, more = await self._cut(self._up(place))
        return await self._leaf(found[::-1], newer=True) if more else await self.older(_TOP)

    async def _year(self, year: str) -> Leaf:
        last_day = int(datetime(int(year), 12, 31, tzinfo=UTC).timestamp() * 1000)
        return await self.older((-(last_day + 86_400_000 + _BEHIND), ""), year)

    async def _leaf(self, entries: list[Entry], newer: bool = False, older: bool = False) -> Leaf:
        if not entries:
            return Leaf([])
        first, last = entries[0], entries[-1]
        newer = newer or await _any(self._up(first.place))
        older = older or await _any(self._down(last.place))
        return Leaf(entries, f"after={_position(first)}" if newer else "", f"before={_position(last)}" if older else "")

    async def _cut(
        self, campaigns: AsyncIterator[tuple[Place, Mapping[str, Any]]], within: str = "9999"
    ) -> tuple[list[Entry], bool]:
        """As many as go on a page, and whether there are more."""
        found: list[Entry] = []
        left = self.room
        async for place, one in campaigns:
            if one["day"][:4] > within:
                continue
            new = entry(place, one, self.language)
            size = ITEM + len(new.subject.encode())
            if len(found) >= PAGE or (left < size and len(found) >= FEW):
                return found, True
            found.append(new)
            left -= size
        return found, False

    async def _down(self, place: Place) -> AsyncIterator[tuple[Place, Mapping[str, Any]]]:
        """All that stands after a place."""
        for n in range(self.listing.volume(place), len(self.listing.volumes)):
            for one in await self._node(n):
                if one[0] > place:
                    yield one

    async def _up(self, place: Place) -> AsyncIterator[tuple[Place, Mapping[str, Any]]]:
        """All that stands before it, the nearest first."""
        for n in range(self.listing.volume(place), -2, -1):
            for one in reversed(await self._node(n)):
                if one[0] < place:
                    yield one

    async def _node(self, n: int) -> Campaigns:
        return self.listing.campaigns if n < 0 else await self.read(self.listing.volumes[n][1])


async def _any(campaigns: AsyncIterator[object]) -> bool:
    async for _ in campaigns:
        return True
    return False


def _position(one: Entry) -> str:
    return f"{one.at}.{one.id}"


def _place(text: str) -> Place | None:
    found = _PLACE.fullmatch(text)
    return (-int(found[1]), found[2]) if found else None
