"""How we call Google's REST services through the official synchronous client: off the event loop, bounded, with our errors.

httplib2 is not thread-safe and is therefore made anew for every call. It also repeats a request by itself when a
connection closes without an answer, which could append rows twice; here only the caller decides what may be repeated.
"""

from __future__ import annotations

import asyncio
import http.client
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import google.auth
import httplib2
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from shared.errors import BadInput, ConfigError, NotFound, PipelineError, Unavailable

TIMEOUT = 30.0  # seconds, for one attempt
ATTEMPTS = 4
PAUSE = 0.5  # seconds before the second attempt; doubles from there

_LOST = (OSError, http.client.HTTPException, httplib2.HttpLib2Error, GoogleAuthError)


class Service:
    """One Google API. `endpoint` is the root of an emulator without a trailing slash, "" for Google itself."""

    def __init__(self, name: str, version: str, path: str, endpoint: str, scopes: Sequence[str]) -> None:
        self.name = name
        self._version = version
        self._base = f"{endpoint}{path}" if endpoint else ""
        self._scopes = tuple(scopes)

    async def call(self, collection: str, request: Callable[[Any], Any], *, repeat: bool = True) -> Any:
        """Run the client's request that `request(resource of "a.b")` makes; its decoded answer.

        With `repeat=False` the request is tried again only when Google said that it did not take it (429). Raises NotFound
        (404), BadInput (other 4xx; Google's own sentence), Unavailable (429, 5xx, no answer) after ATTEMPTS, ConfigError.
        """
        for attempt in range(ATTEMPTS):
            try:
                return await asyncio.to_thread(self._once, collection, request)
            except HttpError as error:
                failure: PipelineError = self._failure(error)
                again = repeat or error.status_code == 429
            except _LOST as error:
                failure, again = Unavailable(self.name, type(error).__name__), repeat
            if not isinstance(failure, Unavailable) or not again or attempt == ATTEMPTS - 1:
                break
            await asyncio.sleep(PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 spreading load, not a secret
        raise failure

    def _once(self, collection: str, request: Callable[[Any], Any]) -> Any:
        client = _Http(timeout=TIMEOUT, **({"proxy_info": None} if self._base else {}))
        try:
            resource = _resource(self.name, self._version, self._base, collection)
            return request(resource).execute(http=client if self._base else AuthorizedHttp(_credentials(self._scopes), client))
        finally:
            client.close()

    def _failure(self, error: HttpError) -> PipelineError:
        code, sentence = error.status_code, error.reason or "no reason given"
        reasons = [detail.get("reason") for detail in error.error_details or () if isinstance(detail, dict)]
        limited = code == 403 and not {"rateLimitExceeded", "userRateLimitExceeded"}.isdisjoint(reasons)
        if code == 404:
            return NotFound(f"{self.name}: {sentence}")
        if code == 429 or code >= 500 or limited:
            after = error.resp.get("retry-after", "")
            return Unavailable(self.name, f"{code} {sentence}", float(after) if after.isdigit() else 0.0)
        return BadInput(sentence)


class _Http(httplib2.Http):  # type: ignore[misc]  # the package has no types
    def _conn_request(self, conn: Any, *args: Any) -> Any:
        read = conn.getresponse

        def read_once() -> Any:
            try:
                return read()
            except http.client.BadStatusLine as error:
                raise ConnectionResetError("closed without an answer") from error

        conn.getresponse = read_once
        return super()._conn_request(conn, *args)


@cache
def _resource(name: str, version: str, base: str, collection: str) -> Any:
    """Kept, because the client generates the methods of a nested collection at each access (60 ms for sheets.values)."""
    options = {"api_endpoint": base} if base else None
    resource = build(name, version, http=httplib2.Http(), static_discovery=True, cache_discovery=False, client_options=options)
    for part in collection.split("."):
        resource = getattr(resource, part)()
    return resource


@cache
def _credentials(scopes: tuple[str, ...]) -> Any:
    try:
        return google.auth.default(scopes=scopes)[0]
    except DefaultCredentialsError:
        raise ConfigError(
            "Google credentials are missing: set GOOGLE_APPLICATION_CREDENTIALS or run as a service account"
        ) from None
