"""The wire form against the standard library's parser, and the quoted-printable rules it must keep."""

from __future__ import annotations

import email
import email.header
import email.policy
import quopri
from email.message import EmailMessage
from typing import Any

import pytest

from shared.errors import BadInput
from shared.links import Links
from shared.mail import mime
from shared.mail.compile import Recipient, compile
from shared.mail.source import Identity, Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

LINKS = Links("https://go.lumen.example", Tokens([b"k" * 32]))
DATE = "Mon, 23 Nov 2026 10:00:00 +0000"
REF = MailRef("C-0001", "ab" * 16)


def identity(**changes: str) -> Identity:
    given = {
        "from_name": "Lumen Coffee",
        "from_address": "letter@lumen.example",
        "postal_address": "12 Harbour Street\nBremen",
        "list_name": "Lumen letter",
        "list_domain": "letter.lumen.example",
    }
    return Identity(**(given | changes))


def splice(body: str, fields: dict[str, Any] | None = None, name: str = "x.html", **changes: Any) -> bytes:
    given: dict[str, Any] = {"campaign": "C-0001", "identity": identity(), "subject": "Hello"}
    source = Source(name=name, data=body.encode(), **(given | changes))
    return compile(source, LINKS).splice(Recipient(REF, "ada@example.com", fields or {}), DATE)


def parse(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage) and not message.defects
    assert all(not part.defects for part in message.walk())
    return message


def test_headers_of_a_bulk_mail() -> None:
    data = splice("<p>Hi", identity=identity(reply_to="hello@lumen.example"))
    message = parse(data)
    assert message["From"] == "Lumen Coffee <letter@lumen.example>"
    assert message["Reply-To"] == "hello@lumen.example"
    assert message["To"] == "ada@example.com"
    assert message["Date"] == DATE
    assert message["Subject"] == "Hello"
    assert message["Message-ID"] == LINKS.message_id(REF, "letter.lumen.example")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Id"] == "Lumen letter <letter.lumen.example>"
    assert message["MIME-Version"] == "1.0"
    assert message["Auto-Submitted"] is None
    assert f"\r\nList-Unsubscribe: <{LINKS.unsubscribe(REF)}>\r\n".encode() in data
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert all(part.get_content_charset() == "utf-8" for part in message.iter_parts())


def test_a_long_unsubscribe_address_stays_on_one_line() -> None:
    links = Links("https://go.lumen.example/" + "x" * 300, LINKS.tokens)
    source = Source(name="x.md", data=b"Hi", campaign="C-0001", identity=identity(), subject="s")
    data = compile(source, links).splice(Recipient(REF, "ada@example.com"), DATE)
    assert f"\r\nList-Unsubscribe: <{links.unsubscribe(REF)}>\r\n".encode() in data


def test_headers_of_a_single_mail() -> None:
    message = parse(splice("<p>Hi", bulk=False, tracked=False))
    assert message["Auto-Submitted"] == "auto-generated"
    assert not [name for name in message if name.lower().startswith("list-")]


@pytest.mark.parametrize(
    "name", ["Lumen, Coffee", 'The "Lumen"', "Lumen \\ Co", "Café Lümen", "Lumen" * 20, "名前" * 30, "=?utf-8?q?x?=", "a@b", ""]
)
def test_from_name(name: str) -> None:
    data = splice("<p>Hi", identity=identity(from_name=name, list_name=name))
    message = parse(data)
    assert message["From"].addresses[0].addr_spec == "letter@lumen.example"
    assert message["List-Id"].endswith("<letter.lumen.example>")
    if len(name) < 40:
        assert message["From"].addresses[0].display_name == name
    else:  # the new parser puts spaces between the encoded words of a phrase, against RFC 2047 §6.2; the old one does not
        old = email.message_from_bytes(data)["From"]
        assert str(email.header.make_header(email.header.decode_header(old))) == f"{name} <letter@lumen.example>"


@pytest.mark.parametrize(
    "subject",
    [
        "A plain one",
        "Żółć " * 40,
        "word " * 60,
        "x" * 300,
        "=?utf-8?b?eA==?=",
        "👩‍🔬 lab news".replace("\u200d", ""),
        "tab\tbed",
        "e" * 68 + "é",
    ],
)
def test_subject(subject: str) -> None:
    line = mime.header("Subject", subject)
    assert line.isascii() and parse(line.encode() + b"\r\n")["Subject"] == " ".join(subject.split())
    assert all(len(part) <= 78 for part in line.split("\r\n"))
    assert all(len(word) <= 75 for word in line.split() if word.startswith("=?"))


def test_encoded_words_hold_whole_characters() -> None:
    words = mime.header("Subject", "é名👍" * 40).split()[1:]
    assert "".join(email.header.decode_header(word)[0][0].decode("utf-8") for word in words) == "é名👍" * 40


@pytest.mark.parametrize("bad", [*map(chr, range(32)), *"\x7f\x80\x85\x9f\u200b\u200f\u202a\u202e\u2066\u2069\ufeff\u2028"])
def test_a_value_cannot_bring_anything_into_a_header(bad: str) -> None:
    data = splice("<p>Hi", {"name": f"Ada{bad}Bcc: x@example.com"}, subject="For {{ name }}")
    head = data.partition(b"\r\n\r\n")[0]
    message = parse(data)
    assert message["Bcc"] is None
    assert message["Subject"] in ("For AdaBcc: x@example.com", "For Ada Bcc: x@example.com")
    assert not any(c < 32 for c in head.replace(b"\r\n", b""))


def test_a_static_subject_loses_invisible_characters() -> None:
    assert parse(splice("<p>Hi", subject="In\u202evoice\u200b"))["Subject"] == "Invoice"


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nBcc: x@example.com",
        "a b@c.example",
        "<a@b.example>",
        "a@b.example, c@d.example",
        "a",
        "",
        "a@b\0",
    ],
)
def test_an_address_that_is_no_header_value(address: str) -> None:
    source = Source(name="x.md", data=b"Hi", campaign="C-0001", identity=identity(), subject="s")
    with pytest.raises(BadInput) as caught:
        compile(source, LINKS).splice(Recipient(REF, address), DATE)
    assert "b.example" not in str(caught.value)


@pytest.mark.parametrize("local", ["josé.garcía", "пётр", "用户", "δοκιμή+news", "a\u0301", "😀", "é" * 32])
def test_a_local_part_in_utf8_changes_the_to_line_only(local: str) -> None:
    source = Source(name="x.html", data=b"<p>Hi {{ name }}", campaign="C-0001", identity=identity(), subject="s")
    mail = compile(source, LINKS)
    plain, wide = (mail.splice(Recipient(REF, f"{to}@xn--bcher-kva.example"), DATE) for to in ("ada", local))
    assert wide == plain.replace(b"To: ada@", f"To: {local}@".encode(), 1) and wide != plain
    assert parse(wide)["To"] == f"{local}@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "address",
    [
        *(
            f"ö{bad}x@b.example"
            for bad in '\r\n\t \0\x1f\x7f\x80\x85\x9f\xa0\u2003\u2028\u2029\u3000\u200b\u200d\u202e\ufeff\ud800<>(),;:@[]"\\'
        ),
        "ö@bücher.example",
        "ö@b.example\r\nBcc: x@example.com",
        "ö@b.example\n",
        "ö@b example",
        "ö@",
        "ö",
        "é" * 33 + "@b.example",
    ],
)
def test_a_utf8_address_cannot_bring_anything_into_a_header(address: str) -> None:
    with pytest.raises(BadInput) as caught:
        mime.check_recipient(address)
    assert "ö" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"from_address": "ö@b.example"}, {"reply_to": "ö@b.example"}])
def test_addresses_of_the_sender_are_ascii(changes: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="plain ASCII"):
        splice("<p>Hi", identity=identity(**changes))


def test_a_date_that_is_no_header_value() -> None:
    source = Source(name="x.md", data=b"Hi", campaign="C-0001", identity=identity(), subject="s")
    with pytest.raises(BadInput):
        compile(source, LINKS).splice(Recipient(REF, "ada@example.com"), DATE + "\r\nBcc: x@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..\n.",
        "a" * 75,
        "a" * 76,
        "a" * 77,
        "=" * 100,
        "a \nb\t\n",
        "é" * 100,
        "From x\nFrom " + "y" * 90,
        "." * 200,
        "a\n\n\n",
    ],
)
def test_quoted_printable(text: str) -> None:
    coded = mime.quoted(text.encode())
    assert quopri.decodestring(coded).replace(b"\r\n", b"\n").decode() == text
    for line in coded.split(b"\r\n"):
        assert len(line) <= 76 and not line.startswith((b".", b"From ")) and not line.endswith((b" ", b"\t"))


def test_a_slot_never_moves_its_neighbours() -> None:
    a, b = (splice("<p>Dear {{ name }}, " + "word " * 40, {"name": name}, tracked=False) for name in ("Al", "Ñ" * 60))
    static = b"<p>Dear=20=\r\n"
    assert static in a and static in b
    assert (
        a.partition(static)[2].partition(b"\r\n")[2]
        == b.partition(static)[2][-len(a.partition(static)[2].partition(b"\r\n")[2]) :]
    )


def test_text_template_is_one_part() -> None:
    message = parse(splice("Hello {{ name }}\n.dot\n", {"name": "Ada <x>"}, name="x.txt"))
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == (
        "Hello Ada <x>\n.dot\n\n-- \n12 Harbour Street, Bremen\n"
        f"Unsubscribe: {LINKS.unsubscribe(REF)}\nPreferences: {LINKS.preferences(REF)}\n"
    )
