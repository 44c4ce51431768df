"""Who made a hit: a person, a machine, or nobody can say (suspect). Every hit is kept; scores and reports count the humans.

Known robots come from crawler-user-agents. Two of its entries are proxies through which people read their mail: an open
through Gmail's or Yahoo's image proxy is a person's. docs/tracking.md says what each rule finds and what it cannot.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Literal

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from shared.http import Request
from shared.model.event import Label

LONGEST = 512  # characters of a user agent that are looked at: the pattern takes a millisecond for each few hundred
READER_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy")

# Milliseconds from hand-off within which no person opens or clicks. The receiving server has yet to accept, filter and store the
# mail, and a device to fetch and show it: seconds, before anybody can look. Who clicks has read besides. The token keeps whole
# seconds, rounded down, so that up to one of these is lost to that.
AT_ONCE = {"opened": 3_000, "clicked": 5_000}

# What says that nobody looks yet: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Purpose and what
# browsers sent before it.
_AHEAD = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)

# Mail Privacy Protection fetches every picture through Apple's relays, read or not (https://support.apple.com/en-us/102394), and
# names nothing but this. No browser does.
_BARE = "Mozilla/5.0"


@cache
def _robots() -> re.Pattern[str]:
    patterns = (entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns if not READER_PROXIES.search(pattern)))


def label(kind: Literal["opened", "clicked"], request: Request, age: int | None) -> tuple[Label, str]:
    """(label, reason) of a hit on a mail handed over `age` ms ago, None where the link does not say."""
    if request.method == "HEAD":
        return "machine", "HEAD request"
    if any(_PREFETCH.match(request.headers[name].strip()) for name in _AHEAD if name in request.headers):
        return "machine", "prefetch"
    agent = request.headers.get("user-agent", "")[:LONGEST]
    found = _of_agent(agent)
    if found[0] != "machine" and age is not None and age < AT_ONCE[kind]:
        return "machine", "within seconds of hand-off"
    if agent == _BARE:
        return "suspect", "Apple Mail Privacy Protection" if kind == "opened" else "no browser named"
    return found


def through_proxy(request: Request) -> bool:
    """Whether a person's hit came by their mail service, so that its address says nothing about them."""
    return READER_PROXIES.search(request.headers.get("user-agent", "")[:LONGEST]) is not None


@lru_cache(maxsize=1024)
def _of_agent(agent: str) -> tuple[Label, str]:
    if not agent:
        return "machine", "no user agent"
    if READER_PROXIES.search(agent):
        return "human", "mail image proxy"
    if _robots().search(agent):
        return "machine", "known robot"
    return "human", ""
