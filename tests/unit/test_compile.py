"""Templates become mails or sentences: what a template may do, what it may not, and what is added to it."""

from __future__ import annotations

import email
import email.policy
import quopri
import re
import time
from pathlib import Path
from typing import Any

import pytest

from shared.errors import BadTemplate
from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import MAX_SOURCE, Identity, Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

IDENTITY = Identity("Lumen Coffee", "letter@lumen.example", "12 Harbour Street\nBremen", "Lumen letter", "letter.lumen.example")
LINKS = Links("https://go.lumen.example", Tokens([b"k" * 32]))
DATE = "Mon, 23 Nov 2026 10:00:00 +0000"
REF = MailRef("C-0001", "ab" * 16)
STARTER = Path(__file__).parents[2] / "local" / "starter"


def make(body: str | bytes, name: str = "x.html", known: frozenset[str] | None = None, **changes: Any) -> CompiledMail:
    data = body if isinstance(body, bytes) else body.encode()
    given: dict[str, Any] = {"campaign": "C-0001", "identity": IDENTITY, "subject": "Hello"}
    return compile(Source(name=name, data=data, **(given | changes)), LINKS, known)


def parts(mail: CompiledMail, fields: dict[str, Any] | None = None, **extra: str) -> tuple[str, str]:
    """(text, HTML) as a reader's program decodes them."""
    data = mail.splice(Recipient(REF, "ada@example.com", fields or {}, extra), DATE)
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    text, page = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
    return text, page


def subject(mail: CompiledMail, fields: dict[str, Any]) -> str:
    data = mail.splice(Recipient(REF, "ada@example.com", fields), DATE)
    return str(email.message_from_bytes(data, policy=email.policy.SMTP)["Subject"])


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS: list[tuple[str, bytes, str]] = [
    ("x.rtf", b"{\\rtf", "“x.rtf” is not a template we know"),
    ("x.md", b"\xff\xfe", "Line 1 is not UTF-8"),
    ("x.md", b"ok\n\xe9", "Line 2 is not UTF-8"),
    ("x.md", b"a\nb\x00", "Line 2 holds an invisible control character (U+0000)"),
    ("x.md", b"x" * (MAX_SOURCE + 1), "at most 256 KB"),
    ("x.md", b"---\nsubject: a\ncolour: red\n---\nx", "Line 3: “colour” is not a setting"),
    ("x.md", b"---\nsubject: a\nsubject: b\n---\nx", "given twice"),
    ("x.md", b"---\nsubject: a\nx", "Line 3"),
    ("x.md", b"---\nsubject: a\n", "no second “---”"),
    ("x.md", b"", "The template is empty"),
    ("x.html", b"<html><body><!-- nothing --></body></html>", "The template is empty"),
    ("x.txt", b"\n\n", "The template is empty"),
    ("x.md", b"---\nsubject: a\n---\n\nHello\n{{ name", "line 6"),
    ("x.md", b"a\n{% if name %}", "The template"),
    ("x.md", b"a\n{{ name|frob }}", "line 2: No filter named 'frob'"),
    ("x.md", b"{{ lipsum() }}", "there is no function called “lipsum”"),
    ("x.md", b"{{ 1 / 0 }}", "line 1: this cannot be worked out (division by zero)"),
    ("x.html", b"<a href='javascript:alert(1)'>x</a>", "begins with “javascript:”"),
    ("x.html", b"<a href=' java\nscript:alert(1)'>x</a>", "begins with “javascript:”"),
    ("x.html", b"<a href='java&#115;cript:x'>x</a>", "begins with “javascript:”"),
    ("x.md", b"[x](javascript:alert(1))", "begins with “javascript:”"),
    ("x.html", b"<a href='data:text/html,x'>x</a>", "begins with “data:”"),
    ("x.html", b"<a href='file:///etc/passwd'>x</a>", "begins with “file:”"),
    ("x.html", b"<a href='www.lumen.example'>x</a>", "write it with https:// in front"),
    ("x.html", b"<img src='logo.png'>", "write it with https:// in front"),
    ("x.html", b"<script>x</script><p>y", "holds a <script>"),
    ("x.html", b"<link rel=stylesheet href=/etc/passwd><p>y", "holds a <link>"),
    ("x.html", b"<p onclick=x>y", "“onclick”"),
    ("x.html", b"<{{ name }}>y", "inside the name of a tag"),
    ("x.html", b"<p {{ name }}=x>y", "inside the name of a tag"),
    ("x.html", b"<style>p { color: {{ name }} }</style><p>y", "inside <style>"),
]


@pytest.mark.parametrize(("name", "data", "sentence"), FAULTS)
def test_a_fault_is_one_sentence(name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        make(data, name)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_mail_needs_a_subject_of_one_line() -> None:
    with pytest.raises(BadTemplate, match="no subject"):
        make("x", subject="")
    with pytest.raises(BadTemplate, match="line break"):
        make("x", subject="a\r\nBcc: x@example.com")


def test_a_name_nobody_has_is_named() -> None:
    known = frozenset({"city", "vip"})
    make("{{ name }}{{ city }}{{ email }}{{ unsubscribe_url }}{{ postal_address }}{{ from_name }}{{ confirm_url }}", known=known)
    with pytest.raises(BadTemplate, match="line 2: no recipient has a value called “nmae”; did you mean “name”"):
        make("Hi\n{{ nmae }}", known=known)
    with pytest.raises(BadTemplate, match="The subject: no recipient has a value called “citty”"):
        make("Hi", subject="{{ citty }}", known=known)


# --- hostile templates ------------------------------------------------------------------------------------------------

GROW = "{%% set ns = namespace(x=%s) %%}{%% for i in range(60) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ ns.x }}"
HOSTILE = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cl' ~ 'ass__'] }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ ''|attr('__class__') }}",
    "{{ range.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ __import__('os') }}",
    "{{ _show }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ '{0:999999999}'.format(1) }}",
    "{{ '%999999999s' % 1 }}",
    "{{ '%-999999999d'|format(1) }}",
    "{{ '%.999999999f' % 1 }}",
    "{{ '%*s'|format(999999999, 1) }}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'.center(999999999) }}",
    "{{ [1]|batch(10**9, 'x')|list }}",
    "{{ 'a'|indent(10**9, true) }}",
    "{{ 1.5|round(10**9, 'ceil') }}",
    "{{ ('a' * 9999)|replace('a', 'b' * 9999) }}",
    "{{ range(99999)|join('x' * 99999) }}",
    "{{ range(99999)|map('center', 1000)|list }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ [1] * 10**9 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ (1).to_bytes(999999999, 'big') }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
    GROW % ("'a'", "ns.x ~ ns.x"),
    GROW % ("'a'", "ns.x + ns.x"),
    GROW % ("[1]", "[ns.x, ns.x]"),
    GROW % ("[1]", "(ns.x, ns.x)"),
    GROW % ("[1]", "{'a': ns.x, 'b': ns.x}"),
    GROW % ("[1]", "dict(a=ns.x, b=ns.x)"),
    GROW % ("99", "ns.x * ns.x"),
    "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}{{ ns.x }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{% for i in range(99999) %}" + "x" * 20000 + "{% endfor %}{% endmacro %}{{ m() }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{{ name|safe }}",
    "{{ ['<b>']|map('safe')|list }}",
    "{% filter safe %}{{ name }}{% endfilter %}",
    "{{ name|forceescape }}",
    "{% autoescape false %}{{ name }}{% endautoescape %}",
    "{% set x = [] %}{{ x.append(1) }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 15000 + "1 }}",
    "{% if a %}" * 450 + "{% endif %}" * 450,
    "{% for i in range(2) %}" * 30 + "{% endfor %}" * 30,
    "{{ [" + "1," * 80000 + "] }}",
    "{{ a }}" * 30000,
]
HOSTILE_HTML = [
    "<div>" * 20000,
    "<b>" * 20000 + "x",
    "<style>*{background:url(data:" + "a" * 100000 + ")}</style>" + "<i>x</i>" * 10000,
    "<table>" + "x<tr>" * 20000,
    "<p>" * 80000,
    "<style>" * 30000,
]
HOSTILE_MARKDOWN = ["![" * 60000, "[a](" * 60000, "a__" * 80000, "*a " * 80000, "`a" * 60000, "|a\n|-\n" + "|x\n" * 50000]


@pytest.mark.parametrize(
    ("name", "template"),
    [("x.html", t) for t in HOSTILE] + [("x.html", t) for t in HOSTILE_HTML] + [("x.md", t) for t in HOSTILE_MARKDOWN],
)
def test_a_hostile_template_is_refused_or_cut(name: str, template: str) -> None:
    started = time.process_time()
    with pytest.raises(BadTemplate) as caught:
        make(template, name)
    assert time.process_time() - started < 2
    assert 10 < len(str(caught.value)) < 400 and "0x" not in str(caught.value)


@pytest.mark.parametrize(
    "template", ["<!--" * 60000 + "x", "<" * 100000, "&" * 100000, "<p " + "a=1 " * 20000 + ">x", "</p>" * 60000]
)
def test_odd_html_takes_no_long_time(template: str) -> None:
    started = time.process_time()
    try:
        make(template)
    except BadTemplate:
        pass
    assert time.process_time() - started < 2


def test_a_hostile_branch_is_cut_when_a_recipient_reaches_it() -> None:
    mail = make("a{% for n in counts %}{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}{% endfor %}")
    assert "a" in parts(mail, {"counts": [2]})[0]
    with pytest.raises(BadTemplate, match="too long"):
        parts(mail, {"counts": [99999]})


@pytest.mark.parametrize("body", ["{{ name|upper }}", "{{ name }}{% if name|upper %}{{ name|lower }}{% endif %}"])
def test_a_mail_compiled_long_ago_has_all_its_time_for_each_recipient(body: str) -> None:
    mail = make(body)
    for _ in range(2):
        mail._wires._program.env.meter.deadline = 0.0
        assert "ADA" in parts(mail, {"name": "Ada"})[0].upper()
        mail._wires._program.env.meter.deadline = 0.0
        assert mail.letter(Recipient(REF, "ada@example.com", {"name": "Ada"}), DATE)


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_are_escaped_where_they_stand() -> None:
    nasty = "<b>\"'&"
    text, page = parts(make('<p title="{{ name }}">{{ name }}</p>', bulk=False, tracked=False), {"name": nasty})
    assert '<p title="&lt;b&gt;&quot;&#x27;&amp;">&lt;b&gt;&quot;&#x27;&amp;</p>' in page
    assert text == nasty


def test_values_in_addresses_are_percent_encoded() -> None:
    body = '<a href="https://shop.lumen.example/?q={{ name }}&amp;r=1">x</a><a href="{{ url }}">y</a>'
    mail = make(body, bulk=False)
    assert mail.links == []
    text, page = parts(mail, {"name": "a&b=/ü\"'>", "url": "https://x.example/?a=1&b='\">"})
    assert 'href="https://shop.lumen.example/?q=a%26b%3D%2F%C3%BC%22%27%3E&amp;r=1"' in page
    assert 'href="https://x.example/?a=1&amp;b=&#x27;%22%3E"' in page
    assert "y <https://x.example/?a=1&b='%22%3E>" in text
    for bad in ("javascript:alert(1)", "data:text/html,x", "//x.example", "", " https://x.example"):
        assert 'href="#"' in parts(mail, {"url": bad})[1]


def test_values_in_styles_are_harmless() -> None:
    page = parts(make('<p style="color: {{ colour }}">x</p>'), {"colour": "red;background:url(https://x.example)"})[1]
    assert "color: redbackgroundurlhttpsx.example" in page


def test_values_are_no_markdown() -> None:
    body = "{{ name }} {% for t in tags %}{{ t }} {% endfor %}{% filter upper %}{{ name }}{% endfilter %}"
    _, page = parts(
        make(body, "x.md", bulk=False, tracked=False), {"name": "**x** [y](https://z.example)", "tags": ["*a*", "# b"]}
    )
    assert "<strong>" not in page and "<em>" not in page and "z.example" in page and 'href="https' not in page


def test_absent_values() -> None:
    mail = make("[{{ name }}|{{ name or 'friend' }}|{{ name|default('you') }}|{{ name|default('x')|upper }}|{{ plan.level }}]")
    for fields in ({}, {"name": None}, {"name": ""}):
        assert parts(mail, fields)[0].startswith("[|friend|you|X|]")
    assert parts(mail, {"name": "Ada", "plan": {"level": 3}})[0].startswith("[Ada|Ada|Ada|ADA|3]")
    assert parts(make("[{{ n or 7 }}{{ n|default(7) }}]"), {"n": 0})[0].startswith("[70]")


def test_a_value_that_is_no_text() -> None:
    assert parts(make("[{{ tags }}] {{ n }} {{ yes }}"), {"tags": ["a", 1], "n": 1.5, "yes": True})[0].startswith(
        "[a, 1] 1.5 True"
    )
    with pytest.raises(BadTemplate, match="not a text, a number or a list"):
        parts(make("{{ plan }}"), {"plan": {"a": 1}})
    with pytest.raises(BadTemplate, match="line 2: this cannot be worked out"):
        parts(make("a\n{{ name + 1 }}"), {"name": "x"})


def test_a_failing_expression_in_a_branch_not_taken_harms_nobody() -> None:
    mail = make("a{% if price %}{% if price + 1 > 3 %}{{ price * 2 }}{% endif %}{% endif %}")
    assert parts(mail, {})[0].startswith("a")
    assert parts(mail, {"price": 4})[0].startswith("a8")
    with pytest.raises(BadTemplate):
        parts(mail, {"price": "x"})


def test_standard_values_come_from_the_mail_not_the_fields() -> None:
    fields = {"email": "x", "unsubscribe_url": "https://evil.example", "postal_address": "x", "range": "x", "_track": "x"}
    text, _ = parts(
        make("{{ email }} {{ unsubscribe_url }} {{ postal_address }} {% for i in range(2) %}{{ i }}{% endfor %}"), fields
    )
    assert text.startswith(f"ada@example.com {LINKS.unsubscribe(REF)} 12 Harbour Street, Bremen 01")


def test_subject_and_preheader_hold_values() -> None:
    mail = make("---\nsubject: '{{ name }}, hello'\npreheader: For {{ name }} <3\n---\n# Hi", "x.md", subject="")
    assert subject(mail, {"name": "Zoë"}) == "Zoë, hello"
    text, page = parts(mail, {"name": "<Zoë>"})
    assert "For &lt;Zoë&gt; &lt;3" in page and "For" not in text
    assert page.index("For &lt;") < page.index("<table")
    assert subject(make("---\nsubject: file\n---\nx", "x.md", subject="cell"), {}) == "cell"


# --- links, footer, pixel ---------------------------------------------------------------------------------------------


def test_links_are_counted_and_lead_where_they_did() -> None:
    body = (
        '<a href="https://a.example/?x=1&amp;y=2">a</a><area href="http://b.example/ü"><a href="https://a.example/?x=1&amp;y=2">c</a>'
        '<a href="mailto:a@x.example">m</a><a href="tel:+49">t</a><a href="#top">u</a><link-like href="https://c.example">x</link-like>'
    )
    mail = make(body)
    targets = ["https://a.example/?x=1&y=2", "http://b.example/ü", "https://a.example/?x=1&y=2"]
    assert mail.links == list(enumerate(targets))
    text, page = parts(mail)
    found = re.findall(r'href="https://go.lumen.example/track/k/([^/]+)/([^"]+)"', page)
    assert [LINKS.read_target("C-0001", signed) for _, signed in found] == list(enumerate(targets))
    assert all(LINKS.read_track(token) == (REF, 0) for token, _ in found)
    assert all(f'href="{kept}"' in page for kept in ("mailto:a@x.example", "tel:+49", "#top", "https://c.example"))
    assert text.count("/track/k/") == 2
    opened = re.findall(r'<img src="https://go.lumen.example/track/o/([^"]+)" alt="" width="1" height="1"[^>]*></body>', page)
    assert [LINKS.read_track(token) for token in opened] == [(REF, 0)]


@pytest.mark.parametrize("name", ["x.html", "x.md"])
def test_a_link_that_nobody_sees_comes_first_and_is_not_counted(name: str) -> None:
    link = "[a](https://a.example)" if name == "x.md" else '<a href="https://a.example">a</a>'
    mail = make(f"---\npreheader: News\n---\n{link}", name)
    text, page = parts(mail)
    [trap] = re.findall(r"<a [^>]*/track/h/[^>]*>[^<]*</a>", page)
    address = re.escape(f"{LINKS.base}/track/h/{LINKS.track_token(REF)}")
    assert re.fullmatch(f'<a href="{address}" aria-hidden="true" tabindex="-1" style="display:none"></a>', trap)
    assert page.index("<body") < page.index("News") < page.index(trap) < page.index("/track/k/")
    assert "/track/h/" not in text and mail.links == [(0, "https://a.example")]


def test_a_mail_says_when_it_was_handed_over() -> None:
    mail = make('<a href="https://a.example">a</a>')
    data = mail.splice(Recipient(REF, "ada@example.com", at=1_800_000_000_999), DATE)
    page = quopri.decodestring(data).decode()
    found = re.findall(r'(?:href|src)="[^"]*/track/[okh]/([^/"]+)', page)
    assert len(found) == 3 and {LINKS.read_track(token) for token in found} == {(REF, 1_800_000_000_000)}
    [leave] = re.findall(r"^List-Unsubscribe: <[^>]*/([^/>]+)>", data.decode(), re.MULTILINE)
    assert LINKS.read_leave(leave) == REF and LINKS.message_id(REF, IDENTITY.list_domain) in data.decode()


def test_a_link_keeps_its_number_in_every_variant() -> None:
    mail = make(
        '{% if a %}<a href="https://a.example">a</a>{% elif b %}<a href="https://b.example">b</a>{% endif %}<a href="https://c.example">c</a>'
        '{% for u in urls %}<a href="https://d.example/{{ u }}">d</a>{% endfor %}'
    )
    assert mail.links == [(0, "https://a.example"), (1, "https://b.example"), (2, "https://c.example")]

    def numbers(fields: dict[str, Any]) -> list[tuple[int, str]]:
        return [LINKS.read_target("C-0001", m) for m in re.findall(r'/track/k/[^/]+/([^"]+)"', parts(mail, fields)[1])]

    assert numbers({}) == [(2, "https://c.example")]
    assert numbers({"b": 1, "urls": ["x/y", "z"]}) == [
        (1, "https://b.example"),
        (2, "https://c.example"),
        (3, "https://d.example/x%2Fy"),
        (4, "https://d.example/z"),
    ]
    assert numbers({"a": 1})[0] == (0, "https://a.example")


def test_an_untracked_mail_is_untouched() -> None:
    text, page = parts(make('<a href="https://a.example">a</a>', bulk=False, tracked=False))
    assert "go.lumen.example" not in page + text and "<img" not in page and 'href="https://a.example"' in page


def test_the_footer_adds_only_what_is_missing() -> None:
    def footer(body: str, name: str = "x.html") -> tuple[int, int]:
        text, page = parts(make(body, name))
        assert text.count("Harbour") == page.count("Harbour")
        return page.count("Harbour"), page.count("/unsubscribe/")

    assert footer("<p>Hi</p>") == (1, 2)
    assert footer("Hi", "x.md") == (1, 2)
    assert footer('<p>Hi</p><a href="{{ unsubscribe_url }}">Leave</a>') == (1, 1)
    assert footer("<p>{{ postal_address }}</p>") == (1, 2)
    assert footer('<p>12 Harbour Street, Bremen</p><a href="{{ unsubscribe_url }}">Leave</a>') == (1, 1)
    assert footer("[Leave]({{ unsubscribe_url }}), {{ postal_address }}", "x.md") == (1, 1)
    assert footer('<p>Hi</p><a href="{{ preferences_url }}">Choose</a>') == (1, 2)
    _, page = parts(make('<p>Hi</p>{% if old %}<a href="{{ unsubscribe_url }}">Leave</a>{% endif %}'), {"old": 0})
    assert page.count("/unsubscribe/") == 2 and "Leave" not in page
    assert "Harbour" not in parts(make("<p>Hi</p>", bulk=False))[1]


def test_the_footer_leads_to_the_preferences_unless_the_template_does() -> None:
    def ways(body: str, name: str = "x.html") -> list[str]:
        return re.findall(r"/unsubscribe/(preferences/)?[^/>\"]+\"", parts(make(body, name))[1])

    assert ways("<p>Hi</p>") == ["", "preferences/"]
    assert ways('<p>Hi</p><a href="{{ preferences_url }}">Choose</a>') == ["preferences/", ""]
    assert ways('<a href="{{ preferences_url }}">Choose</a> <a href="{{ unsubscribe_url }}">Leave</a>') == ["preferences/", ""]


@pytest.mark.parametrize(
    ("language", "word"), [("en", "Preferences"), ("fr-CA", "Préférences"), ("de", "Abmelden"), ("pt", "Unsubscribe")]
)
def test_the_footer_speaks_the_mails_language(language: str, word: str) -> None:
    text, page = parts(make("Hi", f"x.{language}.md"))
    assert word in page and word in text
    plain = make("Hi", f"x.{language}.txt").splice(Recipient(REF, "ada@example.com"), DATE)
    assert f"{word}: https://" in email.message_from_bytes(plain, policy=email.policy.SMTP).get_content()


def test_a_confirmation_holds_its_link_and_nothing_of_ours() -> None:
    url = LINKS.confirm("ab" * 16, "c1", "20833", 1_800_000_000_000)
    mail = make((STARTER / "confirm.md").read_bytes(), "confirm.md", subject="", bulk=False, tracked=False)
    text, page = parts(mail, confirm_url=url)
    assert page.count(f'href="{url}"') == 1 and f"<{url}>" in text
    assert "/track/" not in page + text and "/unsubscribe/" not in page + text
    assert mail.variables == {"confirm_url"}


# --- layout -----------------------------------------------------------------------------------------------------------


def test_markdown_layout() -> None:
    body = "# Hi\n\n**[Go](https://a.example)**\n\nSee **[this](https://b.example)** now. <b>raw</b>\n\n|a|b|\n|-|-|\n|1|2|\n"
    _, page = parts(make(body, "letter.md"))
    assert page.startswith('<!DOCTYPE html><html lang="en" dir="ltr">') and 'role="presentation"' in page
    assert page.count('class="button"') == 1 and "&lt;b&gt;raw" in page and "<th" in page
    assert "@media (prefers-color-scheme: dark)" in page and re.search(r"<h1 style=\"[^\"]*font-size: 30px", page)
    assert '<html lang="ar" dir="rtl">' in parts(make(body, "letter.ar.md"))[1]
    assert not re.search("@[a-z]+@", page)


def test_html_styles_are_inlined_and_media_queries_kept() -> None:
    body = "<style>p{color:red} @media (max-width:600px){p{color:blue}}</style><!--[if mso]><i>x</i><![endif]--><p>x"
    _, page = parts(make(body))
    assert (
        '<p style="color: red;">' in page and "@media (max-width:600px)" in page and "<!--[if mso]><i>x</i><![endif]-->" in page
    )


def test_a_text_template_begins_where_its_settings_end() -> None:
    mail = make("---\nsubject: News\n---\nDear {{ name }},\nplain & simple", name="x.txt")
    data = mail.splice(Recipient(REF, "ada@example.com", {"name": "A&B"}), DATE)
    text = email.message_from_bytes(data, policy=email.policy.SMTP).get_content().replace("\r\n", "\n")
    assert text.startswith("Dear A&B,\nplain & simple\n\n-- \n12 Harbour")


@pytest.mark.parametrize("name", ["confirm.md", "welcome.md", "newsletter.md"])
def test_starters_compile(name: str) -> None:
    known = frozenset({"tags", "city"})
    mail = make((STARTER / name).read_bytes(), name, subject="", known=known)
    assert mail.size < 20_000 and parts(mail, {"name": "Ada"})[0]


def test_size_is_what_is_sent() -> None:
    mail = make("<p>Hello")
    data = mail.splice(Recipient(REF, "ada@example.com"), DATE)
    assert 0 < len(data) - mail.size < 1000
