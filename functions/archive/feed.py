"""The newest public mails as RSS 2.0 (https://www.rssboard.org/rss-specification), as its profile advises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from typing import Final

MOST: Final = 20  # items
TYPE: Final = "application/rss+xml; charset=utf-8"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # https://www.w3.org/TR/xml/#charsets


@dataclass(frozen=True, slots=True)
class Item:
    """A mail. `id` never changes, `link` does with another signing key; `at` in ms; plain texts."""

    id: str
    link: str
    title: str
    about: str
    at: int


@dataclass(frozen=True, slots=True)
class Channel:
    """`link`: the page that shows the same; `own`: the feed's address; `changed_at` in ms, 0 for never."""

    title: str
    about: str
    link: str
    own: str
    language: str
    changed_at: int


def rss(channel: Channel, items: Sequence[Item]) -> bytes:
    """The document. A title is read as plain text and a description as HTML, so what is plain text is escaped once more there."""
    changed = f"<lastBuildDate>{_date(channel.changed_at)}</lastBuildDate>\n" if channel.changed_at else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom">\n<channel>\n'
        f"<title>{_text(channel.title)}</title>\n<link>{_text(channel.link)}</link>\n"
        f"<description>{_text(channel.about)}</description>\n<language>{_text(channel.language)}</language>\n{changed}"
        f'<atom:link href="{_text(channel.own)}" rel="self" type="application/rss+xml"/>\n'
        f"{''.join(map(_item, items))}</channel>\n</rss>\n"
    ).encode()


def _item(item: Item) -> str:
    about = f"<description>{_text(escape(item.about))}</description>\n" if item.about else ""
    return (
        f"<item>\n<title>{_text(item.title)}</title>\n<link>{_text(item.link)}</link>\n"
        f'<guid isPermaLink="false">{_text(item.id)}</guid>\n<pubDate>{_date(item.at)}</pubDate>\n{about}</item>\n'
    )


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


def _date(at: int) -> str:
    """RFC 822 with four digits of a year, as RSS wants it."""
    return formatdate(at / 1000, usegmt=True)
