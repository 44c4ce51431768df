"""One variant of a mail as bytes with slots, and the quick way to fill them.

The slot that occurs most often (the track token, in a mail with counted links) is what the rest is joined with; so filling costs a
copy of the mail and little for each slot.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any, TypeAlias

from shared.mail import mime
from shared.mail.compose import Content
from shared.mail.marks import Marks, Use
from shared.mail.program import Expression, plain
from shared.mail.source import Source

Piece: TypeAlias = "bytes | Use"
_OWN = ""  # in the place of a context: a token or address of ours


class Wire:
    """One variant on the wire: CRLF line ends, a final one, no line beginning with a dot. `size`: bytes with empty slots and
    without the recipient's own header lines. `tidy`: no tab and no two spaces in a row, whatever is filled in."""

    def __init__(self, content: Content, source: Source, marks: Marks, slots: list[Expression], own: Set[Use]) -> None:
        """`own`: where a token or address of ours stands as it is (see `mime.own_bytes`)."""
        subject = marks.cut(content.subject)
        is_open = any(isinstance(piece, tuple) for piece in subject)
        head = "" if is_open else mime.header("Subject", content.subject)
        pieces = _pieces(head + fixed_head(source), content, source, marks)
        pieces = [(piece[0], _OWN) if isinstance(piece, tuple) and piece in own else piece for piece in pieces]
        self.size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        found = Counter(piece for piece in pieces if isinstance(piece, tuple))
        needed = list(dict.fromkeys([index for index, _ in found] + [p[0] for p in subject if isinstance(p, tuple)]))
        uses = sorted(found, key=lambda use: needed.index(use[0]))
        place = {use: 1 + n for n, use in enumerate(uses)}
        self._slots = [(slots[i].plain_name, slots[i], [context for index, context in uses if index == i]) for i in needed]
        self._subject = [p if isinstance(p, str) else needed.index(p[0]) for p in subject] if is_open else []
        self._most = place[found.most_common(1)[0][0]] if found else 0
        parts: list[list[bytes]] = [[b"", b""]]
        holes: list[list[tuple[int, int]]] = [[(0, 0)]]
        for piece in pieces:
            if isinstance(piece, bytes):
                parts[-1][-1] += piece
            elif place[piece] == self._most:
                parts.append([b""])
                holes.append([])
            else:
                holes[-1].append((len(parts[-1]), place[piece]))
                parts[-1] += [b"", b""]
        self._parts = [b"".join(part) for part in parts]
        self.tidy = not any(b"  " in part or b"\t" in part for part in self._parts)
        self._open = [(n, part, hole) for n, (part, hole) in enumerate(zip(parts, holes, strict=True)) if hole]

    def fill(self, head: str, values: Mapping[str, Any]) -> bytes:
        """The mail of one recipient, whose own header lines are `head`; raises BadTemplate."""
        texts, filled = [], [b""]
        for name, slot, contexts in self._slots:
            value = values.get(name) if name else slot(values)
            text = value if type(value) is str else plain(value)
            texts.append(text)
            for context in contexts:
                filled.append(mime.slot_bytes(text, context) if context else mime.own_bytes(text))
        if self._subject:
            head += mime.header("Subject", "".join([texts[p] if type(p) is int else p for p in self._subject]))  # type: ignore[misc]
        filled[0] = head.encode()
        for n, part, holes in self._open:  # in place: each hole is filled for each recipient
            for place, use in holes:
                part[place] = filled[use]
            self._parts[n] = b"".join(part)
        return filled[self._most].join(self._parts)


def fixed_head(source: Source) -> str:
    """The header lines that all recipients get alike, without Subject and Content-Type; raises BadInput."""
    identity = source.identity
    head = mime.mailbox("From", identity.from_name, identity.from_address)
    if identity.reply_to:
        head += mime.mailbox("Reply-To", "", identity.reply_to)
    if source.bulk:
        head += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        head += mime.list_id(identity.list_name, identity.list_domain)
    else:
        head += "Auto-Submitted: auto-generated\r\n"
    return head + "MIME-Version: 1.0\r\n"


def _pieces(head: str, content: Content, source: Source, marks: Marks) -> list[Piece]:
    """The mail after the recipient's own header lines."""
    if not content.html:
        head += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        return [head.encode(), *_coded(content.text, marks)]
    digest = hashlib.sha256(source.data + source.campaign.encode()).hexdigest()[:16]
    boundary = f"=_{digest}".encode()  # "=_" cannot occur in quoted-printable
    pieces: list[Piece] = [head.encode(), b'Content-Type: multipart/alternative; boundary="%b"\r\n\r\n' % boundary]
    for kind, text in ((b"plain", content.text), (b"html", content.html)):
        pieces.append(b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\n" % (boundary, kind))
        pieces.append(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
        pieces += _coded(text, marks)
    return [*pieces, b"--%b--\r\n" % boundary]


def _coded(text: str, marks: Marks) -> list[Piece]:
    """A part's text, with its last line ended; each slot at the beginning of a line."""
    pieces: list[Piece] = []
    for piece in marks.cut(text.rstrip("\n") + "\n"):
        if isinstance(piece, str):
            pieces.append(mime.quoted(piece.encode()) + (b"" if piece.endswith("\n") else mime.SOFT))
        else:
            pieces.append(piece)
    return pieces
