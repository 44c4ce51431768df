"""Splicing is compiling for one recipient, whatever the template and the values: byte for byte against a fresh compile, and in
what a reader sees against plain Jinja, which knows nothing of slots and variants."""

from __future__ import annotations

import email
import email.policy
import quopri
import re
from dataclasses import replace
from email.message import EmailMessage
from html import escape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from shared.links import Links
from shared.mail import html, mime
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.marks import Marks
from shared.mail.program import pick
from shared.mail.source import Identity, Source
from shared.mail.text import to_text
from shared.model.ref import MailRef
from shared.tokens import Tokens

IDENTITY = Identity("Lumen Coffee", "letter@lumen.example", "12 Harbour Street\nBremen", "Lumen letter", "letter.lumen.example")
LINKS = Links("https://go.lumen.example", Tokens([b"k" * 32]))
DATE = "Mon, 23 Nov 2026 10:00:00 +0000"

STATIC = [
    "Hello ",
    "\n.a line with a dot\n..and two\n.\n",
    "Zażółć gęślą jaźń = ½\n",
    "x" * 200,
    "word " * 250 + "\n",
    "é" * 1200,
    "<p>A paragraph, <b>bold</b> &amp; safe</p>\n",
    "From here\nFrom there\n",
    "trailing space \n\ttab\t\n",
    "two  spaces,   three\n",
    "שלום عالم \u200f👩‍🔬🏳️‍🌈\n",
    "‘quotes’ \"and\" 'apostrophes' «more»\n",
    '<a href="https://shop.lumen.example/a?b=1&amp;c=2">shop</a> ',
]
MARKDOWN = [
    "\n\n# A heading\n\n- one\n- *two*\n\n> quoted\n> twice\n\n",
    "\n\n**[A button](https://shop.lumen.example/?a=1&b=2)**\n\n",
    "\n\n| bag | price |\n|-----|------:|\n| 1 kg | {{ points|default(38) }} |\n\n",
    "\n\n    code {{ name }}\n\n```\nmore {{ city }}\n```\n\n",
    "[{{ city or 'here' }}](https://shop.lumen.example/{{ name }}?c={{ city }}) ![{{ name }}](https://cdn.lumen.example/a.png)\n",
]
DYNAMIC = [
    "{{ name }}",
    ".{{ name }}.",
    "\n{{ name }}\n",
    "{{ name or 'friend' }}",
    "{{ city|default('your town') }}",
    "{{ city|d('') }}{{ points or 0 }}",
    "{{ name|upper }} {{ name|length }}",
    "{{ (name ~ city)|title }}",
    "{{ tags|join(' + ') }} {{ tags|first }} {{ tags|sort|last }}",
    "{{ name|truncate(9, true, '…') }}{{ name|replace('a', '<a>') }}",
    "{{ points + 1 if points else 'no' }}",
    '<i title="{{ name }}">{{ city }}</i>',
    "{% if vip %}VIP {{ name }}{% else %}not{% endif %}",
    "{% if vip %}{% if city %}both{% endif %}{% elif city %}in {{ city }}{% endif %}",
    "{% if city == 'Köln' %}<h2>Köln</h2>{% endif %}",
    "{% if tags %}{{ tags|length }} tags{% endif %}{% if points is defined and points > 9 %}<b>{{ points }}</b>{% endif %}",
    "{% for tag in tags %}<li>{{ loop.index }} {{ tag }} of {{ name }}</li>{% else %}none{% endfor %}",
    "{% for tag in tags if tag != name %}{{ tag|lower }}{% endfor %}",
    "{% for n in range(3) %}{{ n }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% set x = name %}{{ x }}{{ (x or 'abc')|reverse }}",
    "{% set ns = namespace(n=0) %}{% for tag in tags %}{% set ns.n = ns.n + tag|length %}{% endfor %}{{ ns.n }}",
    "{% macro m(v) %}<b>{{ v }}/{{ city }}</b>{% endmacro %}{{ m(name) }}",
    "{% macro c(v) %}<b>{{ v }}{{ caller() }}</b>{% endmacro %}{% call c(name) %}<i>{{ city }}</i>{% endcall %}",
    "{% filter upper %}loud {{ name }}{% endfilter %}",
    "{% set b %}<u>{{ name }}</u>{% endset %}{{ b }}{{ b }}",
    "{% with y = city %}{{ y }}{% endwith %}",
]
OURS = [
    "{{ unsubscribe_url }} {{ email }} {{ preferences_url }} ",
    '<a href="{{ unsubscribe_url }}">leave</a> <a href="{{ preferences_url }}">choose</a> <a href="{{ reconsent_url }}">stay</a> ',
    "{{ postal_address }} {{ from_name }}\n",
]
SUBJECTS = [
    "For {{ name }}",
    "{{ name }}",
    " {{ city }} , {{ name or 'friend' }}",
    "Only words " * 12,
    "Żółć 👩‍🔬",
    "{% if vip %}VIP {{ name }}{% else %}All{% endif %}",
    "{% for tag in tags %}{{ tag }} {% endfor %}!",
]
IDENTITIES = [
    IDENTITY,
    replace(IDENTITY, from_name='Café "Lümen", Köln', list_name="Die Lümen-Post", reply_to="hallo@lumen.example"),
    replace(IDENTITY, from_name="", list_name="名前" * 20, postal_address="ул. Ленина 1\nМосква & Co"),
]
ADDRESSES = st.sampled_from(
    ["ada@example.com", "o'neill+a.b@mail.example.co.uk", "josé@example.com", "用户@xn--fsq.example", "ё" * 32 + "@x.y"]
)
HREF = '<a href="https://shop.lumen.example/?q={{ name }}&amp;c={{ city }}">find</a>'

pieces = st.sampled_from([*STATIC, *DYNAMIC, *DYNAMIC, HREF])
templates = st.lists(pieces, min_size=1, max_size=8).map(lambda chosen: "Start " + "".join(chosen))
anything = st.lists(st.one_of(pieces, st.sampled_from([*MARKDOWN, *OURS])), min_size=1, max_size=10)
awkward = st.sampled_from(
    [
        "",
        ".",
        "..x",
        "a=b",
        "a ",
        " ",
        "Maria  Clara",
        "{{ name }}",
        "{% if x %}",
        "<script>alert(1)</script>",
        "a\r\nBcc: x@example.com",
        "\0\x07",
        "zqghjkmnpqrtwxyzghjkmns0h",
        "Ñandú",
        "名前",
        "a" * 300,
        "é" * 90,
        "From me",
        "--=_x",
        "&amp;",
        "\u202egnp",
        "👩‍🔬",
        "'\"",
        "=?utf-8?b?eA==?=",
        "\ud800",
    ]
)
values = st.one_of(awkward, st.text(max_size=12), st.lists(awkward, min_size=2, max_size=3).map("".join))
recipients = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(values, st.none()),
        "city": st.one_of(values, st.just("Köln")),
        "vip": st.sampled_from([True, False, None, "", "yes"]),
        "points": st.integers(-5, 10**9),
        "tags": st.lists(values, max_size=3),
    },
)


def source(body: str, name: str = "x.html", **changes: Any) -> Source:
    given_: dict[str, Any] = {"data": body.encode(), "campaign": "C-0001", "identity": IDENTITY, "subject": "For {{ name }}"}
    return Source(name=name, **(given_ | changes))


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Templates of every kind that use all a template can."""
    body = "Start " + "".join(draw(anything))
    preheader = draw(st.sampled_from(["", "---\npreheader: Light, {{ name }} & <sweet>\n---\n"]))
    return source(
        preheader + body,
        draw(st.sampled_from(["x.html", "x.md", "x.txt", "x.ar.md"])),
        identity=draw(st.sampled_from(IDENTITIES)),
        subject=draw(st.sampled_from(SUBJECTS)),
        bulk=draw(st.booleans()),
        tracked=draw(st.booleans()),
    )


@st.composite
def audiences(draw: st.DrawFn) -> list[Recipient]:
    """One to three people."""
    people = draw(st.lists(recipients, min_size=1, max_size=3))
    return [replace(recipient(fields, n), address=draw(ADDRESSES)) for n, fields in enumerate(people)]


def recipient(fields: dict[str, Any], number: int = 1) -> Recipient:
    return Recipient(MailRef("C-0001", f"{number:032x}"), f"r{number}@example.com", fields, at=1_800_000_000_000 + 700 * number)


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage) and not message.defects
    return message


def check_wire(data: bytes) -> None:
    assert data.endswith(b"\r\n") and b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
    head, _, body = data.partition(b"\r\n\r\n")
    assert not any(line.startswith((b".", b"From ")) for line in body.split(b"\r\n"))
    assert all(len(line) <= 76 for line in body.split(b"\r\n"))
    lines = head.split(b"\r\n")
    assert all(len(line) <= 78 or line.startswith((b"List-Unsubscribe:", b"Message-ID:", b"To:")) for line in lines)
    assert all(len(line) <= 998 and line.lstrip() for line in lines)
    assert lines[0].startswith(b"To: ") and not re.search(rb"[^\t\r\n -~]", data.removeprefix(lines[0]))


def contents(message: EmailMessage) -> tuple[str, str, str]:
    """(subject, text, HTML) as a mail reader sees them; no HTML in a mail of text only."""
    parts = list(message.iter_parts()) if message.is_multipart() else [message]
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"][: len(parts)]
    text, page = ([part.get_content().replace("\r\n", "\n") for part in parts] + [""])[:2]
    return str(message["Subject"]), text, page


def squeezed(text: str) -> str:
    """Without what `to_text` drops from a template but leaves in a value."""
    return re.sub("[\\s\u00ad\u034f\u200b\u2060\ufeff]", "", text)


class _Shown(HTMLParser):
    """Tags, attributes and text, whatever the spelling of their characters."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        words = data.split()
        if words and self.found and isinstance(self.found[-1], list):
            self.found[-1] += words
        elif words:
            self.found.append(words)


def tidy(value: Any) -> Any:
    return mime.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def environment(autoescape: bool) -> jinja2.Environment:
    """Jinja as anybody would set it up, with the same white space rules."""
    return jinja2.Environment(
        autoescape=autoescape,
        finalize=tidy,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def plain_jinja(body: str, fields: dict[str, Any]) -> str:
    """The HTML that a reader should see, made without slots."""
    env = environment(autoescape=True)
    env.filters["part"] = lambda value: quote(mime.clean(str(value)), safe="")
    body = body.replace("q={{ name }}", "q={{ name|part }}").replace("c={{ city }}", "c={{ city|part }}")
    marks = Marks("")
    return html.finish(html.inline(env.from_string(body).render(pick(fields, list(fields))), marks), html.Page(marks, []))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources(), audiences())
def test_a_mail_spliced_after_others_is_the_mail_compiled_for_one(src: Source, people: list[Recipient]) -> None:
    shared = compile(src, LINKS)
    mails = [shared.splice(to, DATE) for to in people]
    assert [shared.splice(to, DATE) for to in people] == mails
    for to, data in zip(people, mails, strict=True):
        assert data == compile(src, LINKS).splice(to, DATE)
        check_wire(data)
        message = parsed(data)
        assert message["To"] == to.address and message["Bcc"] is None
        assert all(not part.defects for part in message.walk())
        assert "Start" in contents(message)[1]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates, recipients)
def test_a_reader_sees_what_plain_jinja_shows(body: str, fields: dict[str, Any]) -> None:
    src = source(body, bulk=False, tracked=False)
    message = parsed(compile(src, LINKS).splice(recipient(fields), DATE))
    text, page = (part.get_content() for part in message.iter_parts())
    expected = plain_jinja(body, fields)
    assert _Shown(page).found == _Shown(expected).found
    assert squeezed(text) == squeezed(to_text(expected))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates, st.sampled_from(SUBJECTS), recipients)
def test_a_text_mail_and_a_subject_say_what_plain_jinja_says(body: str, subject: str, fields: dict[str, Any]) -> None:
    src = source(body, "x.txt", subject=subject, bulk=False)
    shown_subject, text, _ = contents(parsed(compile(src, LINKS).splice(recipient(fields), DATE)))
    given_ = pick(fields, list(fields))
    expected = [environment(autoescape=False).from_string(template).render(given_) for template in (subject, body)]
    assert shown_subject == mime.clean_header(expected[0])
    assert text.rstrip("\n") == expected[1].rstrip("\n")  # a value that is empty may leave its line empty at the end


@settings(max_examples=200, deadline=None)
@given(values, st.sampled_from("htlufc"))
def test_a_value_in_a_slot_decodes_to_itself(value: str, context: str) -> None:
    coded = mime.slot_bytes(value, context)
    assert quopri.decodestring(b"before=\r\n" + coded + b"after").decode() == f"before{mime.write(value, context)}after"
    assert b"  " not in coded and b"\t" not in coded


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9~_.-]{0,200}", fullmatch=True), st.text("/:.-~F", max_size=90))
def test_tokens_and_addresses_of_ours_are_written_as_any_value_is(token: str, base: str) -> None:
    assert mime.own_bytes(token) == mime.slot_bytes(token, "u")
    address = f"https://go{base}/{token}"
    assert mime.is_own(f"https://go{base}/")
    assert {mime.own_bytes(address)} == {mime.slot_bytes(address, context) for context in "htlf"}


@pytest.mark.parametrize("size", range(60, 240))
def test_a_dot_of_an_address_begins_no_line(size: int) -> None:
    address = "https://" + "a" * (size - 8) + ".b/c.d"
    assert mime.own_bytes(address) == mime.slot_bytes(address, "f")
    assert b"\n." not in mime.own_bytes(address)


@pytest.mark.parametrize("base", ["https://go.lumen.example/a%20b", "https://go.lumen.example/?a=b&c='d'", "https://gö.example"])
def test_a_public_address_of_odd_characters_is_written_for_where_it_stands(base: str) -> None:
    links = Links(base, LINKS.tokens)
    to = recipient({})
    body = '<a href="{{ unsubscribe_url }}">x</a><p>{{ unsubscribe_url }}'
    _, text, page = contents(parsed(compile(source(body), links).splice(to, DATE)))
    whole = links.unsubscribe(to.ref)
    assert not mime.is_own(base)
    assert f"<p>{escape(whole)}" in page and f'href="{escape(html.whole_url(whole))}"' in page
    assert f"<{html.whole_url(whole)}>" in text and whole in text


@given(st.lists(awkward, max_size=6).map("".join))
@settings(max_examples=100, deadline=None)
def test_a_subject_survives(value: str) -> None:
    line = mime.header("Subject", value)
    read = parsed(line.encode("ascii") + b"\r\nx")["Subject"]
    assert read == mime.clean_header(value)
    assert all(len(part) <= 78 for part in line.split("\r\n"))


def test_variants_are_few_and_bounded() -> None:
    mail: CompiledMail = compile(source("{% if vip %}a{% endif %}{{ name }}"), LINKS)
    for number in range(200):
        mail.splice(recipient({"name": f"n{number}", "vip": number % 2}, number), DATE)
    assert len(mail._wires.kept) == 2
    mail = compile(source("{% for t in tags %}{{ t }}{% endfor %}."), LINKS)
    for number in range(200):
        mail.splice(recipient({"tags": [number]}, number), DATE)
    assert len(mail._wires.kept) == 64
