"""What a server reports in fields: delivery status notifications (RFC 3464) and feedback reports (RFC 5965).

Fields are looked for in text rather than taken from parsed headers, so that a report whose MIME is broken reads the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded", ""]

_FIELD = re.compile(
    r"^[ \t]{0,4}(Action|Status|Diagnostic-Code|Final-Recipient|Original-Recipient)[ \t]*:[ \t]*(.*)$", re.IGNORECASE
)
_OTHER = re.compile(r"^[A-Za-z][A-Za-z0-9-]{1,40}[ \t]*:")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
_ACTIONS: tuple[tuple[str, Action], ...] = (  # as some servers write it, with comments or another form of the word
    ("fail", "failed"),
    ("error", "failed"),  # OpenSMTPD
    ("delay", "delayed"),
    ("deliver", "delivered"),
    ("relay", "relayed"),
    ("expand", "expanded"),
)
_MAX = 50  # recipients


@dataclass(slots=True)
class Recipient:
    """What became of one recipient: `status` is x.y.z or ""; `diagnostic` the remote server's words."""

    action: Action = ""
    status: str = ""
    diagnostic: str = ""


def recipients(text: str) -> list[Recipient]:
    """The recipients of a delivery status (RFC 3464 §2.3), those with an Action or a Status."""
    found: list[Recipient] = []
    seen: set[str] = set()  # of the present one: a field that comes again begins the next
    last = ""
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match is None:
            if last == "diagnostic-code" and found and not _OTHER.match(line) and len(found[-1].diagnostic) < 2000:
                found[-1].diagnostic += " " + line.strip()  # folded, or broken where it should have been
            elif line.strip():
                last = ""
            continue
        last, value = match[1].lower(), match[2].strip()
        if not found or last in seen:
            found.append(Recipient())
            seen = set()
        seen.add(last)
        if last == "action":
            found[-1].action = next((action for start, action in _ACTIONS if value.lower().startswith(start)), "")
        elif last == "status":
            status = _STATUS.search(value)
            found[-1].status = status[0] if status else ""
        elif last == "diagnostic-code":
            found[-1].diagnostic = value[:2000]
        if len(found) > _MAX:
            break
    return [recipient for recipient in found if recipient.action or recipient.status]


def feedback_type(text: str) -> str:
    """RFC 5965 §3.1: abuse, fraud, virus, other, not-spam (RFC 6430), auth-failure (RFC 6591) …; "" without one."""
    match = re.search(r"^Feedback-Type[ \t]*:[ \t]*([A-Za-z-]{1,40})", text, re.IGNORECASE | re.MULTILINE)
    return match[1].lower() if match else ""
