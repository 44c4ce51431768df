"""What goes on the wire for whom, what never does, and what a reply means where the fault table has no place for it."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest
from aiosmtpd.smtp import SMTP

from shared.ports import Outcome, Outgoing
from shared.providers.smtp import SmtpSender
from shared.providers.smtp_envelope import Offers, envelope
from shared.providers.smtp_replies import Stage, classify
from tests.providers.fault_server import FaultServer
from tests.providers.post import BODY, FROM, fault_sender, kinds, mails, once_each

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    "recipient",
    [
        "a@b.example\r\nDATA",
        "a@b.example>\nRCPT TO:<c@d.example",
        "a b@c.example",
        "<a@b.example>",
        "ü\n@b.example",
        "ü\u2028@b.example",
        "ü\x85@b.example",
        "ü>@b.example",
        "\ud800@b.example",
        "ü@b\n.example",
        "a@-ü.example",
        "ü@",
        "a\x00@b.example",
        "ü",
        "a",
        "",
    ],
)
async def test_a_recipient_that_could_be_read_as_a_command_stays_here(recipient: str) -> None:
    async with FaultServer(offers=["SMTPUTF8", "8BITMIME"]) as server:
        sender = fault_sender(server)
        bad = Outgoing(recipient, BODY)
        assert kinds(await sender.send(FROM, [*mails(1), bad, *mails(1, first=1)])) == ["sent", "message", "sent"]
        await sender.close()
    assert len(once_each(server)) == 2
    assert server.counts["mail"] == 2


@pytest.mark.parametrize("data", [b"", b"no line end", b".\r\n", b".\r\nQUIT\r\n"])
async def test_a_content_that_could_be_read_as_ended_stays_here(data: bytes) -> None:
    async with FaultServer() as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, [Outgoing("a@b.example", data), *mails(1)])) == ["message", "sent"]
        await sender.close()
    assert len(once_each(server)) == 1


async def test_bounces_go_where_each_mail_says() -> None:
    async with FaultServer() as server:
        sender = fault_sender(server)
        own = Outgoing("r1@example.org", BODY, return_path="b+r1=example.org@shop.example")
        bad = Outgoing("r2@example.org", BODY, return_path="b@shop.example>\r\nRSET")
        out = [*mails(1), own, bad, *mails(1, first=3)]
        assert kinds(await sender.send(FROM, out)) == ["sent", "sent", "ours", "sent"]
        assert kinds(await sender.send("a@b\r\nRSET", [*mails(1), own])) == ["ours", "sent"]
        assert kinds(await sender.send("", mails(1))) == ["sent"]
        await sender.close()
    said = [line[11:-3].decode() for line in server.commands if line.startswith(b"MAIL FROM:<")]
    assert said == [FROM, own.return_path, FROM, own.return_path, ""]


# --- what EHLO announces ----------------------------------------------------------------------------------------------

UTF8 = Outgoing("josé@bücher.example", "To: josé@xn--bcher-kva.example\r\n\r\nHi.\r\n".encode())


async def test_a_local_part_beyond_ascii_goes_where_smtputf8_is() -> None:
    async with FaultServer(offers=["SMTPUTF8", "8BITMIME"]) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, [*mails(1), UTF8, *mails(1, first=1)])) == ["sent"] * 3
        await sender.close()
    assert [r for r, _ in server.accepted] == ["r0@example.org", "josé@xn--bcher-kva.example", "r1@example.org"]
    assert [b"SMTPUTF8" in line for line in server.commands if line.startswith(b"MAIL")] == [False, True, False]


async def test_where_it_is_not_the_mail_never_reaches_the_wire() -> None:
    async with FaultServer(offers=["8BITMIME"]) as server:
        sender = fault_sender(server)
        outcomes = await sender.send(FROM, [*mails(1), UTF8, *mails(1, first=1)])
        assert outcomes[1] == Outcome("recipient", "smtputf8", hard=False)
        assert kinds(outcomes) == ["sent", "recipient", "sent"]
        assert kinds(await sender.send(FROM, [Outgoing(UTF8.recipient, BODY, return_path="é@shop.example")])) == ["ours"]
        await sender.close()
    assert all(line.isascii() for line in server.commands)
    assert len(once_each(server)) == 2


def test_a_return_path_beyond_ascii_is_ours_to_mend_unless_the_server_takes_it() -> None:
    mail = Outgoing("a@example.org", BODY, return_path="é@shop.example")
    assert envelope(FROM, mail, Offers()) == Outcome("ours")
    made = envelope(FROM, mail, Offers(utf8=True))
    assert made == "MAIL FROM:<é@shop.example> SMTPUTF8\r\nRCPT TO:<a@example.org>\r\nDATA\r\n".encode()


async def test_a_domain_beyond_ascii_needs_no_extension() -> None:
    async with FaultServer() as server:
        sender = fault_sender(server)
        out = [Outgoing("a@BÜCHER.example", BODY), Outgoing("b@faß.example", BODY), Outgoing("c@例え.テスト", BODY)]
        assert kinds(await sender.send("bounce@käse.example", out)) == ["sent"] * 3
        await sender.close()
    assert once_each(server) == ["a@xn--bcher-kva.example", "b@xn--fa-hia.example", "c@xn--r8jz45g.xn--zckzah"]
    assert b"MAIL FROM:<bounce@xn--kse-qla.example>\r\n" in server.commands


async def test_a_mail_over_the_servers_size_is_not_tried() -> None:
    small, big = mails(1), Outgoing("big@example.org", b"x" * 2000 + b"\r\n")
    async with FaultServer(offers=["SIZE 2001"]) as server:
        sender = fault_sender(server)
        assert await sender.send(FROM, [*small, big]) == [Outcome("sent", "250 2.0.0"), Outcome("message", "552 5.3.4")]
        await sender.close()
    assert server.counts["mail"] == 1
    for size in ("SIZE 2002", "SIZE 0", "SIZE", "SIZE lots"):
        async with FaultServer(offers=[size]) as server:
            sender = fault_sender(server)
            assert kinds(await sender.send(FROM, [big])) == ["sent"]
            await sender.close()


def test_eight_bits_go_only_where_they_may() -> None:
    mail = Outgoing("a@example.org", "\r\nGrüße\r\n".encode())
    assert envelope(FROM, mail, Offers()) == Outcome("message", "554 5.6.3")
    made = envelope(FROM, mail, Offers(eight_bit=True))
    assert made == b"MAIL FROM:<bounce@shop.example> BODY=8BITMIME\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"
    assert envelope(FROM, mails(1)[0], Offers()) == b"MAIL FROM:<bounce@shop.example>\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n"


async def test_a_real_server_takes_it() -> None:
    got: list[tuple[str, list[str], bytes]] = []

    class Inbox:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append((envelope.rcpt_tos[0], envelope.mail_options, envelope.original_content))
            return "250 2.0.0 ok"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Inbox(), hostname="h", enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
    sender = SmtpSender("127.0.0.1", server.sockets[0].getsockname()[1], timeout=5)
    assert kinds(await sender.send(FROM, [UTF8, *mails(1)])) == ["sent", "sent"]
    await sender.close()
    server.close()
    assert got[0] == ("josé@xn--bcher-kva.example", ["BODY=8BITMIME", "SMTPUTF8"], UTF8.data)
    assert got[1][:2] == ("r0@example.org", ["BODY=8BITMIME"])


# --- replies ----------------------------------------------------------------------------------------------------------


def test_a_mismatched_enhanced_code_suppresses_nobody() -> None:
    assert classify("rcpt", b"550 4.4.7 expired\r\n") == Outcome("recipient", "550 4.4.7")
    assert classify("rcpt", b"550 5.1.1.7 odd\r\n").hard
    assert classify("rcpt", b"550 5.1.10 null MX\r\n") == Outcome("recipient", "550 5.1.10", hard=True)
    assert classify("rcpt", b"550 5.4.1 denied\r\n") == Outcome("recipient", "550 5.4.1")
    assert classify("mail", b"553 5.1.8 bad sender\r\n").kind == "ours"


def test_a_syntax_error_over_an_address_is_that_addresss_own() -> None:
    for code in ("500 5.5.2", "501 5.1.3", "504 5.5.4", "555 5.5.2"):
        assert classify("rcpt", f"{code} no\r\n".encode()).kind == "recipient"
        assert classify("mail", f"{code} no\r\n".encode()).kind == "ours"


def test_every_code_of_every_stage_has_a_class() -> None:
    for code in range(400, 600):
        for stage in get_args(Stage):
            found = classify(stage, f"{code} x\r\n".encode())
            assert found.code == str(code)
            allowed = {"throttle", "temporary"} if code < 500 else {"recipient", "message", "ours"}
            assert found.kind in allowed
            assert not found.hard or (stage == "rcpt" and code in (550, 551, 553, 556))
