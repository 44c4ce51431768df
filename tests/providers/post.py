"""What every test of the SMTP sender needs: mails, a sender for a fault server, and the question whether anybody got one twice."""

from __future__ import annotations

from typing import Any

from shared.ports import Outcome, Outgoing
from shared.providers.smtp import SmtpSender
from tests.providers.fault_server import SLOW, TRICKLE, FaultServer

FROM = "bounce@shop.example"
BODY = b"Subject: hello\r\n\r\nHello.\r\n..a line that began with a dot\r\n"
BIG = Outgoing("big@example.org", b"Subject: big\r\n\r\n" + (b"0123456789" * 90 + b"\r\n") * 9_000)  # 8 MB


def mails(count: int, first: int = 0) -> list[Outgoing]:
    return [Outgoing(f"r{n}@example.org", b"X-N: %d\r\n" % n + BODY) for n in range(first, first + count)]


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [o.kind for o in outcomes]


def fault_sender(server: FaultServer, **options: Any) -> SmtpSender:
    return SmtpSender("127.0.0.1", server.port, timeout=options.pop("timeout", 10), **options)


def patience(fault: str) -> float:
    """Seconds for a reply: short only where none comes, since a busy machine may be late with any other."""
    return 0.7 if fault in (SLOW, TRICKLE) else 10.0


def once_each(server: FaultServer) -> list[str]:
    """The recipients whose content was taken; nobody twice, no content where none was asked for."""
    taken = [recipient for recipient, _ in server.accepted]
    assert len(taken) == len(set(taken))
    assert server.strays == []
    assert not any(server.leaked)
    return taken
