"""What a code or a phrase of a server says of an address: the one table, a source beside each line.

    hard     the address is dead: the first such bounce is enough
    counts   the mail failed, the address may live: so many of them end it
    ignored  it says nothing of the address: our message, our reputation, our set-up, a server that is busy

Servers use codes loosely (550 5.7.1 for a missing mailbox, 5.1.1 for a spam block, 5.0.0 for anything), so what they say in words
comes first where it is plain (phrases.py), then the enhanced code; without either nothing is known. A temporary code that became
final at the end of a queue is never hard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.bounces.phrases import PLAIN, VAGUE, Class, either

_MAX = 4000  # characters looked at


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code`: "550 5.1.1", or either half, or the table's word where the server named none. `word`: the table's, for logs."""

    kind: Class
    code: str
    word: str


# x.y.z without the first digit → (class, word): RFC 3463, the registry
# https://www.iana.org/assignments/smtp-enhanced-status-codes, and https://learn.microsoft.com/exchange/mail-flow/non-delivery-reports-and-bounce-messages
_CODES: dict[str, tuple[Class, str]] = {
    "1.1": ("hard", "unknown-mailbox"),  # RFC 3463 §3.2, bad destination mailbox address
    "1.2": ("hard", "unknown-domain"),  # RFC 3463 §3.2, bad destination system address
    "1.3": ("hard", "malformed-address"),  # RFC 3463 §3.2
    "1.6": ("hard", "moved"),  # RFC 3463 §3.2, no forwarding address
    "1.7": ("ignored", "our-sender"),  # RFC 3463 §3.2, bad sender's mailbox address syntax
    "1.8": ("ignored", "our-sender"),  # RFC 3463 §3.2, bad sender's system address
    "1.9": ("ignored", "content"),  # RFC 3886, relayed to a non-compliant mailer
    "1.10": ("hard", "no-mail-domain"),  # RFC 7505, null MX; Exchange Online: recipient not found
    "1.20": ("ignored", "content"),  # Exchange Online: several From addresses
    "1.90": ("ignored", "our-limit"),  # Exchange Online: the sender's daily limit
    "2.1": ("hard", "disabled"),  # RFC 3463 §3.3, disabled, not accepting messages
    "2.2": ("counts", "full"),  # RFC 3463 §3.3
    "2.3": ("ignored", "too-big"),  # RFC 3463 §3.3, longer than the mailbox's own limit
    "2.121": ("ignored", "our-limit"),  # Exchange Online: from this sender within the hour
    "2.122": ("ignored", "busy"),  # Exchange Online: all that the recipient takes within the hour
    "3.3": ("ignored", "content"),  # RFC 3463 §3.4, not capable of selected features
    "3.4": ("ignored", "too-big"),  # RFC 3463 §3.4
    "3.6": ("ignored", "content"),  # RFC 6710, priority was changed
    "4.310": ("hard", "unknown-domain"),  # Exchange Online: the domain does not exist in DNS
    "5.0": ("counts", "unclear"),  # RFC 3463 §3.6; Outlook.com says it of missing mailboxes
    "6.7": ("counts", "address-characters"),  # RFC 6531 §3.5, the address, not the content
    "7.17": ("hard", "new-owner"),  # RFC 7293, the mailbox has changed hands
    "7.18": ("hard", "new-owner"),  # RFC 7293, the domain has
}
# What a subject (y of x.y.z) means when its detail is not above
_SUBJECTS: dict[str, tuple[Class, str]] = {
    "0": ("counts", "unclear"),  # RFC 3463 §3.1
    "1": ("counts", "unclear"),  # addressing
    "2": ("counts", "unclear"),  # mailbox
    "3": ("counts", "mail-system"),
    "4": ("counts", "routing"),
    "5": ("ignored", "protocol"),  # between the two servers
    "6": ("ignored", "content"),
    "7": ("ignored", "policy"),
}
_OPEN = "0345"  # subjects whose code is often a server's word for anything

_REPLY = re.compile(r"(?<![\d.])([45]\d\d)(?:[ -]+#?([45]\.\d{1,3}\.\d{1,3})(?![\d.]))?(?![\d.]|-\d)")
_ENHANCED = re.compile(r"(?<![\d.])#?([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
# Names of hosts and people say nothing, and hold every word; block lists are named by their hosts.
_NAMES = either(
    r"""https?://\S{1,500}|\S{1,200}@\S{1,200}
    |(?<![\w.-])(?!\S{0,60}(?:spamhaus|spamcop|sorbs|uribl|surbl|abuseat|barracudacentral))
    [a-z0-9-]{1,63}(?:\.[a-z0-9_-]{1,63}){1,8}\.?(?=[\s:;,()\[\]<>]|$)"""
)


def judge(status: str, words: str) -> Verdict:
    """What a final failure means: `status`, x.y.z or "", is the reporter's; `words` the remote server's, or a whole text's."""
    words = " ".join(words[:_MAX].split()).lower()
    smtp, named = _codes(words)
    enhanced = named if named and not (status and _vague(named)) else status
    said = _NAMES.sub(lambda match: match[0] if _ENHANCED.fullmatch(match[0]) else " ", words)
    kind, word = _meaning(enhanced, said)
    if kind == "hard" and (smtp or enhanced)[:1] == "4":
        kind = "counts"
    return Verdict(kind, f"{smtp} {enhanced}".strip() or word, word)


def enhanced_in(words: str) -> str:
    """The first enhanced code of a failure (RFC 3463) in a server's words, "" for none."""
    found = _ENHANCED.search(words[:_MAX])
    return found[1] if found else ""


def by_code(enhanced: str) -> Class | None:
    """What an enhanced code by itself says of an address; None for one of class 5 that servers use for anything."""
    detail = enhanced.partition(".")[2]
    listed = detail in _CODES and not _vague(enhanced)
    loose = not listed and (detail[:1] in _OPEN or detail in ("1.0", "2.0"))
    return None if not enhanced or (loose and enhanced[0] == "5") else judge(enhanced, "").kind


def _codes(words: str) -> tuple[str, str]:
    """The reply code and the enhanced code, each "" where there is none."""
    replies = list(_REPLY.finditer(words))
    best = next((reply for reply in replies if reply[2]), replies[0] if replies else None)
    smtp, enhanced = (best[1], best[2] or "") if best else ("", "")
    return smtp, enhanced or enhanced_in(words)


def _vague(enhanced: str) -> bool:
    """Whether the code leaves the reason open: any .0, and x.4.7, the queue's end, which says nothing of why it waited."""
    return enhanced.endswith((".0", ".4.7")) or enhanced.split(".")[1:2] == ["0"]


def _meaning(enhanced: str, said: str) -> tuple[Class, str]:
    for kind, word, rule in PLAIN:
        if rule.search(said):
            return kind, word
    detail = enhanced.partition(".")[2]
    if detail in _CODES and not _vague(enhanced):
        return _CODES[detail]
    if not enhanced or _vague(enhanced):
        for kind, word, rule in VAGUE:
            if rule.search(said):
                return kind, word
    if not enhanced:
        return "ignored", "unclear"
    return _CODES.get(detail) or _SUBJECTS.get(detail.partition(".")[0], ("counts", "unclear"))
