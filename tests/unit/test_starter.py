"""The starter templates are the product's face: lawful, valid, readable by everybody on every screen, and liked by spam filters."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import css_inline
import pytest

from functions.launch.preflight_content import CLIPPED
from local import pictures, seed, starting
from shared.links import Links
from shared.mail.compile import Recipient, compile
from shared.mail.html import VOID
from shared.mail.markdown import document
from shared.mail.sandbox import words
from shared.mail.source import Source, read
from shared.model.ref import MailRef
from tests.spamd import running
from tests.steps.preflights import LINKS, FakeDns, only, run
from tests.steps.test_preflight_spamd import Kept

__all__ = ["running"]  # the fixture `spamd`
NAMES = sorted(file.name for file in starting.TEMPLATES.iterdir())
LAPTOP = Links("http://127.0.0.1:8080", LINKS.tokens)
mails = cache(pictures.mails)
each = pytest.mark.parametrize("name", NAMES)
AA, AA_LARGE = 4.5, 3.0  # https://www.w3.org/TR/WCAG22/#contrast-minimum


def source(name: str) -> Source:
    system = name == "confirm.md"
    data = (starting.TEMPLATES / name).read_bytes()
    return Source(name=name, data=data, campaign="C-0001", identity=seed.IDENTITY, bulk=not system, tracked=not system)


def test_the_folder_has_one_of_each_kind() -> None:
    kinds = ["announcement", "confirm", "digest", "event", "newsletter", "re-engagement", "receipt", "reconsent", "welcome"]
    assert [Path(name).stem for name in NAMES] == kinds


@each
async def test_a_starter_passes_the_preflight(name: str) -> None:
    mail = source(name)
    options = {"identity": mail.identity, "bulk": mail.bulk, "tracked": mail.tracked, "links": LAPTOP, "dns": FakeDns()}
    report = await run(mail.data.decode(), name, **options)
    domain = "lumen-coffee.example is a name for tests that nobody on the internet has."
    assert report == only(notes=f"SPF, DKIM and DMARC were not looked up: {domain}")
    assert read(mail).preheader and "{{ postal_address }}" in read(mail).body
    assert ("{{ unsubscribe_url }}" in read(mail).body) is mail.bulk


@pytest.mark.network
async def test_spam_filters_have_little_to_say(spamd: str) -> None:
    scores = {}
    for name in NAMES:
        kept, mail = Kept(spamd), source(name)
        await run(mail.data.decode(), name, bulk=mail.bulk, tracked=mail.tracked, spam=kept)
        scores[name] = kept.verdict.score
    assert {name: score for name, score in scores.items() if not -1 < score < 2} == {}


@each
def test_a_starter_is_spliced_as_it_is_compiled_for_one(name: str) -> None:
    mail = source(name)
    shared = compile(mail, LAPTOP)
    for fields in ({}, {"name": "<b>*Zoé*</b>", "tags": ["vip"]}, {"name": "", "tags": []}, {"name": "| # ***\n---"}):
        person = Recipient(MailRef("C-0001", "1" * 32), "r@example.com", fields)
        date = "Mon, 23 Nov 2026 10:00:00 +0000"
        assert shared.splice(person, date) == compile(mail, LAPTOP).splice(person, date)


@each
def test_the_text_part_says_what_the_html_says(name: str) -> None:
    text, html = mails()[name]
    said = re.sub(r" <[a-z]+:[^>]*>", "", text)
    assert re.findall(r"[^\W\d]+", said) == re.findall(r"[^\W\d]+", " ".join(shown.text for shown in drawn(html)))
    assert not re.search(r"[*{}]|&\w+;|</?\w+>|\n{3}|\S  +\S", said)
    assert re.search(r"^# \S", text, re.M) and len(re.findall(r"<https://[^>]*>", text)) >= 1


# --- HTML: https://html.spec.whatwg.org and https://www.w3.org/WAI/tutorials/ ------------------------------------------

_PHRASING = words("a b br code em i img span strong")
_INSIDE = {
    "table": words("thead tbody tr"),
    "thead": words("tr"),
    "tbody": words("tr"),
    "tr": words("td th"),
    "ul": words("li"),
    "ol": words("li"),
    **dict.fromkeys(words("p h1 h2 h3 a em strong th"), _PHRASING),
}
_PARENTS = {"li": words("ul ol"), "tr": words("table thead tbody"), "td": words("tr"), "th": words("tr"), "title": words("head")}


@dataclass
class Valid(HTMLParser):
    """Collects what is wrong in a document, and its headings."""

    wrong: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    layout: list[bool] = field(default_factory=list)  # of the open tables: for layout only

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given, parent = dict(attrs), self.open[-1] if self.open else ""
        self.seen.add(tag)
        if tag not in _INSIDE.get(parent, {tag}) or parent not in _PARENTS.get(tag, {parent}) or tag == "a" in self.open:
            self.wrong.append(f"<{tag}> in <{parent}>")
        if len(given) < len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.wrong += [f"id {given['id']} twice"] if given.get("id") in self.ids else []
        self.ids += [given["id"] or ""] if "id" in given else []
        if (tag == "img" and "alt" not in given) or (tag == "html" and not given.get("lang")):
            self.wrong.append(f"<{tag}> without alt or lang")
        if tag == "table":
            self.layout.append(given.get("role") == "presentation")
        if tag == "th" and (self.layout[-1] or given.get("scope") not in ("col", "row")):
            self.wrong.append("<th> of nothing")
        if tag == "td" and not self.layout[-1] and "th" not in self.seen:
            self.wrong.append("a table without heads")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> out of place")
        if tag == "table":
            self.layout.pop()


def faults(html: str) -> list[str]:
    parser = Valid()
    parser.feed(html)
    parser.close()
    wrong = parser.wrong + [f"<{tag}> is never closed" for tag in parser.open]
    wrong += [f"no <{tag}>" for tag in ("html", "head", "title", "body", "h1") if tag not in parser.seen]
    steps = zip(parser.headings, parser.headings[1:], strict=False)
    if parser.headings[:1] != [1] or parser.headings.count(1) != 1 or any(after > before + 1 for before, after in steps):
        wrong.append(f"headings {parser.headings}")
    return wrong if html.lstrip().startswith("<!DOCTYPE html>") else [*wrong, "no doctype"]


@each
def test_a_starter_is_valid_html_as_written_and_as_sent(name: str) -> None:
    template = read(source(name))
    assert faults(document(template.body, "News", "en") if template.kind == "markdown" else template.body) == []
    page = mails()[name][1]
    assert faults(page) == [] and len(page.encode()) < CLIPPED
    assert "src=" not in page and "url(" not in page, "nothing is loaded from elsewhere"
    assert '<meta name="color-scheme" content="light dark">' in page


# --- contrast ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """Text as shown: colours as #rrggbb, the size in CSS pixels."""

    text: str = ""
    colour: str = "#000000"
    ground: str = "#ffffff"
    size: float = 16.0
    bold: bool = False
    hidden: bool = False

    @property
    def contrast(self) -> float:
        light, dark = sorted((luminance(self.colour), luminance(self.ground)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    @property
    def wanted(self) -> float:
        return AA_LARGE if self.size >= 24 or (self.bold and self.size >= 18.66) else AA


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance, of #rrggbb."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Painter(HTMLParser):
    """Collects the text of a document with what its inline styles alone make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [("", Drawn())]
        self.found: list[Drawn] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = dict(re.findall(r"([\w-]+)\s*:\s*([^;!]*[^;!\s])", dict(attrs).get("style") or ""))
        now = self.open[-1][1]
        if tag == "a":
            now = replace(now, colour="#0000ee")  # a browser's own
        if tag in ("strong", "b", "th"):
            now = replace(now, bold=True)
        now = replace(
            now,
            colour=style.get("color", now.colour),
            ground=style.get("background-color", now.ground),
            size=float(style.get("font-size", f"{now.size}px").removesuffix("px")),
            bold=int(style["font-weight"]) >= 700 if "font-weight" in style else now.bold,
            hidden=now.hidden or tag in ("head", "title", "style") or style.get("display") == "none",
        )
        if tag not in VOID:
            self.open.append((tag, now))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.open[-1][1].hidden:
            self.found.append(replace(self.open[-1][1], text=data.strip()))


def drawn(html: str) -> list[Drawn]:
    painter = Painter()
    painter.feed(html)
    painter.close()
    return painter.found


def by_night(html: str) -> str:
    """The document as a mail program shows it that follows prefers-color-scheme: dark."""
    [rules] = re.findall(r"@media \(prefers-color-scheme: dark\) *\{((?:[^{}]*\{[^{}]*\})*)\s*\}", html)
    return css_inline.CSSInliner(load_remote_stylesheets=False).inline(html.replace("</head>", f"<style>{rules}</style></head>"))


@each
def test_all_text_stands_out_by_day_and_by_night(name: str) -> None:
    light = drawn(mails()[name][1])
    dark = drawn(by_night(mails()[name][1]))
    assert [text for text in (*light, *dark) if text.contrast < text.wanted] == []
    assert luminance(light[-1].ground) > 0.5 and luminance(dark[-1].ground) < 0.05


# --- our layout -------------------------------------------------------------------------------------------------------

URL = "https://a.example/view"
LETTER = """**Brand**

*Kicker*

# Title

**[Go](https://a.example)** and on

**[Go *there* now](https://b.example)**

|||
|-|-|
|When|Now|

|Bag|Price|
|-|-:|
|Big|1|

---

Last

***

Small
"""


def test_the_shape_of_a_paragraph_says_what_it_is() -> None:
    html = document(LETTER, "A & B", "en")
    assert faults(html) == [] and "<title>A &amp; B</title>" in html
    masthead, (name, card), small = parts(html)
    assert masthead == ("masthead", '<p class="brand"><strong>Brand</strong></p>')
    assert name == "inner" and card.startswith('<p class="kicker"><em>Kicker</em></p>\n<h1>Title</h1>')
    assert card.endswith("<hr />\n<p>Last</p>")
    assert small == ("small", "<p>Small</p>")
    assert re.findall(r'<td class="face">.*?class="button">(.*?)</a>', html, re.S) == ["Go <em>there</em> now"]
    assert '<th scope="row">When</th>' in html and '<th scope="col">Bag</th>' in html and html.count("<thead>") == 1


@pytest.mark.parametrize(
    "body",
    [
        "**Bold**\n\nText",
        "*Lean*\n\n## Second",
        "Text\n\n**Bold**\n\n# Title",
        "**A** and **B**\n\n# Title",
        "**A** and B\n\n# Title",
    ],
)
def test_a_bold_or_lean_line_elsewhere_is_nothing_but_that(body: str) -> None:
    found = parts(document(body, "News", "en"))
    assert [name for name, _ in found] == ["inner"] and "class=" not in found[0][1]


def test_a_link_alone_above_the_masthead_stands_there_too() -> None:
    masthead, (name, _), _ = parts(document(f"[View]({URL})\n\n{LETTER}", "News", "en"))
    assert masthead == ("masthead", f'<p class="view"><a href="{URL}">View</a></p>\n<p class="brand"><strong>Brand</strong></p>')
    assert name == "inner"
    bare, _ = parts(document(f"[View]({URL})\n\n# Title", "News", "en"))
    assert bare == ("masthead", f'<p class="view"><a href="{URL}">View</a></p>')
    for elsewhere in (f"[View]({URL}) now\n\n# Title", f"[View]({URL})\n\nText\n\n# Title", f"**B**\n\n[View]({URL})\n\n# T"):
        assert "class=" not in parts(document(elsewhere, "News", "en"))[0][1].replace('class="brand"', "")


def test_mails_worth_reading_later_have_their_link_to_the_browser_on_top() -> None:
    found = [name for name in NAMES if "View in the browser <https://news.lumen.example/archive/" in mails()[name][0][:200]]
    assert found == ["announcement.html", "digest.md", "event.md", "newsletter.md"]


def test_in_languages_written_from_the_right_the_layout_is_turned() -> None:
    assert "border-right: 4px solid" in document("> x", "News", "ar") and "border-left: 4px solid" in document(
        "> x", "News", "de"
    )


def parts(html: str) -> list[tuple[str, str]]:
    """The class and the content of the layout's parts."""
    return re.findall(r'class="card".*?<td class="(\w+)">\n(.*?)\n</td></tr></table>\n(?=<table|<!)', html, re.S)


# --- pictures ---------------------------------------------------------------------------------------------------------

CHROMIUM = """import base64, json, os, sys
log, refused = sys.argv[1:3]
answers = {
    "Target.createTarget": {"targetId": "T"},
    "Target.attachToTarget": {"sessionId": "S"},
    "Page.getFrameTree": {"frameTree": {"frame": {"id": "F"}}},
    "Page.getLayoutMetrics": {"cssContentSize": {"width": 9, "height": 9}},
    "Page.captureScreenshot": {"data": base64.b64encode(b"PNG").decode()},
}
asked = b""
while piece := os.read(3, 65536):
    *whole, asked = (asked + piece).split(b"\\0")
    for call in map(json.loads, whole):
        print(json.dumps(call), file=open(log, "a"), flush=True)
        answer = {"error": {"message": "No."}} if call["method"] == refused else {"result": answers.get(call["method"], {})}
        os.write(4, b'{"method": "An.event"}\\0' + json.dumps({"id": call["id"], **answer}).encode() + b"\\0")
        if call["method"] == "Page.captureScreenshot" and refused == "end":
            sys.exit()
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, refused: str = "") -> Path:
    """Put a program that answers as Chromium does before it; the file that it writes what it was told into."""
    monkeypatch.chdir(folder)
    (folder / "told.py").write_text(CHROMIUM)
    program = folder / "chromium"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S told.py told.jsonl "{refused}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "told.jsonl"


def test_every_starter_is_drawn_at_both_widths_and_themes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = stand_in(tmp_path, monkeypatch)
    assert pictures.main() == 0
    files = [f".twin/pictures/{Path(n).stem}-{w}-{t}.png" for n in NAMES for w in (1280, 360) for t in ("light", "dark")]
    assert capsys.readouterr().out.splitlines() == files
    assert all((tmp_path / file).read_bytes() == b"PNG" for file in files)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    size, media, content, _, shot = told[-5:]
    assert (size["params"]["width"], size["params"]["mobile"]) == (360, True)
    assert media["params"]["features"] == [{"name": "prefers-color-scheme", "value": "dark"}]
    assert content["params"]["html"] == mails()["welcome.md"][1] and shot["params"]["captureBeyondViewport"]


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [("Page.setDocumentContent", "Chromium refused Page.setDocumentContent: No."), ("end", "Chromium ended before")],
)
def test_a_chromium_that_fails_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: str, sentence: str
) -> None:
    stand_in(tmp_path, monkeypatch, refused)
    assert pictures.main() == 1
    assert capsys.readouterr().err.startswith(sentence)


def test_without_chromium_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert pictures.main() == 1
    assert capsys.readouterr().err == f"{pictures.MISSING}\n"
