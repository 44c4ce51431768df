"""How we call Google's REST services through the official synchronous client: off the event loop, bounded, with our errors.

httplib2 is not thread-safe and is therefore made anew for every call. It also repeats a request by itself when a
connection closes without an answer, which could append rows twice; here only the caller decides what may be repeated.

Quotas are per minute and user, reads and writes counted apart. What Google refused for a quota it did not do, so that is tried
again whatever it was: as long as Google says (Retry-After), else 1, 2, 4 … LONGEST seconds, spread by up to one, for PATIENCE in
all, which outlasts the minute. A caller with less time cancels; a step behind Scheduler needs an attempt deadline above PATIENCE.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import google.auth
import httplib2
from google.auth.exceptions import GoogleAuthError
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from shared.adapters import credentials
from shared.errors import BadInput, NotFound, PipelineError, Unavailable

TIMEOUT = 30.0  # seconds, for one attempt
ATTEMPTS = 4
PAUSE = 0.5  # seconds before the second attempt; doubles from there
PATIENCE = 100.0  # seconds that one call spends waiting for quota
LONGEST = 32.0  # seconds of one such wait, unless Google names a longer one
WINDOW = 60.0  # seconds that quotas count
Sleep = Callable[[float], Awaitable[None]]

_LOST = (OSError, http.client.HTTPException, httplib2.HttpLib2Error, GoogleAuthError, UnicodeDecodeError)


class Refusal(BadInput):
    """A call that Google will never take. `reasons` are its own words ("exportSizeLimitExceeded")."""

    def __init__(self, sentence: str, reasons: Sequence[str]) -> None:
        super().__init__(sentence)
        self.reasons = frozenset(reasons)


class OverQuota(Unavailable):
    """A call that Google did not take, because of a quota."""


class Pace:
    """Holds this process's own calls to so many a minute, in the order they come, so that Google seldom has to. Bursts pass."""

    def __init__(self, calls: int, now: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._now, self._sleep = now, sleep
        self._turns: deque[float] = deque(maxlen=calls)

    async def turn(self) -> None:
        """Return when one more call may be made."""
        now = self._now()
        at = now if len(self._turns) < (self._turns.maxlen or 0) else max(now, self._turns[0] + WINDOW)
        self._turns.append(at)
        if at > now:
            await self._sleep(at - now)


class Service:
    """One Google API. `endpoint` is the root of an emulator without a trailing slash, "" for Google itself.

    `reading` and `writing` are the scopes of a credential for either kind of call, `writes` the pace of the latter.
    """

    def __init__(
        self,
        name: str,
        version: str,
        path: str,
        endpoint: str,
        *,
        reading: str,
        writing: str = "",
        writes: Pace | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = name
        self._version = version
        self._base = f"{endpoint}{path}" if endpoint else ""
        self._reading, self._writing = reading, writing
        self._writes, self._sleep = writes, sleep

    async def call(self, collection: str, request: Callable[[Any], Any], *, write: bool = False, repeat: bool = True) -> Any:
        """Run the client's request that `request(resource of "a.b")` makes; its decoded answer.

        With `repeat=False` the request is tried again only when Google said that it did not take it. Raises NotFound (404),
        Refusal (other 4xx; Google's own sentence), OverQuota after PATIENCE, Unavailable (5xx, no answer) after ATTEMPTS,
        ConfigError.
        """
        lost, limited, waited = 0, 0, 0.0
        while True:
            if write and self._writes:
                await self._writes.turn()
            try:
                return await asyncio.to_thread(self._once, collection, request, self._writing if write else self._reading)
            except HttpError as error:
                failure = self._failure(error)
            except _LOST as error:
                failure = Unavailable(self.name, type(error).__name__)
            if isinstance(failure, OverQuota):
                pause = max(failure.retry_after, min(2.0**limited, LONGEST)) + random.random()  # noqa: S311 spreading load
                limited, waited = limited + 1, waited + pause
                again = waited <= PATIENCE
            else:
                pause = PAUSE * 2**lost * random.uniform(0.5, 1.5)  # noqa: S311
                lost += 1
                again = repeat and lost < ATTEMPTS and isinstance(failure, Unavailable)
            if not again:
                raise failure
            await self._sleep(pause)

    def _once(self, collection: str, request: Callable[[Any], Any], scope: str) -> Any:
        client = _Http(timeout=TIMEOUT, **({"proxy_info": None} if self._base else {}))
        try:
            resource = _resource(self.name, self._version, self._base, collection)
            found = request(resource).execute(http=client if self._base else AuthorizedHttp(_credentials(scope), client))
        finally:
            client.close()
        if isinstance(found, str):  # the client hands on what is no JSON as it came; a download is bytes
            raise http.client.IncompleteRead(found.encode())
        return found

    def _failure(self, error: HttpError) -> PipelineError:
        code, sentence = error.status_code, error.reason or "no reason given"
        reasons = [detail.get("reason") for detail in error.error_details or () if isinstance(detail, dict)]
        limited = code == 429 or (code == 403 and not {"rateLimitExceeded", "userRateLimitExceeded"}.isdisjoint(reasons))
        if code == 404:
            return NotFound(f"{self.name}: {sentence}")
        if limited or code >= 500:
            after = error.resp.get("retry-after", "")
            kind = OverQuota if limited else Unavailable
            return kind(self.name, f"{code} {sentence}", float(after) if after.isdigit() else 0.0)
        return Refusal(sentence, [reason for reason in reasons if reason])


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
def _credentials(scope: str) -> Any:
    with credentials.needed():
        return google.auth.default(scopes=[scope])[0]
