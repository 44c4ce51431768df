"""The laptop's stand-in for Google's token issuer: it signs the OIDC tokens that the local bus and the tick send to the steps.

The key is generated once in a folder, with `certs.json` beside it: {key id: PEM}, the form that `google.auth.jwt.decode` takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

_LIFE = 3600  # seconds a token is valid
_MARGIN = 300  # seconds before its expiry when a cached token is replaced


class LocalIssuer:
    """An RSA-2048 key in `folder`, signing as `issuer` (the `iss` claim)."""

    def __init__(self, folder: Path, issuer: str) -> None:
        self._issuer = issuer
        private = _private_key(folder / "issuer.pem")
        key = serialization.load_pem_private_key(private, password=None)
        self._public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._kid = hashlib.sha256(self._public).hexdigest()[:16]
        self._signer = crypt.RSASigner.from_string(private, self._kid)  # type: ignore[no-untyped-call]
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}
        _publish(folder / "certs.json", json.dumps(self.certificates()).encode(), 0o644)

    def certificates(self) -> dict[str, str]:
        """The public keys, PEM by key id."""
        return {self._kid: self._public.decode("ascii")}

    def sign(self, audience: str, email: str) -> str:
        """A JWT (RS256) for `audience` in the name of `email`, valid for at least five minutes more."""
        now = time.time()
        until, token = self._tokens.get((audience, email), (0.0, ""))
        if until - _MARGIN <= now:
            until = now + _LIFE
            claims: dict[str, object] = {
                "iss": self._issuer,
                "aud": audience,
                "sub": email,
                "email": email,
                "email_verified": True,
            }
            claims |= {"iat": int(now), "exp": int(until)}
            token = jwt.encode(self._signer, claims).decode("ascii")  # type: ignore[no-untyped-call]
            self._tokens[audience, email] = (until, token)
        return token


def _private_key(file: Path) -> bytes:
    """The PEM in `file`, generated when it is missing; when two processes do so at once, both use the first."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _publish(file, pem, 0o600, keep=True)
    return file.read_bytes()


def _publish(file: Path, data: bytes, mode: int, *, keep: bool = False) -> None:
    """Put a whole file in place; `keep` leaves one that is already there."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(handle)
    if not keep:
        draft.replace(file)
        return
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
