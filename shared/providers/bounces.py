"""What a bounce says of the address, where a provider's word and an enhanced status (RFC 3463) are both known: the milder one
decides, because suppressing the wrong person cannot be mended."""

from __future__ import annotations

import re

from shared.providers.events import Bounce
from shared.providers.smtp_replies import classify

_MILD: tuple[Bounce, ...] = ("", "counts", "hard")
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])", re.ASCII)
_CONTENT = re.compile(r"[45]\.(7\.|6\.|2\.3|3\.4)")  # policy, contents, size
_LONG_TRIED = ("4.2.2", "4.4.")  # given up after hours: a full mailbox, a server that does not answer
_SAYS_LITTLE = re.compile(r"5\.[03458]\.|5\.2\.0")  # other, system, network, protocol


def status_in(text: object) -> str:
    """The first enhanced status of a server's reply, "" for none."""
    found = _STATUS.search(text[:2000]) if isinstance(text, str) else None
    return found[0] if found else ""


def weighed(said: Bounce, status: object) -> Bounce:
    """What a bounce says of the address, by the provider's word and the enhanced status in the server's reply."""
    known = _by_status(status_in(status))
    return said if known is None else min(said, known, key=_MILD.index)


def _by_status(status: str) -> Bounce | None:
    """None for a status that says too little. `smtp_replies` has the say where there is a class 5."""
    if _CONTENT.match(status):
        return ""
    if status.startswith("4."):
        return "counts" if status.startswith(_LONG_TRIED) else None
    if not status.startswith("5.") or _SAYS_LITTLE.match(status):
        return None
    outcome = classify("content", f"550 {status}".encode())
    return ("hard" if outcome.hard else "counts") if outcome.kind == "recipient" else ""
