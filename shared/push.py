"""How a step that Google calls knows its caller, and what its answer means.

Pub/Sub pushes to a step through a subscription of ours; Scheduler posts ticks. Both carry an OIDC token. Two modes, never off:

    iam    Cloud Run has verified the token and replaced its signature; claims are checked here, and a signature that was *not*
           replaced means that the request came around the front door
    oidc   the signature is checked here against the issuer's certificates (the twin's local issuer, or emulators)

A push is acknowledged by 204; any error is a nack, and the subscription's back-off and dead letter take over.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse

from shared.asgi import Endpoint, answered, translate
from shared.config import Pushed
from shared.errors import BadInput, Unauthenticated, Unavailable
from shared.http import Response

STRIPPED = "SIGNATURE_REMOVED_BY_GOOGLE"
CLOCK_SKEW = 60  # seconds
Message = Mapping[str, Any]


def pushed(settings: Callable[[], Pushed]) -> Callable[[Callable[[Message], Awaitable[None]]], Endpoint]:
    """Decorate a Pub/Sub step: `handle(message)` gets the decoded JSON; returning acknowledges, raising asks for a retry."""

    def decorate(handle: Callable[[Message], Awaitable[None]]) -> Endpoint:
        async def work(request: StarletteRequest) -> Response:
            body = await _authenticated(request, settings())
            await handle(decode(body))
            return Response(204)

        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            return await answered(handle.__name__, work(request))

        return endpoint

    return decorate


def ticked(settings: Callable[[], Pushed]) -> Callable[[Callable[[], Awaitable[None]]], Endpoint]:
    """Decorate a step that Scheduler calls; the body says nothing."""

    def decorate(handle: Callable[[], Awaitable[None]]) -> Endpoint:
        async def work(request: StarletteRequest) -> Response:
            await _authenticated(request, settings())
            await handle()
            return Response(204)

        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            return await answered(handle.__name__, work(request))

        return endpoint

    return decorate


async def _authenticated(request: StarletteRequest, settings: Pushed) -> bytes:
    if request.method != "POST":
        raise BadInput("Only POST is understood here.")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("no bearer token")
    await verify(token.strip(), settings)
    return (await translate(request, 0)).body


async def verify(token: str, settings: Pushed) -> None:
    """Check a caller's OIDC token; raises Unauthenticated (401: no valid proof, 403: somebody else's), or Unavailable when
    the issuer's certificates cannot be had."""
    claims = _stripped(token) if settings.push_auth == "iam" else _signed(token, await _certificates(settings.push_certs))
    now = time.time()
    try:
        fresh = float(claims["iat"]) - CLOCK_SKEW <= now <= float(claims["exp"]) + CLOCK_SKEW
    except (KeyError, TypeError, ValueError, OverflowError):
        fresh = False
    if not fresh:
        raise Unauthenticated("the token has expired or has no dates")
    if claims.get("iss") != settings.push_issuer:
        raise Unauthenticated("another issuer")
    if claims.get("aud") != settings.push_audience:
        raise Unauthenticated("made for another audience", 403)
    if claims.get("email") != settings.push_email or claims.get("email_verified") is not True:
        raise Unauthenticated("another account", 403)


def _signed(token: str, certificates: Mapping[str, str]) -> Mapping[str, Any]:
    """The claims of a token whose signature one of the certificates verifies."""
    from google.auth import exceptions, jwt  # 50 ms with cryptography, which the deployed steps (iam) do not need

    try:
        claims: Mapping[str, Any] = jwt.decode(token, certs=certificates, clock_skew_in_seconds=CLOCK_SKEW)  # type: ignore[no-untyped-call]
    except (exceptions.GoogleAuthError, ValueError, TypeError, KeyError, RecursionError):
        raise Unauthenticated("the token does not verify") from None
    return claims


def _stripped(token: str) -> Mapping[str, Any]:
    """The claims of a token that Cloud Run has verified."""
    parts = token.split(".")
    if len(parts) != 3 or parts[2] != STRIPPED:
        raise Unauthenticated("not verified by the platform")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        raise Unauthenticated("malformed token") from None
    if not isinstance(claims, dict):
        raise Unauthenticated("malformed token")
    return claims


_cached: dict[str, tuple[float, dict[str, str]]] = {}  # certificates' URL -> (monotonic expiry, {kid: PEM})


async def _certificates(url: str) -> dict[str, str]:
    expiry, certificates = _cached.get(url, (0.0, {}))
    if time.monotonic() >= expiry:
        certificates, age = await asyncio.to_thread(_fetch, url)
        _cached[url] = (time.monotonic() + age, certificates)
    return certificates


def _fetch(url: str) -> tuple[dict[str, str], float]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the operator's own setting
            age = re.search(r"max-age=(\d+)", answer.headers.get("cache-control", "") or "")
            return json.load(answer), float(age[1]) if age else 300.0
    except (OSError, ValueError) as error:
        raise Unavailable("the token issuer", type(error).__name__) from None


def decode(body: bytes) -> Message:
    """The JSON message inside a raw push body or an Eventarc event (whose `data` is a push body); raises BadInput."""
    try:
        envelope = json.loads(body)
        if "message" not in envelope and "data" in envelope:
            envelope = envelope["data"]
        message = json.loads(base64.b64decode(envelope["message"]["data"], validate=True))
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise BadInput("not a push message") from None
    if not isinstance(message, dict):
        raise BadInput("not a push message")
    return message
