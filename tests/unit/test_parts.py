"""Mails put together from layouts and partials: as Jinja would, from two folders only, within the limits of one file."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import BadTemplate
from shared.mail import confined
from shared.mail.bundle import packed, unpacked
from shared.mail.parts import MAX_DEPTH, reached
from shared.mail.source import Source

from .test_compile import IDENTITY, LINKS, make, parts

KNOWN = frozenset({"tags", "content", "who"})
READER = {"name": "<Ada>", "tags": ["x", "y"]}
LAYOUT = "<html><body>{% block top %}<h1>{{ list_name }}</h1>{% endblock %}{% block body %}<p>old</p>{% endblock %}</body></html>"
MACROS = (
    "This is not shown. {% set colour = 'red' %}"
    "{% macro cell(text) %}<i>{{ text }} {{ colour }}</i>{% endmacro %}"
    "{% macro button(text, colour='blue') %}<b>{{ cell(text) }} {{ colour }} for {{ name }}</b>{% endmacro %}"
)


def shown(body: str, name: str = "x.html", files: dict[str, str] | None = None, fields: dict[str, Any] = READER) -> str:
    """What stands in the HTML before the footer, without the trap and the pixel."""
    given = {path: text.encode() for path, text in (files or {}).items()}
    page = parts(make(body, name, KNOWN, parts=given, tracked=False, bulk=False), fields)[1]
    return page.partition("<body>")[2].partition("</body>")[0].strip()


def refused(body: str, files: dict[str, str] | None = None, name: str = "x.html") -> str:
    with pytest.raises(BadTemplate) as caught:
        shown(body, name, files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- putting together -------------------------------------------------------------------------------------------------


def test_a_partial_sees_what_stands_around_it_and_leaks_nothing() -> None:
    files = {"partials/a.html": "<p>{{ name }} {{ tag }}{% set who = 'you' %}{{ who }}</p>"}
    body = "{% for tag in tags %}{% include 'partials/a.html' %}{% endfor %}<p>{{ who }}.{% set who = 'me' %}{{ who }}</p>"
    assert shown(body, files=files) == "<p>&lt;Ada&gt; xyou</p><p>&lt;Ada&gt; yyou</p><p>.me</p>"


def test_a_template_fills_the_blocks_of_a_layout_of_a_layout() -> None:
    files = {
        "layouts/base.html": LAYOUT,
        "layouts/news.html": "{% extends 'layouts/base.html' %}{% set sign = '!' %}"
        "{% block body %}<p>news {{ name }}{% block inner %}.{% endblock %}</p>{{ super() }}{% endblock %}",
    }
    body = "---\nsubject: a\n---\n{% extends 'layouts/news.html' %}\n{% block inner %}{{ sign }}{% endblock %}\n"
    body += "{% block top %}[{{ super() }} {{ super() }}]{% endblock %}"
    assert shown(body, files=files) == ("[<h1>Lumen letter</h1> <h1>Lumen letter</h1>]<p>news &lt;Ada&gt;!</p><p>old</p>")


@pytest.mark.parametrize(
    ("load", "call"),
    [
        ("{% from 'partials/m.html' import button %}", "button('Go')"),
        ("{% from 'partials/m.html' import button as b, cell as button %}", "b('Go')"),
        ("{% import 'partials/m.html' as m with context %}", "m.button(text='Go', colour='blue')"),
    ],
)
def test_macros_are_imported_with_what_they_need_under_names_of_their_own(load: str, call: str) -> None:
    clash = "{% set colour = 'green' %}{% macro cell(x) %}mine {{ x }} {{ colour }}{% endmacro %}"
    body = f"{load}{clash}<p>{{{{ {call} }}}} {{{{ cell(1) }}}}</p>"
    assert shown(body, files={"partials/m.html": MACROS}) == "<p><b><i>Go red</i> blue for &lt;Ada&gt;</b> mine 1 green</p>"


def test_a_namespace_of_an_imported_file_is_its_own() -> None:
    counted = "{% set ns = namespace(n=0) %}{% macro next() %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}"
    body = "{% set ns = namespace(n=7) %}{% import 'partials/n.html' as c %}<p>{{ c.next() }}{{ c.next() }}{{ ns.n }}</p>"
    assert shown(body, files={"partials/n.html": counted}) == "<p>127</p>"


def test_markdown_goes_into_a_layout_of_ones_own() -> None:
    files = {
        "layouts/plain.html": "<html><body><header>{{ name }}</header>{% include 'partials/c.html' %}{{ postal_address }}</body></html>",
        "partials/c.html": "<main>{{ content }}</main>",
        "partials/offer.md": "- **{{ name|upper }}**\n",
    }
    body = "---\nlayout: plain\n---\n# Hi {{ name }}\n\n**[Go](https://a.example/)**\n\n{% include 'partials/offer.md' %}"
    page = shown(body, "x.md", files)
    assert page.startswith('<header>&lt;Ada&gt;</header><main><h1>Hi &lt;Ada&gt;</h1>\n<table class="action"')
    assert '<a href="https://a.example/" class="button"' in page or 'class="button" href="https://a.example/"' in page
    assert page.endswith("<ul>\n<li><strong>&lt;ADA&gt;</strong></li>\n</ul>\n</main>12 Harbour Street, Bremen")
    assert 'class="card"' not in page and 'class="card"' in parts(make("Hi", "x.md"))[1]


def test_content_is_a_value_like_any_other_elsewhere() -> None:
    assert shown("<p>{{ content }}</p>", fields={"content": "it"}) == "<p>it</p>"


def make_source(body: str, files: dict[str, bytes]) -> Source:
    return Source(name="x.html", data=body.encode(), campaign="C-0001", identity=IDENTITY, subject="s", parts=files)


# --- what is refused --------------------------------------------------------------------------------------------------

M = {"partials/m.html": MACROS}
REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("a\n{% include 'partials/no.html' %}", {}, "The template, line 2: there is no file “no.html” in the folder partials."),
    ("{% include '../a.html' %}", {}, "The template, line 1: “../a.html” is not a file of the folders layouts and partials"),
    ("{% include 'partials/../news.html' %}", {}, "“partials/../news.html” is not a file of the folders"),
    ("{% include '/partials/a.html' %}", {}, "is not a file of the folders"),
    ("{% include 'news.html' %}", {"news.html": "x"}, "is not a file of the folders"),
    ("{% include 'assets/a.html' %}", {"assets/a.html": "x"}, "is not a file of the folders"),
    ("{% include 'partials/a/b.html' %}", {"partials/a/b.html": "x"}, "is not a file of the folders"),
    ("{% include name %}", {}, "the name of one file has to stand here, in quotes"),
    ("{% include ['partials/a.html'] %}", {}, "the name of one file has to stand here"),
    ("{% include 'partials/a.html' ignore missing %}", {}, "write no more than {% include"),
    ("{% include 'partials/m.html' without context %}", M, "write no more than {% include"),
    ("{% include 'partials/a.md' %}", {"partials/a.md": "x"}, "“partials/a.md” cannot stand in HTML; a file of HTML can."),
    ("{% include 'partials/a' %}", {"partials/a": "x"}, "cannot stand in HTML"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "\n\n{{ nmae }}"}, "“partials/a.html”, line 3: no recipient has"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "\n{% if %}"}, "“partials/a.html”, line 2: Expected"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "\n{{ 1 / 0 }}"}, "“partials/a.html”, line 2: this cannot be"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "\n{{ _show }}"}, "“partials/a.html”, line 2: “_show” is not a name"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "{{ x|safe }}"}, "the filter |safe is not allowed"),
    ("<p>{% include 'partials/a.html' %}", {"partials/a.html": "a\nb\x00"}, "“partials/a.html”: Line 2 holds an invisible"),
    ("{% include 'partials/a.html' %}", {"partials/a.html": "{% include 'partials/a.html' %}"}, "would contain itself"),
    ("{% extends name %}", {}, "the name of one file"),
    ("{% extends 'layouts/a.html' %}{% extends 'layouts/a.html' %}", {"layouts/a.html": ""}, "stands once, at the top"),
    ("{% if name %}{% extends 'layouts/a.html' %}{% endif %}", {"layouts/a.html": ""}, "stands once, at the top"),
    ("{% extends 'layouts/a.html' %}\n\n<p>Lost", {"layouts/a.html": LAYOUT}, "The template, line 3: this file extends a layout"),
    ("{% extends 'layouts/a.html' %}{% if name %}{% endif %}", {"layouts/a.html": LAYOUT}, "nobody would see it"),
    ("{% extends 'layouts/a.html' %}", {"layouts/a.html": "{% block a required %}{% endblock %}"}, "“a” has to be filled"),
    ("{% block a %}{% endblock %}{% block a %}{% endblock %}", {}, "two blocks are called “a”"),
    ("{% block a %}{{ super() }}{% endblock %}", {}, "there is no other block “a”"),
    ("{{ super() }}", {}, "super() belongs inside a {% block %}"),
    ("{% block a %}{{ super()|upper }}{% endblock %}", {}, "there is no function called “super”"),
    ("{{ self.a() }}", {}, "“self” is not a name"),
    ("{% if name %}{% import 'partials/m.html' as m %}{% endif %}", M, "stand at the top of a file, in no block"),
    ("{% from 'partials/m.html' import no %}", M, "“partials/m.html” has no macro called “no”"),
    ("{% import 'partials/m.html' as m %}{{ m.no() }}", M, "“m” has no macro called “no”"),
    ("{% import 'partials/m.html' as m %}{{ m }}", M, "“m” is a file: write the name of one of its macros"),
    ("{% import 'partials/m.html' as m %}{% set m = 1 %}", M, "“m” has a meaning already"),
    ("{% from 'partials/m.html' import button as _show %}", M, "“_show” has a meaning already"),
    ("{% from 'partials/m.html' import button %}{% include 'partials/a.html' %}", {**M, "partials/a.html": "{{ button() }}"}, "function"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "files", "sentence"), REFUSED)
def test_what_is_wrong_is_a_sentence_with_the_file_and_its_line(body: str, files: dict[str, str], sentence: str) -> None:
    assert sentence in refused(body, files)


@pytest.mark.parametrize(
    ("body", "files", "sentence"),
    [
        ("{% include 'partials/m.html' %}", M, "cannot stand in Markdown; a file of Markdown or plain text can."),
        ("{% extends 'layouts/a.html' %}", {"layouts/a.html": ""}, "put “layout: …” at the top instead"),
        ("---\nlayout: a\n---\nHi", {}, "asks for the layout “layouts/a.html”, and there is no such file"),
        ("---\nlayout: ../a\n---\nHi", {"layouts/../a.html": "x"}, "is not a file of the folders"),
        ("---\nlayout: a\n---\nHi", {"layouts/a.html": "<p>"}, "must have {{ content }} once, by itself: it has it 0 times"),
        ("---\nlayout: a\n---\nHi", {"layouts/a.html": "{{ content }}{{ content }}"}, "it has it 2 times"),
        ("---\nlayout: a\n---\nHi", {"layouts/a.html": "{{ content|upper }}"}, "it has it 0 times"),
    ],
)
def test_markdown_and_html_are_not_mixed(body: str, files: dict[str, str], sentence: str) -> None:
    assert sentence in refused(body, files, "x.md")


def test_a_layout_in_the_settings_is_for_markdown() -> None:
    assert refused("---\nlayout: a\n---\n<p>Hi") == (
        '“layout:” is for Markdown. Here write {% extends "layouts/…" %} in the first line instead.'
    )


def test_files_are_nested_and_repeated_only_so_far() -> None:
    chain = {f"partials/{n}.html": f"{{% include 'partials/{n + 1}.html' %}}" for n in range(MAX_DEPTH)}
    first = "<p>{% include 'partials/0.html' %}"
    assert f"more than {MAX_DEPTH} files are inside each other" in refused(first, chain)
    assert shown(first, files={**chain, f"partials/{MAX_DEPTH - 1}.html": "end"}) == "<p>end</p>"
    bomb = {f"partials/{n}.html": f"{{% include 'partials/{n + 1}.html' %}}" * 9 for n in range(3)}
    assert "all files of the mail together come to more than 256 KB" in refused(first, {**bomb, "partials/3.html": "x" * 999})
    assert "more than 1,000 placeholders" in refused(first, {**bomb, "partials/3.html": "{{ 1 }}"})
    again = {
        f"layouts/{n}.html": f"{{% extends 'layouts/{n + 1}.html' %}}{{% block a %}}{'{{ super() }}' * 40}{{% endblock %}}"
        for n in range(5)
    }
    last = {"layouts/5.html": "{% block a %}x{% endblock %}"}
    assert "there is too much inside" in refused("{% extends 'layouts/0.html' %}", {**again, **last})


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_what_a_file_names_is_known_before_it_is_compiled() -> None:
    text = b"---\nlayout: plain\n---\n{%- include 'partials/a.md' %}{% from \"partials/m.md\" import x %}{% include '../b' %}"
    assert reached("x.md", text) == ["layouts/plain.html", "partials/a.md", "partials/m.md"]
    assert reached("partials/a.md", b"---\nlayout: plain\n---\n{% extends 'layouts/b.md' %}") == ["layouts/b.md"]
    assert reached("x.md", b"\xff") == []


def test_a_bundle_holds_every_byte_and_equal_files_make_equal_bytes() -> None:
    files = {"partials/b": b"\xff\x00", "partials/a": b""}
    blob = packed(b"\xfe", files)
    assert unpacked(blob) == (b"\xfe", files)
    assert blob == packed(b"\xfe", dict(sorted(files.items()))) != packed(b"\xfe", {**files, "partials/a": b"x"})


def test_the_confined_compiler_gets_the_files() -> None:
    given = make_source(
        "<a href='https://x.example/'>{% include 'partials/a.html' %}</a>", {"partials/a.html": b"<b>\xc3\xa9</b>"}
    )
    assert confined.compile(given, LINKS, KNOWN).links == [(0, "https://x.example/")]
    with pytest.raises(BadTemplate, match=r"“partials/a\.html”, line 2: no recipient has a value called “nmae”"):
        confined.compile(make_source("{% include 'partials/a.html' %}", {"partials/a.html": b"\n{{ nmae }}"}), LINKS, KNOWN)
