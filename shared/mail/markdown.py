"""From a Markdown template to a whole HTML document: CommonMark, a few conventions that need no HTML, and our layout.

The conventions are read off the shape of a paragraph, so that a template stays plain text that anybody can edit:

- a paragraph of nothing but a bold link is a button;
- right above the first `# heading`, a line all in bold is the masthead, which stands above the card, with a line before it that is nothing
  but a link, such as that to the mail in the browser; and one all in italics is a kicker;
- a table whose first row is empty is a list of facts: its first column names what stands beside it;
- what follows a line of `***` is small print, which stands below the card.

Tables stand in for boxes, and padding in cells for margins, as Outlook on Windows draws with Word:
https://learn.microsoft.com/previous-versions/office/developer/office-2007/aa338201(v=office.12).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from shared.errors import BadTemplate
from shared.mail.sandbox import words

MAX_MARKDOWN = 256 * 1024  # characters after rendering
MAX_SIGNS = 20_000  # characters that mean something in Markdown: its parser needs up to 50 µs for each
MAX_STEPS = 30_000  # lines and places in them where the parser looks for something: up to 30 µs for each
RTL = words("ar dv fa he ku ps sd ug ur yi")
_SIGNS = re.compile(r"[\[\]*_`<&!|\\]")
BUTTON = '<table role="presentation" class="action" cellpadding="0" cellspacing="0" border="0"><tr><td class="face">'
BUTTON_END = "</td></tr></table>\n"
_PART = (
    '<table role="presentation" class="card" width="100%" cellpadding="0" cellspacing="0" border="0"><tr><td class="{}">\n'
    "{}</td></tr></table>\n"
)


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.block.ruler.before("table", "step", _step, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.inline.ruler.before("text", "step", _step)
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # wrong schemes are refused later, with a sentence
    return parser


def _step(state: StateBlock | StateInline, *_: int | bool) -> bool:
    """A rule that finds nothing but counts how often the parser has looked; raises BadTemplate after MAX_STEPS."""
    state.env["steps"] = state.env.get("steps", 0) + 1
    if state.env["steps"] > MAX_STEPS:
        raise BadTemplate("The template has too many lines and signs for Markdown: make it shorter.")
    return False


@cache
def _layout() -> str:
    return (Path(__file__).parent / "layout.html").read_text("utf-8")


def document(text: str, title: str, language: str) -> str:
    """A whole document in our layout, of CommonMark with tables; HTML in it shows as text. `title` is plain text, `language` BCP 47.
    Raises BadTemplate for what is too large."""
    return layout(_parts(text), title, language)


def layout(parts: str, title: str, language: str) -> str:
    """A whole document of parts, see `part`."""
    rtl = language.partition("-")[0] in RTL
    pieces = {
        "@language@": escape(language),
        "@direction@": "rtl" if rtl else "ltr",
        "@start@": "right" if rtl else "left",
        "@end@": "left" if rtl else "right",
        "@title@": escape(title),
        "@parts@": parts,
    }
    return re.sub("|".join(pieces), lambda m: pieces[m[0]], _layout())


def part(name: str, shown: str) -> str:
    """A part of the layout: "masthead", "inner" (the card) or "small"; `shown`: HTML."""
    return _PART.format(name, shown)


def fragment(text: str) -> str:
    """The same for a layout of somebody's own: no card, masthead and small print. Raises BadTemplate for what is too large."""
    html: str = _markdown().renderer.render(_with_buttons(_tokens(text)), _markdown().options, {})
    return html


def _parts(text: str) -> str:
    """The card, and masthead and small print where there are any: each a table of its own, as each is a paragraph of its own in
    the text part."""
    parser, tokens = _markdown(), _tokens(text)
    masthead = _opening(tokens)
    rules = (at for at, token in enumerate(tokens) if token.type == "hr" and token.level == 0 and token.markup[0] == "*")
    end = next(rules, len(tokens))
    parts = ""
    for name, found in (("masthead", tokens[:masthead]), ("inner", tokens[masthead:end]), ("small", tokens[end + 1 :])):
        shown = parser.renderer.render(_with_buttons(found), parser.options, {})
        parts += part(name, shown) if found or name == "inner" else ""
    return parts


def _tokens(text: str) -> list[Token]:
    if len(text) > MAX_MARKDOWN:
        raise BadTemplate(f"The template comes to more than {MAX_MARKDOWN // 1024} KB of Markdown.")
    if len(_SIGNS.findall(text)) > MAX_SIGNS:
        raise BadTemplate(f"The template has more than {MAX_SIGNS:,} Markdown signs such as * and [.")
    tokens = _markdown().parse(text)
    if len(tokens) > MAX_STEPS:  # a row of few signs can have a thousand empty cells
        raise BadTemplate("The template has too many lines and cells for Markdown: make it shorter.")
    return _head_cells(tokens)


def _opening(tokens: Sequence[Token]) -> int:
    """How many tokens the masthead has, with the link before it; gives them and the kicker their classes."""
    view = 3 if _all_in(tokens[:2], "link") else 0
    brand = 3 if _all_in(tokens[view : view + 2], "strong") else 0
    masthead = view + brand
    kicker = 3 if _all_in(tokens[masthead : masthead + 2], "em") else 0
    if [token.tag for token in tokens[masthead + kicker :][:1]] != ["h1"]:
        return 0
    if view:
        tokens[0].attrSet("class", "view")
    if brand:
        tokens[view].attrSet("class", "brand")
    if kicker:
        tokens[masthead].attrSet("class", "kicker")
    return masthead


def _all_in(tokens: Sequence[Token], *marks: str) -> Token | None:
    """The innermost mark's token when two tokens begin a paragraph all of which stands in one pair of each mark; else None."""
    if [token.type for token in tokens] != ["paragraph_open", "inline"]:
        return None
    children = [child for child in tokens[1].children or [] if child.type != "text" or child.content]
    types = [child.type for child in children]
    ends = [f"{mark}_open" for mark in marks], [f"{mark}_close" for mark in reversed(marks)]
    whole = (types[: len(marks)], types[-len(marks) :]) == ends and all(types.count(f"{mark}_open") == 1 for mark in marks)
    return children[len(marks) - 1] if whole else None


def _with_buttons(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with each button's paragraph made a box, since Word draws no padding around a link."""
    found = list(tokens)
    for at, token in enumerate(tokens):
        link = _all_in(tokens[at : at + 2], "strong", "link")
        if link and not token.attrGet("class"):
            link.attrSet("class", "button")
            found[at] = Token("html_block", "", 0, content=BUTTON)
            found[at + 2] = Token("html_block", "", 0, content=BUTTON_END)
    return found


def _head_cells(tokens: Sequence[Token]) -> list[Token]:
    """Tables whose head cells say what they are of: the column or, where the first row is empty and left out, the row."""
    found: list[Token] = []
    facts, head, column = False, 0, 0
    for token in tokens:
        found.append(token)
        if token.type == "thead_open":
            head = len(found) - 1
        elif token.type == "thead_close":
            facts = not any(cell.content for cell in found[head:])
            for cell in found[head:]:
                if cell.type == "th_open":
                    cell.attrSet("scope", "col")
            if facts:
                del found[head:]
                found[-1].attrSet("class", "facts")
        elif token.type == "tr_open":
            column = 0
        elif facts and column == 0 and token.type in ("td_open", "td_close"):
            token.tag = "th"
            column += token.type == "td_close"
            if token.type == "td_open":
                token.attrSet("scope", "row")
    return found
