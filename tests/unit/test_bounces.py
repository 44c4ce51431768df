"""Bounces and complaints that come as mail: what each says, and of which mail of ours."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from shared.bounces.read import Finding, read_mail
from shared.bounces.report import recipients
from shared.links import Links
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.tokens import Tokens

LINKS = Links("https://news.example", Tokens([b"k" * 32]))
REF = MailRef("C-0001", "00112233445566778899aabbccddeeff")
OTHER = MailRef("C-0002", "ffeeddccbbaa99887766554433221100")
AT = 1_800_000_000_000
VERP = LINKS.return_path(REF, "news.example")

UNKNOWN = "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 <ann@example.org>: user unknown"


def report(
    *recipients: str, to: str = VERP, returned: str = "", kind: str = "delivery-status", first: str = "Reporting-MTA: dns; mx"
) -> bytes:
    """A delivery status notification (RFC 3464) as Postfix writes it; `recipients` are blocks of fields."""
    blocks = "\n\n".join([first, *recipients])
    return f"""Return-Path: <>
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
To: <{to}>
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type={kind}; boundary="B"

--B
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Type: message/{kind}

{blocks}

--B
Content-Type: text/rfc822-headers

{returned}
--B--
""".encode()


def text(words: str, sender: str = "MAILER-DAEMON@mx.example.org", subject: str = "failure notice", **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, VERP, subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(words)
    return mail.as_bytes()


def read(raw: bytes, recipient: str = "") -> Finding:
    return read_mail(raw, LINKS, AT, recipient)


def test_a_report_becomes_one_event_of_its_mail() -> None:
    raw = report(UNKNOWN)
    event = read(raw).event
    assert event is not None and event.id
    assert event == Event("bounced", REF.text, AT, hard=True, code="550 5.1.1", provider="mail", id=event.id)
    assert Event.from_message(event.to_message()) == event
    again, another = read(raw).event, read(report(UNKNOWN, first="Reporting-MTA: dns; mx2")).event
    assert again is not None and another is not None and again.id == event.id != another.id


@pytest.mark.parametrize(
    ("fields", "what", "hard", "counts"),
    [
        ("Action: failed\nStatus: 5.2.2", "bounced", False, True),
        ("Action: failed\nStatus: 5.7.1", "bounced", False, False),
        ("Action: failed (permanently)\nStatus: 5.1.1 (bad address)", "bounced", True, False),
        ("Action: error\nDiagnostic-Code: smtp; 550 user unknown", "bounced", True, False),
        ("Action: failed\nStatus: 4.1.1", "bounced", False, True),
        ("Action: delayed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 user unknown", "deferred", False, False),
        ("Action: delayed\nStatus: 4.4.1\nWill-Retry-Until: Fri, 1 Jan 2027 00:00:00 +0000", "deferred", False, False),
        ("Status: 4.2.2", "deferred", False, False),
        ("Action: delivered\nStatus: 2.0.0", "delivered", False, False),
        ("Action: relayed\nStatus: 2.0.0", "nothing", False, False),
        ("Action: expanded\nStatus: 2.0.0", "nothing", False, False),
    ],
)
def test_an_action_says_what_became_of_it(fields: str, what: str, hard: bool, counts: bool) -> None:
    found = read(report(f"Final-Recipient: rfc822; ann@example.org\n{fields}"))
    assert (found.what, found.hard, found.counts) == (what, hard, counts)
    assert (found.event is None) == (what == "nothing")


def test_of_several_recipients_the_best_off_speaks_for_the_address() -> None:
    full = "Final-Recipient: rfc822; b@example.org\nAction: failed\nStatus: 5.2.2"
    late = "Final-Recipient: rfc822; c@example.org\nAction: delayed\nStatus: 4.4.1"
    there = "Final-Recipient: rfc822; d@example.org\nAction: delivered\nStatus: 2.0.0"
    unknown = f"Final-Recipient: rfc822; a@example.org\n{UNKNOWN}"
    assert read(report(unknown, unknown)).hard
    assert read(report(unknown, full)).counts and not read(report(unknown, full)).hard
    assert read(report(unknown, late)).what == "deferred"
    assert read(report(unknown, there)).what == "delivered"


def test_a_report_without_its_mime_reads_the_same() -> None:
    lost = report(UNKNOWN).replace(b"multipart/report", b"text/plain")
    unnamed = report(UNKNOWN).replace(b"message/delivery-status", b"text/plain")
    unended = report(UNKNOWN).replace(b"--B--", b"").replace(b'boundary="B"', b"boundary=B")
    crlf = report(UNKNOWN).replace(b"\n", b"\r\n")
    assert [read(raw).code for raw in (lost, unnamed, unended, crlf)] == ["550 5.1.1"] * 4
    assert all(read(raw).hard for raw in (lost, unnamed, unended, crlf))


def test_a_folded_line_of_a_report_without_its_mime_is_read() -> None:
    [found] = recipients("Action: failed\nDiagnostic-Code: smtp; 550 sorry,\n    user\nunknown\nRemote-MTA: dns; mx\n\nWell.")
    assert found.diagnostic == "smtp; 550 sorry, user unknown"


def test_a_report_without_fields_is_a_mail_systems_all_the_same() -> None:
    raw = (
        report()
        .replace(b"MAILER-DAEMON@", b"gate@")
        .replace(b"Return-Path: <>\n", b"")
        .replace(b"Auto-Submitted: auto-replied\n", b"")
        .replace(b" (Mail Delivery System)", b"")
        .replace(b"delivered.", b"delivered: user unknown.")
    )
    assert read(raw).hard and not read(raw.replace(b"report-type=delivery-status; ", b"")).hard


def test_the_reporter_explains_where_the_remote_server_said_nothing() -> None:
    raw = report("Action: failed\nStatus: 5.0.0").replace(
        b"could not be delivered", b"could not be delivered: the mailbox is full"
    )
    assert (read(raw).counts, read(raw).reason) == (True, "full")


def test_the_address_that_it_came_to_names_the_mail() -> None:
    for to in (VERP.upper().replace("B+", "b+"), f"Bounces <{VERP}>"):
        event = read(report(UNKNOWN, to=to)).event
        assert event is not None and event.mail == REF
    for header in ("Delivered-To", "X-Original-To", "Envelope-To"):
        event = read(f"{header}: {VERP}\n".encode() + report(UNKNOWN, to="us@news.example")).event
        assert event is not None and event.mail == REF
    event = read(report(UNKNOWN, to="us@news.example"), recipient=VERP).event
    assert event is not None and event.mail == REF


def test_else_what_came_back_names_it_and_the_address_comes_first() -> None:
    returned = f"From: us@news.example\nMessage-ID: {LINKS.message_id(OTHER, 'news.example')}\n"
    event = read(report(UNKNOWN, to="us@news.example", returned=returned)).event
    assert event is not None and event.mail == OTHER
    event = read(report(UNKNOWN, returned=returned)).event
    assert event is not None and event.mail == REF
    answer = f"References: <x@y>\n {LINKS.message_id(OTHER, 'news.example')}\n".encode() + report(UNKNOWN, to="us@news.example")
    event = read(answer).event
    assert event is not None and event.mail == OTHER


def test_without_our_proof_nobody_is_meant() -> None:
    forged = LINKS.return_path(REF, "news.example").replace("~", "~a", 1)
    stranger = Links("https://news.example", Tokens([b"x" * 32]))
    for to in ("us@news.example", forged, stranger.return_path(REF, "news.example"), "b+@news.example"):
        found = read(report(UNKNOWN, to=to, returned="To: ann@example.org\nMessage-ID: <x~y@news.example>"))
        assert (found.what, found.hard, found.event) == ("bounced", True, None)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("abuse", "complained"),
        ("fraud", "complained"),
        ("opt-out", "complained"),
        ("not-spam", "nothing"),
        ("auth-failure", "nothing"),
        ("dmarc", "nothing"),
        ("other", "nothing"),
    ],
)
def test_a_feedback_report_is_a_complaint_where_it_says_so(kind: str, what: str) -> None:
    fields = f"Feedback-Type: {kind}\nUser-Agent: example/1\nVersion: 1\nOriginal-Mail-From: <{VERP}>"
    raw = report(to="fbl@news.example", kind="feedback-report", first=fields)
    found = read(raw)
    assert found.what == what
    assert found.event == (
        Event("complained", REF.text, AT, code=kind, provider="mail", id=found.event.id) if found.event else None
    )
    assert (found.event is None) == (what == "nothing")


def test_outlooks_own_form_of_a_complaint_is_read() -> None:
    raw = f"""From: staff@hotmail.com
To: fbl@news.example
Subject: complaint about message from 192.0.2.222
Content-Type: multipart/mixed; boundary=Z

--Z
Content-Type: message/rfc822

X-HmXmrOriginalRecipient: ann@example.org
Message-ID: {LINKS.message_id(REF, "news.example")}
Subject: Offers

Hello
--Z--
"""
    found = read(raw.encode())
    assert found.what == "complained" and found.event is not None and found.event.mail == REF
    assert read(raw.replace("X-HmXmr", "X-").encode()).what == "nothing"
    assert read(raw.replace("Subject: complaint", "Subject: My complaint").encode()).what == "nothing"


def test_a_filters_rejection_may_come_as_a_receipt() -> None:
    receipt = report(
        kind="disposition-notification", first="Final-Recipient: rfc822; ann@example.org\nDisposition: automatic-action; deleted"
    )
    rejected = receipt.replace(b"auto-replied", b"auto-replied (rejected)").replace(
        b"could not be delivered", b"was rejected: quota exceeded"
    )
    assert read(receipt).what == "nothing" and read(rejected).counts


def test_a_guess_told_to_people_ends_no_address() -> None:
    late = report("Action: failed\nStatus: 5.4.1\nDiagnostic-Code: smtp; connection timed out")
    guess = late.replace(b"could not be delivered", b"could not be delivered. The address may be wrong or unknown user")
    assert (read(guess).hard, read(guess).counts) == (False, True)


@pytest.mark.parametrize(
    ("words", "hard", "counts"),
    [
        (
            "Hi. This is the qmail-send program at mx.\n\n<a@example.org>:\nSorry, no mailbox here by that name. (#5.1.1)\n",
            True,
            False,
        ),
        ("This is the mail system.\n\n<a@example.org>: Der Empfänger ist unbekannt; nicht zustellbar\n", True, False),
        ("Ihre Nachricht konnte nicht zugestellt werden.\nDas Postfach ist voll.\n", False, True),
        ("Votre message n'a pas pu être remis.\nDestinataire inconnu.\n", True, False),
        ("No se pudo entregar su mensaje.\nEl usuario no existe.\n", True, False),
        ("メールを配信できませんでした。\n宛先のユーザーは存在しません。\n", True, False),
        ("Your message could not be delivered.\nIt was classified as spam.\n", False, False),
        ("Your message could not be delivered.\nWe are sorry.\n", False, False),
    ],
)
def test_what_is_written_for_people_is_read(words: str, hard: bool, counts: bool) -> None:
    found = read(text(words))
    assert (found.what, found.hard, found.counts) == ("bounced", hard, counts)


def test_a_mail_still_on_its_way_is_no_bounce() -> None:
    for words in (
        "Your message has not yet been delivered: user unknown. We will keep trying for 4 days.",
        "THIS IS A WARNING MESSAGE ONLY. Delivery to the following recipient has been delayed.",
        "Die Zustellung Ihrer Nachricht verzögert sich.",
    ):
        assert read(text(words, subject="Delivery Status Notification (Delay)")).what == "deferred"


def test_our_own_words_in_what_came_back_say_nothing() -> None:
    words = "Your message could not be delivered.\n\n--- Below this line is a copy of the message.\n\nUser unknown? Mailbox full? 5.1.1"
    assert not read(text(words)).hard and not read(text(words)).counts


def test_what_people_and_their_machines_write_gives_nobody_up() -> None:
    failed = "Your message could not be delivered: 550 5.1.1 user unknown"
    person = "Jo Bloggs <jo@example.org>"
    mails = [
        text(failed, person, "Re: failure notice"),
        text(failed, person, "Mail delivery failed"),
        text(failed, person, "Re: failure notice", Return_Path="<>"),
        text(failed, person, "Fwd: Undelivered Mail", Return_Path="<jo@example.org>"),
        text(failed, person, "Automatic reply: Offers", Return_Path="<>", Auto_Submitted="auto-replied"),
        text("The account of Jo is closed, user unknown.", person, "I left", Return_Path="<>", Auto_Submitted="auto-replied"),
        text("Ich bin nicht im Büro, die Nachricht wurde nicht zugestellt.", person, "Abwesenheitsnotiz", Return_Path="<>"),
        text(failed, "help@example.org", "[#4711] Delivery failed", Return_Path="<>"),
        text(failed, "weekly@example.org", "Undeliverable mail explained", List_Unsubscribe="<https://x.example>"),
        text("Please confirm that you are a person. Click here.", "MAILER-DAEMON@example.org", "Please confirm your message"),
        text("> " + failed + "\n\nWhat does this mean?", "postmaster@example.org", "Re: failure notice"),
        report(
            kind="disposition-notification", first="Final-Recipient: rfc822;a@example.org\nDisposition: manual-action; deleted"
        ),
        b"From: a@example.org\nContent-Type: multipart/mixed; boundary=Z\n\n--Z\nContent-Type: message/rfc822\n\n"
        + report(UNKNOWN),
    ]
    for mail in mails:
        found = read(mail, VERP)
        assert not (found.hard or found.counts) and found.what != "complained", mail
