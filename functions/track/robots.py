"""Who made a hit: a person's software, or a machine. Every hit is kept; scores and reports count the humans.

Known robots come from crawler-user-agents. Two of its entries are proxies through which people read their mail: an open
through Gmail's or Yahoo's image proxy is a person's.
"""

from __future__ import annotations

import re
from functools import cache

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from shared.http import Request
from shared.model.event import Label

READER_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy")


@cache
def _robots() -> re.Pattern[str]:
    patterns = (entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns if not READER_PROXIES.search(pattern)))


def label(request: Request) -> tuple[Label, str]:
    """(label, reason) of a hit."""
    agent = request.headers.get("user-agent", "")
    if request.method == "HEAD":
        return "machine", "HEAD request"
    if not agent:
        return "machine", "no user agent"
    if READER_PROXIES.search(agent):
        return "human", "mail image proxy"
    if _robots().search(agent):
        return "machine", "known robot"
    return "human", ""
