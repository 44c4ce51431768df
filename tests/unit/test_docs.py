"""A Google Doc's export becomes a template that reads well in our layout. tests/payloads/docs/news.html has the shapes of real exports."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.errors import BadTemplate
from shared.links import Links
from shared.mail.compile import CompiledMail, compile
from shared.mail.docs import template
from shared.mail.source import MAX_SOURCE, Identity, Source
from shared.tokens import MIN_KEY, Tokens

NEWS = (Path(__file__).parents[1] / "payloads" / "docs" / "news.html").read_bytes()
TABLE = "<table>{}</table>"


def made(body: str, css: str = "", language: str = "en") -> str:
    """The settings of a Doc with this body, and what stands in the layout."""
    found = template(f"<html><head><style>{css}</style></head><body>{body}</body></html>".encode(), "Letter", language).decode()
    head, _, rest = found.partition("<!DOCTYPE html>")
    return head + rest.partition("<tr><td>")[2].rpartition("<!--[if mso]>")[0].split("-->\n", 1)[1]


def card(body: str, css: str = "") -> str:
    return (
        made(body, css)
        .partition('<td class="inner">\n')[2]
        .partition("</td></tr></table>\n<!--")[0]
        .removesuffix("</td></tr></table>\n")
    )


def compiled(data: bytes) -> CompiledMail:
    identity = Identity("Us", "us@mail.example", "1 Street", "Letter", "mail.example")
    source = Source(name="news.html", data=data, campaign="C-1", identity=identity)
    return compile(source, Links("https://mail.example", Tokens([bytes(MIN_KEY)])), frozenset({"tags"}))


NEWS_CARD = """<p class="kicker"><em>New in the shop</em></p>
<h1>The first Huila of the year</h1>
<p>Hello {{ name or "friend" }}, it is <strong>light</strong> and <em>sweet</em>, 2 &lt; 3 &amp; so on. H<sub>2</sub>O.</p>
<p><img src="https://lh7-rt.googleusercontent.com/docsz/AD_4nXeBeans?key=abc123" alt="A bag of beans" width="512"></p>
<h2><span class="ink" style="color:#0b5394">What it costs</span></h2>
<h3>By the bag</h3>
<table>
<thead>
<tr><th scope="col">Size</th><th scope="col">Price</th></tr>
</thead>
<tbody>
<tr><td>250 g</td><td style="text-align:center"><span class="ink" style="color:#cc0000">12 €</span></td></tr>
</tbody>
</table>
<ul>
<li>Washed</li>
<li>Grown at <a href="https://shop.example/huila?a=b&amp;c=d#top">1,700 m</a><ul>
<li>by two farms</li></ul>
</li>
<li>Dried in the sun</li></ul>
<ol>
<li>Grind</li>
<li>Pour</li></ol>
{% if "vip" in tags %}
<p style="text-align:center"><span style="background-color:#ffff00;color:#2b2620">For you first</span></p>
{% endif %}
<table align="center" role="presentation" class="action" cellpadding="0" cellspacing="0" border="0"><tr><td class="face">\
<a href="https://shop.example/huila" class="button"><strong>See the new roast</strong></a></td></tr></table>
<blockquote><p>Free delivery this week</p>
</blockquote>
<p>See above.</p>
<hr>
"""


def test_a_whole_doc() -> None:
    found = template(NEWS, "Letter", "en").decode()
    assert found.startswith(
        '---\nSubject: A new roast, {{ name or "friend" }}\npreheader: It’s light & sweet\n---\n<!DOCTYPE html>'
    )
    assert '<td class="masthead">\n<p class="brand"><strong>Lumen Coffee</strong></p>\n' in found
    assert f'<td class="inner">\n{NEWS_CARD}</td></tr></table>' in found
    assert '<p>You get this because you signed up. <a href="{{ unsubscribe_url }}">Leave</a></p>' in found.partition('"small"')[2]
    assert 'alt="Our mark" width="20">' in found
    assert not [
        left for left in ("google.com", "lst-", 'class="c1', "cmnt", "Is that so?", "Yes.", "Lobster", "pt;") if left in found
    ]


def test_it_compiles_and_says_what_it_uses() -> None:
    mail = compiled(template(NEWS, "Letter", "en"))
    assert mail.variables >= {"name", "tags"}
    assert [target for _, target in mail.links] == ["https://shop.example/huila?a=b&c=d#top", "https://shop.example/huila"]


def test_the_language_is_the_layouts() -> None:
    assert b'<html lang="ar" dir="rtl">' in template(b"<p>x</p>", "L", "ar")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<p><span>Hi {{ na</span><b>me or ‘you’</b> }}!</p>", "<p>Hi {{ name or 'you' }}!</p>\n"),
        ("<p>{{&nbsp;name&nbsp;}} &nbsp;x</p>", "<p>{{ name }} \u00a0x</p>\n"),
        (
            "<p>{% if a &gt; 1 and b &lt; “c” %}</p><p>x</p><p>{% endif %}</p>",
            '{% if a > 1 and b < "c" %}\n<p>x</p>\n{% endif %}\n',
        ),
        ("<p>{{ 'a &amp; b' }} &amp; {{</p>", "<p>{{ 'a & b' }} &amp; {{</p>\n"),
        ("<p>&lt;script&gt;“quoted”</p>", "<p>&lt;script&gt;“quoted”</p>\n"),
        (
            "<ul><li>{% for x in tags %}</li><li>{{ x }}</li><li>{% endfor %}</li></ul>",
            "<ul>\n{% for x in tags %}\n<li>{{ x }}</li>\n{% endfor %}\n</ul>\n",
        ),
        (
            "<table><tr><td><p>{% for x in tags %}</p></td><td></td></tr><tr><td>{{ x }}</td><td>y</td></tr>"
            "<tr><td><p>{% endfor %}</p></td></tr></table>",
            "<table>\n<tbody>\n{% for x in tags %}\n<tr><td>{{ x }}</td><td>y</td></tr>\n{% endfor %}\n</tbody>\n</table>\n",
        ),
    ],
)
def test_marks_are_whole_and_all_else_is_text(body: str, shown: str) -> None:
    assert card(body) == shown


@pytest.mark.parametrize(
    ("href", "leads"),
    [
        ("https://www.google.com/url?q=https://a.example/%3Fx%3D1%2520a&amp;sa=D&amp;usg=x", "https://a.example/?x=1%20a"),
        ("https://www.google.com/url?q=mailto:a@b.example&amp;sa=D", "mailto:a@b.example"),
        ("https://www.google.com/search?q=https://a.example/", "https://www.google.com/search?q=https://a.example/"),
        (
            "https://www.google.com/url?q=https://a.example/?n%3D%257B%257B%2520name%2520%257D%257D",
            "https://a.example/?n={{ name }}",
        ),
        ("http://%7B%7Bconfirm_url%7D%7D", "{{confirm_url}}"),
        ("javascript:alert(1)", "javascript:alert(1)"),  # refused where every template is
    ],
)
def test_a_link_leads_where_it_was_meant_to(href: str, leads: str) -> None:
    assert card(f'<p>x <a href="{href}">y</a></p>') == f'<p>x <a href="{leads}">y</a></p>\n'


def test_settings_may_stand_in_one_paragraph_or_between_rules() -> None:
    expected = "---\nsubject: Hi\npreheader: x\n---\n"
    assert made("<hr><p>subject: Hi</p><p></p><p>preheader: x</p><hr><p>a</p>").startswith(expected)
    found = made("<p>—<br>subject: Hi<br>preheader: x<br>---<br>left over</p><p>a</p>")
    assert found.startswith(expected) and "<p>left over</p>\n<p>a</p>" in found
    assert made("<hr><p>a: b</p><p>no settings</p><hr>").startswith("<table")
    with pytest.raises(BadTemplate, match="no second “---” line"):
        made("<p>---</p><p>subject: Hi</p><p>Hello</p>")


def test_headings_come_below_the_title_only_where_there_is_one() -> None:
    assert card("<h1>a</h1><h2>b</h2><h6>c</h6>") == "<h1>a</h1>\n<h2>b</h2>\n<h3>c</h3>\n"
    assert card('<p class="title">T</p><h1>a</h1><h3>b</h3>') == "<h1>T</h1>\n<h2>a</h2>\n<h3>b</h3>\n"


def test_lists() -> None:
    body = (
        '<ol class="lst-kix_a-0 start"><li>1</li></ol><ul class="lst-kix_b-1 start"><li>x</li></ul>'
        '<ul class="lst-kix_b-2 start"><li>y</li></ul><ol class="lst-kix_a-0" start="2"><li>2</li></ol>'
        '<ol class="lst-kix_c-0 start" start="1"><li>again</li></ol><ol start="5"><li>5</li></ol>'
    )
    shown = (
        "<ol>\n<li>1<ul>\n<li>x<ul>\n<li>y</li></ul>\n</li></ul>\n</li>\n<li>2</li></ol>\n<ol>\n<li>again</li>\n<li>5</li></ol>\n"
    )
    assert card(body) == shown
    assert card('<ol start="3"><li>c</li></ol>') == '<ol start="3">\n<li>c</li></ol>\n'
    assert card("<ul><li><p>a</p><p>b</p></li></ul>") == "<ul>\n<li>a<br>\nb</li></ul>\n"


def test_looks_that_mean_something_stay() -> None:
    css = (
        ".b{font-weight:700}.i{font-style:italic}.u{text-decoration:underline}.s{text-decoration:line-through}.t{vertical-align:super}"
        ".r{text-align:right;direction:rtl}.l{text-align:left}.f{font-family:Lobster;font-size:40pt;color:#000000;background-color:#ffffff}"
        ".pale{color:#ffcc00}.deep{color:#00007f}"
    )
    assert card('<p class="l"><span class="b i s">x</span><span class="t">1</span> <span class="u">y</span></p>', css) == (
        "<p><s><em><strong>x</strong></em></s><sup>1</sup> <u>y</u></p>\n"
    )
    assert card('<p class="r"><span class="f">x</span></p>', css) == '<p dir="rtl" style="text-align:right">x</p>\n'
    assert card('<p>a <span class="pale">x</span></p>', css) == '<p>a <span style="color:#ffcc00">x</span></p>\n', (
        "readable in the dark"
    )
    assert card('<p>a <span class="deep">x</span></p>', css) == '<p>a <span class="ink" style="color:#00007f">x</span></p>\n'


def test_tables() -> None:
    facts = card(TABLE.format("<tr><td></td><td></td></tr><tr><td>When</td><td>Now</td></tr>"))
    assert facts == '<table class="facts">\n<tbody>\n<tr><th scope="row">When</th><td>Now</td></tr>\n</tbody>\n</table>\n'
    cell = '<td colspan="2" style="background-color:#fff2cc"><p>a</p><p>b</p></td>'
    found = card(TABLE.format(f"<tr>{cell}</tr><tr><td>c</td><td>d</td></tr>"))
    style = "background-color:#fff2cc;padding-left:14px"
    assert f'<td colspan="2" style="{style}"><div style="color:#2b2620"><p>a</p>\n<p>b</p>\n</div></td>' in found
    deep = "<table><tr><td>a</td><td>" * 50 + "x" + "</td></tr></table>" * 50
    assert 2 < card(deep).count("<table") < 6


def test_footnotes_stay_and_comments_go() -> None:
    body = (
        '<p>a<sup><a href="#ftnt1" id="ftnt_ref1">[1]</a></sup><sup><a href="#cmnt1" id="cmnt_ref1">[a]</a></sup></p><hr>'
        '<div><p><a href="#ftnt_ref1" id="ftnt1">[1]</a><span>&nbsp;note</span></p></div>'
        '<div><p><a href="#cmnt_ref1" id="cmnt1">[a]</a><span>secret</span></p><p>more</p></div>'
    )
    assert card(body) == "<p>a<sup>[1]</sup></p>\n<hr>\n<p>[1] note</p>\n"


def test_a_doc_too_long_is_a_sentence() -> None:
    with pytest.raises(BadTemplate, match="longer than a mail"):
        made(f"<p>{'x' * (MAX_SOURCE + 1)}</p>")


def test_an_empty_doc_is_an_empty_template() -> None:
    with pytest.raises(BadTemplate, match="no subject"):
        compiled(template(b"<html><body><p><span></span></p></body></html>", "L", "en"))


@pytest.mark.parametrize(
    "body",
    [
        '<p><a href="http://[x">Beans</a></p>',
        '<p><a href="http://\u2100.example/">Beans</a></p>',
        f'<ol start="{"9" * 5000}"><li>Beans</li></ol>',
        f'<p><span style="font-weight:{"9" * 5000}">Beans</span></p>',
    ],
)
def test_what_no_doc_says_is_passed_over(body: str) -> None:
    assert "Beans" in card(body)


@pytest.mark.parametrize(
    "body", ["<p>a</p><![x[ b", f"<p>&#{'9' * 5000};</p>", "<p>a</p>" + "<!-- x" * 50_000, "<p>a</p><p title='"]
)
def test_what_is_no_html_is_a_sentence(body: str) -> None:
    began = time.process_time()
    with pytest.raises(BadTemplate, match="The Doc cannot be read: copy its text into a new one"):
        template(body.encode(), "Letter", "en")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "body",
    [
        "<ul><li>" + "<p> " * 12_000,
        "<style>" + "a," * 10_000 + "{" + "b:c;" * 10_000 + "}</style><p>x</p>",
        "<style>p{" + "".join(f"a{n}:b;" for n in range(20_000)) + "}</style>" + "<p>x</p>" * 4_000,
        '<p><a href="https://x.example/' + "%7B%7B" * 30_000 + '">x</a></p>',
        "<p>" + "{{ " * 30_000 + "x",
    ],
)
def test_what_is_long_takes_no_longer_than_it_is(body: str) -> None:
    began = time.process_time()
    template(body.encode(), "Letter", "en")
    assert time.process_time() - began < 1.5
