"""What an SMTP server's words mean for a mail. Apart from the connection, because suppressing the wrong person, or pausing a
campaign for one dead address, is decided here and nowhere else.

Sources: RFC 5321 §4.2 (replies) and §4.5.3.1.10 (552 for 452), RFC 3463 and the IANA registry "SMTP Enhanced Status Codes"
(x.y.z), RFC 4954 §6 (432, 454, 530, 534, 535, 538), RFC 3207 (454, 530), RFC 7504 (521, 556), RFC 7505 (5.1.10), RFC 6531 §3.5
(5.6.7). 571 is in no RFC: it is Exchange's 5.7.1. Free text is never looked at: it differs by server and holds addresses.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias

from shared.ports import Outcome

Stage: TypeAlias = Literal["connect", "mail", "rcpt", "data", "content"]  # connect: until the server knows us, AUTH included

_ENHANCED = re.compile(rb"^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})(?![\d.])", re.MULTILINE)

# 4xx that speak of us or the server's load, not of this mail: waiting is right and costs the mail no attempt.
_THROTTLE_CODES = {"421"}
_THROTTLE_ENHANCED = {"4.3.2", "4.5.3"}  # not accepting now, too many recipients; and every 4.7.x (rate, reputation), but:
_GREYLISTED = (
    "4.7.1"  # once there is a recipient: each mail has to come again by itself, waiting with one does nothing for the next
)

# 5xx that speak of us: credentials, encryption, policy, a command out of place or unknown, our sender address.
_OURS_CODES = {"502", "503", "521", "530", "534", "535", "538", "571"}
_OURS_ENHANCED = {"5.1.7", "5.1.8"}  # and every 5.7.x

_HARD_ENHANCED = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}  # no such mailbox or domain, disabled
_HARD_BARE = {"550", "551", "553", "556"}
_TOO_BIG = {"5.2.3", "5.3.4"}
_NO_UTF8 = "5.6.7"  # of the address, though x.6 is about contents


def classify(stage: Stage, reply: bytes) -> Outcome:
    """What a 2xx, 4xx or 5xx `reply` to a stage means for the mail. A 2xx means "sent" after the content only."""
    code = reply[:3].decode()
    found = _ENHANCED.search(reply)
    enhanced = found[1].decode() if found else ""
    label = f"{code} {enhanced}" if enhanced else code
    if code[0] == "2":
        return Outcome("sent", label)
    if code[0] == "4":
        return Outcome("throttle" if _waits(stage, code, enhanced) else "temporary", label)
    return _refused(stage, code, enhanced, label)


@lru_cache(maxsize=256)
def accepted(label: bytes) -> Outcome:
    """The same for a content's 2xx of which only the code and enhanced code are left."""
    return Outcome("sent", label.decode())


def _waits(stage: Stage, code: str, enhanced: str) -> bool:
    if stage == "connect" or code in _THROTTLE_CODES or enhanced in _THROTTLE_ENHANCED:
        return True
    return enhanced.startswith("4.7.") and (enhanced != _GREYLISTED or stage == "mail")


def _refused(stage: Stage, code: str, enhanced: str, label: str) -> Outcome:
    if code in _OURS_CODES or enhanced in _OURS_ENHANCED or enhanced.startswith("5.7."):
        return Outcome("ours", label)
    if stage == "connect":
        return Outcome("ours", label)
    if enhanced == _NO_UTF8:
        return Outcome("recipient", label)
    if enhanced in _TOO_BIG or enhanced.startswith("5.6.") or (code == "552" and not enhanced and stage != "rcpt"):
        return Outcome("message", label)
    if stage == "mail":
        return Outcome("ours", label)
    if stage == "rcpt" or enhanced.startswith(("5.1.", "5.2.")):
        bare = not enhanced and code in _HARD_BARE
        return Outcome("recipient", label, hard=bare or enhanced in _HARD_ENHANCED)
    return Outcome("message", label)
