"""The ledger of one batch: whose turn it was and what became of each mail.

A batch document has one writer, the holder of its lease. It keeps two byte strings side by side: `sids`, 16 bytes for each
recipient of every window so far, and `states`, one byte for each.

    source      {"low": hex, "high": hex} a range of the sid space (high exclusive, "" = to the end), {"sid": …} one subscriber, or
                {"roster": n} the n sids of the field `roster`, 16 bytes each, frozen when it was cut, mailed in that order. Of one
                subscriber also `consent`, the sign-up that is to be confirmed, and, until the mail has gone, `network`: who asked
    key         of each MailRef: "" for the campaign's first send, "r1", "r2" … for a later one
    state       open | done
    cursor      the last sid read from the range; `read_all` once the source is exhausted. Of a roster as many are read as `states` has
    owner, seq  who wrote last and that writer's count: how a writer recognises its own write
    lease_until while a worker holds it, else 0
    not_before  a worker must not start earlier (waiting is never a nack)
    due         the tick publishes the batch at the first moment from then on; NEVER when it is done
    swept       how often the tick has done so since a worker last wrote: a batch that kills its worker is then handled mail by mail
    round       rounds of retries that cost deferred mails an attempt; `counted`: this one does; `retry_from`: where in the ledger
                the next run goes on with it
    unsettled   whether it holds `unknown` mails: the tick reconciles those
    tally       end state -> count, for reports
    grants      provider -> {"mails": left, "rate": a second, 0 for no limit}: leased by the tick from a limited provider's allowance.
                `granted`: the UTC day they count for; `leftover` while some are left and no worker has the batch: the tick takes them back
    group       the mailbox provider ("gmail") all of a roster's readers have, when it is one of a warm-up, else ""
    via, times  one byte and four for each sid: the number in `providers` of the provider it was handed to last, and when (seconds)
    codes       {position: the provider's code} of those failed, deferred or unknown; `refused`: {position: when there first was one, ms}
    ended_at    when it was done
    expires_at  of a single mail: when the document may go
    stands_for  of a single mail's that holds nobody: the name of an earlier day's batch whose mail went on this day
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
SKIPPED_CAPPED: Final = ord("p")  # had, or is about to have, as many mails as the contact policy allows
SKIPPED_RESTING: Final = ord("r")  # wants none for some time, or none so soon after the last
SKIPPED_CROWDED: Final = ord("w")  # a mail that strangers can ask for, and that waited for a day because they asked for too many

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
    SKIPPED_CAPPED: "skipped",
    SKIPPED_RESTING: "skipped",
    SKIPPED_CROWDED: "skipped",
}
SKIPS: Final[Mapping[int, str]] = {
    SKIPPED_LEFT: "no longer in the segment, or not confirmed",
    SKIPPED_JOINED: "confirmed after the campaign had started",
    SKIPPED_CAPPED: "had enough mails lately",
    SKIPPED_RESTING: "wants a pause, or fewer mails",
    SKIPPED_CROWDED: "too many such mails were asked for from one network or to one domain",
}
CROWDED: Final = "crowded"  # the code of a mail that waits because too many were asked for
BATCH_SIZE: Final = 400  # recipients of a range, on average
TOPIC: Final = "send-requests"
SINGLE_KEPT: Final = 90 * 86_400_000  # ms
NEVER: Final = 1 << 53
GRACE: Final = 60_000  # ms a published batch is left to its push before the sweeper publishes it again


def ranges(recipients: int) -> list[dict[str, str]]:
    """Equal ranges of the sid space, about BATCH_SIZE recipients each; sids are uniform, so nobody has to be read."""
    parts = max(1, -(-recipients // BATCH_SIZE))
    # An edge is shorter than a sid, so it sorts before every sid it begins: "after the edge" and "below it" share nobody.
    edges = ["", *(f"{(i << 64) // parts:016x}" for i in range(1, parts)), ""]
    return [{"low": edges[i], "high": edges[i + 1]} for i in range(parts)]


def new(source: Mapping[str, Any], due: int, key: str = "", group: str = "", roster: bytes = b"") -> dict[str, Any]:
    """A batch document that was just cut. `due`: when the tick publishes it (ms); GRACE from now for one that is published at once."""
    return {
        "source": dict(source),
        "key": key,
        "group": group,
        "state": "open",
        "cursor": source.get("low", ""),
        "read_all": False,
        "sids": b"",
        "states": b"",
        "owner": "",
        "seq": 0,
        "lease_until": 0,
        "not_before": 0,
        "due": due,
        "swept": 0,
        "round": 0,
        "counted": False,
        "retry_from": 0,
        "unsettled": False,
        "tally": {},
        "grants": {},
        "leftover": False,
        "providers": [],
        "via": b"",
        "times": b"",
        "codes": {},
        "refused": {},
        "ended_at": 0,
        **({"roster": roster} if roster else {}),
    }


def single(sid: str, consent: str, now: int, network: str = "") -> dict[str, Any]:
    """A batch document of one mail, not cut by a tick. It may go long after anything could still ask for that mail again: a link
    works for a week, and a dead letter is kept for a month."""
    source = {"sid": sid, "consent": consent, **({"network": network} if network else {})}
    return {**new(source, now + GRACE), "expires_at": Expiry(now + SINGLE_KEPT)}


def rosters(sids: Sequence[str], size: int = BATCH_SIZE) -> list[bytes]:
    """Sids in the order they are to be mailed, as the `roster` fields of batches."""
    return [bytes.fromhex("".join(sids[start : start + size])) for start in range(0, len(sids), size)]


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


def request(campaign: str, batch: str, consent: str = "", network: str = "") -> dict[str, Any]:
    """The message on `send-requests`. `consent` names the sign-up a confirmation is for; `network`, from where a link was asked for, as
    `consent.network_of` has it: a sign-up's evidence holds that, and of a request for a link nothing else is kept."""
    told = {"consent": consent, "network": network}
    return {"campaign": campaign, "batch": batch, **{name: text for name, text in told.items() if text}}


def request_of_day(campaign: str, sid: str, now: int, consent: str = "", network: str = "") -> dict[str, Any]:
    """The message for the one mail of a system campaign that somebody gets on a day (UTC)."""
    return request(campaign, f"{sid}.{now // 86_400_000}", consent, network)
