"""RSS, Atom and JSON Feed (jsonfeed.org), made into the few words that a template may show.

For the process that `confined` limits: a feed is whatever a stranger's server answers. feedparser loads nothing from elsewhere, leaves
out a document type's entities, and reads what is merely untidy.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urljoin
from xml.sax import SAXParseException

from shared.errors import BadInput
from shared.links import trackable
from shared.mail.feeds import ITEMS, SUMMARY, TITLE, URL, packed
from shared.mail.mime import clean
from shared.mail.text import to_text

NOT_ONE: Final = "is not RSS, Atom or JSON Feed: it may be the address of a page"
EMPTY: Final = "has no items"
_HTML = ("text/html", "application/xhtml+xml")


def parse(data: bytes, address: str) -> bytes:
    """`data`, fetched from `address`, as `feeds.packed`; raises BadInput with what is wrong, to be said behind the feed's name."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise BadInput(EMPTY)
    title, link, items = _of_json(text, address) if text.startswith(b"{") else _of_xml(data, address)
    if not items:
        raise BadInput(EMPTY)
    return packed(_line(title, TITLE), _url(link, address), items)


def _of_xml(data: bytes, address: str) -> tuple[str, str, list[dict[str, str]]]:
    import feedparser  # 0.2 s

    found = feedparser.parse(
        io.BytesIO(data), response_headers={"content-location": address}, resolve_relative_uris=False, sanitize_html=False
    )  # its HTML becomes text
    if not found.version:
        raise BadInput(NOT_ONE)
    wrong = found.get("bozo_exception")
    if isinstance(wrong, SAXParseException) and "undefined entity" not in wrong.getMessage():  # &nbsp; is in many
        raise BadInput(f"is broken at line {wrong.getLineNumber()} ({wrong.getMessage()})")
    items = [_entry(entry, address) for entry in found.entries[:ITEMS]]
    return _plain(found.feed.get("title_detail")), found.feed.get("link", ""), items


def _entry(entry: Mapping[str, Any], address: str) -> dict[str, str]:
    details = [entry.get("summary_detail"), *entry.get("content", ())]
    summary = next((said for one in details if (said := _plain(one))), "")
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    return {
        "title": _line(_plain(entry.get("title_detail")), TITLE),
        "link": _url(entry.get("link", ""), address),
        "summary": _line(summary, SUMMARY),
        "date": time.strftime("%Y-%m-%d", moment) if moment and moment.tm_year > 999 else "",
        "image": _url(_picture(entry, [one.get("value", "") for one in details if one]), address),
    }


def _picture(entry: Mapping[str, Any], pages: Sequence[str]) -> str:
    """The address of an entry's picture: of its own, else the first one shown in it."""
    for one in entry.get("media_thumbnail", ()):
        if one.get("url"):
            return str(one["url"])
    for one in (*entry.get("media_content", ()), *entry.get("enclosures", ())):
        kind = one.get("medium") or str(one.get("type", "")).partition("/")[0]
        if kind == "image" and (one.get("url") or one.get("href")):
            return str(one.get("url") or one["href"])
    return _shown(pages)


def _plain(detail: Mapping[str, Any] | None) -> str:
    """What feedparser tells of a text, without markup."""
    value = str((detail or {}).get("value") or "")
    return to_text(value, links=False) if (detail or {}).get("type") in _HTML else value


# --- JSON Feed --------------------------------------------------------------------------------------------------------


def _of_json(data: bytes, address: str) -> tuple[str, str, list[dict[str, str]]]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput("is broken: it is no JSON") from None
    items = found.get("items")
    if not isinstance(items, list) or not _said(found, "version").startswith("https://jsonfeed.org/version/"):
        raise BadInput(NOT_ONE)
    entries = [_item(one, address) for one in items[:ITEMS] if isinstance(one, dict)]
    return _said(found, "title"), _said(found, "home_page_url"), entries


def _item(item: Mapping[str, Any], address: str) -> dict[str, str]:
    page = _said(item, "content_html")
    summary = _said(item, "summary") or _said(item, "content_text") or to_text(page, links=False)
    attached = item.get("attachments")
    pictures = [
        _said(one, "url")
        for one in (attached if isinstance(attached, list) else ())
        if isinstance(one, dict) and _said(one, "mime_type").startswith("image/")
    ]
    image = next((one for one in (_said(item, "image"), _said(item, "banner_image"), *pictures) if one), "")
    return {
        "title": _line(_said(item, "title"), TITLE),
        "link": _url(_said(item, "url") or _said(item, "external_url"), address),
        "summary": _line(summary, SUMMARY),
        "date": _day(_said(item, "date_published") or _said(item, "date_modified")),
        "image": _url(image or _shown([page]), address),
    }


def _said(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return value if isinstance(value, str) else ""


def _day(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError):
        return ""


# --- text and addresses -----------------------------------------------------------------------------------------------


def _line(text: str, most: int) -> str:
    """In one line, cut at a word."""
    line = " ".join(clean(text).split())
    if len(line) <= most:
        return line
    cut = line[: most - 1]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[most // 2 :] else cut}…"


def _url(found: str, address: str) -> str:
    """An address in full, "" for what is no web address, or too long for a mail."""
    try:
        url = urljoin(address, found.strip()) if found.strip() else ""
    except ValueError:
        return ""
    return url if trackable(url) and len(url) <= URL else ""


class _Pictures(HTMLParser):
    """The address of the first picture of a page, but for those that only count."""

    found = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img" and not self.found and given.get("width") not in ("0", "1"):
            self.found = given.get("src") or ""

    handle_startendtag = handle_starttag


def _shown(pages: Sequence[str]) -> str:
    for page in pages:
        reader = _Pictures()
        reader.feed(page)
        if reader.found:
            return reader.found
    return ""
