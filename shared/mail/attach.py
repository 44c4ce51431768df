"""Files that go with one reader's mail: the finished mail becomes the first part of another (RFC 2046 §5.1.3, multipart/mixed).

All that is added is ASCII, no line of it begins with a dot, and none is longer than 76.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Sequence

from shared.errors import BadInput
from shared.ports import Attachment

_BEFORE_BODY = b"\r\nMIME-Version: 1.0\r\n"  # the last of a mail's own lines: those behind it tell of the body
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_KIND = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_LINE = 57  # bytes that make 76 characters


def mixed(wire: bytes, files: Sequence[Attachment]) -> bytes:
    """The wire form of a mail (see `CompiledMail.splice`) with `files`, as they are without any. Raises BadInput for a name or kind that
    is no plain header value."""
    if not files:
        return wire
    head, found, body = wire.partition(_BEFORE_BODY)
    if not found:
        raise ValueError("not a mail of ours")
    digest = hashlib.sha256(b"".join([body, *(file.data for file in files)])).hexdigest()[:24]
    boundary = (
        f"=_mixed_{digest}".encode()
    )  # "=_" is in no base64 and no quoted-printable, and the mail's own one is of hex digits
    pieces = [head, found, b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n' % (boundary, boundary), body]
    pieces += [b"--%b\r\n%b" % (boundary, _part(file)) for file in files]
    return b"".join([*pieces, b"--%b--\r\n" % boundary])


def _part(file: Attachment) -> bytes:
    if not _NAME.fullmatch(file.name) or not _KIND.fullmatch(file.kind):
        raise BadInput("A file cannot be attached under this name or media type.")
    lines = [b2a_base64(file.data[at : at + _LINE], newline=False) for at in range(0, len(file.data), _LINE)]
    charset = "; charset=utf-8" if file.kind.startswith("text/") else ""
    head = (
        f"Content-Type: {file.kind}{charset}\r\n"
        f'Content-Disposition: attachment; filename="{file.name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + b"".join([line + b"\r\n" for line in lines])
