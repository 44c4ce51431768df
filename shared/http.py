"""The request and response that handlers see. No framework here: `shared/asgi.py` translates."""

from __future__ import annotations

import base64
import hashlib
import json as _json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from shared.errors import BadInput


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is what follows the step's name, without slashes at its ends; header names are lower-case; `client` is the
    caller's address, read TRUSTED_HOPS from the right of X-Forwarded-For."""

    method: str
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = ""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def form(self) -> dict[str, str]:
        """The fields of a urlencoded or JSON body; raises BadInput. Of a repeated field the last value counts."""
        try:
            text = self.body.decode("utf-8")
            if self.content_type == "application/json":
                found = _json.loads(text)
                if not isinstance(found, dict):
                    raise BadInput("The body must be a JSON object.")
                told = {str(k): v if isinstance(v, str) else _json.dumps(v) for k, v in found.items() if v is not None}
                "".join([*told, *told.values()]).encode()  # half a surrogate pair is no text: no page could hold it
                return told
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise BadInput("The body could not be read: send UTF-8 form fields or a JSON object.") from None

    @property
    def wants_json(self) -> bool:
        return self.content_type == "application/json" or "application/json" in self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


# What every answer carries, whoever made it, unless it says otherwise itself (https://owasp.org/www-project-secure-headers/).
ALWAYS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# Only over TLS (RFC 6797 §7.2). Without includeSubDomains: the domain above is not ours to speak for.
STRICT_TRANSPORT: Final = {"strict-transport-security": "max-age=31536000"}

_SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def json(data: Any, status: int = 200) -> Response:
    return Response(status, _json.dumps(data, ensure_ascii=False).encode(), "application/json", _SAFE)


def html(
    page: str,
    status: int = 200,
    style: str = "",
    *,
    framed_by: Sequence[str] = (),
    guests: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """A page of ours. Nothing may run, load or frame; `style` is the exact text of its one <style> element. `framed_by`: origins that may
    frame it; `guests`: directive of the policy -> sources beside ours ("script-src": "https://…"), for a CAPTCHA."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": " ".join(framed_by) or "'none'",
    }
    for directive, sources in guests.items():
        policy[directive] = f"{policy.get(directive, '')} {sources}".strip()
    headers = {name: value for name, value in _SAFE.items() if not (framed_by and name == "x-frame-options")}
    headers["content-security-policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
    return Response(status, page.encode(), "text/html; charset=utf-8", headers)


def redirect(location: str) -> Response:
    """To an absolute address; what is not ASCII in it is percent-encoded, since a header could not carry it."""
    where = quote(location, safe="%/:?#[]@!$&'()*+,;=~")
    return Response(302, b"", headers={"location": where, "cache-control": "no-store", "referrer-policy": "no-referrer"})


def text(sentence: str, status: int = 200) -> Response:
    return Response(status, (sentence + "\n").encode(), headers=_SAFE)
