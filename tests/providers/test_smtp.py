"""The SMTP sender's windows and connections, against a real server and one that fails where it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP

from shared.errors import Denied, Unavailable
from shared.ports import Outcome, Outgoing
from shared.providers import smtp
from shared.providers.smtp import SmtpSender
from tests.providers.fault_server import DROP, EARLY, GARBAGE, HALF, SLOW, FaultServer
from tests.providers.post import BIG, FROM, fault_sender, kinds, mails, once_each, patience

pytestmark = pytest.mark.network


# --- against a real server --------------------------------------------------------------------------------------------


class Inbox:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.sessions: set[int] = set()

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:
        session.host_name = hostname
        self.sessions.add(id(session))
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos[0], envelope.original_content))
        return "250 2.0.0 ok"


@pytest.fixture
async def inbox() -> AsyncIterator[tuple[Inbox, int]]:
    box = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="localhost", loop=loop), "127.0.0.1", 0)
    yield box, server.sockets[0].getsockname()[1]
    server.close()


async def test_two_hundred_mails_arrive_whole_in_order_over_one_connection(inbox: tuple[Inbox, int]) -> None:
    box, port = inbox
    sender = SmtpSender("127.0.0.1", port, timeout=5)
    await sender.ready()
    out = mails(200)
    for start in range(0, 200, sender.window):
        assert kinds(await sender.send(FROM, out[start : start + sender.window])) == ["sent"] * sender.window
    await sender.close()
    plain = [(m.recipient, m.data.replace(b"\r\n..", b"\r\n.")) for m in out]
    assert box.got == plain
    assert len(box.sessions) == 1


async def test_a_mail_of_megabytes_arrives_whole(inbox: tuple[Inbox, int]) -> None:
    box, port = inbox
    data = b"Subject: big\r\n\r\n" + b"".join(b"line %06d %b\r\n" % (n, b"x" * 500) for n in range(8_000))
    sender = SmtpSender("127.0.0.1", port, timeout=5)
    assert kinds(await sender.send(FROM, [Outgoing("a@example.org", data), *mails(2)])) == ["sent"] * 3
    await sender.close()
    assert box.got[0][1] == data


# --- a connection that is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("fault", [DROP, GARBAGE, HALF, SLOW, "421 4.3.2 closing"])
@pytest.mark.parametrize("stage", ["rcpt", "data", "content"])
async def test_a_loss_in_mid_window_befalls_one_mail(stage: str, fault: str, pipelining: bool) -> None:
    async with FaultServer({(stage, 3): fault}, pipelining=pipelining) as server:
        sender = fault_sender(server, timeout=patience(fault))
        outcomes = kinds(await sender.send(FROM, mails(6)))
        await sender.close()
    wanted = "throttle" if fault.startswith("421") else "unknown" if stage == "content" else "down"
    assert outcomes == ["sent", "sent", wanted, "sent", "sent", "sent"]
    assert server.counts["connect"] == 2
    taken = once_each(server)
    assert ("r2@example.org" in taken) == (wanted == "unknown")


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("stage", ["after", "mail"])
async def test_a_connection_that_ends_between_two_mails_costs_neither(stage: str, pipelining: bool) -> None:
    async with FaultServer({(stage, 2): DROP}, pipelining=pipelining) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(5))) == ["sent"] * 5
        await sender.close()
    assert server.counts["connect"] == 2
    assert once_each(server) == [m.recipient for m in mails(5)]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
async def test_a_connection_that_ends_after_a_refusal_costs_the_next_mail_nothing(pipelining: bool) -> None:
    async with FaultServer({("rcpt", 1): "550 5.1.1 nobody", ("mail", 2): DROP}, pipelining=pipelining) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(3))) == ["recipient", "sent", "sent"]
        await sender.close()


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize(
    ("stage", "reply", "wanted"),
    [
        ("mail", "354 go", "down"),
        ("rcpt", "354 go", "down"),
        ("rcpt", "250 ok\r\n250 ok", "down"),
        ("data", "250 ok", "down"),
        ("content", "354 go", "unknown"),
    ],
)
async def test_a_server_out_of_step_is_left(stage: str, reply: str, wanted: str, pipelining: bool) -> None:
    async with FaultServer({(stage, 1): reply}, pipelining=pipelining) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(3))) == [wanted, "sent", "sent"]
        await sender.close()
    assert server.counts["connect"] == 2
    assert once_each(server) == ["r1@example.org", "r2@example.org"]


async def test_an_answer_nobody_asked_for_ends_a_kept_connection() -> None:
    async with FaultServer({("content", 1): "250 ok\r\n250 ok"}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(1))) == ["sent"]
        await asyncio.sleep(0.05)
        assert kinds(await sender.send(FROM, mails(1, first=1))) == ["sent"]
        await sender.close()
    assert server.counts["connect"] == 2


async def test_after_a_loss_the_rest_goes_by_a_fresh_connection() -> None:
    """Those in the pool may have died of the same."""
    async with FaultServer({("content", 3): DROP}) as server:
        sender = fault_sender(server, connections=2)
        await asyncio.gather(*(sender.send(FROM, mails(1, first=n)) for n in range(2)))
        assert kinds(await sender.send(FROM, mails(3, first=2))) == ["unknown", "sent", "sent"]
        await sender.close()
    assert server.counts["connect"] == 3


async def test_after_a_second_loss_the_rest_was_not_handed_over() -> None:
    async with FaultServer({("content", 2): DROP, ("rcpt", 4): DROP}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(6))) == ["sent", "unknown", "sent", "down", "down", "down"]
        await sender.close()
    assert server.counts["connect"] == 2
    assert once_each(server) == ["r0@example.org", "r1@example.org", "r2@example.org"]


async def test_after_a_second_421_the_rest_waits() -> None:
    async with FaultServer({("mail", 2): "421 4.7.0 later", ("mail", 3): "421 4.7.0 later"}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(4))) == ["sent", "throttle", "throttle", "throttle"]
        await sender.close()
    assert server.counts["connect"] == 2


async def test_no_fresh_connection_means_down() -> None:
    async with FaultServer({("content", 1): DROP, ("connect", 2): DROP}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(3))) == ["unknown", "down", "down"]
        await sender.close()


# --- refused recipients keep the connection ---------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["mail", "rcpt"])
@pytest.mark.parametrize("eager", [True, False], ids=["eager 354", "503"])
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
async def test_a_refused_envelope_is_never_followed_by_a_content(pipelining: bool, eager: bool, stage: str) -> None:
    faults = {(stage, n): "550 5.1.1 nobody" for n in (1, 3, 4)}
    async with FaultServer(faults, pipelining=pipelining, eager=eager) as server:
        sender = fault_sender(server)
        outcomes = kinds(await sender.send(FROM, mails(6)))
        await sender.close()
    bad = "recipient" if stage == "rcpt" else "ours"
    assert outcomes == [bad, "sent", bad, bad, "sent", "sent"]
    assert server.counts["connect"] == 1
    assert once_each(server) == ["r1@example.org", "r4@example.org", "r5@example.org"]
    assert server.leaked == [b""] * (3 if eager and pipelining else 0)


async def test_a_refusal_at_the_end_of_a_window_does_not_spoil_the_next() -> None:
    async with FaultServer({("rcpt", 2): "550 5.1.1 nobody"}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(2))) == ["sent", "recipient"]
        assert kinds(await sender.send(FROM, mails(2, first=2))) == ["sent", "sent"]
        await sender.close()
    assert server.counts["connect"] == 1
    assert len(once_each(server)) == 3


# --- contents longer than one write -----------------------------------------------------------------------------------


async def test_a_content_cut_before_its_end_was_not_handed_over() -> None:
    async with FaultServer({("middle", 1): DROP}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, [BIG, *mails(2)])) == ["down", "sent", "sent"]
        await sender.close()
    assert once_each(server) == ["r0@example.org", "r1@example.org"]


async def test_a_content_refused_before_its_end_has_an_answer() -> None:
    async with FaultServer({("middle", 1): EARLY}) as server:
        sender = fault_sender(server)
        outcomes = await sender.send(FROM, [BIG, *mails(2)])
        await sender.close()
    assert outcomes[0] == Outcome("message", "552 5.3.4")
    assert kinds(outcomes[1:]) == ["sent", "sent"]
    assert once_each(server) == ["r0@example.org", "r1@example.org"]


# --- connections ------------------------------------------------------------------------------------------------------


async def test_concurrent_sends_take_their_own_connections_up_to_the_limit() -> None:
    async with FaultServer() as server:
        sender = fault_sender(server, connections=3, timeout=5)
        answers = await asyncio.gather(*(sender.send(FROM, [m]) for m in mails(30)))
        await sender.close()
    assert all(kinds(a) == ["sent"] for a in answers)
    assert server.most_open == 3 == server.counts["connect"]
    assert len(once_each(server)) == 30


async def test_a_connection_is_left_after_its_share_of_mails() -> None:
    async with FaultServer() as server:
        sender = fault_sender(server, recycle=4)
        assert kinds(await sender.send(FROM, mails(10))) == ["sent"] * 10
        await sender.close()
    assert server.counts["connect"] == 3


async def test_ready_probes_and_replaces_what_died_while_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "IDLE_PROBE", 0.0)
    async with FaultServer({("noop", 2): "421 4.4.2 idle"}) as server:
        sender = fault_sender(server)
        await sender.ready()
        await sender.ready()
        assert server.counts["connect"] == 1
        await sender.ready()
        assert server.counts["connect"] == 2
        monkeypatch.setattr(smtp, "IDLE_LIMIT", 0.0)
        await sender.ready()
        assert server.counts["connect"] == 3
        await sender.close()


async def test_a_connection_is_left_when_it_is_old_or_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as server:
        sender = fault_sender(server, connections=3)
        await asyncio.gather(*(sender.send(FROM, mails(1, first=n)) for n in range(3)))
        assert len(sender._idle) == server.open == 3
        sender._idle[0].used -= smtp.IDLE_LIMIT + 1
        assert kinds(await sender.send(FROM, mails(1, first=3))) == ["sent"]
        assert len(sender._idle) == 2
        monkeypatch.setattr(smtp, "AGE_LIMIT", 0.0)
        assert kinds(await sender.send(FROM, mails(1, first=4))) == ["sent"]
        assert len(sender._idle) == 1
        await sender.close()
    assert server.counts["connect"] == 3
    assert len(once_each(server)) == 5


async def test_a_connection_that_died_in_the_pool_costs_no_mail() -> None:
    async with FaultServer({("mail", 2): DROP}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(1))) == ["sent"]
        assert kinds(await sender.send(FROM, mails(2, first=1))) == ["sent", "sent"]
        await sender.close()
    assert len(once_each(server)) == 3


async def test_a_cancelled_send_leaves_no_half_used_connection() -> None:
    async with FaultServer({("content", 1): SLOW}) as server:
        sender = fault_sender(server, timeout=5)
        task = asyncio.create_task(sender.send(FROM, mails(2)))
        while not server.accepted:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert kinds(await sender.send(FROM, mails(1, first=1))) == ["sent"]
        await sender.close()
    assert once_each(server) == ["r0@example.org", "r1@example.org"]
    assert server.counts["connect"] == 2


async def test_nobody_listening_is_unavailable_and_names_nobody() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sender = SmtpSender("127.0.0.1", free.getsockname()[1], timeout=1)
        with pytest.raises(Unavailable, match=r"^smtp is unavailable: \w+$"):
            await sender.ready()
        assert kinds(await sender.send(FROM, mails(2))) == ["down", "down"]


async def test_a_connection_that_ends_as_the_handshake_does_was_never_had(monkeypatch: pytest.MonkeyPatch) -> None:
    hello = aiosmtplib.SMTP.ehlo

    async def last(client: aiosmtplib.SMTP) -> object:
        answer = await hello(client)
        client.close()  # as it does by itself when the server's end of it is read in the same moment
        return answer

    monkeypatch.setattr(aiosmtplib.SMTP, "ehlo", last)
    async with FaultServer() as server:
        assert await fault_sender(server).send(FROM, mails(1)) == [Outcome("down", "closed")]


async def test_unavailable_carries_the_code_and_not_the_text() -> None:
    async with FaultServer({("connect", 1): "554 5.7.1 blocked, write to postmaster@example.org"}) as server:
        with pytest.raises(Denied) as caught:
            await fault_sender(server).ready()
    assert str(caught.value) == "554 5.7.1"
