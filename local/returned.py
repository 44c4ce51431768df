"""What comes back later of a mail that the mailbox has taken: an API provider's callback, or a mail as servers write it.

Such a mail goes to the mail's return path, and whoever receives it there posts it to the `inbound` webhook.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.utils import formatdate
from hashlib import sha256
from typing import Any, Final

import aiohttp

from local.mailbox import Mail, Mailbox, signed
from shared.ports import Clock

_LINES = policy.compat32.clone(linesep="\r\n")


@dataclass(frozen=True, slots=True)
class Failure:
    """What a server says of one recipient (RFC 3464 §2.3). `action`: "failed" or "delayed"; `whole`: to the return path, which tells
    whose mail it was; else to the From address, as some servers do, so that only the Message-ID tells."""

    action: str
    status: str
    said: str
    whole: bool = True


HARD = Failure("failed", "5.1.1", "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown")
ASTRAY = Failure("failed", "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", whole=False)
FULL = Failure("failed", "5.2.2", "552 5.2.2 Mailbox full: the user has exceeded the storage quota")
LATE = Failure("delayed", "4.4.1", "connect to mx.{domain}[203.0.113.25]:25: Connection timed out")


def status_report(mail: Mail, failure: Failure) -> bytes:
    """A delivery status notification (RFC 3464), in the shape of Postfix's bounce(8): made twice it is the same."""
    domain = mail.rcpt.rpartition("@")[2]
    said = failure.said.format(rcpt=mail.rcpt, domain=domain)
    original = message_from_bytes(mail.source, policy=policy.compat32)
    to = mail.mail_from if failure.whole else str(original["From"])
    late = failure.action == "delayed"
    report = MIMEMultipart("report", _boundary(mail), report_type="delivery-status")
    _head(report, mail, f"MAILER-DAEMON@mx.{domain}", to, "Delayed Mail" if late else "Undelivered Mail Returned to Sender")
    what = "could not be delivered yet. It will be tried again." if late else "could not be delivered. It is given up."
    report.attach(MIMEText(f"This is the mail system at mx.{domain}.\n\nYour message to <{mail.rcpt}> {what}\n\n{said}\n"))
    fields = {
        "Final-Recipient": f"rfc822; {mail.rcpt}",
        "Action": failure.action,
        "Status": failure.status,
        "Diagnostic-Code": f"smtp; {said}",
    }
    status = MIMEBase("message", "delivery-status")
    status.attach(_block({"Reporting-MTA": f"dns; mx.{domain}", "Arrival-Date": formatdate(mail.received_at / 1000)}))
    status.attach(_block(fields))
    report.attach(status)
    headers = MIMENonMultipart("text", "rfc822-headers")
    headers.set_payload(mail.source.partition(b"\r\n\r\n")[0].decode("ascii", "replace") + "\r\n")
    report.attach(headers)
    return report.as_bytes(policy=_LINES)


def complaint(mail: Mail) -> bytes:
    """A feedback report of the type abuse (RFC 5965), as a mailbox provider sends it to the address registered for its loop."""
    domain = mail.rcpt.rpartition("@")[2]
    report = MIMEMultipart("report", _boundary(mail), report_type="feedback-report")
    registered = f"complaints@{mail.mail_from.rpartition('@')[2]}"
    _head(report, mail, f"feedbackloop@{domain}", registered, "Complaint about a message")
    report.attach(MIMEText("A reader reported this message as unwanted.\n"))
    fields = {"Feedback-Type": "abuse", "User-Agent": "Twin/1.0", "Version": "1", "Original-Mail-From": f"<{mail.mail_from}>"}
    feedback = MIMEBase("message", "feedback-report")
    feedback.set_payload("".join(f"{name}: {value}\n" for name, value in fields.items()))
    report.attach(feedback)
    report.attach(MIMEMessage(message_from_bytes(mail.source, policy=policy.compat32)))
    return report.as_bytes(policy=_LINES)


def _head(report: Message, mail: Mail, sender: str, to: str, subject: str) -> None:
    """Its headers: from nobody, so that nothing answers it (RFC 3834 §5), dated when the mail came."""
    for name, value in (
        ("Return-Path", "<>"),
        ("Delivered-To", to),
        ("Date", formatdate(mail.received_at / 1000)),
        ("From", f"Mail Delivery System <{sender}>"),
        ("To", to),
        ("Subject", subject),
        ("Message-ID", f"<{_boundary(mail)}@{sender.rpartition('@')[2]}>"),
        ("Auto-Submitted", "auto-replied"),
    ):
        report[name] = value


def _block(fields: Mapping[str, str]) -> Message:
    block = Message(policy=policy.compat32)
    for name, value in fields.items():
        block[name] = value
    return block


def _boundary(mail: Mail) -> str:
    return f"r{mail.id}.{sha256(mail.message_id.encode()).hexdigest()[:16]}"


def _bounced(**fields: Any) -> Callable[[Mail], dict[str, Any]]:
    return lambda mail: {"event": "bounced", "message_id": mail.message_id, "at": mail.received_at + 1000, **fields}


HOWS: Final[Mapping[str, tuple[str, Callable[[Mail], Any]]]] = {  # name -> what the page calls it, and what is posted
    "told-hard": ("Provider's callback: no such mailbox", _bounced(hard=True, code="550 5.1.1")),
    "told-soft": ("Provider's callback: mailbox full", _bounced(counts=True, code="452 4.2.2")),
    "mail-hard": ("Mail to the return path: no such mailbox", lambda mail: status_report(mail, HARD)),
    "mail-astray": ("Mail to the From address: no such mailbox", lambda mail: status_report(mail, ASTRAY)),
    "mail-soft": ("Mail to the return path: mailbox full", lambda mail: status_report(mail, FULL)),
    "mail-late": ("Mail to the return path: delayed, still trying", lambda mail: status_report(mail, LATE)),
    "complaint": ("Feedback report: the reader calls it spam", complaint),
}


@dataclass(frozen=True)
class Returns:
    """`hooks`: (URL, key) of the webhook that takes callbacks, and of the one that takes mails."""

    mailbox: Mailbox
    clock: Clock
    told: tuple[str, bytes]
    mailed: tuple[str, bytes]

    async def send(self, mail: Mail, how: str) -> int:
        """Post what HOWS[how] makes of the mail; the webhook's status, 0 when it was not reached. Repeated, it is the same body."""
        made = HOWS[how][1](mail)
        url, key = self.mailed if isinstance(made, bytes) else self.told
        body = made if isinstance(made, bytes) else json.dumps({"id": f"{_boundary(mail)}.{how}", **made}).encode()
        headers = signed(key, self.clock.now(), body)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0
