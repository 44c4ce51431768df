"""What an SMTP server's words mean for a mail. Apart from the connection, because suppressing the wrong person, or pausing a
campaign for one dead address, is decided here and nowhere else.

Follows RFC 5321 §4.2 (replies), RFC 3463 and the IANA registry (enhanced codes). Free text is never looked at: it differs by
server and holds addresses.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from shared.ports import Outcome

Stage: TypeAlias = Literal["connect", "mail", "rcpt", "data", "content"]

_ENHANCED = re.compile(rb"^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})(?![\d.])", re.MULTILINE)

# 4xx that speak of us or the server's load, not of this mail: waiting is right and costs the mail no attempt.
_THROTTLE_CODES = {"421"}
_THROTTLE_ENHANCED = {"4.3.2", "4.5.3"}  # not accepting now, too many recipients; and every 4.7.x (rate, reputation)

# 5xx that speak of us: credentials, encryption, policy, a command out of place, our sender address.
_OURS_CODES = {"503", "530", "534", "535", "538", "571"}
_OURS_ENHANCED = {"5.1.7", "5.1.8"}  # and every 5.7.x

_HARD_ENHANCED = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}  # no such mailbox or domain, disabled
_HARD_BARE = {"550", "551", "553"}
_TOO_BIG = {"5.2.3", "5.3.4"}


def classify(stage: Stage, reply: bytes) -> Outcome:
    """What a 2xx, 4xx or 5xx `reply` to a stage means for the mail. A 2xx means "sent" after the content only."""
    code = reply[:3].decode()
    found = _ENHANCED.search(reply)
    enhanced = found[1].decode() if found else ""
    label = f"{code} {enhanced}" if enhanced else code
    if code[0] == "2":
        return Outcome("sent", label)
    if code[0] == "4":
        waits = code in _THROTTLE_CODES or enhanced in _THROTTLE_ENHANCED or enhanced.startswith("4.7.")
        return Outcome("throttle" if waits or stage == "connect" else "temporary", label)
    return _refused(stage, code, enhanced, label)


def _refused(stage: Stage, code: str, enhanced: str, label: str) -> Outcome:
    if code in _OURS_CODES or enhanced in _OURS_ENHANCED or enhanced.startswith("5.7."):
        return Outcome("ours", label)
    if stage == "connect":
        return Outcome("ours", label)
    if enhanced in _TOO_BIG or enhanced.startswith("5.6.") or (code == "552" and not enhanced and stage != "rcpt"):
        return Outcome("message", label)
    if stage == "mail":
        return Outcome("ours", label)
    if stage == "rcpt" or enhanced.startswith(("5.1.", "5.2.")):
        bare = not enhanced and code in _HARD_BARE
        return Outcome("recipient", label, hard=bare or enhanced in _HARD_ENHANCED)
    return Outcome("message", label)
