"""Which site a request comes from, as its browser says it. A server's call comes from none.

Our own pages send no referrer, and so browsers send `Origin: null` with their forms' posts
(https://fetch.spec.whatwg.org/#append-a-request-origin-header): what tells them from strangers is `Sec-Fetch-Site`, which a page cannot
set. A browser without it has to show a form token, as everybody does who posts a form of ours.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import urlsplit

from shared.http import Request, Response

ALLOWED: Final = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "600",
}


def sender(request: Request, base: str, sites: Collection[str]) -> Literal["own", "site", "foreign"]:
    """ "own": a page of ours, or no browser's page at all; "site": one of the tenant's `sites`."""
    origin = request.headers.get("origin", "").lower()
    if origin in sites:
        return "site"
    parts = urlsplit(base)
    if origin == f"{parts.scheme}://{parts.netloc}".lower():
        return "own"
    told = request.headers.get("sec-fetch-site", "none")
    return "own" if origin in ("", "null") and told in ("none", "same-origin") else "foreign"


def shared_with(request: Request, sites: Collection[str], response: Response) -> Response:
    """The answer with what lets a script of one of `sites` read it (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    headers = {**response.headers, "vary": "Origin"}
    if (origin := request.headers.get("origin", "").lower()) in sites:
        headers["access-control-allow-origin"] = origin
    return replace(response, headers=headers)


def preflight(request: Request, sites: Collection[str]) -> Response:
    """The answer to OPTIONS."""
    known = request.headers.get("origin", "").lower() in sites
    return shared_with(request, sites, Response(204 if known else 403, headers=ALLOWED if known else {}))
