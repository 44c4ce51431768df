"""How a step that Google calls knows its caller, and what its answer means.

Pub/Sub pushes to a step through a subscription of ours; Scheduler posts ticks. Both carry an OIDC token. Two modes, never off:

    iam    Cloud Run has verified the token and replaced its signature; claims are checked here, and a signature that was *not*
           replaced means that the request came around the front door. On Cloud Run only, with its check on: see docs/architecture.md
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
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse

from shared import logs
from shared.asgi import Endpoint, answered, translate
from shared.config import Pushed, at_start
from shared.errors import BadInput, Unauthenticated, Unavailable
from shared.http import Response

STRIPPED = "SIGNATURE_REMOVED_BY_GOOGLE"
CLOCK_SKEW = 60  # seconds
Message = Mapping[str, Any]
_subscription: ContextVar[str] = ContextVar("subscription", default="")


def subscription() -> str:
    """The id of the subscription whose push is being handled, for a step that has several; "" where the push names none."""
    return _subscription.get()


def pushed(settings: Callable[[], Pushed]) -> Callable[[Callable[[Message], Awaitable[None]]], Endpoint]:
    """Decorate a Pub/Sub step: `handle(message)` gets the decoded JSON; returning acknowledges, raising asks for a retry."""
    at_start(settings)

    def decorate(handle: Callable[[Message], Awaitable[None]]) -> Endpoint:
        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            taken: list[Envelope] = []  # the push, once it is known to be one

            async def work() -> Response:
                envelope = Envelope.read(await _authenticated(request, settings()))
                logs.carry(envelope.attributes, message_id=envelope.id, attempt=str(envelope.attempt))
                taken.append(envelope)
                _subscription.set(envelope.subscription)
                await handle(envelope.message())
                return Response(204)

            started, now = time.perf_counter(), time.time()
            response = await answered(handle.__name__, request, work())
            for envelope in taken:
                _measured(envelope, now, time.perf_counter() - started, response.status_code)
            return response

        return endpoint

    return decorate


def ticked(settings: Callable[[], Pushed]) -> Callable[[Callable[[], Awaitable[None]]], Endpoint]:
    """Decorate a step that Scheduler calls; the body says nothing."""
    at_start(settings)

    def decorate(handle: Callable[[], Awaitable[None]]) -> Endpoint:
        async def work(request: StarletteRequest) -> Response:
            await _authenticated(request, settings())
            await handle()
            return Response(204)

        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            return await answered(handle.__name__, request, work(request))

        return endpoint

    return decorate


def _measured(envelope: Envelope, now: float, spent: float, status: int) -> None:
    """One entry for each push; `now` is when it came, `spent` what it took, in seconds."""
    values = {"push_latency": round(spent * 1000, 1)}
    if envelope.published:
        values["push_lag"] = round(max(0.0, now - envelope.published) * 1000, 1)
    logs.metric("push", values, status=str(status))


async def _authenticated(request: StarletteRequest, settings: Pushed) -> bytes:
    if request.method != "POST":
        raise BadInput("Only POST is understood here.")
    if settings.push_auth == "iam" and "x-serverless-authorization" in request.headers:
        raise Unauthenticated("the platform has checked that header, and not Authorization")
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


@dataclass(frozen=True, slots=True)
class Envelope:
    """What Pub/Sub says about a message: https://cloud.google.com/pubsub/docs/push#properties_of_a_push_request"""

    data: Any  # base64 of JSON, when all is well
    attributes: Mapping[str, str]
    id: str
    published: float  # seconds since the Unix epoch; 0: not said
    attempt: int  # 0: nobody counts, for the subscription has no dead letter
    subscription: str  # its id, without the project; "": not said

    @classmethod
    def read(cls, body: bytes) -> Envelope:
        """From a raw push body or an Eventarc event (whose `data` is a push body); raises BadInput. Whatever else is missing or
        malformed is left out: only our logs would miss it."""
        try:
            envelope = json.loads(body)
            if "message" not in envelope and "data" in envelope:
                envelope = envelope["data"]
            message, attempt = envelope["message"], envelope.get("deliveryAttempt")
            subscription = envelope.get("subscription")
            data, attributes, id = message.get("data"), message.get("attributes"), message.get("messageId")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadInput("not a push message") from None
        if not isinstance(attributes, dict):
            attributes = {}
        return cls(
            data=data,
            attributes={name: text for name, text in attributes.items() if isinstance(text, str)},
            id=id if isinstance(id, str) else "",
            published=_seconds(message.get("publishTime")),
            attempt=attempt if isinstance(attempt, int) else 0,
            subscription=subscription.rpartition("/")[2] if isinstance(subscription, str) else "",
        )

    def message(self) -> Message:
        """The JSON object inside; raises BadInput."""
        try:
            message = json.loads(base64.b64decode(self.data, validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise BadInput("not a push message") from None
        if not isinstance(message, dict):
            raise BadInput("not a push message")
        return message


def _seconds(moment: Any) -> float:
    """RFC 3339 to seconds since the Unix epoch, 0 where it is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
