"""Signed tokens: a readable payload, a dot, and 128 bits of HMAC-SHA-256 in base64url (22 characters).

One salt per purpose, so that a token made for one thing is worth nothing for another. Built on itsdangerous' `Signer`, whose
comparison is constant-time.

Keys rotate by adding a version of the secret: all verify at once, the newest signs as soon as every process must know it
(HAND_OVER). A version is disabled only when no link that it signed has to work any more, and its successor is handed over.

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
from shared.ports import SECRET_AGE, Clock, Secrets

Purpose = Literal["track", "leave", "message", "link", "confirm"]
PURPOSES: tuple[Purpose, ...] = ("track", "leave", "message", "link", "confirm")
SECRET = "signing-key"
HAND_OVER = 2 * SECRET_AGE  # ms: twice, so that a process may fail to refresh its keys once
_SIGNED = re.compile(r".*\.[A-Za-z0-9_-]{21}[AQgw]")  # one spelling only: base64 would pass padding and stray low bits


class _Hmac128(SigningAlgorithm):
    """HMAC-SHA-256 cut to 128 bits: as hard to forge online, half the bytes in each of a mail's links."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")[:16]


class Tokens:
    """Signs and verifies. `keys`: each at least 16 bytes; the first signs, all verify."""

    def __init__(self, keys: Sequence[bytes], source: tuple[Secrets, Clock] | None = None) -> None:
        self._source = source
        self._use(keys)

    @classmethod
    async def load(cls, secrets: Secrets, clock: Clock) -> Tokens:
        """Raises ConfigError without a key, Unavailable when it cannot be had."""
        return cls(await _keys(secrets, clock.now()), (secrets, clock))

    async def fresh(self) -> None:
        """Take up a rotation: to be awaited before each request, message or tick is worked on. Raises as `load`."""
        if self._source:
            secrets, clock = self._source
            keys = await _keys(secrets, clock.now())
            if keys != self._keys:
                self._use(keys)

    def _use(self, keys: Sequence[bytes]) -> None:
        self._keys = keys
        self._signers = {purpose: _signer(keys, purpose) for purpose in PURPOSES}

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


async def _keys(secrets: Secrets, now: int) -> list[bytes]:
    """The key to sign with at `now` (ms), then the others."""
    versions = await secrets.get(SECRET)
    signing = next((version for version in versions if version.created + HAND_OVER <= now), versions[-1])
    return [signing.value, *(version.value for version in versions if version is not signing)]


def _signer(keys: Sequence[bytes], purpose: Purpose) -> Signer:
    derived = [hashlib.sha256(b"subscriber-pipeline " + purpose.encode() + b"\0" + key).digest() for key in reversed(keys)]
    return Signer(derived, key_derivation="none", algorithm=_Hmac128())
