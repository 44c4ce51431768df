"""One endpoint of the operator's, in this process: whether it is to be posted to now, the post, and what its answer means.

Follows https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. A failure is an error for the bus,
whose subscription of this endpoint pushes the event again; nobody else's is touched.

Only what an endpoint says of itself, and not of one event, makes it wait (no answer, 408, 429, 502, 503, 504): for as long as its
Retry-After asks for, else a second, doubling to a minute. Meanwhile its events go back to the bus unposted; then one goes ahead
alone. At most LANES are under way, so that a slow endpoint leaves places of this process to the others.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from standardwebhooks import Webhook

from shared.errors import ConfigError, Unavailable
from shared.logs import log, metric
from shared.model.endpoint import Endpoint
from shared.model.event import Event
from shared.model.paths import Paths
from shared.ports import Clock, Merge, Secrets, Store
from shared.providers.api import Answer, Call, Lost

from .payload import payload, type_of, webhook_id
from .tally import Tally

LANES: Final = 50  # posts to one endpoint under way at once
FRESH: Final = 60_000  # ms that what the store says of an endpoint is believed
FAILING: Final = 5 * 86_400_000  # ms without one success after which an endpoint is disabled
PAUSES: Final = (1_000, 60_000)  # ms: the first, doubling to the last
LONGEST: Final = 3_600_000  # ms of a Retry-After that are honoured
_WAITS: Final = frozenset({408, 429, 502, 503, 504})


class Exchange(Protocol):
    """shared.providers.api_http.Http, as far as it is used here."""

    async def exchange(self, call: Call) -> Answer:
        """Make a call; raises Lost."""
        ...


@dataclass(slots=True)
class _State:
    """As in shared/model/endpoint.py."""

    failing_since: int = 0
    disabled_at: int = 0
    reason: str = ""


class Desk:
    """Posts to one endpoint. Any number of events at once."""

    def __init__(self, endpoint: Endpoint, store: Store, secrets: Secrets, clock: Clock, paths: Paths, http: Exchange) -> None:
        self._endpoint, self._store, self._secrets, self._clock, self._http = endpoint, store, secrets, clock, http
        self._tenant, self._path = paths.tenant_id, paths.endpoint(endpoint.name)
        self._tally = Tally(store, paths, endpoint.name)
        self._state, self._read, self._reading = _State(), -FRESH, asyncio.Lock()
        self._under_way = 0
        self._strikes, self._struck, self._held = 0, 0, 0

    async def post(self, event: Event) -> None:
        """Returns when the endpoint has the event, or is not to get it; raises Unavailable to have it pushed again."""
        if await self._disabled():
            self._tally.dropped()
            await self._tally.note(self._clock.now())
            return
        began, name = self._clock.now(), self._endpoint.name
        if began < self._held:
            raise Unavailable(name, "it asked for a pause", (self._held - began) / 1000)
        if self._under_way >= (1 if self._strikes else LANES):
            raise Unavailable(name, "enough is under way")
        self._under_way += 1
        try:
            call = await self._call(event, began)
            try:
                answer = await self._http.exchange(call)
            except Lost as error:
                answer, code = Answer(0, {}), error.code
            else:
                code = str(answer.status)
        finally:
            self._under_way -= 1
        await self._settle(event, call.headers["webhook-id"], answer, code, began)

    async def _call(self, event: Event, now: int) -> Call:
        body, id, second = payload(event), webhook_id(self._tenant, event), datetime.fromtimestamp(now // 1000, UTC)
        signatures = [Webhook(key).sign(id, second, body) for key in await self._keys()]
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(now // 1000),
            "webhook-signature": " ".join(signatures),
        }
        return Call("POST", self._endpoint.url, headers, body.encode())

    async def _keys(self) -> list[bytes]:
        """Every valid key, newest first; raises Unavailable where there is none."""
        secret = self._endpoint.secret
        try:
            texts = [version.value for version in await self._secrets.get(secret)]
        except ConfigError:
            texts = []
        keys = [key for text in texts if (key := key_of(text))]
        if len(keys) < len(texts):
            log("ERROR", "not every version is whsec_ and the base64 of 24 to 64 bytes", secret=secret)
        if not keys:
            raise Unavailable(f"the secret {secret}")
        return keys

    # --- what an answer means ---

    async def _settle(self, event: Event, id: str, answer: Answer, code: str, began: int) -> None:
        now = self._clock.now()
        if 200 <= answer.status < 300:
            self._strikes = self._held = 0
            self._tally.delivered()
            await self._recovered()
            await self._tally.note(now)
            return
        self._tally.failed(code, {"id": id, "mail": event.ref, "type": type_of(event), "at": now})
        if not answer.status or answer.status in _WAITS:
            self._hold(answer.headers, began, now)
        await self._tally.note(now)
        if answer.status == 410:
            await self._disable("gone", now)
            return
        await self._failed(now)
        raise Unavailable(self._endpoint.name, code)

    def _hold(self, headers: Mapping[str, str], began: int, now: int) -> None:
        if began >= self._struck:  # those that were under way together are one strike
            self._strikes, self._struck = self._strikes + 1, now
        pause = retry_after(headers.get("retry-after", ""), now) or PAUSES[0] << min(self._strikes - 1, 10)
        self._held = max(self._held, now + min(pause, LONGEST if "retry-after" in headers else PAUSES[1]))

    # --- what is known of the endpoint ---

    async def _disabled(self) -> bool:
        if self._clock.now() - self._read >= FRESH:
            async with self._reading:
                if self._clock.now() - self._read >= FRESH:
                    await self._look()
        return self._state.disabled_at > 0

    async def _look(self) -> None:
        now, found = self._clock.now(), await self._store.get(self._path)
        data = found.data if found else {}
        known = data if data.get("url") == self._endpoint.digest else {}
        self._state = _State(known.get("failing_since", 0), known.get("disabled_at", 0), known.get("reason", ""))
        self._read = now

    async def _save(self, state: _State) -> None:
        """At once for this process, so that it is written once, and taken back when it cannot be written; raises Unavailable."""
        before, self._state = self._state, state
        data = {"failing_since": state.failing_since, "disabled_at": state.disabled_at, "reason": state.reason}
        try:
            await self._store.commit([Merge(self._path, {**data, "url": self._endpoint.digest})])
        except Unavailable:
            if self._state is state:
                self._state = before
            raise

    async def _recovered(self) -> None:
        if not self._state.failing_since or self._state.disabled_at:
            return
        try:
            await self._save(_State())
        except Unavailable as error:  # the event is there: the next one says it
            log("WARNING", f"not noted: {error}", endpoint=self._endpoint.name)

    async def _failed(self, now: int) -> None:
        """Note since when, and disable who has failed for long; raises Unavailable."""
        if not self._state.failing_since:
            await self._save(_State(failing_since=now))
        elif now - self._state.failing_since >= FAILING and not self._state.disabled_at:
            await self._look()  # another process may have had a success
            since = self._state.failing_since
            if since and now - since >= FAILING:
                await self._disable("failing", now)

    async def _disable(self, reason: str, now: int) -> None:
        if self._state.disabled_at:
            return
        await self._save(_State(self._state.failing_since, now, reason))
        metric("an endpoint gets no more events", {"endpoints_disabled": 1}, "ERROR", endpoint=self._endpoint.name, why=reason)


def key_of(text: bytes) -> bytes:
    """The key in a secret's value, with or without a line end: "whsec_" and the base64 of 24 to 64 bytes; b"" when it is none."""
    form, _, encoded = text.strip().partition(b"_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""
    return key if form == b"whsec" and 24 <= len(key) <= 64 else b""


def retry_after(text: str, now: int) -> int:
    """A Retry-After header (RFC 9110 §10.2.3) in ms from `now` on, 0 when it says nothing."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) * 1000
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() * 1000) - now)
    except (ValueError, TypeError, OverflowError):
        return 0
