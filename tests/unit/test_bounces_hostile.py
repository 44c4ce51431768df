"""The bounce address is open to strangers: any bytes are read within bounds, and none raise."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.bounces.mail import MAX_BYTES, MAX_HEADER, MAX_TEXT, Unreadable, parse
from shared.bounces.read import read_mail
from shared.errors import BadInput
from shared.model.event import Event
from tests.unit.test_bounces import AT, LINKS, UNKNOWN, VERP, read, report
from tests.unit.test_bounces_corpus import FOLDER, LABELS

NAMES = sorted(LABELS)
SPLICES = [
    b"\nContent-Type: multipart/report; boundary=\n",
    b"\nContent-Type: text/plain; charset=idna\n\n",
    b"\nContent-Type: text/plain; charset*=x''%zz\n\n",
    b"\nContent-Transfer-Encoding: base64\n\n!",
    b"\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 x\nM",
    b"\nSubject: =?utf-8?b?!?= =?x?q?=zz?=\n",
    b"\nStatus: 5.99999.1\nAction: \n",
    b"\xff\xfe\x00",
    b"\r",
    b"=\n",
]


def usable(raw: bytes) -> None:
    found = read_mail(raw, LINKS, AT, VERP)
    if found.event:
        try:
            Event.from_message(found.event.to_message())
        except BadInput:
            pytest.fail("an event that the bus refuses")


@given(st.binary(max_size=4000))
@example(b"")
@example(b"Content-Type: message/delivery-status\n\n" * 3)
def test_any_bytes_are_read(raw: bytes) -> None:
    usable(raw)


@given(st.sampled_from(NAMES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(SPLICES)), max_size=6))
def test_a_bounce_that_was_broken_on_its_way_is_read(name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    raw = (FOLDER / name).read_bytes()
    for where, length, splice in cuts:
        place = int(where * len(raw))
        raw = raw[:place] + splice + raw[place + length :]
    usable(raw)


def test_a_bomb_is_refused() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(40))
    with pytest.raises(Unreadable, match="deep"):
        parse(nested)
    with pytest.raises(Unreadable, match="many"):
        parse(b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(60)))
    with pytest.raises(Unreadable, match="many"):
        parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 101)
    with pytest.raises(Unreadable, match="many"):
        parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 1001)
    assert read(nested).what == "nothing"


def test_what_is_kept_of_a_mail_is_bounded() -> None:
    mail = parse(b"Subject: " + b"a" * 10**5 + b"\n\n" + b"b" * 10**6)
    assert len(mail.header("Subject")) == MAX_HEADER and len(mail.texts[0]) == MAX_TEXT
    assert len(parse(b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n" * 9999).status) == MAX_TEXT
    parts = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + b"a\n" * (MAX_BYTES // 2) + b"\n--b\n\nlate\n--b--\n"
    assert len(parse(parts).texts) == 1


def test_a_report_in_base64_and_a_charset_that_is_none_are_read() -> None:
    whole = report(UNKNOWN)
    fields = whole[whole.index(b"Reporting-MTA") : whole.index(b"\n\n--B\nContent-Type: text/rfc822")]
    coded = whole.replace(fields, base64.encodebytes(fields)).replace(
        b"message/delivery-status\n", b"message/delivery-status\nContent-Transfer-Encoding: base64\n"
    )
    assert b"Action" not in coded and read(coded).hard
    assert read(b"From: MAILER-DAEMON@x\nSubject: failure notice\nContent-Type: text/plain; charset=utf-16\n\nuser unknown").hard
