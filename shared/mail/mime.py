"""The bytes on the wire: header lines, quoted-printable, and a part's text cut into static bytes and slots.

Each slot stands between two soft line breaks (RFC 2045 §6.7), so what surrounds it never depends on its value. A "." that would
open a line is written `=2E`: nothing here ever needs dot-stuffing. Header text loses control, direction and zero-width characters.
"""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Callable, Sequence
from html import escape

from shared.errors import BadInput
from shared.mail.html import url_part, whole_url
from shared.mail.marks import Marks

CRLF = b"\r\n"
SOFT = b"=\r\n"
WIDTH = 76  # of a line, RFC 2045 and 2047

_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]+")
_HEADER_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_ENCODED = re.compile(rb"[^\t !-<>-~]|=")
_AWKWARD = (b".", b"From ")  # at the start of a line: SMTP doubles the one, mailbox files quote the other
_QP_TAIL = re.compile(rb"[ \t]$")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_CSS_UNSAFE = re.compile(r"[^A-Za-z0-9#%., -]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def clean(value: str) -> str:
    """A value for a body: line breaks and tabs become a space; control and direction-override characters go; half a surrogate
    pair becomes "?"."""
    if value.isascii() and value.isprintable():
        return value
    return _DROPPED.sub("", _BREAKS.sub(" ", value)).encode("utf-8", "replace").decode()


def clean_header(value: str) -> str:
    """A value for a header: as `clean`, also without zero-width characters, runs of spaces made one."""
    if value.isascii() and value.isprintable():
        return " ".join(value.split())
    return " ".join(_HEADER_DROPPED.sub("", _BREAKS.sub(" ", value)).encode("utf-8", "replace").decode().split())


# --- headers ----------------------------------------------------------------------------------------------------------


def header(name: str, value: str) -> bytes:
    """One unstructured header line, folded at 78; RFC 2047 encoded words where it is not plain ASCII."""
    value = clean_header(value)
    if value.isascii() and "=?" not in value and max(map(len, value.split()), default=0) <= WIDTH - 2 - len(name):
        if len(name) + len(value) < 76:
            return f"{name}: {value}\r\n".encode()
        lines = textwrap.wrap(f"{name}: {value}", 78, break_long_words=False, break_on_hyphens=False)
        return "\r\n ".join(lines).encode() + CRLF
    return f"{name}: {_encoded_words(value, len(name) + 2)}\r\n".encode("ascii")


def _encoded_words(text: str, column: int) -> str:
    """`text` as B-encoded words of at most 75 characters, each of whole characters, folded; the first starts at `column`."""
    words, chunk, room = [], b"", (78 - column - 12) // 4 * 3
    for character in text:
        data = character.encode()
        if len(chunk) + len(data) > room:
            words.append(chunk)
            chunk, room = b"", 45
        chunk += data
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in [*words, chunk])


def mailbox(name: str, display: str, address: str) -> bytes:
    """A From or Reply-To line."""
    display = clean_header(display)
    if not display:
        return f"{name}: {check_address(address)}\r\n".encode()
    return _bracketed(f"{name}: {_phrase(display, len(name) + 2)}", check_address(address))


def list_id(display: str, domain: str) -> bytes:
    """A List-Id line (RFC 2919)."""
    return _bracketed(f"List-Id: {_phrase(clean_header(display), 9)}", check_domain(domain))


def _bracketed(line: str, content: str) -> bytes:
    fold = "\r\n" if len(line.rpartition("\n")[2]) + len(content) > 75 else ""
    return f"{line}{fold} <{content}>\r\n".encode()


def _phrase(display: str, column: int) -> str:
    if not display.isascii() or "=?" in display or len(display) > 60:
        return _encoded_words(display, column)
    if _ATOMS.fullmatch(display):
        return display
    return '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_address(address: str) -> str:
    """The address; raises BadInput unless it is a plain ASCII addr-spec."""
    if not _ADDRESS.fullmatch(address):
        raise BadInput("An e-mail address cannot be written into a header: it must be plain ASCII, like name@example.com.")
    return address


def check_domain(domain: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", domain):
        raise BadInput("The list's domain must be a plain ASCII domain name, like news.example.com.")
    return domain


# --- quoted-printable -------------------------------------------------------------------------------------------------


def quoted(data: bytes) -> bytes:
    """Quoted-printable of a text with "\\n" line ends; CRLF between lines and none added at the end, no line over 76, none
    beginning with a dot or "From "."""
    return CRLF.join([_quoted_line(line) for line in data.split(b"\n")])


def _quoted_line(line: bytes) -> bytes:
    line = _ENCODED.sub(_hex, line)
    line = _QP_TAIL.sub(_hex, line)
    return _wrapped(line)


def _wrapped(line: bytes) -> bytes:
    if len(line) < WIDTH - 2 and not line.startswith(_AWKWARD):
        return line
    pieces, start = [], 0
    while start < len(line):
        awkward = line.startswith(_AWKWARD, start)
        end = start + WIDTH - (3 if awkward else 1)
        if end < len(line):
            if line[end - 1] == 61:
                end -= 1
            elif line[end - 2] == 61:
                end -= 2
        pieces.append(b"=%02X" % line[start] + line[start + 1 : end] if awkward else line[start:end])
        start = end
    return SOFT.join(pieces)


def _hex(match: re.Match[bytes]) -> bytes:
    return b"=%02X" % match[0][0]


# --- values -----------------------------------------------------------------------------------------------------------

_SIMPLE = {
    **dict.fromkeys("ht", re.compile(r"(?!From )[A-Za-z0-9](?:[A-Za-z0-9 _~,/:@.-]{0,68}[A-Za-z0-9])?")),
    "u": re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_~.-]{0,69}"),
    "c": re.compile(r"#?[A-Za-z0-9]{1,20}"),
}
_SIMPLE_URL = re.compile(r"https?://[A-Za-z0-9/:_~.-]+")
_WRITERS: dict[str, Callable[[str], str]] = {
    "h": lambda value: escape(clean(value)),
    "t": clean,
    "l": lambda value: escape(whole_url(clean(value))),
    "f": lambda value: whole_url(clean(value)),
    "u": lambda value: url_part(clean(value)),
    "c": lambda value: _CSS_UNSAFE.sub("", clean(value)),
}


def write(value: str, context: str) -> str:
    """A value's characters where a mark of this context stands (see `marks`)."""
    return _WRITERS[context](value)


def slot_bytes(value: str, context: str) -> bytes:
    """A value as it goes into a slot: quoted-printable with its own soft breaks and a last one, nothing for nothing."""
    if (simple := _SIMPLE.get(context)) and simple.fullmatch(value):
        return value.encode() + SOFT
    if not simple and _SIMPLE_URL.fullmatch(value):
        return _wrapped(value.encode()) + SOFT
    written = write(value, context)
    return _quoted_line(written.encode()) + SOFT if written else b""


class Cutter:
    """Collects static bytes and slots. `pieces` alternates: static bytes, or a slot use (slot, context)."""

    def __init__(self, marks: Marks, values: Sequence[str]) -> None:
        self.marks = marks
        self.values = values
        self.pieces: list[bytes | tuple[int, str]] = []

    def raw(self, data: bytes) -> None:
        if self.pieces and isinstance(last := self.pieces[-1], bytes):
            self.pieces[-1] = last + data
        else:
            self.pieces.append(data)

    def text(self, text: str) -> None:
        """Add a part's text, with marks, ending its last line."""
        text = self.resolve(text).rstrip("\n") + "\n"
        position = 0
        for match in self.marks.pattern.finditer(text):
            if before := text[position : match.start()]:
                self.raw(quoted(before.encode()))
            if before and not before.endswith("\n"):
                self.raw(SOFT)
            self.pieces.append((int(match[2]), match[3]))
            position = match.end()
        self.raw(quoted(text[position:].encode()))

    def resolve(self, text: str) -> str:
        """`text` with the values fixed in this variant written in."""
        return self.marks.pattern.sub(lambda m: m[0] if m[1] == "s" else write(self.values[int(m[2])], m[3]), text)
