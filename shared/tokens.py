"""Signed tokens: a readable payload, a dot, and 128 bits of HMAC-SHA-256 in base64url (22 characters).

One salt per purpose, so that a token made for one thing is worth nothing for another. Keys rotate: the newest signs, all verify.
Built on itsdangerous' `Signer`, whose comparison is constant-time.

    track    open and click                payload MailRef.text
    leave    unsubscribe and preferences   payload MailRef.text
    message  Message-ID                    payload MailRef.text
    link     a click's target              payload {campaign}/{n}.{target, base64url}
    confirm  double opt-in                 payload {sid}.{consent}.{expiry, seconds}
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from shared.errors import BadToken
from shared.ports import Secrets

Purpose = Literal["track", "leave", "message", "link", "confirm"]
PURPOSES: tuple[Purpose, ...] = ("track", "leave", "message", "link", "confirm")
SECRET = "signing-key"
_SIGNED = re.compile(r".*\.[A-Za-z0-9_-]{21}[AQgw]")  # one spelling only: base64 would pass padding and stray low bits


class _Hmac128(SigningAlgorithm):
    """HMAC-SHA-256 cut to 128 bits: as hard to forge online, half the bytes in each of a mail's links."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")[:16]


class Tokens:
    """Signs and verifies. `keys`: newest first, each at least 16 bytes."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._signers = {purpose: _signer(keys, purpose) for purpose in PURPOSES}

    @classmethod
    async def load(cls, secrets: Secrets) -> Tokens:
        return cls(await secrets.get(SECRET))

    def sign(self, purpose: Purpose, payload: str) -> str:
        """`payload` + "." + signature. The payload must be URL-safe text."""
        return self._signers[purpose].sign(payload).decode("ascii")

    def verify(self, purpose: Purpose, token: str) -> str:
        """The payload; raises BadToken."""
        if not _SIGNED.fullmatch(token):
            raise BadToken(f"not a {purpose} token of ours")
        try:
            return self._signers[purpose].unsign(token).decode("ascii")
        except (BadSignature, UnicodeError):
            raise BadToken(f"not a {purpose} token of ours") from None


def _signer(keys: Sequence[bytes], purpose: Purpose) -> Signer:
    derived = [hashlib.sha256(b"subscriber-pipeline " + purpose.encode() + b"\0" + key).digest() for key in reversed(keys)]
    return Signer(derived, key_derivation="none", algorithm=_Hmac128())
