"""A received mail, cut up within bounds: whoever sends to the bounce address is a stranger, and any bytes may come.

What is returned with a bounce, our own mail, is kept apart from what the reporting server says: our words must not be read as its.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

MAX_BYTES = 128 * 1024  # read; a report comes first, so what is cut off is the returned mail
MAX_PARTS = 100
MAX_DEPTH = 8
MAX_TEXT = 16_000  # characters of one text
MAX_HEADER = 4000
_BOUNDARIES = 50  # of the words "boundary=", and 20 times as many lines that look like one: beyond it is an attack
_CHARSET = re.compile(
    r"(?:utf-?8|us-ascii|iso-?8859-\d+|iso-2022-[a-z]+|(?:windows|cp)-?\d+|koi8-[ru]|shift_jis|euc-[a-z]+|gb\w+|big5)",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"<(?:style|script)\b[^>]{0,500}>.{0,4000}?</(?:style|script)\s*>|<!--.{0,4000}?-->|<[^<>]{0,2000}>",
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(r"<(?:br|p|div|tr|li|h\d)\b[^<>]{0,500}>", re.IGNORECASE)
_REPORTS = {"message/delivery-status", "message/global-delivery-status", "message/feedback-report"}
_RETURNED = {"message/rfc822", "message/global", "message/global-headers", "text/rfc822-headers", "message/rfc822-headers"}


class Unreadable(ValueError):
    """Too deep or too many parts to be a report of a mail."""


@dataclass(slots=True)
class Mail:
    """`kind`: the content type, lower case; `report`: its report-type. `texts`: what is written for people, in order.
    `status`, `feedback`: the fields of machine-readable parts, "" without one. `returned`: the start of what came back."""

    headers: Message
    kind: str = ""
    report: str = ""
    texts: list[str] = field(default_factory=list)
    status: str = ""
    feedback: str = ""
    returned: str = ""

    def header(self, name: str) -> str:
        """The first header of that name, unfolded and decoded; "" when there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """The first ten headers of that name."""
        return [_decoded(str(value)[:MAX_HEADER]) for value in self.headers.get_all(name, [])[:10]]


def parse(raw: bytes) -> Mail:
    """The mail in `raw`, an RFC 5322 message, possibly broken; raises Unreadable."""
    raw = raw[:MAX_BYTES]
    if raw.count(b"oundary=") > _BOUNDARIES or raw.count(b"\n--") > 20 * _BOUNDARIES:
        raise Unreadable("too many parts")
    try:
        message: Message = BytesParser(policy=compat32).parsebytes(raw)
    except RecursionError:
        raise Unreadable("too deep") from None
    mail = Mail(message, message.get_content_type().lower(), _parameter(message, "report-type"))
    for part in _parts(message):
        _read_part(mail, part)
    return mail


def _parts(message: Message, depth: int = 0) -> Iterator[Message]:
    """The leaves, and parts that are whole messages unopened."""
    if message.get_content_maintype() != "multipart" or not message.is_multipart():
        yield message
        return
    if depth == MAX_DEPTH:
        raise Unreadable("too deep")
    children = message.get_payload()
    if len(children) > MAX_PARTS:
        raise Unreadable("too many parts")
    for child in children:
        if isinstance(child, Message):
            yield from _parts(child, depth + 1)


def _read_part(mail: Mail, part: Message) -> None:
    kind = part.get_content_type().lower()
    if kind in _REPORTS:
        if kind == "message/feedback-report":
            mail.feedback = mail.feedback or _fields(part)
        else:
            mail.status = mail.status or _fields(part)
    elif kind in _RETURNED:
        mail.returned = mail.returned or _fields(part)
    elif kind.startswith("text/") and len(mail.texts) < 10:
        text = _content(part)[: 2 * MAX_TEXT]
        mail.texts.append((_plain(text) if kind == "text/html" else text)[:MAX_TEXT])


def _fields(part: Message) -> str:
    """The lines of a part whose content is headers, whether the parser took it apart (RFC 3464, RFC 822) or not."""
    payload = part.get_payload()
    if not isinstance(payload, list):
        return _content(part)[:MAX_TEXT]
    texts = []
    for block in payload[:50]:
        if isinstance(block, Message):
            lines = [f"{name}: {_unfolded(str(value))}" for name, value in block.items()]
            rest = block.get_payload()
            texts.append("\n".join([*lines, rest if isinstance(rest, str) else ""]))
    whole = "\n\n".join(texts)[: 4 * MAX_TEXT]
    if part.get("Content-Transfer-Encoding", "").strip().lower() == "base64":  # RFC 2046 forbids it, and it is done
        try:
            whole = base64.b64decode(re.sub(r"[^A-Za-z0-9+/]", "", whole) + "===").decode("latin-1")
        except (binascii.Error, ValueError):
            pass
    return whole[:MAX_TEXT]


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    return _characters(payload, _parameter(part, "charset")).replace("\r\n", "\n").replace("\r", "\n")


def _characters(data: bytes, charset: str) -> str:
    if charset in ("", "us-ascii") or not _CHARSET.fullmatch(charset):
        charset = "utf-8"
    try:
        return data.decode(charset)
    except (LookupError, ValueError):
        return data.decode("latin-1")


def _parameter(part: Message, name: str) -> str:
    try:
        value = part.get_param(name, "")
    except (ValueError, IndexError, TypeError, LookupError):  # RFC 2231 parameters that are broken
        return ""
    return value.strip().lower()[:100] if isinstance(value, str) else ""


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub(" ", _BREAK.sub("\n", text)))


def _unfolded(text: str) -> str:
    return re.sub(r"\r?\n[ \t]*|\r", " ", text)


def _decoded(text: str) -> str:
    """RFC 2047 words in characters; as it came where they are broken."""
    text = _unfolded(text).strip()
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(_characters(piece, charset or "") if isinstance(piece, bytes) else piece for piece, charset in pieces)
