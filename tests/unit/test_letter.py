"""A letter is the same mail as the wire form, for a provider that makes the MIME: what a reader would see, value by value."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from shared.errors import BadInput, BadTemplate
from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import Source
from shared.ports import Pieces

from .test_splice_property import DATE, IDENTITY, LINKS, audiences, contents, parsed, recipient, source, sources

_OF_THE_PROVIDER = {"from", "reply-to", "to", "subject", "date", "mime-version", "content-type", "content-transfer-encoding"}


def put(pieces: Pieces, values: tuple[str, ...]) -> str:
    """What a provider does with them."""
    return "".join(piece if isinstance(piece, str) else values[piece] for piece in pieces)


def unfolded(wire: bytes) -> dict[str, str]:
    """The header as it stands, encoded words and all, without the fields a provider writes."""
    lines = re.sub(rb"\r\n(?=[ \t])", b"", wire.partition(b"\r\n\r\n")[0]).decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert len(found) == len(lines)
    return {name: value for name, value in found.items() if name.lower() not in _OF_THE_PROVIDER}


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources(), audiences())
def test_a_letter_says_what_the_wire_form_says(src: Source, people: list[Recipient]) -> None:
    mail = compile(src, LINKS)
    for to in people:
        wire = mail.splice(to, DATE)
        letter, values = mail.letter(to, DATE)
        shown = put(letter.subject, values), put(letter.text, values), put(letter.html, values)
        assert shown == contents(parsed(wire))
        assert {name: put(value, values) for name, value in letter.headers.items()} == unfolded(wire)
        used = [letter.subject, letter.text, letter.html, *letter.headers.values()]
        assert {piece for pieces in used for piece in pieces if isinstance(piece, int)} == set(range(len(values)))
        assert "" not in letter.text + letter.html


@pytest.mark.parametrize("tracked", [True, False])
def test_all_recipients_of_a_variant_share_one_letter(tracked: bool) -> None:
    mail = compile(
        source("{% if vip %}<b>VIP</b>{% endif %} {{ name }} <a href='https://x.example'>x</a>", tracked=tracked), LINKS
    )
    letters: dict[bool, set[int]] = {True: set(), False: set()}
    kept = []
    for n in range(50):
        fields: dict[str, Any] = {"name": f"n{n}", "vip": n % 2 == 0}
        letter, values = mail.letter(recipient(fields, n), DATE)
        kept.append(letter)
        letters[fields["vip"]].add(id(letter))
        assert f"n{n}" in values and len(values) == len(mail.letter(recipient({}, 1), DATE)[1])
    assert [len(found) for found in letters.values()] == [1, 1] and letters[True] != letters[False]


def test_only_values_differ_and_the_rest_is_fixed_text() -> None:
    src = source(
        "<p>Dear {{ name }}, {{ name }} &amp; <a href='https://x.example/?a={{ name }}'>you</a>", subject="Fixed", tracked=False
    )
    letter, values = compile(src, LINKS).letter(recipient({"name": "A&B"}), DATE)
    assert letter.subject == ("Fixed",)
    assert values.count("A&amp;B") == 1 and values.count("A&B") == 1 and values.count("A%26B") == 1
    assert not any("A&" in piece for piece in (*letter.text, *letter.html) if isinstance(piece, str))


def test_who_it_comes_from() -> None:
    identity = replace(IDENTITY, from_name="Café\u200b  Lümen", reply_to="hallo@lumen.example")
    letter, _ = compile(source("Hi", identity=identity), LINKS).letter(recipient({}), DATE)
    assert (letter.from_name, letter.from_address, letter.reply_to) == (
        "Café Lümen",
        "letter@lumen.example",
        "hallo@lumen.example",
    )
    letter, _ = compile(source("Hi"), LINKS).letter(recipient({}), DATE)
    assert letter.reply_to == ""


def test_headers_of_a_bulk_and_of_a_single_mail() -> None:
    to = recipient({})
    letter, values = compile(source("Hi"), LINKS).letter(to, DATE)
    assert {name: put(value, values) for name, value in letter.headers.items()} == {
        "List-Unsubscribe": f"<{LINKS.unsubscribe(to.ref)}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Id": "Lumen letter <letter.lumen.example>",
        "Message-ID": LINKS.message_id(to.ref, "letter.lumen.example"),
    }
    letter, values = compile(source("Hi", bulk=False), LINKS).letter(to, DATE)
    assert {name: put(value, values) for name, value in letter.headers.items()} == {
        "Auto-Submitted": "auto-generated",
        "Message-ID": LINKS.message_id(to.ref, "letter.lumen.example"),
    }


def test_a_mail_of_text_only_has_no_html() -> None:
    letter, values = compile(source("Hello {{ name }}", "x.txt", bulk=False), LINKS).letter(recipient({"name": "Ada"}), DATE)
    assert letter.html == () and put(letter.text, values) == "Hello Ada\n"


@pytest.mark.parametrize(
    ("to", "date", "error"),
    [
        (replace(recipient({}), address="a@b.example\r\nBcc: x@example.com"), DATE, BadInput),
        (recipient({}), DATE + "\r\nBcc: x@example.com", BadInput),
        (recipient({"price": "x"}), DATE, BadTemplate),
    ],
)
def test_what_cannot_be_spliced_makes_no_letter(to: Recipient, date: str, error: type[Exception]) -> None:
    mail: CompiledMail = compile(source("{{ name }}{% if price %}{{ price + 1 }}{% endif %}"), Links(LINKS.base, LINKS.tokens))
    for make in (mail.splice, mail.letter):
        with pytest.raises(error):
            make(to, date)
