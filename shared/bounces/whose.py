"""The mail of ours that a report is about. Proof is a token that we signed: in the address that the report was sent to (VERP), else in
what came back. An address in the report is never looked at: people forward their mail, and anybody can write one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.bounces.mail import Mail
from shared.errors import BadToken
from shared.links import Links
from shared.model.ref import MailRef

_RECIPIENT = (
    "Delivered-To",
    "X-Original-To",
    "X-Delivered-To",
    "Envelope-To",
    "X-Envelope-To",
    "X-Forwarded-To",
    "Resent-To",
    "To",
)
_RETURN_PATH = re.compile(r"(?<![\w+.-])b\+[\w~.-]{30,62}@", re.IGNORECASE | re.ASCII)
_MESSAGE_ID = re.compile(r"(?<![\w+~.-])[A-Za-z0-9-]{1,40}~[\w-]{22}~[A-Za-z0-9-]{0,40}\.[\w-]{22}@", re.ASCII)
_MAX = 20  # candidates that are verified


def whose(mail: Mail, links: Links, recipient: str = "") -> MailRef | None:
    """The mail, or None when nothing proves one. `recipient`: where the report was delivered, if known apart from its headers."""
    arrived = [recipient, *(text for name in _RECIPIENT for text in mail.all(name))]
    carried = [mail.returned, mail.feedback, mail.status, *mail.texts, mail.header("In-Reply-To"), mail.header("References")]
    return _first(arrived, links) or _first(carried, links)


def _first(texts: Iterable[str], links: Links) -> MailRef | None:
    tried = 0
    for text in texts:
        for pattern, read in ((_RETURN_PATH, links.read_return_path), (_MESSAGE_ID, links.read_message_id)):
            for found in pattern.finditer(text):
                if tried == _MAX:
                    return None
                tried += 1
                try:
                    return read(f"{found[0]}x")
                except BadToken:
                    continue
    return None
