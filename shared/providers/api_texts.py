"""A letter's texts, headers and addresses as providers' APIs want them."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from email.header import Header
from functools import partial
from typing import Any

from shared.ports import Attachment, Letter, Outgoing, Pieces

_BREAKS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_FOREIGN = re.compile(r'[^\s<>"]*[^\x00-\x7f][^\s<>"]*(?: [^\s<>"]*[^\x00-\x7f][^\s<>"]*)*')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def filled(pieces: Pieces, values: Sequence[str]) -> str:
    """The text for one recipient."""
    return "".join([piece if isinstance(piece, str) else values[piece] for piece in pieces])


def used(*texts: Pieces) -> list[int]:
    """The numbers of the values that stand in these texts, each once, in order."""
    return sorted({piece for pieces in texts for piece in pieces if isinstance(piece, int)})


def headers(mail: Outgoing, without: Collection[str] = ()) -> dict[str, str]:
    """One mail's own headers, ASCII; `without`: lower-case names of those that the provider makes itself."""
    assert mail.letter is not None
    found = mail.letter.headers.items()
    return {name: ascii_header(filled(pieces, mail.values)) for name, pieces in found if name.lower() not in without}


def ascii_header(text: str) -> str:
    """Header text in one line of ASCII: words beyond it as encoded words (RFC 2047), the others as they are, however long."""
    text = _BREAKS.sub(" ", text).strip()
    return text if text.isascii() else _FOREIGN.sub(lambda m: Header(m[0], "utf-8").encode(maxlinelen=75, linesep=""), text)


def mailbox(name: str, address: str, *, encoded: bool = False) -> str:
    """`name <address>`, quoted where it must be; with `encoded` a name beyond ASCII is made of encoded words."""
    name = _BREAKS.sub(" ", name).strip()
    if not name:
        return address
    if encoded and not name.isascii():
        return f"{Header(name, 'utf-8').encode(maxlinelen=75, linesep='')} <{address}>"
    if not _ATOMS.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def in_base64(file: Attachment) -> str:
    return b64encode(file.data).decode()


def to_json(data: Any) -> bytes:
    return _dumps(data).encode("utf-8", "replace")


_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class Suspect:
    """Whether a mail's text or values hold what a provider could take for a placeholder of its own."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern, re.IGNORECASE)
        self._seen: tuple[Letter | None, bool] = None, False  # the last letter, and what was found of it

    def __call__(self, mail: Outgoing) -> bool:
        letter = mail.letter
        if letter is not self._seen[0] and letter is not None:
            texts = ((letter.from_name,), letter.subject, letter.text, letter.html, *letter.headers.values())
            fixed = (piece for pieces in texts for piece in pieces if isinstance(piece, str))
            self._seen = letter, any(self._pattern.search(piece) for piece in fixed)
        return self._seen[1] or any(self._pattern.search(value) for value in mail.values)
