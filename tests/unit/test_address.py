"""Golden vectors: a subscriber's id must be the same in every release. If one of these fails, the code is wrong, not the vector."""

from __future__ import annotations

import hashlib
import hmac

import email_validator
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.model.address import canonical_v1, masked, parse, sid_of

PEPPER = bytes(range(32))

SPELLINGS = [
    ("ada@example.com", "ada@example.com"),
    ("  Ada@Example.COM\n", "ada@example.com"),
    ("A.D.A+news@example.com", "a.d.a+news@example.com"),
    ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
    ("ada@bu\u0308cher.example", "ada@xn--bcher-kva.example"),
    ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
    ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
    ("ada@straße.example", "ada@xn--strae-oqa.example"),
    ("ada@例え.jp", "ada@xn--r8jz45g.jp"),
    ("ada@例え。jp", "ada@xn--r8jz45g.jp"),
    ("o'neil_99@sub.example.co.uk", "o'neil_99@sub.example.co.uk"),
    ("Jose\u0301@example.com", "jos\u00e9@example.com"),
    ('"a b"@example.com', '"a b"@example.com'),
    ("user%host@example.com", "user%host@example.com"),
]
SIDS = [
    ("t", "ada@example.com", "a235c4c37ede84cf5d95454474adb8cb"),
    ("t", "ADA@EXAMPLE.COM", "a235c4c37ede84cf5d95454474adb8cb"),
    ("t2", "ada@example.com", "33afc98fb1037394d1ceb717c2e50ba0"),
    ("local", "ada+tag@bücher.example", "50b0794047aad12fdce57353face6f5f"),
    ("local", "ada+tag@xn--bcher-kva.example", "50b0794047aad12fdce57353face6f5f"),
]


@pytest.mark.parametrize(("spelling", "canonical"), SPELLINGS)
def test_one_mailbox_has_one_text(spelling: str, canonical: str) -> None:
    assert canonical_v1(spelling) == canonical
    assert canonical_v1(canonical) == canonical


@pytest.mark.parametrize(("tenant", "address", "sid"), SIDS)
def test_ids_never_change(tenant: str, address: str, sid: str) -> None:
    assert sid_of(PEPPER, tenant, address) == sid


def test_an_id_is_half_an_hmac_of_tenant_and_address() -> None:
    whole = hmac.new(PEPPER, b"t\0ada@example.com", hashlib.sha256).hexdigest()
    assert sid_of(PEPPER, "t", "ada@example.com") == whole[:32]
    assert sid_of(PEPPER[::-1], "t", "ada@example.com") != whole[:32]


def test_different_mailboxes_have_different_ids() -> None:
    spellings = ["ada@example.com", "a.da@example.com", "ada+x@example.com", "ada@example.org", "ada@mail.example.com"]
    assert len({sid_of(PEPPER, "t", address) for address in spellings}) == len(spellings)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.L@Example.COM ", "Ada.L@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("o'neil+x@example.co.uk", "o'neil+x@example.co.uk"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_an_address_is_parsed_as_we_mail_it(typed: str, address: str) -> None:
    assert parse(typed) == address
    assert sid_of(PEPPER, "t", typed) == sid_of(PEPPER, "t", address)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ada",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@example..com",
        ".ada@example.com",
        "ada@-example.com",
        "ada@[127.0.0.1]",
        "ada@localhost",
        "Ada <ada@example.com>",
        "ada@example.com,bob@example.com",
        "ada@example.com\r\nBcc: bob@example.com",
        "ada\x00@example.com",
        "ada\u202e@example.com",
        "ad\u0430@example.com",
        "ada@exa\ud800mple.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "ada@" + "a." * 130 + "com",
        "x" * 100_000,
    ],
)
def test_what_cannot_be_mailed_is_one_sentence_without_an_address(typed: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(typed)
    sentence = str(refused.value)
    assert refused.value.field == "email" and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 250
    assert "example.com" not in sentence and sentence.encode()


@pytest.mark.parametrize(("length", "asked"), [(320, True), (321, False), (1_000_000, False)])
def test_a_long_text_costs_nothing(length: int, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def library(text: str, **_: bool) -> None:
        seen.append(text)
        raise email_validator.EmailSyntaxError("It is too long.")

    monkeypatch.setattr(email_validator, "validate_email", library)
    with pytest.raises(BadInput, match="too long"):
        parse(" " + "x" * length + "\n")
    assert bool(seen) is asked


@given(st.text(max_size=40) | st.emails())
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    try:
        address = parse(text)
    except BadInput:
        return
    assert address.isascii() and address.isprintable() and parse(address) == address
    assert len(sid_of(PEPPER, "t", address)) == 32


TYPED = st.builds(
    "{}@{}".format,
    st.text("ab9._+-A'", min_size=1, max_size=8) | st.sampled_from(["info", "x" * 64, "x" * 65, "a" * 60 + ".b"]),
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                ["a", "b9", "-", "--", ".", "A", "xn--", "localhost", ".test", ".local", "mylocal", ".com", "é", "y" * 63]
            ),
            min_size=1,
            max_size=6,
        ),
    ),
)


@given(TYPED)
@example("ada@a.b.example")
@example("x" * 65 + "@example.com")
@example("ada@mail.localhost")
@example("ada@evil.mylocal")
@example("ada@1.com\n")
@example("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 63)
@example("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 57 + ".com")
def test_what_is_quickly_taken_the_library_takes_alike(typed: str) -> None:
    try:
        found = email_validator.validate_email(
            typed.strip(), check_deliverability=False, allow_smtputf8=False, strict=True, test_environment=True
        )
        judged = f"{found.local_part}@{found.ascii_domain}"
    except email_validator.EmailNotValidError:
        judged = ""
    try:
        taken = parse(typed)
    except BadInput:
        taken = ""
    assert taken == judged


def test_what_nearly_everybody_types_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(email_validator, "validate_email")
    assert parse(" ada.b+news@mail.example.co.uk ") == "ada.b+news@mail.example.co.uk"


def test_masked() -> None:
    assert masked("jane.doe@example.com") == "j***@example.com"
