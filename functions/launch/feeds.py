"""Feeds of campaigns: fetched from a site that a template names, so from a stranger, and read in the process that confines templates.

Only web addresses on the web's own ports are asked, by name, and only where the name leads to the public internet: each address is looked
at when it is about to be connected to, so that neither a redirect nor a second answer of the DNS leads further in.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urljoin, urlsplit

from shared.errors import BadInput
from shared.mail import bundle, confined
from shared.mail.feeds import PART
from shared.outward import public
from shared.ports import Clock, Objects
from shared.providers.api import Answer, Call, Lost

SECONDS: Final = 10.0  # for a feed, redirects and a second try included
CONNECT: Final = 5.0  # seconds
MOST: Final = 1 << 20  # bytes, unpacked
REDIRECTS: Final = 3
TRIES: Final = 2
LONGEST: Final = 1_000  # characters of an address
KEPT: Final = 300_000  # ms that a feed is taken as read; what is wrong with one for MINUTE
MINUTE: Final = 60_000
HELD: Final = 50  # feeds in a process
PORTS: Final = frozenset({80, 443})
NOT_HERE: Final = "“feed:” is for campaigns: a mail of the system's own cannot have one. Take that line out of its template."
_HEADERS: Final = {
    "Accept": "application/feed+json, application/atom+xml, application/rss+xml, application/json;q=0.9, application/xml;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",
}
_MOVED = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429)
_STRANGE = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")  # a host's end that makes it an IPv4 address (WHATWG URL, "ends in a number")
Read: TypeAlias = Callable[[str], Awaitable[bytes]]  # from a feed's address to what is frozen of it; raises BadInput, Unavailable


class Exchange(Protocol):
    """shared.providers.api_http.Http, as far as it is used here."""

    async def exchange(self, call: Call) -> Answer:
        """Make a call; raises Lost."""
        ...

    async def close(self) -> None: ...


Open: TypeAlias = Callable[[Callable[[str], bool]], Exchange]  # given what tells whether an IP address may be connected to


def client(allowed: Callable[[str], bool]) -> Exchange:
    """Connections for one feed."""
    from shared.providers.api_http import Http  # 360 ms: only for those who have a feed

    return Http(SECONDS, CONNECT, most=MOST, allowed=allowed)


@dataclass
class Feeds:
    """The feeds that this process has read a little while ago, so that a row that is looked at again costs its site nothing. `public`,
    `ports`: where a feed may be."""

    clock: Clock
    open: Open = client
    public: Callable[[str], bool] = public
    ports: frozenset[int] = PORTS
    _kept: dict[str, tuple[int, bytes | str]] = field(default_factory=dict, init=False)  # when, and the feed or what is wrong

    async def read(self, address: str) -> bytes:
        """See `Read`. Raises BadInput with a sentence that names the address and says what is wrong."""
        now = self.clock.now()
        when, found = self._kept.get(address, (0, ""))
        if now >= when + (MINUTE if isinstance(found, str) else KEPT):
            try:
                found = await self._read(address)
            except BadInput as error:
                found = str(error)
            self._kept.pop(address, None)
            self._kept[address] = now, found
            if len(self._kept) > HELD:
                del self._kept[next(iter(self._kept))]
        if isinstance(found, str):
            raise BadInput(found)
        return found

    async def _read(self, address: str) -> bytes:
        name = f"The feed {address[:120]}"
        try:
            check(address, self.ports)
            async with asyncio.timeout(SECONDS):
                body, place = await self._fetched(address)
        except TimeoutError:
            raise BadInput(f"{name} takes longer than {SECONDS:g} seconds.") from None
        except BadInput as error:
            raise BadInput(f"{name} {error}.") from None
        try:
            return await asyncio.to_thread(confined.feed, body, place)
        except BadInput as error:
            raise BadInput(f"{name} {error}.") from None

    async def _fetched(self, address: str) -> tuple[bytes, str]:
        """A feed's bytes, and the address that redirects led to. Raises BadInput, to be said behind its name."""
        refused: list[str] = []

        def allowed(ip: str) -> bool:
            good = self.public(ip)
            refused.extend([] if good else [ip])
            return good

        http, place = self.open(allowed), address
        try:
            for _ in range(REDIRECTS + 1):
                answer = await self._asked(http, place, refused)
                if answer.status not in _MOVED or "location" not in answer.headers:
                    break
                place = _followed(place, answer.headers["location"])
                check(place, self.ports)
            else:
                raise BadInput(f"leads on more than {REDIRECTS} times: write the address that it leads to")
        finally:
            await http.close()
        if answer.status != 200:
            raise BadInput(f"cannot be fetched: its server answers {answer.status}")
        if not answer.body:
            raise BadInput(f"is empty, breaks off, or has more than {MOST >> 20} MB")
        return answer.body, place

    async def _asked(self, http: Exchange, address: str, refused: list[str]) -> Answer:
        """A second time where that may help."""
        for more in reversed(range(TRIES)):
            try:
                answer = await http.exchange(Call("GET", address, _HEADERS))
            except Lost:
                if refused:
                    raise BadInput("is not on the public internet, or leads to where that is not so") from None
                if not more:
                    raise BadInput("cannot be fetched: its server does not answer, or its name is not known") from None
                continue
            if not more or (answer.status < 500 and answer.status not in _LATER):
                return answer
        raise AssertionError  # the last one returns or raises


def check(address: str, ports: frozenset[int] = PORTS) -> None:
    """Whether an address may be a feed's, by its spelling; raises BadInput, to be said behind the feed's name."""
    try:
        place = urlsplit(address)
        host, port = (place.hostname or "").rstrip("."), place.port
    except ValueError:
        host, port = "", None
    if not host or place.scheme not in ("http", "https") or len(address) > LONGEST or _STRANGE.search(address):
        raise BadInput("is no web address: write it in full, as in https://example.com/rss.xml")
    if "@" in place.netloc:
        raise BadInput("has a name or a password in its address, which cannot be used here")
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise BadInput("has a number in place of the site's name: write the name")
    if (port or {"http": 80, "https": 443}[place.scheme]) not in ports:
        raise BadInput("is at another port than the web's own, 80 and 443")


def _followed(place: str, location: str) -> str:
    try:
        return urljoin(place, location)
    except ValueError:
        return ""


# --- what was read once -----------------------------------------------------------------------------------------------


def noted(mail: Mapping[str, Any]) -> list[dict[str, str]]:
    """The feeds of a frozen `mail` in all its languages: {address, object that holds it}, each once."""
    found = {one["feed"]: one["object"] for one in (mail, *mail.get("languages", {}).values()) if "feed" in one}
    return [{"address": address, "object": name} for address, name in found.items()]


def again(objects: Objects, known: Sequence[Mapping[str, str]], read: Read) -> Read:
    """As `read`, but feeds that are `noted` are as they were."""
    places = {one["address"]: one["object"] for one in known}

    async def one(address: str) -> bytes:
        if address not in places:
            return await read(address)
        return bundle.unpacked(await objects.get(places[address]))[1][PART]

    return one
