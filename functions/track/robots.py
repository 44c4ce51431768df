"""Who made a hit: a person's software, or a machine. Every hit is kept; scores and reports count the humans.

Known robots come from crawler-user-agents. Two of its entries are proxies through which people read their mail: an open
through Gmail's or Yahoo's image proxy is a person's.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from shared.http import Request
from shared.model.event import Label

LONGEST = 512  # characters of a user agent that are looked at: the pattern takes a millisecond for each few hundred
READER_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy")


@cache
def _robots() -> re.Pattern[str]:
    patterns = (entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns if not READER_PROXIES.search(pattern)))


def label(request: Request) -> tuple[Label, str]:
    """(label, reason) of a hit."""
    if request.method == "HEAD":
        return "machine", "HEAD request"
    return _of_agent(request.headers.get("user-agent", "")[:LONGEST])


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
