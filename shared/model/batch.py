"""The ledger of one batch: whose turn it was and what became of each mail.

A batch document has one writer, the holder of its lease. It keeps two byte strings side by side: `sids`, 16 bytes for each
recipient of every window so far, and `states`, one byte for each.

    source      {"low": hex, "high": hex} a range of the sid space (high exclusive, "" = to the end), or {"sid": …} one subscriber
    state       open | done
    cursor      the last sid read from the range; `read_all` once the range is exhausted
    owner, seq  who wrote last and that writer's count: how a writer recognises its own write
    lease_until while a worker holds it, else 0
    not_before  a worker must not start earlier (waiting is never a nack)
    due         the sweeper publishes the batch again after this
    round       rounds of retries that cost deferred mails an attempt; `counted`: this one does; `retry_from`: where in the ledger
                the next run goes on with it
    unsettled   whether it holds `unknown` mails: the tick reconciles those
    tally       end state -> count, for reports
    expires_at  of a single mail: when the document may go
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.ports import Expiry

HANDED: Final = ord(".")
DEFERRED: Final = ord("d")
SENT: Final = ord("s")
FAILED: Final = ord("f")
SUPPRESSED: Final = ord("x")
CANCELLED: Final = ord("c")
UNKNOWN: Final = ord("u")
SKIPPED_LEFT: Final = ord("l")  # in the index, but the rule no longer holds
SKIPPED_JOINED: Final = ord("j")  # confirmed after the freeze

END_STATES: Final = ("sent", "failed", "suppressed", "skipped", "cancelled", "unknown")
NAMES: Final[Mapping[int, str]] = {
    HANDED: "handed",
    DEFERRED: "deferred",
    SENT: "sent",
    FAILED: "failed",
    SUPPRESSED: "suppressed",
    CANCELLED: "cancelled",
    UNKNOWN: "unknown",
    SKIPPED_LEFT: "skipped",
    SKIPPED_JOINED: "skipped",
}
BATCH_SIZE: Final = 400  # recipients of a range, on average
TOPIC: Final = "send-requests"
SINGLE_KEPT: Final = 90 * 86_400_000  # ms
GRACE: Final = 60_000  # ms a published batch is left to its push before the sweeper publishes it again


def ranges(recipients: int) -> list[dict[str, str]]:
    """Equal ranges of the sid space, about BATCH_SIZE recipients each; sids are uniform, so nobody has to be read."""
    parts = max(1, -(-recipients // BATCH_SIZE))
    # An edge is shorter than a sid, so it sorts before every sid it begins: "after the edge" and "below it" share nobody.
    edges = ["", *(f"{(i << 64) // parts:016x}" for i in range(1, parts)), ""]
    return [{"low": edges[i], "high": edges[i + 1]} for i in range(parts)]


def new(source: Mapping[str, str], now: int) -> dict[str, Any]:
    """A batch document that was just cut and published."""
    return {
        "source": dict(source),
        "state": "open",
        "cursor": source.get("low", ""),
        "read_all": False,
        "sids": b"",
        "states": b"",
        "owner": "",
        "seq": 0,
        "lease_until": 0,
        "not_before": 0,
        "due": now + GRACE,
        "round": 0,
        "counted": False,
        "retry_from": 0,
        "unsettled": False,
        "tally": {},
    }


def single(sid: str, consent: str, now: int) -> dict[str, Any]:
    """A batch document of one mail, not cut by a tick. It may go long after anything could still ask for that mail again: a link
    works for a week, and a dead letter is kept for a month."""
    return {**new({"sid": sid, "consent": consent}, now), "expires_at": Expiry(now + SINGLE_KEPT)}


def tally(states: Iterable[int]) -> dict[str, int]:
    """Name of state -> how many."""
    counts = Counter(states)
    found: Counter[str] = Counter()
    for state, n in counts.items():
        found[NAMES[state]] += n
    return dict(found)


def sids(packed: bytes) -> list[str]:
    """The recipients of a ledger, in order."""
    text = packed.hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]


def request(campaign: str, batch: str, consent: str = "") -> dict[str, Any]:
    """The message on `send-requests`. `consent` names the sign-up a confirmation is for."""
    return {"campaign": campaign, "batch": batch, **({"consent": consent} if consent else {})}
