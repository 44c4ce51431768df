"""MJML becomes the HTML that goes out: marks survive, what is wrong is a sentence with its line, and nothing is loaded."""

from __future__ import annotations

import re

import pytest

from shared.errors import BadTemplate
from shared.mail.source import Source, read

from .test_compile import IDENTITY, make, parts

KNOWN = frozenset({"tags"})
WHOLE = """<mjml>
<mj-head><mj-preview>Light &amp; sweet, {{ name }}</mj-preview><mj-style>.a { color: #aa0000 }</mj-style></mj-head>
<mj-body>
{% for tag in tags %}
<mj-section><mj-column>
<mj-text css-class="a">Hi &lt;{{ name }}&gt; <b>{{ tag|upper }}</b><br>&nbsp;</mj-text>
<mj-button href="https://x.example/{{ name }}?a=1&amp;b=2">there</mj-button>
<mj-button href="{{ unsubscribe_url }}">leave</mj-button>
<mj-raw><tr><td><!-- mine --><!--[if mso]><table><tr><td>{{ name }}<![endif]-->raw {{ name }}</td></tr></mj-raw>
</mj-column></mj-section>
{% endfor %}
{% if name == "x" %}
<mj-section><mj-column><mj-button href="https://x.example/">x</mj-button></mj-column></mj-section>
{% endif %}
</mj-body>
</mjml>
"""


def body(content: str) -> str:
    """A whole mail with `content` from line 3 on."""
    return f"<mjml><mj-body>\n<!--\n-->{content}</mj-body></mjml>"


def page(text: str, name: str = "x.mjml", fields: dict[str, object] | None = None, **files: bytes) -> str:
    given = {path.replace("__", "/") + ".mjml": data for path, data in files.items()}
    return parts(make(text, name, KNOWN, parts=given), fields or {})[1]


def refused(text: str, **files: bytes) -> str:
    with pytest.raises(BadTemplate) as caught:
        page(text, "x.mjml", None, **files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_go_where_they_stand_and_are_encoded_for_it() -> None:
    mail = make(WHOLE, "x.mjml", KNOWN)
    assert mail.links == [(0, "https://x.example/")]
    text, html = parts(mail, {"name": "A<b>&", "tags": ["<i>", "two"]})
    assert len(re.findall(r"Hi &lt;A&lt;b&gt;&amp;&gt; <b>(&lt;I&gt;|TWO)</b><br>", html)) == 2
    assert html.count('href="https://x.example/A%3Cb%3E%26?a=1&amp;b=2"') == 2
    assert html.count(">leave</a>") == 2 and ">x</a>" not in html
    assert "Hi <A<b>&> <I>" in text and "mine" not in html
    assert ">x</a>" in parts(mail, {"name": "x", "tags": ["t"]})[1]


def test_what_outlook_and_phones_need_stays() -> None:
    html = page(WHOLE, fields={"name": "A", "tags": ["t"]})
    assert html.count("<!--[if mso]><table><tr><td>A<![endif]-->raw A") == 1
    assert html.count("<!--[if mso | IE]>") == 6 and "@media only screen and (min-width:480px)" in html
    assert re.search(r'<div class="[^"]*a[^"]*"|<td [^>]*class="a"[^>]*style="[^"]*color: ?#aa0000', html)
    assert "fonts.googleapis" not in html and "<link" not in html and "@import" not in html


def test_the_language_is_that_of_the_name_unless_the_mail_tells() -> None:
    plain = body("<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>")
    assert '<html lang="fr-CA" dir="ltr"' in page(plain, "x.fr-CA.mjml")
    assert '<html lang="ar" dir="rtl"' in page(plain, "x.ar.mjml")
    assert '<html lang="de" dir="auto"' in page(plain.replace("<mjml>", '<mjml lang="de">'), "x.fr.mjml")


def test_the_preview_is_the_preheader() -> None:
    template = read(Source(name="x.mjml", data=WHOLE.encode(), campaign="", identity=IDENTITY, subject="s"))
    assert template.preheader == "Light & sweet, {{ name }}"
    assert template.body.count("\n") == WHOLE.count("\n") and "Light" not in template.body
    html = page(WHOLE, fields={"name": "<A>", "tags": ["t"]})
    assert html.count("Light &amp; sweet, &lt;A&gt;") == 1
    kept = read(
        Source(name="x.mjml", data=b"---\npreheader: p\n---\n" + WHOLE.encode(), campaign="", identity=IDENTITY, subject="s")
    )
    assert kept.preheader == "p" and "Light" in kept.body


WRAP = "<mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section>"
FAULTS: list[tuple[str, str]] = [
    ("\n<mj-section>", "line 4: <mj-section> has no </mj-section>."),
    ("\n<mj-section>\n<mj-column>\n</mj-section>", "line 5: <mj-column> has no </mj-column>."),
    ("\n\n</mj-text>", "line 5: </mj-text> ends nothing."),
    ("{% if name %}\n{% endif %}\n<mj-buton/>", "line 5: there is no <mj-buton>; did you mean <mj-button>."),
    ("{% for i in range(3) %}\n{% endfor %}\n<mj-nope/>", "line 5: there is no <mj-nope>"),
    ("Hello {{ name }}", "line 3: “Hello {{ … }}” would be lost here: put it into <mj-text>."),
    ("\n<p>x</p>", "line 4: <p> would be lost in <mj-body>: put it into <mj-text>."),
    (WRAP.format("\n<p>x"), "line 4: <p> has no </p>."),
    (WRAP.format("\n<a href=x>x</a>"), "line 4: this “<” begins no tag that can be read"),
    (WRAP.format("a\n1 < 2"), "line 4: this “<” begins no tag that can be read"),
    (WRAP.format("\n<mj-image src='x'/>"), "line 4: <mj-image> cannot stand in <mj-text>."),
    ("\n<mj-include path='/etc/passwd'/>", "line 4: <mj-include> loads a file, which mails cannot."),
    ("\n<mj-include path='https://x.example/y.mjml'/>", "line 4: <mj-include> loads a file"),
    ("\n<mj-font name='a' href='https://x.example/a.css'/>", "line 4: <mj-font> loads a font from elsewhere"),
    ("\n<mjml></mjml>", "line 4: everything stands in one <mjml> … </mjml>."),
    ("\n<mj-wrapper>" * 99, "elements are nested more than 60 deep"),
    ("<mj-spacer/>" * 5001, "there are too many <mj-spacer>"),
    ("<mj-carousel>" + "<mj-carousel-image src='https://x.example/'/>" * 21 + "</mj-carousel>", "too many <mj-carousel-image>"),
    (WRAP.format("]]>"), "The template: this MJML cannot be read (unable to parse next template)."),
    (WRAP.format("<script>x</script>"), "holds a <script>"),
    (WRAP.format("<a href='javascript:x'>x</a>"), "begins with “javascript:”"),
    (WRAP.format("<p onclick='x'>x</p>"), "“onclick”"),
    ("\n{% include 'partials/a.mjml' %}", "“partials/a.mjml”, line 2: <mj-section> has no </mj-section>."),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), FAULTS)
def test_a_fault_is_a_sentence_with_its_line(content: str, sentence: str) -> None:
    assert sentence in refused(body(content), partials__a=b"\n<mj-section>\n")


@pytest.mark.parametrize(
    ("text", "sentence"), [("\n\nhello", "line 3: “hello”"), ("", "empty"), ("<p>x</p>", "everything stands")]
)
def test_what_is_no_mjml_is_told(text: str, sentence: str) -> None:
    assert sentence in refused(text)


def test_a_long_head_is_not_repeated_in_every_element() -> None:
    head = f"<mj-head><mj-attributes><mj-all padding='{'0' * 20_000}'/></mj-attributes></mj-head>"
    assert "the <mj-head> is too long for so many elements" in refused(
        f"<mjml>{head}<mj-body>{'<mj-spacer/>' * 1000}</mj-body></mjml>"
    )


def test_a_mail_is_put_together_from_layouts_and_partials() -> None:
    layout = body("<mj-section><mj-column>{% block body %}{% endblock %}</mj-column></mj-section>").encode()
    text = "{% extends 'layouts/a.mjml' %}{% from 'partials/m.mjml' import say %}{% block body %}{{ say(name) }}{% endblock %}"
    macro = b"{% macro say(who) %}<mj-text>Hi {{ who }}</mj-text>{% endmacro %}"
    assert "Hi &lt;A&gt;" in page(text, fields={"name": "<A>"}, layouts__a=layout, partials__m=macro)


def test_values_that_nobody_has_yet_leave_nothing_to_read() -> None:
    text = "{% set n = 1 // (tags|length) %}" + body(WRAP.format("{{ n }}"))
    assert ">1</div>" in page(text, fields={"tags": ["a"]})
