"""The commands that announce one mail, made for what the server can take, so that what it cannot take never reaches the wire.

RFC 5321 §4.1.1 (commands), RFC 6531 (SMTPUTF8), RFC 6152 (8BITMIME), RFC 1870 (SIZE), RFC 5891 (domains as A-labels).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from shared.ports import Outcome, Outgoing

_ASCII = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")  # printable, without space, "<" and ">"
_LOCAL = re.compile(r"[^\x00-\x20<>\x7f-\xa0\u2028\u2029\ud800-\udfff]+")

_SENDER = Outcome("ours")
_MALFORMED = Outcome("message")
_NO_UTF8 = Outcome("recipient", "smtputf8")
_NO_8BIT = Outcome("message", "554 5.6.3")  # conversion required but not supported
_TOO_BIG = Outcome("message", "552 5.3.4")


@dataclass(frozen=True, slots=True)
class Offers:
    """What the server announced in its answer to EHLO. `size`: bytes of the largest mail, 0 when it names none."""

    pipelining: bool = False
    utf8: bool = False
    eight_bit: bool = False
    size: int = 0


def envelope(sender: str, mail: Outgoing, offers: Offers) -> bytes | Outcome:
    """MAIL, RCPT and DATA, a line each; or why this mail cannot go to this server. `sender` may be "" (the null path).

    A recipient or content that cannot go on the wire is "message", a sender "ours".
    """
    data, recipient = mail.data, mail.recipient
    if not data.endswith(b"\r\n") or data.startswith(b".\r\n"):  # it would be read as ended early
        return _MALFORMED
    if 0 < offers.size < len(data):
        return _TOO_BIG
    if not offers.eight_bit and not data.isascii():
        return _NO_8BIT
    head = _head(mail.return_path or sender, offers.eight_bit)
    if head and _ASCII.fullmatch(recipient):
        return b"%bRCPT TO:<%b>\r\nDATA\r\n" % (head, recipient.encode())
    return _international(mail.return_path or sender, recipient, offers)


@lru_cache(maxsize=64)  # the same for every mail, unless each has a return path of its own
def _head(sender: str, eight_bit: bool, utf8: bool = False) -> bytes:
    """MAIL; b"" for a sender that cannot go on the wire. The 8-bit option allows 8-bit contents and does not promise any (RFC 6152),
    so that no content has to be searched for them."""
    path = _path(sender) if sender else b""
    if path is None or not (utf8 or path.isascii()):
        return b""
    return b"MAIL FROM:<%b>%b%b\r\n" % (path, b" BODY=8BITMIME" if eight_bit else b"", b" SMTPUTF8" if utf8 else b"")


def _international(sender: str, recipient: str, offers: Offers) -> bytes | Outcome:
    """As `envelope`, for addresses that are not all plain ASCII."""
    source, target = _path(sender) if sender else b"", _path(recipient)
    if target is None or source is None:
        return _MALFORMED if target is None else _SENDER
    utf8 = not (source.isascii() and target.isascii())
    if utf8 and not offers.utf8:
        return _NO_UTF8 if source.isascii() else _SENDER
    return b"%bRCPT TO:<%b>\r\nDATA\r\n" % (_head(sender, offers.eight_bit, utf8), target)


def _path(address: str) -> bytes | None:
    """As it goes on the wire: the domain in ASCII, the local part as it is; None when it could be read as something else."""
    if _ASCII.fullmatch(address):
        return address.encode()
    local, _, domain = address.rpartition("@")
    if not _LOCAL.fullmatch(local):
        return None
    if domain.isascii():
        return f"{local}@{domain}".encode() if _ASCII.fullmatch(f"a@{domain}") else None
    import idna  # rarely needed: addresses are kept with an ASCII domain

    try:
        return local.encode() + b"@" + idna.encode(domain, uts46=True)
    except idna.IDNAError:
        return None
