"""The bytes on the wire: header lines, quoted-printable, and recipients' values in it.

Each slot stands between two soft line breaks (RFC 2045 §6.7), so what surrounds it never depends on its value. A "." that would
open a line is written `=2E`: nothing here ever needs dot-stuffing. Header text loses control, direction and zero-width characters.
"""

from __future__ import annotations

import re
import textwrap
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable
from functools import lru_cache
from html import escape

from shared.errors import BadInput
from shared.links import MAX_LOCAL_PART
from shared.mail.html import url_part, whole_url

CRLF = b"\r\n"
SOFT = b"=\r\n"
WIDTH = 76  # of a line, RFC 2045 and 2047

_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]+")
_HEADER_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_AWKWARD = (b".", b"From ")  # at the start of a line: SMTP doubles the one, mailbox files quote the other
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_UTF8_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]{1,64}@[A-Za-z0-9.-]{1,253}")
_CSS_UNSAFE = re.compile(r"[^A-Za-z0-9#%., -]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def clean(value: str) -> str:
    """A value for a body: line breaks and tabs become a space; control and direction-override characters go; half a surrogate
    pair becomes "?"."""
    if value.isprintable():  # of what is dropped or replaced, nothing is
        return value
    return _DROPPED.sub("", _BREAKS.sub(" ", value)).encode("utf-8", "replace").decode()


def clean_header(value: str) -> str:
    """A value for a header: as `clean`, also without zero-width characters, runs of spaces made one."""
    if value.isprintable():
        return value if "  " not in value and value == value.strip() else " ".join(value.split())
    return " ".join(_HEADER_DROPPED.sub("", _BREAKS.sub(" ", value)).encode("utf-8", "replace").decode().split())


# --- headers ----------------------------------------------------------------------------------------------------------


def header(name: str, value: str) -> str:
    """One unstructured header line, folded at 78; RFC 2047 encoded words where it is not plain ASCII."""
    value = clean_header(value)
    if value.isascii() and "=?" not in value:
        if len(name) + len(value) < WIDTH - 1:
            return f"{name}: {value}\r\n"
        if max(map(len, value.split())) <= WIDTH - 2 - len(name):
            lines = textwrap.wrap(f"{name}: {value}", 78, break_long_words=False, break_on_hyphens=False)
            return "\r\n ".join(lines) + "\r\n"
    return f"{name}: {_encoded_words(value, len(name) + 2)}\r\n"


def _encoded_words(text: str, column: int) -> str:
    """`text` as B-encoded words of at most 75 characters, each of whole characters, folded; the first starts at `column`."""
    words, chunk, room = [], b"", (78 - column - 12) // 4 * 3
    if len(data := text.encode()) <= room:
        return f"=?utf-8?b?{b2a_base64(data, newline=False).decode()}?="
    for character in text:
        data = character.encode()
        if len(chunk) + len(data) > room:
            words.append(chunk)
            chunk, room = b"", 45
        chunk += data
    return "\r\n ".join(f"=?utf-8?b?{b2a_base64(word, newline=False).decode()}?=" for word in [*words, chunk])


def mailbox(name: str, display: str, address: str) -> str:
    """A From or Reply-To line."""
    display = clean_header(display)
    if not display:
        return f"{name}: {check_address(address)}\r\n"
    return _bracketed(f"{name}: {_phrase(display, len(name) + 2)}", check_address(address))


def list_id(display: str, domain: str) -> str:
    """A List-Id line (RFC 2919)."""
    return _bracketed(f"List-Id: {_phrase(clean_header(display), 9)}", check_domain(domain))


def _bracketed(line: str, content: str) -> str:
    fold = "\r\n" if len(line.rpartition("\n")[2]) + len(content) > 75 else ""
    return f"{line}{fold} <{content}>\r\n"


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


def check_recipient(address: str) -> str:
    """The address of a To line; raises BadInput unless its domain is ASCII and its local part a dot-atom's characters, printable
    UTF-8 included (RFC 6531, 6532): no space, control or format character, bracket or quote."""
    if _ADDRESS.fullmatch(address):
        return address
    local = address.rpartition("@")[0]
    if not _UTF8_ADDRESS.fullmatch(address) or not local.isprintable() or len(local.encode()) > MAX_LOCAL_PART:
        raise BadInput("An e-mail address cannot be written into a header: it must be like name@example.com.")
    return address


@lru_cache(maxsize=8)
def check_date(date: str) -> str:
    """The date; raises BadInput unless it is a header value."""
    if not date.isascii() or not date.isprintable():
        raise BadInput("The date is not a header value.")
    return date


def check_domain(domain: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", domain):
        raise BadInput("The list's domain must be a plain ASCII domain name, like news.example.com.")
    return domain


# --- quoted-printable -------------------------------------------------------------------------------------------------


def quoted(data: bytes) -> bytes:
    """Quoted-printable of a text with "\\n" line ends; CRLF between lines and none added at the end, no line over 76, none
    beginning with a dot or "From "."""
    return CRLF.join([_wrapped(_coded(line)) for line in data.split(b"\n")])


def _coded(line: bytes) -> bytes:
    return b2a_qp(line, istext=False).replace(b"=\n", b"")  # its soft breaks know neither dots nor "From "


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


# --- values -----------------------------------------------------------------------------------------------------------

_SIMPLE = {
    **dict.fromkeys("ht", re.compile(r"(?!From |.*  )[A-Za-z0-9](?:[A-Za-z0-9 _~,/:@.-]{0,68}[A-Za-z0-9])?").fullmatch),
    "u": re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_~.-]{0,69}").fullmatch,
    "c": re.compile(r"#?[A-Za-z0-9]{1,20}").fullmatch,
    **dict.fromkeys("lf", re.compile(r"https?://[A-Za-z0-9/:_~.-]+").fullmatch),
}
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
    """A value as it goes into a slot: quoted-printable with its own soft breaks and a last one, nothing for nothing. No two spaces
    in a row, so that no signature has to look for them (see `dkim`)."""
    if value.isascii():
        if value.isalnum() and len(value) <= 20 and context not in "lf":
            return value.encode() + SOFT
        if _SIMPLE[context](value):
            return _wrapped(value.encode()) + SOFT
    written = write(value, context)
    return _wrapped(_coded(written.encode()).replace(b"  ", b" =20")) + SOFT if written else b""


def own_bytes(value: str) -> bytes:
    """The same for a token or address of ours (see `is_own`), which no context changes; not empty."""
    data = value.encode()
    if len(data) < WIDTH - 2:
        return data + SOFT
    if WIDTH - 1 < len(data) < 2 * WIDTH - 2 and data[WIDTH - 1] != 46:  # not a dot
        return data[: WIDTH - 1] + SOFT + data[WIDTH - 1 :] + SOFT
    return _wrapped(data) + SOFT


def is_own(base: str) -> bool:
    """Whether the addresses below `base` are written alike in all contexts but "u" and "c"."""
    return _SIMPLE["l"](base) is not None
