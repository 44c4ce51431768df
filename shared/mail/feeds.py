"""What a template knows of a feed: `{{ feed.title }}` and `{% for item in feed.items[:5] %}`.

A feed is frozen with the mail, as one more of its parts, so that preview, test, send and resend all show the same items; for the mail it is
a constant, like the sender's name. It is plain text only, and short, however long what a stranger publishes is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PART: Final = "feed"  # its name among `Source.parts`, which no template can include
ITEMS: Final = 25  # of a feed, in its own order
TITLE, SUMMARY, URL = 200, 600, 800  # characters: with ITEMS of them less than MAX_VALUE of the sandbox
FIELDS: Final = ("title", "link", "summary", "date", "image")  # of an item; `date`: "2027-01-15", in UTC


@dataclass(frozen=True, slots=True)
class Feed:
    """`items`: dicts of FIELDS, all text, "" for what the feed does not say. Addresses are http(s)."""

    title: str
    link: str
    items: Sequence[Mapping[str, str]]


def packed(title: str, link: str, items: Sequence[Mapping[str, str]]) -> bytes:
    """A feed as it is frozen: equal feeds make equal bytes."""
    given = {"title": title, "link": link, "items": [{name: item[name] for name in FIELDS} for item in items]}
    return json.dumps(given, sort_keys=True, separators=(",", ":")).encode()


def unpacked(data: bytes) -> Feed:
    """What was `packed`."""
    given: dict[str, Any] = json.loads(data)
    return Feed(given["title"], given["link"], tuple(given["items"]))


def sample() -> bytes:
    """A made-up feed, for whoever tries a template out and not its feed."""
    site = "https://lumen.example/posts"
    summary = "What the first lines of a post say, so that readers know whether to go on."
    items = [
        {"title": f"Post {n}", "link": f"{site}/{n}", "summary": summary, "date": f"2027-01-{16 - n}", "image": f"{site}/{n}.jpg"}
        for n in range(1, 7)
    ]
    return packed("The name of the feed", site, items)
