"""From a whole document to the HTML that goes out: inlined CSS, counted links, footer, open pixel.

All of it runs on text in which recipients' values are marks (see `marks`), so it runs once per variant, and a value cannot change
the structure around it. Where a mark stands decides how its value will be encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from html.parser import HTMLParser
from urllib.parse import quote

import css_inline

from shared.errors import BadTemplate
from shared.links import trackable
from shared.mail.marks import Marks
from shared.mail.sandbox import words

MAX_TAGS = 20_000
MAX_DEPTH = 200  # css-inline overflows its stack some thousands deep
MAX_INLINED = 2_000_000  # characters
MAX_INLINING = 50_000_000  # characters of CSS times tags
VOID = words("area base br col embed hr img input link meta source track wbr")
_OPTIONAL_END = words("p li td th tr dt dd thead tbody tfoot option colgroup html head body")
_FORMATTING = words("a b big code em font i nobr s small strike strong tt u")
_REFUSED = words("script iframe object embed applet frame frameset base link form")
_URLS = words("href src background poster action cite longdesc")
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_ACTIVE = re.compile(r"@import|javascript:|expression\(|behavior\s*:|-moz-binding", re.I)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_PREHEADER = "display:none;max-height:0;overflow:hidden;mso-hide:all;font-size:1px;line-height:1px;color:transparent"
_TRAP = '<a href="{}" aria-hidden="true" tabindex="-1" style="display:none"></a>'
_PIXEL = '<img src="{}" alt="" width="1" height="1" style="border:0;width:1px;height:1px;opacity:0">'


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def inline(html: str, marks: Marks) -> str:
    """A whole, well-formed document with styles in attributes and media queries kept; raises BadTemplate for what is too deep,
    too large or not fit for a mail."""
    styles = [piece.partition("</style")[0] for piece in re.split("<style", html, flags=re.I)[1:]]
    if any(marks.pattern.search(css) for css in styles):
        raise BadTemplate("A {{ value }} stands inside <style>, where none can.")
    if bad := next((found[0] for css in styles if (found := _ACTIVE.search(css))), None):
        raise BadTemplate(f"The styles hold “{bad}”, which mail programs drop or distrust: remove it.")
    depth = formatting = tags = 0
    for match in _TAG.finditer(html):
        name, step = match[2].lower(), -1 if match[1] else 1
        tags += 1
        if name in _REFUSED:
            raise BadTemplate(f"The template holds a <{name}>, which mail programs drop or distrust: remove it.")
        depth += 0 if name in VOID or name in _OPTIONAL_END else step
        formatting += step if name in _FORMATTING else 0
        if depth > MAX_DEPTH or formatting > MAX_DEPTH // 10:
            raise BadTemplate(f"The HTML is nested too deeply around a <{name}>: is a closing tag missing?")
    if tags > MAX_TAGS or tags * sum(map(len, styles)) > MAX_INLINING:
        raise BadTemplate("The HTML has too many elements and styles for a mail.")
    try:
        inlined = _inliner().inline(html)
    except css_inline.InlineError as e:
        raise BadTemplate(f"The styles cannot be read: {str(e)[:200]}.") from None
    if len(inlined) > MAX_INLINED or inlined.count("<") > 2 * MAX_TAGS:  # unclosed tags multiply
        raise BadTemplate("The HTML has too many elements and styles for a mail, or closing tags are missing.")
    return inlined


@dataclass(frozen=True)
class Page:
    """What `finish` needs to know of the mail; marks are given in the u, l or h form."""

    marks: Marks
    values: Sequence[str]  # what the `v` marks of this variant stand for
    preheader: str = ""  # plain text, with marks
    click: Callable[[str], str] | None = None  # a web link's counted address, None: not tracked
    pixel: str = ""  # address
    trap: str = ""  # address of a link that only a machine finds; it comes first, as machines follow links in their order
    footer: Callable[[str], str] = field(default=lambda html: "")  # what the finished body still lacks


def finish(html: str, page: Page) -> str:
    """The inlined document with links counted and checked, marks encoded for where they stand, hidden preheader and trap, footer
    and pixel. Raises BadTemplate for a link that is not http(s), mailto, tel or sms, and for a value where none can stand."""
    rewriter = _Rewriter(page)
    rewriter.feed(html)
    rewriter.close()
    if not rewriter.ended:
        rewriter.end_body()
    return "".join(rewriter.out)


class _Rewriter(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=False)
        self.page = page
        self.out: list[str] = []
        self.ended = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        names = {name for name, _ in attrs}
        if self.page.marks.pattern.search(" ".join([tag, *names])):
            raise BadTemplate("A {{ value }} stands inside the name of a tag or attribute, where none can.")
        if bad := next((name for name in names if name.startswith("on")), None):
            raise BadTemplate(f"<{tag}> has the attribute “{bad}”, which mail programs drop or distrust: remove it.")
        if names & _URLS or self.page.marks.pattern.search(raw):
            raw = f"<{tag}" + "".join(f' {name}="{self._attribute(tag, name, value or "")}"' for name, value in attrs) + ">"
        self.out.append(raw)
        if tag == "body" and self.page.preheader:
            filler = "&#847;&zwnj;&nbsp;" * 40  # keeps the mail's first lines out of the inbox preview
            self.out.append(f'<div style="{_PREHEADER}">{escape(self.page.preheader)} {filler}</div>')
        if tag == "body" and self.page.trap:
            self.out.append(_TRAP.format(escape(self.page.trap)))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        if tag == "body" and not self.ended:
            self.end_body()
        self.out.append(f"</{tag}>")

    def end_body(self) -> None:
        self.ended = True
        self.out.append(self.page.footer("".join(self.out)))
        if self.page.pixel:
            self.out.append(_PIXEL.format(escape(self.page.pixel)))

    def handle_data(self, data: str) -> None:
        self.out.append(data)

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")

    def _attribute(self, tag: str, name: str, value: str) -> str:
        if name == "style":
            return escape(self.page.marks.recode(value, lambda m: "c"))
        if name not in _URLS:
            return escape(value)
        return escape(self._url(value, tag, counted=name == "href" and tag in ("a", "area")))

    def _url(self, value: str, tag: str, counted: bool) -> str:
        marks = self.page.marks
        url = "".join(c for c in value.strip() if ord(c) > 31)
        url = marks.recode(url, lambda m: "u" if m.start() else "l")
        url = marks.pattern.sub(lambda m: m[0] if m[1] == "s" else URL[m[3]](self.page.values[int(m[2])]), url)
        if "<" in url or ">" in url or '"' in url:
            url = quote(url, safe="%/:?#[]@!$&'()*+,;=~")
        if marks.pattern.match(url):
            return url
        check_url(url, tag)
        if counted and self.page.click and trackable(url) and not marks.pattern.search(url):
            return self.page.click(url)
        return url


def check_url(url: str, tag: str) -> None:
    """Raises BadTemplate unless a mail can hold `url` in a <tag>."""
    scheme = _SCHEME.match(url)
    allowed = {"http", "https", "mailto", "tel", "sms"} if tag in ("a", "area") else {"http", "https", "cid", "data"}
    if scheme is None and not url.startswith("#"):
        raise BadTemplate(f"The address “{url[:80]}” is not complete: write it with https:// in front.")
    if scheme and scheme[1].lower() not in allowed:
        raise BadTemplate(f"The address “{url[:80]}” begins with “{scheme[1]}:”, which a mail cannot use.")
    if scheme and scheme[1].lower() in ("http", "https") and not trackable(url):
        raise BadTemplate(f"The address “{url[:80]}” is not a web address.")


def whole_url(value: str) -> str:
    """A value that is an address of its own; "#" when it is no web, mail or telephone address."""
    if not value.startswith(("https://", "http://", "mailto:", "tel:", "sms:")):
        return "#"
    return quote(value, safe="%/:?#[]@!$&'()*+,;=~")


def url_part(value: str) -> str:
    return quote(value, safe="")


URL: dict[str, Callable[[str], str]] = {"l": whole_url, "u": url_part}
