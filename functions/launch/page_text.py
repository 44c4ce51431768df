"""From a file of the folder `pages` to what a public page says: a title, and HTML of a short list of tags.

The file is somebody's text on our domain, beside forms that change things: no script, no form, no style, nothing loaded from elsewhere,
nothing filled in but the brand. Its size is bounded before it is parsed, and so is the time: a fifth of a second, or two seconds for the
worst of Docs.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape, unescape
from typing import Final

import nh3
from markdown_it import MarkdownIt

from shared.errors import BadTemplate
from shared.mail import docs
from shared.mail.source import decode, kind_of

LARGEST: Final = 8 * 1024  # bytes of a page's HTML: with all else it stays below 20 KB
MOST_MARKDOWN: Final = 8 * 1024  # bytes of a file
MOST_HTML: Final = 64 * 1024
MOST_DOC: Final = 128 * 1024  # of a Doc's export, most of which is its look
MOST_TITLE: Final = 100  # characters
TAGS: Final = {*("h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "strong", "b", "em", "i", "br", "hr", "blockquote", "a", "img")}
_DROPPED: Final = {*("script", "style", "title", "svg", "math", "iframe", "object", "template", "noscript", "textarea", "select")}
_LINK: Final = re.compile(r"(?:https?://[^\s/]|mailto:[^\s@]+@)[^\s]*", re.IGNORECASE)
_PICTURE: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")
_BRAND: Final = re.compile(r"\{\{ *brand *\}\}")
_BRACES: Final = re.compile(r"\{\{.{0,40}?\}\}|\{[{%#]|[}%#]\}", re.DOTALL)
_HEADING: Final = re.compile(r"\s*<h1>(.*?)</h1>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")


def page_text(name: str, data: bytes, brand: str, *, doc: bool = False) -> dict[str, str]:
    """{title, html} of a file called `name`; `doc`: its bytes are a Google Doc's export. The title is `title:` between two lines of dashes
    at the top, or else the first heading, which then goes. Raises BadTemplate."""
    most = MOST_DOC if doc else MOST_HTML if kind_of(name) == "html" else MOST_MARKDOWN
    if len(data) > most:
        raise BadTemplate(f"The file has {len(data) // 1024:,} KB, and {most // 1024:,} KB is the most.")
    title, body = _settings(docs.plain(data) if doc else decode(data))
    if doc or kind_of(name) == "html":
        html = _clean(body)
    elif kind_of(name) == "markdown":
        html = _clean(_markdown().render(body))
    else:
        raise BadTemplate("A page is a Google Doc, or a file that ends in .md or .html.")
    if not title and (heading := _HEADING.match(html)):
        title, html = " ".join(unescape(_TAG.sub("", heading[1])).split()), html[heading.end() :]
    html = html.replace("<h1>", "<h2>").replace("</h1>", "</h2>").strip()  # the title is the page's only first heading
    for text in (title, html):
        if found := _BRACES.search(_BRAND.sub("", text)):
            raise BadTemplate(f"“{unescape(found[0])}” cannot stand in a page: nothing is filled in but {{{{ brand }}}}.")
    title, html = _BRAND.sub(lambda _: brand, title), _BRAND.sub(lambda _: escape(brand), html)
    _check(title, html)
    return {"title": title, "html": html}


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False})


def _settings(text: str) -> tuple[str, str]:
    """The title that stands between two lines of dashes at the top, "" for none, and the rest."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return "", text
    title = ""
    for number, line in enumerate(lines[1:10], 1):
        if line.rstrip() == "---":
            return title, "\n".join(lines[number + 1 :])
        key, colon, value = (piece.strip() for piece in line.partition(":"))
        if not line.strip():
            continue
        if not colon or key.lower() != "title":
            raise BadTemplate(f"“{key[:40]}” is not a setting of a page; only title is.")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        title = " ".join(value.split())
    raise BadTemplate("The settings at the top begin with “---” but no second “---” line ends them.")


def _clean(html: str) -> str:
    found = nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=_DROPPED,
        attributes={"a": {"href"}, "img": {"src", "alt"}},
        attribute_filter=_kept,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )
    if "<a>" in found:
        raise BadTemplate("A link leads nowhere that a page can link to: give it an address with https://, http:// or mailto:.")
    if re.search(r"<img(?![^>]*\ssrc=)", found):
        raise BadTemplate("A page loads no pictures: take the picture out. Your logo is in the tab Settings.")
    return found


def _kept(tag: str, attribute: str, value: str) -> str | None:
    allowed = {("a", "href"): _LINK, ("img", "src"): _PICTURE}.get((tag, attribute))
    return value if allowed is None or allowed.fullmatch(value) else None


def _check(title: str, html: str) -> None:
    if not title:
        raise BadTemplate("The page has no title: begin it with a heading, such as “# Thank you”.")
    if len(title) > MOST_TITLE or not title.isprintable():
        raise BadTemplate(f"The title is longer than {MOST_TITLE} characters, or holds signs that nobody sees.")
    if (size := len(html.encode())) > LARGEST:
        raise BadTemplate(f"The page comes to {size / 1024:,.1f} KB, and {LARGEST // 1024} KB is the most: shorten it.")
