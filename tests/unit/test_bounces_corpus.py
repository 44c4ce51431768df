"""Real bounces, and mails that look like them. The labels are the sources' own (tests/payloads/bounces/SOURCES.md); two mails of five,
by the hash of their names, are held out: the rules were written without reading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.bounces.mail import parse
from shared.bounces.read import Finding, read_mail, understand
from shared.bounces.words import of_mail_system
from tests.unit.test_bounces import AT, LINKS, VERP

FOLDER = Path("tests/payloads/bounces")
LABELS = {
    name: set(labels.split("|"))
    for name, labels in (line.split("\t") for line in (FOLDER / "expected.tsv").read_text().splitlines())
}
BOUNCED = {"hard", "counts", "ignored"}


def held_out(name: str) -> bool:
    return hashlib.sha256(name.rpartition("/")[2].encode()).digest()[0] % 5 < 2


def label(found: Finding) -> str:
    if found.what == "bounced":
        return "hard" if found.hard else "counts" if found.counts else "ignored"
    return "none" if found.what == "nothing" else found.what


def gives_up(found: Finding) -> bool:
    return found.hard or found.counts or found.what == "complained"


def found_in(name: str) -> Finding:
    return understand(parse((FOLDER / name).read_bytes()))


@pytest.mark.parametrize("held", [False, True], ids=["read", "held out"])
def test_nineteen_of_twenty_are_understood(held: bool, capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name in LABELS if held_out(name) == held]
    wrong = [name for name in names if label(found_in(name)) not in LABELS[name]]
    with capsys.disabled():
        print(f"\nbounces, {'held out' if held else 'read'}: {len(names) - len(wrong)} of {len(names)} right")
    assert len(names) > 0.3 * len(LABELS) and len(wrong) <= 0.05 * len(names)
    assert not [name for name in names if not LABELS[name] & (BOUNCED | {"complained"}) and gives_up(found_in(name))]


def test_nobody_is_given_up_whom_the_source_does_not() -> None:
    """A mail system's refusal of our message, a warning, an answer: worse than a miss would be to act on them."""
    wrong = [n for n in LABELS if not LABELS[n] & {"hard", "counts", "complained"} and gives_up(found_in(n))]
    assert not wrong


def test_a_hard_bounce_is_one_that_the_source_knows() -> None:
    assert not [name for name in LABELS if "hard" not in LABELS[name] and found_in(name).hard]


PERSON = "From: Jo Bloggs <jo@example.org>\r\nTo: us@example.com\r\nSubject: {}\r\nMIME-Version: 1.0\r\n{}"
TEXT = "Content-Type: text/plain; charset=utf-8\r\n\r\n"


@pytest.mark.parametrize(
    "form",
    ["answer", "same subject", "unquoted", "forwarded", "out of office", "newsletter", "attached"],
)
def test_a_person_who_sends_a_bounce_on_gives_nobody_up(form: str) -> None:
    for name in LABELS:
        raw = (FOLDER / name).read_bytes()
        mail = parse(raw)
        words, subject = "\n".join(mail.texts), " ".join(mail.header("Subject").split())
        quoted = "\n".join(f"> {line}" for line in words.splitlines())
        made = {
            "answer": PERSON.format(f"Re: {subject}", f"In-Reply-To: <x@y>\r\n{TEXT}What is this?\n\n{quoted}"),
            "same subject": PERSON.format(subject, f"{TEXT}What is this?\n\n{quoted}"),
            "unquoted": PERSON.format(subject, f"{TEXT}I got this:\n\n{words}"),
            "forwarded": PERSON.format(f"Fwd: {subject}", f"{TEXT}I got this:\n\n{words}"),
            "out of office": PERSON.format(
                f"Out of office: {subject}", f"Return-Path: <>\r\nAuto-Submitted: auto-replied\r\n{TEXT}Away.\n\n{words}"
            ),
            "newsletter": PERSON.format("Bounces explained", f"Return-Path: <>\r\nList-Id: <x.example>\r\n{TEXT}{words}"),
            "attached": PERSON.format(
                f"Fwd: {subject}",
                "Content-Type: multipart/mixed; boundary=zzzz\r\n\r\n--zzzz\r\nContent-Type: message/rfc822\r\n\r\n",
            ),
        }[form].encode("utf-8", "surrogateescape")
        found = read_mail(made + raw if form == "attached" else made, LINKS, AT, VERP)
        assert not gives_up(found), name


def test_no_address_leaves_the_parser() -> None:
    for name in LABELS:
        found = read_mail((FOLDER / name).read_bytes(), LINKS, AT, VERP)
        message = found.event.to_message() if found.event else {}
        assert "@" not in f"{found.code} {found.reason} {message.get('code', '')} {message.get('id', '')}", name
        assert len(found.code) <= 30


def test_most_bounces_come_from_what_is_taken_for_a_mail_system() -> None:
    bounces = [name for name in LABELS if LABELS[name] <= BOUNCED]
    assert sum(of_mail_system(parse((FOLDER / name).read_bytes())) for name in bounces) > 0.95 * len(bounces)
