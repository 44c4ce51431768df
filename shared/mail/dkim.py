"""DKIM signatures (RFC 6376, RFC 8463): who answers for a mail, and that nobody changed it on its way.

Signed is what a reader sees and what a mail program acts on, List-Unsubscribe and List-Unsubscribe-Post with it (RFC 8058 §4), each
field once more than the mail has it, so that none can be added (RFC 6376 §8.15). There is no time in a signature: signing a mail again
gives the same bytes. Not for a provider that writes header fields anew, as most with an API do: those sign with keys of their own.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.errors import ConfigError

MIN_RSA = 2048  # bits
SIGNED = (
    b"from",
    b"reply-to",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-id",
)
_WIDTH = 72  # of a line of `h` or `b`
_FOLD = b"\r\n "
_NAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PADDING, _SHA256 = PKCS1v15(), hashes.SHA256()


class Dkim:
    """One key. Its public half is the TXT record `{selector}._domainkey.{domain}`."""

    def __init__(self, domain: str, selector: str, private_key_pem: str | bytes) -> None:
        """`private_key_pem`: PKCS #8 or PKCS #1, not encrypted; RSA of MIN_RSA bits or more, or Ed25519. Raises ConfigError."""
        for name in (domain, selector):
            if not _NAME.fullmatch(name):
                raise ConfigError(f"DKIM: “{name[:80]}” is no domain or selector in plain ASCII")
        try:
            key = load_pem_private_key(private_key_pem.encode() if isinstance(private_key_pem, str) else private_key_pem, None)
        except (ValueError, TypeError):
            raise ConfigError(f"DKIM: the key of {selector}._domainkey.{domain} is no private key in PEM form") from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey) or (isinstance(key, RSAPrivateKey) and key.key_size < MIN_RSA):
            raise ConfigError(
                f"DKIM: the key of {selector}._domainkey.{domain} must be RSA of {MIN_RSA} bits or more, or Ed25519"
            )
        self._key = key
        algorithm = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
        self._tags = f"v=1; a={algorithm}-sha256; c=relaxed/relaxed;".encode(), f"d={domain}; s={selector};".encode()

    def sign(self, wire: bytes, tidy: bool = False) -> bytes:
        """The DKIM-Signature field, folded and ended, to go in front of a whole mail with CRLF line ends. `tidy`: the body is known
        to hold no tab, no two spaces in a row, and none at a line's end."""
        head, _, body = wire.partition(b"\r\n\r\n")
        names, signed = _relaxed_head(head)
        lines = [*self._tags, *_listed(names), b"bh=%b;" % _base64(hashlib.sha256(relaxed_body(body, tidy)).digest()), b"b="]
        data = signed + b"dkim-signature:" + b" ".join(lines)
        if isinstance(self._key, RSAPrivateKey):
            code = _base64(self._key.sign(data, _PADDING, _SHA256))
        else:
            code = _base64(self._key.sign(hashlib.sha256(data).digest()))
        folded = _FOLD.join([code[start : start + _WIDTH] for start in range(0, len(code), _WIDTH)])
        return b"DKIM-Signature: " + _FOLD.join(lines) + folded + b"\r\n"


def relaxed_body(body: bytes, tidy: bool = False) -> bytes:
    """RFC 6376 §3.4.4."""
    if not tidy:
        body = _squeezed(body).replace(b" \r\n", b"\r\n")
        body = body[:-1] if body.endswith(b" ") else body
    while body.endswith(b"\r\n\r\n"):
        body = body[:-2]
    if body in (b"", b"\r\n"):
        return b""
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def _squeezed(data: bytes) -> bytes:
    """Each run of spaces and tabs as one space; a regular expression takes ten times as long."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def _relaxed_head(head: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """The names for `h`, and the fields they stand for in relaxed form (RFC 6376 §3.4.2), the last of a name first (§5.4.2)."""
    found: dict[bytes, list[bytes]] = {name: [] for name in SIGNED}
    for line in reversed(_squeezed(head).replace(b"\r\n ", b" ").split(b"\r\n")):
        name, _, value = line.partition(b":")
        if (fields := found.get(name.rstrip().lower())) is not None:
            fields.append(b"%b:%b\r\n" % (name.rstrip().lower(), _squeezed(value).strip(b" ")))
    names = [name for name, fields in found.items() for _ in range(len(fields) + 1)]
    return tuple(names), b"".join([field for fields in found.values() for field in fields])


@lru_cache(maxsize=64)
def _listed(names: tuple[bytes, ...]) -> list[bytes]:
    """The lines of the `h` tag."""
    lines = [b"h="]
    for name in names:
        if len(lines[-1]) + len(name) >= _WIDTH:
            lines.append(b"")
        lines[-1] += name + b":"
    return [*lines[:-1], lines[-1][:-1] + b";"]


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)
