"""DKIM signatures, judged by dkimpy: they hold for every mail, and for no mail that was changed."""

from __future__ import annotations

import base64
import re
from typing import Any

import dkim as oracle  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption as Encrypted
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.mail.compile import Recipient, compile
from shared.mail.dkim import Dkim, relaxed_body
from shared.mail.source import Source

from .test_splice_property import DATE, IDENTITIES, LINKS, audiences, recipient, source, sources

DOMAIN = "lumen.example"


def pem(key: Any, format: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> str:
    return str(key.private_bytes(Encoding.PEM, format, Encrypted(password) if password else NoEncryption()).decode())


RSA = rsa.generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()
RECORDS = {
    b"r1._domainkey.lumen.example.": b"v=DKIM1; k=rsa; p="
    + base64.b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    b"e1._domainkey.lumen.example.": b"v=DKIM1; k=ed25519; p="
    + base64.b64encode(ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
}
SIGNERS = {"rsa": Dkim(DOMAIN, "r1", pem(RSA)), "ed25519": Dkim(DOMAIN, "e1", pem(ED25519).encode())}
BODY = "<p>Dear {{ name }},  two  spaces\tand a tab</p>\n\n<a href='https://x.example'>x</a>"


def valid(mail: bytes) -> bool:
    return bool(oracle.verify(mail, dnsfunc=lambda name, timeout=5: RECORDS.get(name)))


def signed(kind: str = "rsa", body: str = BODY, **changes: Any) -> bytes:
    return compile(source(body, **changes), LINKS).splice(recipient({"name": "Ada"}), DATE, SIGNERS[kind].sign)


# --- what holds -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources(), audiences(), st.sampled_from(sorted(SIGNERS)))
def test_every_mail_is_signed_well(src: Source, people: list[Recipient], kind: str) -> None:
    mail, signer = compile(src, LINKS), SIGNERS[kind]
    for to in people:
        plain, whole = mail.splice(to, DATE), mail.splice(to, DATE, signer.sign)
        assert whole.endswith(plain) and whole == signer.sign(plain) + plain, "whoever says it is tidy is right"
        assert valid(whole)


@pytest.mark.parametrize("kind", sorted(SIGNERS))
@pytest.mark.parametrize("body", ["<p>Hi", BODY, "{{ name }}{{ city }}", "# a\n\n    code  x\n"])
@pytest.mark.parametrize("name", ["x.html", "x.md", "x.txt"])
def test_a_signature_holds_for_each_kind_of_mail(kind: str, body: str, name: str) -> None:
    mail = compile(source(body, name), LINKS)
    to = recipient({"name": "a  b \t c " + "  x" * 60})
    assert valid(mail.splice(to, DATE, SIGNERS[kind].sign))
    assert valid(SIGNERS[kind].sign(mail.splice(to, DATE)) + mail.splice(to, DATE))


@pytest.mark.parametrize("kind", sorted(SIGNERS))
def test_a_signature_names_what_it_covers_and_is_folded(kind: str) -> None:
    line = signed(kind, identity=IDENTITIES[1]).partition(b"\r\nTo:")[0]
    assert line.startswith(f"DKIM-Signature: v=1; a={kind}-sha256; c=relaxed/relaxed;\r\n d=lumen.example; s=".encode())
    assert all(len(part) <= 78 for part in line.split(b"\r\n"))
    [covered] = re.findall(r" h=([^;]+);", line.decode())
    names = re.sub(r"\s", "", covered).split(":")
    for name in (
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "reply-to",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-id",
    ):
        assert names.count(name) == 2, "once for the field, once for one added"
    bare = signed(kind, bulk=False).partition(b"\r\nTo:")[0]
    names = re.sub(r"\s", "", re.findall(r" h=([^;]+);", bare.decode())[0]).split(":")
    assert (names.count("from"), names.count("reply-to"), names.count("list-unsubscribe"), names.count("cc")) == (2, 1, 1, 1)


def test_signing_again_gives_the_same_signature() -> None:
    assert signed() == signed() and signed("ed25519") == signed("ed25519")
    pkcs1 = Dkim(DOMAIN, "r1", pem(RSA, PrivateFormat.TraditionalOpenSSL))
    plain = compile(source("Hi"), LINKS).splice(recipient({}), DATE)
    assert pkcs1.sign(plain) == SIGNERS["rsa"].sign(plain)


@pytest.mark.parametrize("kind", sorted(SIGNERS))
def test_a_field_that_is_there_twice_is_signed_twice(kind: str) -> None:
    plain = compile(source("Hi"), LINKS).splice(recipient({}), DATE)
    twice = b"List-Id: <other.example>\r\nX-Other: x\r\n" + plain
    whole = SIGNERS[kind].sign(twice) + twice
    assert valid(whole) and not valid(whole.replace(b"other.example", b"evil.example", 1))
    assert valid(whole.replace(b"X-Other: x", b"X-Other: y", 1)), "not a field that is signed"


def test_a_to_line_in_utf8_is_signed() -> None:
    mail = compile(source("Hi"), LINKS)
    to = Recipient(recipient({}).ref, "пётр@xn--bcher-kva.example")
    whole = mail.splice(to, DATE, SIGNERS["rsa"].sign)
    assert valid(whole) and not valid(whole.replace("пётр".encode(), "павл".encode(), 1))


# --- what does not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(SIGNERS))
@pytest.mark.parametrize(
    "name",
    [
        "From",
        "Reply-To",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "List-Id",
    ],
)
def test_a_field_changed_added_or_removed_is_noticed(kind: str, name: str) -> None:
    whole = signed(kind, identity=IDENTITIES[1])
    assert valid(whole)
    [field] = re.findall(
        rb"\r\n(" + name.encode() + rb": (?:.|\r\n[ \t])*?)\r\n(?![ \t])", whole.partition(b"\r\n\r\n")[0] + b"\r\n"
    )
    changed = field[:-1] + (b"x" if field[-1:] != b"x" else b"y")
    assert not valid(whole.replace(field, changed, 1))
    assert not valid(whole.replace(field + b"\r\n", b"", 1))
    for other in (field, name.encode() + b": evil@example.net"):
        assert not valid(other + b"\r\n" + whole), "added on top"
        assert not valid(whole.replace(b"\r\n\r\n", b"\r\n" + other + b"\r\n\r\n", 1)), "added below"


@pytest.mark.parametrize("kind", sorted(SIGNERS))
def test_a_changed_body_is_noticed(kind: str) -> None:
    whole = signed(kind)
    start = whole.index(b"\r\n\r\n") + 4
    places = [at for at in range(start, len(whole)) if whole[at : at + 1].isalnum()]
    for at in places[:: len(places) // 25]:
        assert not valid(whole[:at] + (b"x" if whole[at : at + 1] != b"x" else b"y") + whole[at + 1 :])
    assert not valid(whole + b"more\r\n") and not valid(whole.replace(b"two", b"", 1))


def test_another_key_or_domain_is_noticed() -> None:
    plain = compile(source("Hi"), LINKS).splice(recipient({}), DATE)
    other = Dkim(DOMAIN, "r1", pem(rsa.generate_private_key(65537, 2048)))
    assert not valid(other.sign(plain) + plain) and not valid(plain)
    assert not valid(signed().replace(b"d=lumen.example", b"d=humen.example", 1))


@pytest.mark.parametrize("kind", sorted(SIGNERS))
def test_what_a_relay_may_do_does_no_harm(kind: str) -> None:
    whole = signed(kind)
    assert valid(b"Received: from a by b; Mon, 23 Nov 2026 10:00:01 +0000\r\n" + whole)
    assert valid(whole.replace(b"Subject: For Ada", b"SUBJECT:  For\r\n\tAda ", 1)), "white space and case of a field"
    assert valid(whole + b"\r\n\r\n"), "empty lines at the end"


# --- canonical form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \t\r\n", b""),
        (b"a", b"a\r\n"),
        (b"a \t", b"a\r\n"),
        (b"a" + b" \t" * 50 + b"b\r\n", b"a b\r\n"),
    ],
)
def test_the_relaxed_form_of_a_body(body: bytes, relaxed: bytes) -> None:
    assert relaxed_body(body) == relaxed


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("ab =.\t \u00e9", max_size=9), max_size=6))
def test_the_relaxed_form_is_dkimpys(lines: list[str]) -> None:
    body = "\r\n".join([*lines, ""]).encode()
    assert relaxed_body(body) == oracle.canonicalization.Relaxed.canonicalize_body(body)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "selector", "key", "sentence"),
    [
        (DOMAIN, "r1", pem(rsa.generate_private_key(65537, 1024)), "2048 bits or more"),
        (DOMAIN, "r1", pem(ec.generate_private_key(ec.SECP256R1())), "must be RSA"),
        (DOMAIN, "r1", pem(RSA, password=b"secret"), "no private key in PEM form"),
        (DOMAIN, "r1", pem(RSA)[:200], "no private key in PEM form"),
        (DOMAIN, "r1", "", "no private key in PEM form"),
        ("lümen.example", "r1", pem(RSA), "no domain or selector"),
        (DOMAIN, "r1; d=evil.example", pem(RSA), "no domain or selector"),
        (DOMAIN, "r1\r\n", pem(RSA), "no domain or selector"),
        (DOMAIN, "", pem(RSA), "no domain or selector"),
    ],
)
def test_a_key_that_cannot_be_used(domain: str, selector: str, key: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        Dkim(domain, selector, key)
    assert "PRIVATE" not in str(caught.value)
