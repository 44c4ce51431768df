"""Files that go with a mail: what a reader's program finds in it, judged by the standard library's parser, and signatures by dkimpy."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.mail.attach import mixed
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.ports import Attachment

from .test_dkim import SIGNERS, valid
from .test_splice_property import DATE, LINKS, audiences, recipient, source, sources

JSON = Attachment("data.json", "application/json", '{"name": "Zoë"}\n'.encode())
CSV = Attachment("data.csv", "text/csv", "a,b\r\n.x,Ünï\r\n".encode())
BODIES = ["<p>Hi {{ name }}", "two  spaces\tand a tab", "# a\n\n**[Go](https://x.example)**\n"]


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == []
    return message


def files(message: EmailMessage) -> list[tuple[str | None, str, bytes]]:
    found = []
    for part in message.iter_attachments():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part.get_filename(), part.get_content_type(), content))
    return found


def shown(message: EmailMessage) -> str:
    """What a mail program shows; the line end before a boundary is the boundary's."""
    body = message.get_body(("html", "plain"))
    assert body
    return str(body.get_content()).rstrip()


def given_as(*attached: Attachment) -> list[tuple[str | None, str, bytes]]:
    return [(one.name, one.kind, one.data) for one in attached]


@pytest.mark.parametrize("name", ["x.html", "x.md", "x.txt"])
@pytest.mark.parametrize("body", BODIES)
def test_the_mail_stays_as_it_was_and_the_files_come_behind_it(name: str, body: str) -> None:
    mail, to = compile(source(body, name, bulk=False, tracked=False), LINKS), recipient({"name": "Ada"})
    plain, whole = parsed(mail.splice(to, DATE)), parsed(mail.splice(to, DATE, None, (JSON, CSV)))
    assert whole.get_content_type() == "multipart/mixed" and files(whole) == given_as(JSON, CSV)
    first = next(whole.iter_parts())
    assert isinstance(first, EmailMessage)
    assert first.get_content_type() == plain.get_content_type()
    assert shown(first) == shown(plain)
    same = {name: str(value) for name, value in plain.items() if not name.lower().startswith("content-")}
    assert {name: str(value) for name, value in whole.items() if name.lower() != "content-type"} == same
    assert {part.get_filename(): part.get_content() for part in whole.iter_attachments()}["data.csv"] == "a,b\r\n.x,Ünï\r\n"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources(), audiences(), st.lists(st.binary(max_size=5000), min_size=1, max_size=3))
def test_whatever_the_files_hold_they_arrive_and_every_line_is_fit_for_smtp(
    src: Source, people: list[Recipient], contents: list[bytes]
) -> None:
    attached = [Attachment(f"f{n}.bin", "application/octet-stream", data) for n, data in enumerate(contents)]
    mail = compile(src, LINKS)
    for to in people:
        plain, whole = mail.splice(to, DATE), mail.splice(to, DATE, None, attached)
        assert files(parsed(whole)) == given_as(*attached)
        lines = whole.split(b"\r\n")
        assert lines[-1] == b"" and not any(line.startswith(b".") or b"\n" in line or b"\r" in line for line in lines)
        added = whole[len(whole.partition(plain[-100:])[0]) + 100 :]
        assert max(map(len, added.split(b"\r\n"))) <= 78


@pytest.mark.parametrize("kind", sorted(SIGNERS))
@pytest.mark.parametrize("body", BODIES)
def test_a_signature_covers_the_files(kind: str, body: str) -> None:
    signed = compile(source(body), LINKS).splice(recipient({}), DATE, SIGNERS[kind].sign, (JSON, CSV))
    assert valid(signed)
    encoded = re.search(rb"base64\r\n\r\n(....)", signed)
    assert encoded
    assert not valid(signed.replace(encoded[1], b"AAAA"))


def test_a_mail_without_files_is_untouched() -> None:
    data = compile(source("Hi"), LINKS).splice(recipient({}), DATE)
    assert mixed(data, ()) is data


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a\r\nBcc: x@example.com", "text/csv"),
        ('a"b', "text/csv"),
        ("", "text/csv"),
        ("ü.csv", "text/csv"),
        ("a", "text/csv; x=y"),
        ("a", "x"),
    ],
)
def test_a_name_that_is_no_header_value_is_refused(name: str, kind: str) -> None:
    with pytest.raises(BadInput):
        compile(source("Hi"), LINKS).splice(recipient({}), DATE, None, (Attachment(name, kind, b""),))


def test_an_attachment_does_not_show_its_content() -> None:
    assert "Zo" not in repr(JSON)
