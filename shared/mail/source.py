"""What a mail is compiled from: a template file as fetched, the campaign's own subject, and who it comes from.

A template may open with front matter, lines of `key: value` between two `---` lines:

    ---
    subject: A new roast, {{ name or "friend" }}
    preheader: Light, sweet, from Huila
    ---
    # Hello
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shared.errors import BadTemplate

MAX_SOURCE = 256 * 1024  # bytes
KEYS = ("subject", "preheader")
_KINDS: dict[str, Kind] = {"md": "markdown", "html": "html", "htm": "html", "txt": "text"}
_LANGUAGE = re.compile(r"\.([a-z]{2,3}(?:-[A-Za-z]{2,4})?)\.[a-z]+$")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
Kind = Literal["markdown", "html", "text"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant as a sender. `list_domain` is both the List-Id and the right side of every Message-ID."""

    from_name: str
    from_address: str  # ASCII, as is reply_to
    postal_address: str  # line breaks become ", "
    list_name: str
    list_domain: str
    reply_to: str = ""
    language: str = "en"  # BCP 47, of templates whose name (`welcome.fr.md`) does not tell

    @property
    def postal_line(self) -> str:
        return ", ".join(line.strip() for line in self.postal_address.splitlines() if line.strip())


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A template file and its circumstances. The suffix of `name` decides: .md, .html or .txt.

    `subject` overrides the front matter's. `bulk` adds the List-* headers and the footer, `tracked` the open pixel and the
    counted links.
    """

    name: str
    data: bytes
    campaign: str
    identity: Identity
    subject: str = ""
    bulk: bool = True
    tracked: bool = True


@dataclass(frozen=True, slots=True)
class Template:
    """A source taken apart. `body` keeps the file's line numbers: the front matter's lines are left empty."""

    kind: Kind
    subject: str
    preheader: str
    body: str
    language: str


def read(source: Source) -> Template:
    """Decode and split; raises BadTemplate for a wrong suffix, encoding, size, control character or front matter."""
    suffix = source.name.rpartition(".")[2].lower()
    if suffix not in _KINDS:
        raise BadTemplate(f"“{source.name}” is not a template we know: use a .md, .html or .txt file.")
    head, body = _front_matter(_decode(source.data))
    language = _LANGUAGE.search(source.name)
    subject = source.subject.strip() or head.get("subject", "")
    if not subject:
        raise BadTemplate("The mail has no subject: fill the Subject cell or add a “subject:” line at the top of the template.")
    if _CONTROL.search(subject) or "\n" in subject or "\r" in subject:
        raise BadTemplate("The subject holds a line break or an invisible control character.")
    return Template(
        kind=_KINDS[suffix],
        subject=subject,
        preheader=head.get("preheader", ""),
        body=body,
        language=language[1] if language else source.identity.language,
    )


def _decode(data: bytes) -> str:
    if len(data) > MAX_SOURCE:
        raise BadTemplate(f"The template is {len(data) // 1024:,} KB; at most {MAX_SOURCE // 1024} KB are allowed.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise BadTemplate(f"Line {line} is not UTF-8 text: save the template as UTF-8.") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise BadTemplate(f"Line {line} holds an invisible control character (U+{ord(control[0]):04X}): remove it.")
    return text


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return {}, text
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip() == "---":
            return found, "\n" * number + "\n".join(lines[number:])
        key, colon, value = (piece.strip() for piece in line.partition(":"))
        if not line.strip():
            continue
        if not colon or key.lower() not in KEYS:
            raise BadTemplate(f"Line {number}: “{key[:40]}” is not a setting a template can have; {' and '.join(KEYS)} are.")
        if key.lower() in found:
            raise BadTemplate(f"Line {number}: “{key}” is given twice.")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[key.lower()] = value
    raise BadTemplate("The settings at the top of the template begin with “---” but no second “---” line ends them.")
