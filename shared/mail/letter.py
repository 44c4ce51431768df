"""One variant of a mail for providers that make the MIME themselves: decoded texts in pieces, and each recipient's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.mail import mime
from shared.mail.compose import Content
from shared.mail.marks import Marks, Use
from shared.mail.program import Expression, plain
from shared.mail.source import Source
from shared.mail.wire import fixed_head
from shared.ports import Letter, Pieces

_OWN_FIELDS = ("From", "Reply-To", "MIME-Version")  # of Letter, or of the provider


class Form:
    """A `letter`, the same object for all its recipients, and how to work out what goes into it."""

    def __init__(self, content: Content, source: Source, marks: Marks, slots: list[Expression]) -> None:
        subject = marks.cut(content.subject)
        self._subject = [p if isinstance(p, str) else slots[p[0]] for p in subject] if marks.slots(content.subject) else []
        self._bulk = source.bulk
        own = 1 + self._bulk + bool(self._subject)  # values: Message-ID, unsubscribe address, subject; then those of the texts
        uses: dict[Use, int] = {}

        def pieces(text: str) -> Pieces:
            cut = marks.cut(text)
            return tuple(piece if isinstance(piece, str) else uses.setdefault(piece, own + len(uses)) for piece in cut)

        text, page = content.text.rstrip("\n"), content.html.rstrip("\n")
        headers: dict[str, Pieces] = {name: (value,) for name, value in _unfolded(fixed_head(source)) if name not in _OWN_FIELDS}
        headers["Message-ID"] = (0,)
        if self._bulk:
            headers["List-Unsubscribe"] = ("<", 1, ">")
        self.letter = Letter(
            from_name=mime.clean_header(source.identity.from_name),
            from_address=source.identity.from_address,
            reply_to=source.identity.reply_to,
            subject=(own - 1,) if self._subject else (mime.clean_header(content.subject),),
            text=pieces(text if page else f"{text}\n"),
            html=pieces(page),
            headers=headers,
        )
        self._slots = [(slots[index], context) for index, context in uses]

    def values(self, message_id: str, unsubscribe: str, values: Mapping[str, Any]) -> tuple[str, ...]:
        """What goes into the letter for one recipient; raises BadTemplate."""
        own = [message_id, unsubscribe] if self._bulk else [message_id]
        if self._subject:
            subject = [piece if isinstance(piece, str) else plain(piece(values)) for piece in self._subject]
            own.append(mime.clean_header("".join(subject)))
        return (*own, *[mime.write(plain(slot(values)), context) for slot, context in self._slots])


def _unfolded(head: str) -> list[tuple[str, str]]:
    """(name, value) of each header line."""
    lines = head.replace("\r\n ", " ").split("\r\n")
    return [(name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]
