"""The SMTP sender against a real server, and against one that fails at every stage in every way."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import ConfigError, Unavailable
from shared.ports import Outcome, Outgoing
from shared.providers import smtp
from shared.providers.smtp import SmtpSender
from shared.providers.smtp_replies import classify
from tests.providers.fault_server import DROP, EARLY, GARBAGE, HALF, SLOW, FaultServer

pytestmark = pytest.mark.network

FROM = "bounce@shop.example"
BODY = b"Subject: hello\r\n\r\nHello.\r\n..a line that began with a dot\r\n"


def mails(count: int) -> list[Outgoing]:
    return [Outgoing(f"r{n}@example.org", b"X-N: %d\r\n" % n + BODY) for n in range(count)]


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [o.kind for o in outcomes]


def fault_sender(server: FaultServer, **options: Any) -> SmtpSender:
    return SmtpSender("127.0.0.1", server.port, timeout=options.pop("timeout", 10), **options)


def patience(fault: str) -> float:
    """Seconds for a reply: short only where none comes, since a busy machine may be late with any other."""
    return 0.7 if fault == SLOW else 10.0


def once_each(server: FaultServer) -> list[str]:
    """The recipients whose content was taken; nobody twice, no content where none was asked for."""
    taken = [recipient for recipient, _ in server.accepted]
    assert len(taken) == len(set(taken))
    assert server.strays == []
    assert not any(server.leaked)
    return taken


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
    data = b"Subject: big\r\n\r\n" + b"".join(b"line %06d\r\n" % n for n in range(250_000))
    sender = SmtpSender("127.0.0.1", port, timeout=5)
    assert kinds(await sender.send(FROM, [Outgoing("a@example.org", data), *mails(2)])) == ["sent"] * 3
    await sender.close()
    assert box.got[0][1] == data


# --- every stage, every fault -----------------------------------------------------------------------------------------

STAGES = ("connect", "ehlo", "mail", "rcpt", "data", "content")
LOST = "down down down down down unknown"
CLASSES = {  # fault -> the class at each stage; "!" is hard
    "421": "throttle throttle throttle throttle throttle throttle",
    "421 4.7.0 slow down": "throttle throttle throttle throttle throttle throttle",
    "450": "throttle throttle temporary temporary temporary temporary",
    "450 4.2.1 busy": "throttle throttle temporary temporary temporary temporary",
    "450 4.7.1 rate": "throttle throttle throttle throttle throttle throttle",
    "451 4.7.500 busy": "throttle throttle throttle throttle throttle throttle",
    "451 4.3.0 error": "throttle throttle temporary temporary temporary temporary",
    "452 4.5.3 too many": "throttle throttle throttle throttle throttle throttle",
    "454": "throttle throttle temporary temporary temporary temporary",
    "550": "ours ours ours recipient! message message",
    "550-5.1.1 nobody\r\n550 5.1.1 here": "ours ours ours recipient! recipient! recipient!",
    "552": "ours ours message recipient message message",
    "552 5.2.2 full": "ours ours ours recipient recipient recipient",
    "554 5.6.0 bad": "ours ours message message message message",
    "550 5.7.1 policy": "ours ours ours ours ours ours",
    "571": "ours ours ours ours ours ours",
    "535 5.7.8 who?": "ours ours ours ours ours ours",
    GARBAGE: LOST,
    HALF: LOST,
    DROP: LOST,
    SLOW: LOST,
}
CELLS = [(stage, fault, wanted) for fault, row in CLASSES.items() for stage, wanted in zip(STAGES, row.split(), strict=True)]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize(("stage", "fault", "wanted"), CELLS)
async def test_each_fault_is_put_in_its_class(stage: str, fault: str, wanted: str, pipelining: bool) -> None:
    async with FaultServer({(stage, 1): fault}, pipelining=pipelining) as server:
        sender = fault_sender(server, timeout=patience(fault))
        outcomes = await sender.send(FROM, mails(3))
        await sender.close()
    first = outcomes[0].kind + ("!" if outcomes[0].hard else "")
    assert first == wanted
    assert outcomes[0].code in fault
    if stage in ("connect", "ehlo"):
        assert kinds(outcomes) == [wanted] * 3
        assert once_each(server) == []
    else:
        assert kinds(outcomes)[1:] == ["sent", "sent"]
        assert [r for r in once_each(server) if r != "r0@example.org"] == ["r1@example.org", "r2@example.org"]


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
        assert kinds(await sender.send(FROM, mails(2)[1:])) == ["sent"]
        await sender.close()
    assert server.counts["connect"] == 2


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
        assert kinds(await sender.send(FROM, mails(4)[2:])) == ["sent", "sent"]
        await sender.close()
    assert server.counts["connect"] == 1
    assert len(once_each(server)) == 3


# --- contents longer than one write -----------------------------------------------------------------------------------

BIG = Outgoing("big@example.org", b"Subject: big\r\n\r\n" + b"0123456789\r\n" * 700_000)  # 8 MB


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


# --- what never reaches the wire --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipient",
    [
        "a@b.example\r\nDATA",
        "a@b.example>\nRCPT TO:<c@d.example",
        "a b@c.example",
        "<a@b.example>",
        "ü@b.example",
        "a\x00@b.example",
        "a",
        "",
    ],
)
async def test_a_recipient_that_could_be_read_as_a_command_stays_here(recipient: str) -> None:
    async with FaultServer() as server:
        sender = fault_sender(server)
        bad = Outgoing(recipient, BODY)
        assert kinds(await sender.send(FROM, [*mails(1), bad, *mails(2)[1:]])) == ["sent", "message", "sent"]
        assert kinds(await sender.send("a@b\r\nRSET", mails(1))) == ["ours"]
        assert (
            kinds(await sender.send(FROM, [Outgoing("a@b.example", b"no line end"), Outgoing("a@b.example", b".\r\n")]))
            == ["message"] * 2
        )
        await sender.close()
    assert len(once_each(server)) == 2
    assert server.counts["mail"] == 2


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


async def test_a_connection_that_died_in_the_pool_costs_no_mail() -> None:
    async with FaultServer({("mail", 2): DROP}) as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(1))) == ["sent"]
        assert kinds(await sender.send(FROM, mails(3)[1:])) == ["sent", "sent"]
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
        assert kinds(await sender.send(FROM, mails(2)[1:])) == ["sent"]
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


async def test_unavailable_carries_the_code_and_not_the_text() -> None:
    async with FaultServer({("connect", 1): "554 5.7.1 blocked, write to postmaster@example.org"}) as server:
        with pytest.raises(Unavailable) as caught:
            await fault_sender(server).ready()
    assert str(caught.value) == "smtp is unavailable: 554 5.7.1"


def test_a_mismatched_enhanced_code_suppresses_nobody() -> None:
    assert classify("rcpt", b"550 4.4.7 expired\r\n") == Outcome("recipient", "550 4.4.7")
    assert classify("rcpt", b"550 5.1.1.7 odd\r\n").hard
    assert classify("rcpt", b"550 5.1.10 null MX\r\n") == Outcome("recipient", "550 5.1.10", hard=True)
    assert classify("rcpt", b"550 5.4.1 denied\r\n") == Outcome("recipient", "550 5.4.1")
    assert classify("mail", b"553 5.1.8 bad sender\r\n").kind == "ours"


# --- TLS and AUTH -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's, client's that trusts it): a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem: Path = tmp_path_factory.mktemp("tls") / "pair.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_implicit_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = FaultServer({("content", 3): DROP})
    server.tls = contexts[0]
    async with server:
        sender = fault_sender(server, security="tls", tls_context=contexts[1], timeout=2)
        assert kinds(await sender.send(FROM, [*mails(4), BIG])) == ["sent", "sent", "unknown", "sent", "sent"]
        raw = sender._idle[0].wire.transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await sender.close()
        stranger = fault_sender(server, security="tls", timeout=2)
        assert kinds(await stranger.send(FROM, mails(1))) == ["down"]
    assert len(once_each(server)) == 5


async def test_starttls_and_auth(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    box = Inbox()
    loop = asyncio.get_running_loop()

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    def session() -> Any:
        return SMTP(
            box, hostname="h", tls_context=contexts[0], require_starttls=True, auth_required=True, authenticator=check, loop=loop
        )

    listening = await loop.create_server(session, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    common: dict[str, Any] = {"security": "starttls", "tls_context": contexts[1], "timeout": 2, "username": "u"}
    passwords: list[str | Exception] = ["right"]

    async def password() -> str:
        if isinstance(found := passwords.pop(0), Exception):
            raise found
        return found

    sender = SmtpSender("127.0.0.1", port, password=password, **common)
    assert kinds(await sender.send(FROM, mails(60))) == ["sent"] * 60
    await sender.close()
    sender = SmtpSender("127.0.0.1", port, password=password, **common)
    passwords += ["wrong", "wrong", Unavailable("secrets"), ConfigError("secret smtp-password: gone"), "right"]
    with pytest.raises(Unavailable, match=r"535 5\.7\.8"):
        await sender.ready()
    assert await sender.send(FROM, mails(1)) == [Outcome("ours", "535 5.7.8")]
    assert await sender.send(FROM, mails(1)) == [Outcome("down")]
    with pytest.raises(Unavailable, match="secret smtp-password: gone"):
        await sender.ready()
    await sender.ready()  # whoever mended it waits for no restart
    await sender.close()
    listening.close()
    assert len(box.got) == 60


async def test_a_server_without_starttls_gets_no_mail(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with FaultServer() as server:
        sender = fault_sender(server, security="starttls", tls_context=contexts[1])
        assert kinds(await sender.send(FROM, mails(1))) == ["down"]
    assert server.counts["mail"] == 0
