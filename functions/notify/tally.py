"""What became of an endpoint's events, noted for whoever looks: a document a minute at most, not one an event.

    since, until   the first and the last of these attempts (ms)
    delivered      events that were taken; `dropped`: not posted, because the endpoint is disabled
    failed         {what was answered, or how the connection failed: attempts}
    failures       the first of these: {id: webhook-id, mail, type, status, at}
    expires_at     it goes after KEPT

A quiet process notes an event at once, a busy one what came since the last note. A process that ends takes along what it has not noted
yet, a minute at most: these are counts to look at. What was not delivered is in the bus, or among its dead letters.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from shared.errors import Unavailable
from shared.logs import log, metric
from shared.model.paths import Paths
from shared.ports import Expiry, Merge, Store

EVERY: Final = 60_000  # ms from one note to the next
KEPT: Final = 7 * 86_400_000  # ms
SHOWN: Final = 20  # failures of a note

_PROCESS: Final = secrets.token_hex(4)


@dataclass(slots=True)
class _Sums:
    number: int  # of the note; one moment may hold two
    since: int = 0
    until: int = 0
    delivered: int = 0
    dropped: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)


class Tally:
    """One endpoint's counts in this process."""

    def __init__(self, store: Store, paths: Paths, endpoint: str) -> None:
        self._store, self._paths, self._endpoint = store, paths, endpoint
        self._sums = _Sums(0)
        self._noted = 0
        self._noting = False

    def delivered(self) -> None:
        self._sums.delivered += 1

    def dropped(self) -> None:
        self._sums.dropped += 1

    def failed(self, status: str, failure: dict[str, Any]) -> None:
        self._sums.failed[status] += 1
        if len(self._sums.failures) < SHOWN:
            self._sums.failures.append({**failure, "status": status})

    async def note(self, now: int) -> None:
        """After each event. Writes when it is time, and never raises for the store's sake: the event has been dealt with."""
        sums = self._sums
        sums.since, sums.until = sums.since or now, now
        if self._noting or now - self._noted < EVERY:
            return
        self._noting, self._sums = True, _Sums(sums.number + 1)
        try:
            began = datetime.fromtimestamp(sums.since / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
            path = self._paths.minute(self._endpoint, f"{began}.{_PROCESS}.{sums.number}")
            data = {
                "since": sums.since,
                "until": sums.until,
                "delivered": sums.delivered,
                "dropped": sums.dropped,
                "failed": dict(sums.failed),
                "failures": sums.failures,
                "expires_at": Expiry(now + KEPT),
            }
            await self._store.commit([Merge(path, data)])
        except Unavailable as error:
            log("WARNING", f"not noted: {error}", endpoint=self._endpoint)
            self._sums = _added(sums, self._sums)  # under the same name, so that nothing counts twice if only the reply was lost
        else:
            values = {"events_delivered": sums.delivered, "events_failed": sums.failed.total(), "events_dropped": sums.dropped}
            metric("events out", {name: count for name, count in values.items() if count}, endpoint=self._endpoint)
        finally:
            self._noting, self._noted = False, now


def _added(one: _Sums, more: _Sums) -> _Sums:
    return _Sums(
        number=one.number,
        since=one.since,
        until=max(one.until, more.until),
        delivered=one.delivered + more.delivered,
        dropped=one.dropped + more.dropped,
        failed=one.failed + more.failed,
        failures=(one.failures + more.failures)[:SHOWN],
    )
