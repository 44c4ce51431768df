"""The SMTP sender over TLS: verified, never left for clear text, and as safe as without."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from shared.errors import ConfigError, Denied, Unavailable
from shared.ports import Outcome
from shared.providers.smtp import SmtpSender
from tests.providers.certificates import Authority
from tests.providers.fault_server import DROP, FaultServer
from tests.providers.post import BIG, FROM, fault_sender, kinds, mails, once_each

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def password(*found: str | Exception) -> Callable[[], Any]:
    left = list(found)

    async def ask() -> str:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


async def test_implicit_tls_is_as_safe_as_none(authority: Authority) -> None:
    async with FaultServer({("content", 3): DROP}, tls=authority.server()) as server:
        sender = fault_sender(server, security="tls", tls_context=authority.client())
        assert kinds(await sender.send(FROM, [*mails(4), BIG])) == ["sent", "sent", "unknown", "sent", "sent"]
        raw = sender._idle[0]._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await sender.close()
    assert len(once_each(server)) == 5


# --- certificates -----------------------------------------------------------------------------------------------------

BAD: dict[str, Callable[[Authority, Path], ssl.SSLContext]] = {
    "tls wrong name": lambda ours, folder: ours.server("127.0.0.2"),
    "tls expired": lambda ours, folder: ours.server(days=(-9, -2)),
    "tls not yet valid": lambda ours, folder: ours.server(days=(2, 9)),
    "tls self-signed": lambda ours, folder: ours.server(own=True),
    "tls untrusted": lambda ours, folder: Authority(folder, "somebody else").server(),
}


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("code", BAD)
async def test_a_bad_certificate_is_told_by_its_code_and_gets_neither_mail_nor_password(
    authority: Authority, tmp_path: Path, code: str, security: str
) -> None:
    context = BAD[code](authority, tmp_path)
    inside, first = (context, None) if security == "starttls" else (None, context)
    async with FaultServer(upgrade=inside, tls=first, auth=True) as server:
        sender = fault_sender(
            server, security=security, tls_context=authority.client(), username="shop", password=password("secret")
        )
        assert await sender.send(FROM, mails(2)) == [Outcome("down", code)] * 2
        with pytest.raises(Unavailable, match=f"^smtp is unavailable: {code}$"):
            await sender.ready()
    assert {line.split()[0] for line in server.commands} <= {b"EHLO", b"STARTTLS"}


async def test_without_a_context_of_ours_the_systems_authorities_decide(authority: Authority) -> None:
    async with FaultServer(tls=authority.server()) as server:
        assert kinds(await fault_sender(server, security="tls").send(FROM, mails(1))) == ["down"]
    assert server.commands == []


# --- STARTTLS ---------------------------------------------------------------------------------------------------------


async def test_a_server_without_starttls_gets_neither_mail_nor_password(authority: Authority) -> None:
    async with FaultServer(auth=True) as server:
        sender = fault_sender(
            server, security="starttls", tls_context=authority.client(), username="shop", password=password("secret")
        )
        assert await sender.send(FROM, mails(1)) == [Outcome("down", "no starttls")]
    assert {line.split()[0] for line in server.commands} == {b"EHLO"}


async def test_a_server_that_offers_no_auth_under_tls_gets_no_password(authority: Authority) -> None:
    async with FaultServer(upgrade=authority.server()) as server:
        sender = fault_sender(
            server, security="starttls", tls_context=authority.client(), username="shop", password=password("secret")
        )
        assert await sender.send(FROM, mails(1)) == [Outcome("down", "no auth")]


@pytest.mark.parametrize(("answer", "tried"), [("504 5.5.4 not here", ["PLAIN", "LOGIN"]), ("535 5.7.8 who?", ["PLAIN"])])
async def test_a_wrong_password_is_not_tried_by_every_mechanism(authority: Authority, answer: str, tried: list[str]) -> None:
    async with FaultServer({("auth", 1): answer}, tls=authority.server(), offers=["AUTH PLAIN LOGIN"]) as server:
        sender = fault_sender(
            server, security="tls", tls_context=authority.client(), username="shop", password=password("secret")
        )
        outcomes = await sender.send(FROM, mails(1))
        await sender.close()
    assert [line.split()[1].decode() for line in server.commands if line.startswith(b"AUTH")] == tried
    assert outcomes == [Outcome("sent", "250 2.0.0") if "LOGIN" in tried else Outcome("ours", "535 5.7.8")]


async def test_what_comes_in_clear_text_with_the_answer_to_starttls_is_not_believed(authority: Authority) -> None:
    injected = "+250-127.0.0.1\r\n250 SIZE 1"
    async with FaultServer({("starttls", 1): injected}, upgrade=authority.server()) as server:
        sender = fault_sender(server, security="starttls", tls_context=authority.client())
        assert kinds(await sender.send(FROM, mails(2))) == ["sent", "sent"]
        await sender.close()
    assert server.counts["again"] == 1
    assert len(once_each(server)) == 2


async def test_what_was_announced_before_the_upgrade_is_forgotten(authority: Authority) -> None:
    clear = "250-here\r\n250-STARTTLS\r\n250-SMTPUTF8\r\n250 SIZE 10"
    async with FaultServer({("ehlo", 1): clear}, pipelining=False, upgrade=authority.server()) as server:
        sender = fault_sender(server, security="starttls", tls_context=authority.client())
        assert kinds(await sender.send(FROM, mails(1))) == ["sent"]
        assert not sender._idle[0].offers.utf8
        await sender.close()


# --- a real server ----------------------------------------------------------------------------------------------------


class Inbox:
    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        assert session.ssl and session.authenticated
        self.got.append(envelope.original_content)
        return "250 2.0.0 ok"


@contextlib.asynccontextmanager
async def submission(box: Inbox, context: ssl.SSLContext) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    def session() -> Any:
        return SMTP(
            box, hostname="h", tls_context=context, require_starttls=True, auth_required=True, authenticator=check, loop=loop
        )

    listening = await loop.create_server(session, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def test_starttls_and_auth(authority: Authority) -> None:
    box = Inbox()
    common: dict[str, Any] = {"security": "starttls", "tls_context": authority.client(), "timeout": 5, "username": "u"}
    async with submission(box, authority.server()) as port:
        sender = SmtpSender("127.0.0.1", port, password=password("right"), **common)
        assert kinds(await sender.send(FROM, mails(60))) == ["sent"] * 60
        await sender.close()
        gone = ConfigError("secret smtp-password: gone")
        asked = password("wrong", "wrong", Unavailable("secrets"), gone, "right")
        sender = SmtpSender("127.0.0.1", port, password=asked, **common)
        with pytest.raises(Denied, match=r"^535 5\.7\.8$"):
            await sender.ready()
        assert await sender.send(FROM, mails(1)) == [Outcome("ours", "535 5.7.8")]
        assert await sender.send(FROM, mails(1)) == [Outcome("down")]
        with pytest.raises(Unavailable, match="secret smtp-password: gone"):
            await sender.ready()
        await sender.ready()  # whoever mended it waits for no restart
        await sender.close()
    assert [m.data.replace(b"\r\n..", b"\r\n.") for m in mails(60)] == box.got
