"""Where Starlette stops: a public HTTP step's `main.py` decorates a handler of our own Request and Response."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse

from shared import logs
from shared.config import at_start
from shared.errors import BadInput, BadToken, ConfigError, Conflict, Unauthenticated, Unavailable
from shared.http import ALWAYS, STRICT_TRANSPORT, Request, Response, text

MAX_BODY = 1 << 20  # bytes, unless a step says less
SLOW = 1.0  # seconds from which a request is worth an entry: Cloud Run counts every one already, by its latency
_HEADERS = "pipeline.headers"  # in the scope
Endpoint = Callable[[StarletteRequest], Awaitable[StarletteResponse]]


class TooLarge(Exception):
    """The body is over the limit."""


def served(
    trusted_hops: Callable[[], int], max_body: int = MAX_BODY
) -> Callable[[Callable[[Request], Awaitable[Response]]], Endpoint]:
    """Make a Starlette endpoint of a handler; every error becomes one plain sentence and a status."""
    at_start(trusted_hops)

    def decorate(handle: Callable[[Request], Awaitable[Response]]) -> Endpoint:
        @functools.wraps(handle)
        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            started = time.perf_counter()
            response = await answered(handle.__name__, request, _translated(handle, request, trusted_hops, max_body))
            spent = time.perf_counter() - started
            if spent > SLOW or response.status_code >= 500:
                logs.metric("request", {"request_latency": round(spent * 1000, 1)}, status=str(response.status_code))
            return response

        return endpoint

    return decorate


async def _translated(
    handle: Callable[[Request], Awaitable[Response]],
    request: StarletteRequest,
    trusted_hops: Callable[[], int],
    max_body: int,
) -> Response:
    return await handle(await translate(request, trusted_hops(), max_body))


async def answered(step: str, request: StarletteRequest, work: Awaitable[Response]) -> StarletteResponse:
    """Await a handler's response and map what it raises: the author's faults to 4xx, ours to 5xx. Its entries are `request`'s."""
    logs.begin(step, headers_of(request))
    try:
        response = await work
    except TooLarge:
        response = text("The request is too large.", 413)
    except Unauthenticated as error:
        logs.metric(f"refused: {error}", {"refused": 1}, "WARNING", status=str(error.status))
        response = text("Not authenticated." if error.status == 401 else "Not allowed.", error.status)
    except BadToken:
        logs.metric("a link that is not ours", {"dead_tokens": 1}, "WARNING", kind="link")
        response = text("This link is not valid.", 404)
    except BadInput as error:
        logs.log("WARNING", f"bad input: {error}")
        response = text(str(error), 400)
    except (Unavailable, Conflict) as error:
        logs.log("ERROR", str(error))
        wait = int(error.retry_after) if isinstance(error, Unavailable) else 0
        response = Response(503, b"Please try again in a minute.\n", headers={"retry-after": str(wait or 30)})
    except ClientDisconnect:
        response = Response(400)
    except ConfigError:
        raise  # the process is useless: let the platform see it
    except Exception as error:
        logs.log_exception("unexpected error", error, method=request.method, url=_shown(request.url.path), responseStatusCode=500)
        response = text("Something went wrong on our side. Please try again.", 500)
    headers = {**always(request), **response.headers}
    return StarletteResponse(response.body, response.status, headers, response.content_type)


def always(request: StarletteRequest) -> dict[str, str]:
    """The headers of each answer to a request; the platform's proxy says by what scheme it came."""
    scheme = headers_of(request).get("x-forwarded-proto") or request.scope.get("scheme", "")
    return {**ALWAYS, **STRICT_TRANSPORT} if scheme.partition(",")[0] == "https" else {**ALWAYS}


def _shown(path: str) -> str:
    """A path without what it says about a reader: only short plain words stay."""
    return re.sub(r"[^/]*[^a-z_/][^/]*|[^/]{17,}", "…", path)


async def translate(request: StarletteRequest, trusted_hops: int, max_body: int = MAX_BODY) -> Request:
    """Our Request; raises TooLarge beyond `max_body` bytes without reading on. A GET or HEAD has no body
    (https://www.rfc-editor.org/rfc/rfc9110#name-get)."""
    scope, headers = request.scope, headers_of(request)
    peer = scope.get("client")
    return Request(
        method=scope["method"],
        path=unquote(scope.get("path_params", {}).get("path", "")).strip("/"),
        query=dict(request.query_params) if scope["query_string"] else {},
        headers=headers,
        body=b"" if scope["method"] in ("GET", "HEAD") else await _body(request, max_body),
        client=client_address(headers, peer[0] if peer else "", trusted_hops),
    )


def headers_of(request: StarletteRequest) -> dict[str, str]:
    """By their names in lower case, read once from the ASGI scope: Starlette's own view of it goes through them all for each name."""
    found: dict[str, str] | None = request.scope.get(_HEADERS)
    if found is None:
        found = request.scope[_HEADERS] = {}
        for name, value in request.scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            if key == "x-forwarded-for" and key in found:
                text = f"{found[key]}, {text}"  # a proxy may add a line of its own instead of extending one
            found[key] = text
    return found


async def _body(request: StarletteRequest, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def client_address(headers: dict[str, str], peer: str, trusted_hops: int) -> str:
    """The caller as seen by the outermost proxy that we trust: `trusted_hops` from the right of X-Forwarded-For.

    What stands further left was written by the caller. With 0 hops, or fewer entries than hops, it is the connection's peer.
    """
    forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
    if trusted_hops and len(forwarded) >= trusted_hops:
        return forwarded[-trusted_hops]
    return peer
