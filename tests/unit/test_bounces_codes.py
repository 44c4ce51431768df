"""What codes and words say of an address: providers' own texts, each with the class it has to get."""

from __future__ import annotations

import pytest

from shared.bounces.codes import _CODES, judge

TEXTS = [  # the status reported, the server's words, the class
    ("5.1.1", "550 [SUSPEND] Mailbox currently suspended - Please contact correspondent directly", "hard"),
    ("", "551 not our customer", "hard"),
    ("", "550 <a@example.net> recipient rejected", "hard"),
    ("", "550 5.7.1 No such user c18si2365148hub", "hard"),
    ("", "550 Requested action not taken: mailbox unavailable", "hard"),
    (
        "",
        "554 delivery error: dd Sorry your message to recipient@example.net cannot be delivered. This account"
        " has been disabled or discontinued [#102]. - mta1",
        "hard",
    ),
    ("", "550 MAILBOX NOT FOUND", "hard"),
    ("", "553 5.3.0 <recipient@example.net>... Address does not exist", "hard"),
    ("", "550 5.1.6 recipient no longer on server: r@example.net", "hard"),
    (
        "",
        "550-<recipient@example.net> is not a known user on this system; 550 see http://www.example.net/cs/email/bounce.html",
        "hard",
    ),
    ("", "554 Rcpt <recipient@example.net> does not exist", "hard"),
    ("", "550 5.7.1 No mailbox found", "hard"),
    ("", "551 <recipient@example.net> is a deactivated mailbox", "hard"),
    ("", "550 Recipient does not exist on this system", "hard"),
    ("", "553 sorry, badrcptto(user mail-box not found) (#5.7.1)", "hard"),
    ("", "550 ** No mail box available for this user **", "hard"),
    ("", "550 User [recipient@example.net] does not exist", "hard"),
    ("", "550-recipient@example.net is not an active address at this host (invalid FreeUK 550 username)", "hard"),
    ("", '550 "recipient@example.net" is not a known user', "hard"),
    ("", "501 5.1.3 Odbiorca <recipient@example.net> nie istnieje / Recipient <recipient@example.net> does not exist", "hard"),
    ("", "550 BAD_RECIPIENT - see http://www.mail.sample.ac.uk/undelivered.php?r=BAD_RECIPIENT&e=x==", "hard"),
    ("", "Sorry, no mailbox here by that name. (#5.1.1)", "hard"),
    ("4.4.7", "delivery temporarily suspended: host mx.example.com refused to talk to me: 421 too many connections", "ignored"),
    (
        "",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking the r"
        "ecipient's email address for typos or unnecessary ",
        "hard",
    ),
    (
        "",
        "550-5.2.1 The email account that you tried to reach is disabled. For more information, go to https:/"
        "/support.google.com/mail/?p=DisabledUser x - gsmtp",
        "hard",
    ),
    (
        "",
        "450-4.2.1 The user you are trying to contact is receiving email at a rate that prevents additional m"
        "essages from being delivered.",
        "ignored",
    ),
    (
        "",
        "550-5.2.1 The user you are trying to contact is receiving email at a rate that prevents additional m"
        "essages from being delivered.",
        "ignored",
    ),
    (
        "",
        "452-4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://supp"
        "ort.google.com/mail/?p=OverQuotaTemp",
        "counts",
    ),
    ("", "552-5.2.2 The recipient's inbox is out of storage space and inactive. Please direct the recipient to", "counts"),
    (
        "",
        "550-5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all send"
        "ers to authenticate with either SPF or DKIM.",
        "ignored",
    ),
    (
        "",
        "550-5.7.1 [203.0.113.1 18] Our system has detected that this message is likely suspicious due to the"
        " very low reputation of the sending domain.",
        "ignored",
    ),
    ("", "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to", "ignored"),
    (
        "",
        "554 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.7.0 [TSS04] Messages from 203.0.1"
        "13.1 temporarily deferred due to unexpected volume",
        "ignored",
    ),
    ("", "554 30 Sorry, your message to a@yahoo.com cannot be delivered. This mailbox is disabled (554.30). - mta4", "hard"),
    ("", "552 1 Requested mail action aborted, mailbox not found", "hard"),
    ("", "554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.com) [-9] - mta1174", "hard"),
    ("", "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", "ignored"),
    (
        "",
        "550 5.4.1 Recipient address rejected: Access denied. [BN8NAM11FT064.eop-nam11.prod.protection.outloo"
        "k.com 2024-01-01T00:00:00.000Z]",
        "hard",
    ),
    ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient a@example.com not found by SMTP address lookup", "hard"),
    (
        "",
        "550 5.7.606 Access denied, banned sending IP [203.0.113.1]. To request removal from this list please"
        " visit https://sender.office.com/ and follow the d",
        "ignored",
    ),
    (
        "",
        "550 5.7.1 Unfortunately, messages from [203.0.113.1] weren't sent. Please contact your Internet serv"
        "ice provider since part of their network is on our",
        "ignored",
    ),
    ("", "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", "hard"),
    ("", "552 5.2.2 STOREDRV.Deliver; mailbox full. The following information should help identify the cause of this", "counts"),
    (
        "5.2.2",
        "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaE"
        "xceeded; Failed to process message due to a perman",
        "counts",
    ),
    (
        "",
        "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed",
        "ignored",
    ),
    ("5.4.310", "550 5.4.310 DNS domain example.invalid does not exist [Message=InfoDomainNonexistent]", "hard"),
    ("4.4.7", "550 4.4.7 QUEUE.Expired; message expired", "counts"),
    (
        "",
        "550 5.4.300 Message expired -> 451 4.4.4 Mail received as unauthenticated, incoming to a recipient d"
        "omain configured in a hosted tenant",
        "ignored",
    ),
    ("5.1.1", "550 5.1.1 <a@icloud.com>: user does not exist", "hard"),
    ("", "552 5.2.2 <a@icloud.com>: user is over quota", "counts"),
    (
        "",
        "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137",
        "ignored",
    ),
    (
        "",
        "550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net"
        "/en/error-messages?ip=203.0.113.1&c=nxd",
        "hard",
    ),
    (
        "",
        "554 Transaction failed Reject due to policy restrictions. For explanation visit https://postmaster.w"
        "eb.de/error-messages?ip=1.2.3.4&c=hi",
        "ignored",
    ),
    ("", "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416]", "hard"),
    ("", "550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]", "ignored"),
    ("", "550 user unknown", "hard"),
    ("", "550 unknown user", "hard"),
    ("", "553 5.1.2 Address verification failed", "hard"),
    ("5.4.4", "Host or domain name not found. Name service error for name=gmial.example type=A: Host not found", "hard"),
    (
        "4.4.3",
        "Host or domain name not found. Name service error for name=example.org type=MX: Host not found, try again",
        "counts",
    ),
    ("5.1.10", "Domain example.org does not accept mail (nullMX)", "hard"),
    ("4.4.1", "connect to mx.example.org[203.0.113.9]:25: Connection timed out", "counts"),
    ("5.4.6", "mail for example.org loops back to myself", "counts"),
    ("5.0.0", "", "counts"),
    ("", "", "ignored"),
    ("5.7.1", "", "ignored"),
    ("5.3.4", "552 5.3.4 Message size exceeds fixed maximum message size", "ignored"),
    ("", "554 5.7.1 <a@example.org>: Relay access denied", "ignored"),
    (
        "",
        "554 5.7.1 Service unavailable; Client host [203.0.113.1] blocked using zen.spamhaus.org; https://www"
        ".spamhaus.org/query/ip/203.0.113.1",
        "ignored",
    ),
    ("", "550 5.1.1 Rejected: listed at bl.spamcop.net", "ignored"),
    ("5.1.1", "550 Sender verify failed", "ignored"),
    ("", "550 5.1.8 <b+x@example.com>: Sender address rejected: Domain not found", "ignored"),
    (
        "",
        "450 4.2.0 <a@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch"
        "/help/example.org.html",
        "ignored",
    ),
    ("", "550 5.1.0 <a@example.org> User unknown; rejecting", "hard"),
    ("", "550 Empfänger unbekannt", "hard"),
    ("", "550 Das Postfach ist voll", "counts"),
    ("", "550 Destinataire inconnu", "hard"),
    ("", "552 boîte aux lettres pleine", "counts"),
    ("", "550 el usuario no existe", "hard"),
    ("", "550 宛先のユーザーが存在しません", "hard"),
    ("", "450 4.1.1 user unknown", "counts"),
]


@pytest.mark.parametrize(("status", "words", "kind"), TEXTS)
def test_a_server_means(status: str, words: str, kind: str) -> None:
    assert judge(status, words).kind == kind


def test_every_code_of_the_table_is_reached_and_never_hard_while_temporary() -> None:
    for detail, (kind, word) in _CODES.items():
        assert (judge(f"5.{detail}", "").kind, judge(f"5.{detail}", "").word) == (kind, word)
        assert judge(f"4.{detail}", "").kind == ("counts" if kind == "hard" else kind)


def test_a_detail_that_is_not_listed_means_its_subject() -> None:
    kinds = {f"5.{subject}.99": judge(f"5.{subject}.99", "").kind for subject in range(10)}
    assert [code for code, kind in kinds.items() if kind == "ignored"] == ["5.5.99", "5.6.99", "5.7.99"]
    assert "hard" not in kinds.values()


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        ("5.1.1", "smtp; 550-5.1.1 no such user", "550 5.1.1"),
        ("5.0.0", "smtp; 550 5.7.1 <a@example.org> no such user", "550 5.7.1"),
        ("5.2.2", "smtp; 552 5.0.0 mailbox full", "552 5.2.2"),
        ("5.1.1", "", "5.1.1"),
        ("", "550 no such user", "550"),
        ("", "no such user (#5.1.1)", "5.1.1"),
        ("", "no such user, call 480-624-2500 or 192.0.5.50 or 5.1.1.1", "unknown-mailbox"),
    ],
)
def test_the_code_is_the_servers_or_the_tables_word(status: str, words: str, code: str) -> None:
    assert judge(status, words).code == code


def test_the_names_of_hosts_and_people_say_nothing() -> None:
    assert (
        judge("", "550 <spam.full@blocked.example> at antispam.quota.example: user unknown, see https://policy.example/spam").kind
        == "hard"
    )
    assert judge("", "550 5.1.1 user unknown by zen.spamhaus.org").kind == "ignored"
