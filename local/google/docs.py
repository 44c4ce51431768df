"""What Google Docs makes of a document when it is exported: the HTML that templates are read from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LINE, _LINE_END = '<p class="c1"><span class="c4">', "</span></p>"
_LOOKS = {
    "paragraph_open": _LINE,
    "paragraph_close": _LINE_END,
    "softbreak": f"{_LINE_END}{_LINE}",
    "strong_open": '<span class="c3">',
    "strong_close": "</span>",
    "em_open": '<span class="c2">',
    "em_close": "</span>",
}
_STYLE = (
    ".c0{background-color:#ffffff;max-width:468pt;padding:72pt 72pt 72pt 72pt}.c1{line-height:1.15;text-align:left}"
    ".c2{font-style:italic}.c3{font-weight:700}.c4{color:#000000;font-weight:400;font-style:normal;font-size:11pt}"
)


def exported(text: str) -> str:
    """What Docs makes of a template in Markdown: each line a paragraph of spans with looks by class alone, the settings at the top and
    lines of "***" as they are typed, quotes in marks curled, links led through Google."""
    settings = re.match(r"---\n(?:.*\n)*?---\n", text)
    typed = settings[0].splitlines() if settings else []
    lines = "".join(f"{_LINE}{escape(_curled(line))}{_LINE_END}" for line in typed)
    marked = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", lambda mark: _curled(mark[0]), text[settings.end() if settings else 0 :])
    body = lines + _docs().render(marked)
    return f'<html><head><style type="text/css">{_STYLE}</style></head><body class="c0 doc-content">{body}</body></html>'


@cache
def _docs() -> MarkdownIt:
    def look(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "" if tokens[at].hidden else _LOOKS[tokens[at].type]

    def link(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f'<a href="https://www.google.com/url?q={quote(str(tokens[at].attrs["href"]), "/:")}&amp;sa=D&amp;source=editors">'

    def rule(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f"{_LINE}***{_LINE_END}" if tokens[at].markup.startswith("*") else "<hr>"

    docs = MarkdownIt("commonmark", {"html": False}).enable("table")
    for name in _LOOKS:
        docs.add_render_rule(name, look)
    docs.add_render_rule("link_open", link)
    docs.add_render_rule("hr", rule)
    return docs


def _curled(text: str) -> str:
    return re.sub(r"'(.*?)'", "‘\\1’", re.sub(r'"(.*?)"', "“\\1”", text))
