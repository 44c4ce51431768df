"""Every fault at every stage of an SMTP connection, and what the sender makes of it: each in its class, nothing accepted twice,
nothing accepted that is not "sent" or "unknown", and the sender works on afterwards.

    python -m tests.providers.smtp_faults      prints the table, beside a naive sender's, which tries again after any error
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib

from shared.ports import Outcome, Outgoing
from tests.providers.certificates import Authority
from tests.providers.fault_server import (
    ALERT,
    DROP,
    ENDLESS,
    EXTRA,
    GARBAGE,
    HALF,
    LEAVE,
    LOST,
    RESET,
    SLOW,
    TRICKLE,
    FaultServer,
)
from tests.providers.post import FROM, fault_sender, kinds, mails, patience

STAGES = ("connect", "ehlo", "starttls", "again", "auth", "mail", "rcpt", "data", "content")
TALK = STAGES[5:]
HELD = "down " * 8 + "unknown"

_WAIT, _OURS = "throttle " * 5, "ours " * 5  # before the server knows us, whatever the number behind the 4 or 5
CLASSES = {  # fault -> the class of the first mail at each stage; "!" is hard
    "421": _WAIT + "throttle throttle throttle throttle",
    "421 4.7.0 slow down": _WAIT + "throttle throttle throttle throttle",
    "450": _WAIT + "temporary temporary temporary temporary",
    "450 4.2.1 busy": _WAIT + "temporary temporary temporary temporary",
    "451": _WAIT + "temporary temporary temporary temporary",
    "451 4.3.0 error": _WAIT + "temporary temporary temporary temporary",
    "451 4.7.1 greylisted": _WAIT + "throttle temporary temporary temporary",
    "451 4.7.500 busy": _WAIT + "throttle throttle throttle throttle",
    "452": _WAIT + "temporary temporary temporary temporary",
    "452 4.5.3 too many": _WAIT + "throttle throttle throttle throttle",
    "454": _WAIT + "temporary temporary temporary temporary",
    "454 4.7.0 rate": _WAIT + "throttle throttle throttle throttle",
    "502 5.5.1 what?": _OURS + "ours ours ours ours",
    "503": _OURS + "ours ours ours ours",
    "521 5.2.1 blocked": _OURS + "ours ours ours ours",
    "530": _OURS + "ours ours ours ours",
    "535 5.7.8 who?": _OURS + "ours ours ours ours",
    "550": _OURS + "ours recipient! message message",
    "550-5.1.1 nobody\r\n550 5.1.1 here": _OURS + "ours recipient! recipient! recipient!",
    "552": _OURS + "message recipient message message",
    "552 5.2.2 full": _OURS + "ours recipient recipient recipient",
    "552 5.3.4 too big": _OURS + "message message message message",
    "553 5.6.7 no UTF-8": _OURS + "recipient recipient recipient recipient",
    "554": _OURS + "ours recipient message message",
    "554 5.6.0 bad": _OURS + "message message message message",
    "554 5.7.1 policy": _OURS + "ours ours ours ours",
    "556": _OURS + "ours recipient! message message",
    "571": _OURS + "ours ours ours ours",
    DROP: HELD,
    RESET: HELD,
    HALF: HELD,
    GARBAGE: HELD,
    ALERT: HELD,
    ENDLESS: HELD,
    SLOW: HELD,
    TRICKLE: HELD,
    LEAVE: "down down down down down down down unknown sent",
    # What comes with the answer to STARTTLS is thrown away, and what comes with the answer to AUTH was said by the right server.
    EXTRA: "down down sent down sent down down down unknown",
}


@dataclass(frozen=True)
class Cell:
    """What one fault did. `wrong`: what must never be, in words; "" when all is well."""

    stage: str
    fault: str
    pipelining: bool
    outcome: Outcome
    wrong: str

    @property
    def said(self) -> str:
        return self.outcome.kind + ("!" if self.outcome.hard else "")


@dataclass(frozen=True)
class Ground:
    """The two ends of TLS."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path) -> Ground:
        authority = Authority(folder)
        return cls(authority.server(), authority.client())

    def faulty(self, stage: str, fault: str, pipelining: bool = True) -> FaultServer:
        return FaultServer({(stage, 1): fault}, pipelining=pipelining, upgrade=self.server, auth=True)

    async def cell(self, stage: str, fault: str, pipelining: bool = True) -> Cell:
        """Three mails while the fault strikes, three more when it is over, by the same sender."""
        async with self.faulty(stage, fault, pipelining) as server:
            sender = fault_sender(
                server,
                timeout=patience(fault),
                security="starttls",
                tls_context=self.client,
                username="shop",
                password=password,
            )
            first, second = mails(3), mails(3, first=3)
            outcomes = await sender.send(FROM, first)
            later = await sender.send(FROM, second)
            await sender.close()
        found = [*wrong(server, [*first, *second], [*outcomes, *later])]
        if set(kinds(later)) != {"sent"}:
            found.append(f"afterwards {kinds(later)}")
        return Cell(stage, fault, pipelining, outcomes[0], "; ".join(found))

    async def row(self, fault: str) -> list[Cell]:
        """Every stage, and those after the handshake without PIPELINING too."""
        ways = [(stage, True) for stage in STAGES] + [(stage, False) for stage in TALK]
        return await asyncio.gather(*(self.cell(stage, fault, pipelining) for stage, pipelining in ways))

    async def control(self, fault: str, stage: str = "content") -> int:
        """How often a server accepted the one mail of a sender that tries again after any error."""
        async with self.faulty(stage, fault) as server:
            for _ in range(3):
                try:
                    await aiosmtplib.send(
                        mails(1)[0].data,
                        sender=FROM,
                        recipients=["r0@example.org"],
                        hostname="127.0.0.1",
                        port=server.port,
                        start_tls=True,
                        tls_context=self.client,
                        username="shop",
                        password=await password(),
                        timeout=patience(fault),
                    )
                except (aiosmtplib.SMTPException, OSError):
                    continue
                break
            return len(server.accepted)


async def password() -> str:
    return "secret"


def wrong(server: FaultServer, sent: list[Outgoing], outcomes: list[Outcome]) -> Iterable[str]:
    """What must never be, whatever befell a server: what it took, against what the sender says of the mails."""
    taken = [recipient for recipient, _ in server.accepted]
    contents = {mail.recipient: mail.data for mail in sent}
    if len(taken) != len(set(taken)):
        yield "accepted twice"
    if server.strays or any(server.leaked):
        yield "a content that nobody asked for"
    if any(contents[recipient] != content for recipient, content in server.accepted):
        yield "a content that is not this mail's"
    for mail, outcome in zip(sent, outcomes, strict=True):
        if outcome.kind not in ("sent", "unknown") and mail.recipient in taken:
            yield f"{outcome.kind}, though accepted"
        if outcome.kind == "sent" and mail.recipient not in taken:
            yield "sent, though never accepted"


async def table() -> bool:
    """Print the table; whether every cell is as it should be."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground.make(Path(folder))
        print("".join(f"{name:<15}" for name in ("", *STAGES, "naive sender")))
        for fault, row in CLASSES.items():
            cells = await ground.row(fault)
            twice = await ground.control(fault) if fault in LOST else 1
            print(f"{label(fault):<15}" + "".join(f"{cell.said:<15}" for cell in cells[: len(STAGES)]) + f"accepted {twice}x")
            for cell, wanted in zip(cells, [*row.split(), *row.split()[-len(TALK) :]], strict=True):
                if cell.wrong or not fits(cell, wanted):
                    good = False
                    print(f"    {cell.stage}, pipelining {cell.pipelining}: {cell.said}, not {wanted}. {cell.wrong}")
    return good


def label(fault: str) -> str:
    """The fault's code or name, without the words of its reply."""
    words = fault.lstrip("+").split("\r\n")[-1].split()
    numbers = [word for word in words[:2] if word[0].isdigit()]
    return "another reply" if fault[0] == "+" else " ".join(numbers) or fault


def fits(cell: Cell, wanted: str) -> bool:
    """Without pipelining a further reply after a content's can be told from the next command's, so that the mail is sent."""
    if cell.fault == EXTRA and cell.stage == "content" and not cell.pipelining:
        wanted = "sent"
    return cell.said == wanted


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(table()) else 1)
