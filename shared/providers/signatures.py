"""What the proofs of signed callbacks have in common. All of it fails closed: what is malformed is Unauthenticated (401)."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shared.errors import Unauthenticated
from shared.http import Request

WINDOW: Final = 300  # seconds, to both sides, within which a signed time is believed
URL: Final = ":url"  # where a request holds the public URL of its hook; no caller can send a header of that name (RFC 9110 §5.1)


def addressed(request: Request, url: str) -> Request:
    """The request with the public URL that its hook has, without a query: some providers sign it."""
    return replace(request, headers={**request.headers, URL: url})


def texts(keys: Sequence[bytes]) -> list[str]:
    """Keys that a provider's page shows as text, without the line end they were stored with; one of no text opens nothing."""
    found = [key.decode("utf-8", "ignore").strip() for key in keys]
    return [text for text in found if text]


def same(given: str, expected: str) -> bool:
    """Whether two texts are equal, in constant time. An encoded proof is compared as written, so that it has one spelling."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def fresh(stamp: object, now: int) -> str:
    """A signed time, seconds since the Unix epoch as decimal text, within WINDOW of `now` (ms); raises Unauthenticated."""
    if not (isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        raise Unauthenticated("webhook: no timestamp")
    near(int(stamp) * 1000, now)
    return stamp


def near(at: int, now: int) -> None:
    """Raises Unauthenticated when a signed time is further than WINDOW from `now`; both in ms."""
    if abs(now - at) > WINDOW * 1000:
        raise Unauthenticated("webhook: the timestamp is not fresh")


def decoded(text: object) -> bytes:
    """The bytes of a base64 proof in its one canonical spelling; raises Unauthenticated."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise Unauthenticated("webhook: no signature")
    return data


def proof(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a body that holds its own proof; raises Unauthenticated."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unauthenticated("webhook: no proof")
    return found
