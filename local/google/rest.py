"""What the emulated Google services have in common: Google's error JSON, partial responses, and calls off the event loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Mask: TypeAlias = "dict[str, Mask]"  # a field that is kept; an empty one whole

_DOMAIN = {"storageQuotaExceeded": "usageLimits"}  # else "global"
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


class Refused(Exception):
    """A call that Google would refuse. `reason` is Drive's word for it, `parameter` the one it names."""

    def __init__(self, code: Literal[400, 403, 404, 412, 429], message: str, reason: str = "", parameter: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.parameter = parameter

    def body(self) -> dict[str, Any]:
        """Google's JSON: the older shape (Drive) when there is a `reason`, else the newer (Sheets)."""
        if not self.reason:
            error: dict[str, Any] = {"code": self.code, "message": self.message, "status": _STATUS[self.code]}
            if self.code == 429:
                kind = "type.googleapis.com/google.rpc.ErrorInfo"
                quota = {"quota_limit": "WriteRequestsPerMinutePerUser", "service": "sheets.googleapis.com"}
                info = {"reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com", "metadata": quota}
                error["details"] = [{"@type": kind, **info}]
            return {"error": error}
        one = {"message": self.message, "domain": _DOMAIN.get(self.reason, "global"), "reason": self.reason}
        if self.parameter:
            one |= {"location": self.parameter, "locationType": "parameter"}
        return {"error": {"code": self.code, "message": self.message, "errors": [one]}}


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the emulators see it: decoded path parts, query, JSON body; an upload's body as it came."""

    path: Mapping[str, str]
    query: QueryParams
    body: dict[str, Any] = field(default_factory=dict)
    upload: bytes = b""
    kind: str = ""  # of an upload


def endpoint(answer: Callable[[Call], Any]) -> Callable[[Request], Any]:
    """A Starlette endpoint: `answer` runs in a thread and returns JSON or a Response, or raises Refused."""

    async def respond(request: Request) -> Response:
        try:
            if not same_origin(request):
                raise Refused(403, "Another site's page may not call this twin.")
            found = await asyncio.to_thread(answer, await _read(request))
        except Refused as refusal:
            return JSONResponse(refusal.body(), status_code=refusal.code)
        return found if isinstance(found, Response) else JSONResponse(found)

    return respond


def same_origin(request: Request) -> bool:
    """False when a browser says that another site's page is asking."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _read(request: Request) -> Call:
    data = await request.body()
    if request.headers.get("x-http-method-override") == "GET":  # how the client sends a GET over 2,048 characters
        return Call(request.path_params, QueryParams(parse_qsl(data.decode(), keep_blank_values=True)))
    if request.url.path.startswith("/upload/"):
        return Call(request.path_params, request.query_params, {}, data, request.headers.get("content-type", ""))
    try:
        body = json.loads(data) if data else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "Invalid JSON payload received. Unable to parse.")
    return Call(request.path_params, request.query_params, body)


def partial(found: dict[str, Any], fields: str) -> dict[str, Any]:
    """Keep what a `fields` mask names ("a.b,c(d,e)"; "" or "*" is everything)."""
    tree: Mask = {}
    _parse(re.findall(r"[\w*]+|[(),./]", fields)[::-1], tree)
    kept: dict[str, Any] = _prune(found, tree)
    return kept


def _parse(tokens: list[str], tree: Mask) -> None:
    node = tree
    while tokens and (token := tokens.pop()) != ")":
        if token == ",":
            node = tree
        elif token == "(":
            _parse(tokens, node)
        elif token not in "./":
            node = node.setdefault(token, {})


def _prune(found: Any, tree: Mask) -> Any:
    if not tree or "*" in tree:
        return found
    if isinstance(found, list):
        return [_prune(one, tree) for one in found]
    return (
        {name: _prune(value, tree[name]) for name, value in found.items() if name in tree} if isinstance(found, dict) else found
    )


def parts(kind: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """A multipart/related upload: the metadata, the content's type, the content; raises Refused."""
    boundary = re.search(r"boundary=\"?([^\";]+)", kind)
    pieces = body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(pieces) != 4:
        raise Refused(400, "Malformed multipart body.", "badContent")
    (_, _, described), (head, line_end, data) = (re.split(rb"(\r?\n){2}", piece, maxsplit=1) for piece in pieces[1:3])
    own = re.search(rb"content-type:\s*([^\r\n]+)", head, re.IGNORECASE)
    return json.loads(described), own[1].decode() if own else "application/octet-stream", data.removesuffix(line_end)
