"""Splicing is compiling for one recipient, whatever the template and the values: byte for byte against a fresh compile, and in
what a reader sees against plain Jinja, which knows nothing of slots and variants."""

from __future__ import annotations

import email
import email.policy
import quopri
import re
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import jinja2
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
    "\n.a line with a dot\n..and two\n",
    "Zażółć gęślą jaźń = ½\n",
    "x" * 200,
    "<p>A paragraph, <b>bold</b> &amp; safe</p>\n",
    "From here\n",
    "trailing space \n",
    '<a href="https://shop.lumen.example/a?b=1&amp;c=2">shop</a> ',
]
DYNAMIC = [
    "{{ name }}",
    ".{{ name }}.",
    "{{ name or 'friend' }}",
    "{{ city|default('your town') }}",
    "{{ name|upper }} {{ name|length }}",
    "{{ (name ~ city)|title }}",
    "{{ points + 1 if points else 'no' }}",
    '<i title="{{ name }}">{{ city }}</i>',
    "{% if vip %}VIP {{ name }}{% else %}not{% endif %}",
    "{% if vip %}{% if city %}both{% endif %}{% elif city %}in {{ city }}{% endif %}",
    "{% if city == 'Köln' %}<h2>Köln</h2>{% endif %}",
    "{% for tag in tags %}<li>{{ loop.index }} {{ tag }} of {{ name }}</li>{% else %}none{% endfor %}",
    "{% for tag in tags if tag != name %}{{ tag|lower }}{% endfor %}",
    "{% set x = name %}{{ x }}{{ (x or 'abc')|reverse }}",
    "{% macro m(v) %}<b>{{ v }}/{{ city }}</b>{% endmacro %}{{ m(name) }}",
    "{% filter upper %}loud {{ name }}{% endfilter %}",
    "{% set b %}<u>{{ name }}</u>{% endset %}{{ b }}{{ b }}",
    "{% with y = city %}{{ y }}{% endwith %}",
]
ADDRESSES = st.sampled_from(["", "https://shop.lumen.example/x?y=1&z='\"<", "http://x.example", "javascript:alert(1)", "Köln"])
HREF = '<a href="https://shop.lumen.example/?q={{ name }}&amp;c={{ city }}">find</a>'

pieces = st.sampled_from([*STATIC, *DYNAMIC, *DYNAMIC, HREF])
templates = st.lists(pieces, min_size=1, max_size=8).map(lambda chosen: "Start " + "".join(chosen))
awkward = st.sampled_from(
    [
        "",
        ".",
        "..x",
        "a=b",
        "a ",
        " ",
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


def recipient(fields: dict[str, Any], number: int = 1) -> Recipient:
    return Recipient(MailRef("C-0001", f"{number:032x}"), f"r{number}@example.com", fields)


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage) and not message.defects
    return message


def check_wire(data: bytes) -> None:
    assert data.endswith(b"\r\n") and b"\n" not in data.replace(b"\r\n", b"")
    lines = data.split(b"\r\n")
    assert not any(line.startswith(b".") for line in lines)
    head, _, body = data.partition(b"\r\n\r\n")
    assert all(len(line) <= 76 for line in body.split(b"\r\n"))
    assert all(len(line) <= 78 or line.startswith((b"List-Unsubscribe:", b"Message-ID:")) for line in head.split(b"\r\n"))
    assert data.isascii() and b"\0" not in data


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


def plain_jinja(body: str, fields: dict[str, Any]) -> str:
    """The HTML that a reader should see, made without slots."""
    env = jinja2.Environment(
        autoescape=True,
        finalize=tidy,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["part"] = lambda value: quote(mime.clean(str(value)), safe="")
    body = body.replace("q={{ name }}", "q={{ name|part }}").replace("c={{ city }}", "c={{ city|part }}")
    marks = Marks("")
    return html.finish(html.inline(env.from_string(body).render(pick(fields, list(fields))), marks), html.Page(marks, []))


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates, st.lists(recipients, min_size=1, max_size=3), st.sampled_from(["x.html", "x.md", "x.txt"]))
def test_a_mail_spliced_after_others_is_the_mail_compiled_for_one(body: str, people: list[dict[str, Any]], name: str) -> None:
    src = source(body, name)
    shared = compile(src, LINKS)
    for number, fields in enumerate([*people, *people]):
        to = recipient(fields, number % len(people))
        data = shared.splice(to, DATE)
        assert data == compile(src, LINKS).splice(to, DATE)
        check_wire(data)
        assert parsed(data)["To"] == to.address and parsed(data)["Bcc"] is None


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates, recipients)
def test_a_reader_sees_what_plain_jinja_shows(body: str, fields: dict[str, Any]) -> None:
    src = source(body, bulk=False, tracked=False)
    message = parsed(compile(src, LINKS).splice(recipient(fields), DATE))
    text, page = (part.get_content() for part in message.iter_parts())
    expected = plain_jinja(body, fields)
    assert _Shown(page).found == _Shown(expected).found
    assert squeezed(text) == squeezed(to_text(expected))


@settings(max_examples=100, deadline=None)
@given(values, st.sampled_from("htluf"))
def test_a_value_in_a_slot_decodes_to_itself(value: str, context: str) -> None:
    data = b"before=\r\n" + mime.slot_bytes(value, context) + b"after"
    assert quopri.decodestring(data).decode() == f"before{mime.write(value, context)}after"


@given(st.lists(awkward, max_size=6).map("".join))
@settings(max_examples=100, deadline=None)
def test_a_subject_survives(value: str) -> None:
    line = mime.header("Subject", value)
    read = parsed(line + b"\r\nx")["Subject"]
    assert read == mime.clean_header(value)
    assert all(len(part) <= 78 for part in line.split(b"\r\n"))


def test_variants_are_few_and_bounded() -> None:
    mail: CompiledMail = compile(source("{% if vip %}a{% endif %}{{ name }}"), LINKS)
    for number in range(200):
        mail.splice(recipient({"name": f"n{number}", "vip": number % 2}, number), DATE)
    assert len(mail._variants) == 2
    mail = compile(source("{% for t in tags %}{{ t }}{% endfor %}."), LINKS)
    for number in range(200):
        mail.splice(recipient({"tags": [number]}, number), DATE)
    assert len(mail._variants) == 64
