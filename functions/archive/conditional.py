"""Conditional requests (RFC 9110 §13): who has the page already is not sent it again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

from shared.http import Request, Response

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_KEPT = ("cache-control", "etag", "last-modified", "vary", "content-security-policy")  # what a 304 says, too


def answer(request: Request, response: Response, changed_at: int = 0) -> Response:
    """The response with an ETag, and with `changed_at` (ms) a Last-Modified; a 304 without a body when that is what the client has."""
    headers = {**response.headers, "etag": f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'}
    if changed_at:
        headers["last-modified"] = formatdate(changed_at // 1000, usegmt=True)
    if response.status == 200 and _had(request, headers["etag"], changed_at // 1000):
        return Response(304, b"", response.content_type, {name: headers[name] for name in _KEPT if name in headers})
    return replace(response, headers=headers)


def _had(request: Request, tag: str, changed_at: int) -> bool:
    """If-None-Match goes before If-Modified-Since; a date that cannot be read counts as none."""
    if (given := request.headers.get("if-none-match")) is not None:
        return given.strip() == "*" or tag in _TAG.findall(given)
    since = request.headers.get("if-modified-since", "")
    if not since or not changed_at:
        return False
    try:
        found = parsedate_to_datetime(since)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() >= changed_at
    except (ValueError, TypeError, OverflowError):
        return False
