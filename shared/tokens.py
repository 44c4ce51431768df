"""Signed tokens: a readable payload, a dot, and 128 bits of HMAC-SHA-256 in base64url (22 characters).

One salt per purpose, so that a token made for one thing is worth nothing for another. Verified by itsdangerous'
`SigningAlgorithm`, whose comparison is constant-time, without its `Signer`, which costs a hit twice as much; signed by the same sums
here, because each mail carries three and they would begin each with the key.

Keys rotate by adding a version of the secret: all verify at once, the newest signs as soon as every process must know it
(HAND_OVER). A version is disabled only when no link that it signed has to work any more, and its successor is handed over. Where
the keys could not be refreshed for so long, the process goes on with those it has, but calls no token false.

    track    open, click and conversion    payload MailRef.text~{handed over, seconds, hex}
    leave    unsubscribe and preferences   payload MailRef.text
    message  Message-ID                    payload MailRef.text
    link     a click's target              payload {campaign}/{n}.{target, base64url}
    confirm  double opt-in                 payload {sid}.{consent}.{key of the mail}.{expiry, seconds}
    live     watch a campaign              payload {tenant}/{campaign}.{expiry, seconds}
    form     a sign-up form that we gave   payload {when, seconds}
    view     a campaign in the browser     payload {campaign}.{language, - for that of everybody else}
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Literal

from itsdangerous.signer import SigningAlgorithm

from shared.errors import BadToken, ConfigError, Unavailable
from shared.ports import HAND_OVER, Clock, Secrets

Purpose = Literal["track", "leave", "message", "link", "confirm", "live", "form", "view"]
PURPOSES: tuple[Purpose, ...] = ("track", "leave", "message", "link", "confirm", "live", "form", "view")
SECRET = "signing-key"
MIN_KEY = 16  # bytes
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SIGNED = re.compile(r".*\.[A-Za-z0-9_-]{21}[AQgw]")  # one spelling only: base64 would pass padding and stray low bits


class _Hmac128(SigningAlgorithm):
    """HMAC-SHA-256 cut to 128 bits: as hard to forge online, half the bytes in each of a mail's links."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")[:16]


_ALGORITHM = _Hmac128()


class Tokens:
    """Signs and verifies. `keys`: each at least MIN_KEY bytes; the first signs, all verify. `generation` grows whenever another
    key signs, so that what was signed and kept can be made anew."""

    generation = 0
    _keys: Sequence[bytes] = ()
    _outdated = False

    def __init__(self, keys: Sequence[bytes], source: tuple[Secrets, Clock] | None = None) -> None:
        self._source = source
        self._use(keys)

    @classmethod
    async def load(cls, secrets: Secrets, clock: Clock) -> Tokens:
        """Raises ConfigError without a key or with one that is too short, Unavailable when they cannot be had."""
        return cls(await _keys(secrets, clock.now()), (secrets, clock))

    async def fresh(self) -> None:
        """Take up a rotation: to be awaited before each request, message or tick is worked on. Raises ConfigError as
        `load`; without an answer it goes on with the keys at hand, see `verify`."""
        if self._source:
            secrets, clock = self._source
            try:
                keys = await _keys(secrets, clock.now())
            except Unavailable:
                self._outdated = True
                return
            self._outdated = False
            if keys != self._keys:
                self._use(keys)

    def _use(self, keys: Sequence[bytes]) -> None:
        if any(len(key) < MIN_KEY for key in keys):
            raise ConfigError(f"secret {SECRET}: every enabled version must have at least {MIN_KEY} bytes")
        self.generation += keys[:1] != self._keys[:1]
        self._keys = keys
        self._derived = {purpose: [_derived(key, purpose) for key in keys] for purpose in PURPOSES}
        self._begun = {purpose: _begun(_derived(keys[0], purpose)) for purpose in PURPOSES}

    def sign(self, purpose: Purpose, payload: str) -> str:
        """`payload` + "." + signature. The payload must be URL-safe text."""
        return self.sign_each(((purpose, payload),))[0]

    def sign_each(self, wanted: Sequence[tuple[Purpose, str]]) -> list[str]:
        """One token for each purpose and its payload, as `sign` makes it."""
        codes = []
        for purpose, payload in wanted:
            inner, outer = self._begun[purpose]
            code = inner.copy()
            code.update(payload.encode("ascii"))
            last = outer.copy()
            last.update(code.digest())
            codes.append(last.digest()[:16])
        text = b2a_base64(b"\0\0".join(codes)).translate(_URL_SAFE).decode()  # 18 bytes are 24 characters
        return [f"{payload}.{text[24 * n : 24 * n + 22]}" for n, (_, payload) in enumerate(wanted)]

    def verify(self, purpose: Purpose, token: str) -> str:
        """The payload; raises BadToken, or Unavailable when a key that is not known yet may have signed it."""
        if not _SIGNED.fullmatch(token):
            raise BadToken(f"not a {purpose} token of ours")
        try:
            payload, signature = token[:-23].encode("ascii"), urlsafe_b64decode(token[-22:] + "==")
        except UnicodeError:
            raise BadToken(f"not a {purpose} token of ours") from None
        if any(_ALGORITHM.verify_signature(key, payload, signature) for key in self._derived[purpose]):
            return token[:-23]
        if self._outdated:
            raise Unavailable(f"secret {SECRET}", "the keys at hand are too old to call a token false")
        raise BadToken(f"not a {purpose} token of ours")


async def _keys(secrets: Secrets, now: int) -> list[bytes]:
    """The key to sign with at `now` (ms), then the others."""
    versions = await secrets.get(SECRET)
    signing = next((version for version in versions if version.created + HAND_OVER <= now), versions[-1])
    return [signing.value, *(version.value for version in versions if version is not signing)]


def _derived(key: bytes, purpose: Purpose) -> bytes:
    return hashlib.sha256(b"subscriber-pipeline " + purpose.encode() + b"\0" + key).digest()


def _begun(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The inner and the outer hash of an HMAC (RFC 2104) with the key, at most 64 bytes, already read."""
    block = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
