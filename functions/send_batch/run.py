"""One worker's turn at one batch: what it knows, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from shared.logs import metric
from shared.mail.compile import CompiledMail
from shared.mail.source import best
from shared.model import batch
from shared.model.paths import SYSTEM, TEST
from shared.ports import Document, Kind, Stop

from .audience import Audience
from .ledger import Ledger
from .limits import Held, Limits
from .policy import Contacts, Quiet
from .routes import Route

BACK_OFF: Final = 1.3  # from one round of retries to the next
CAREFUL: Final = 3  # turns in a row that ended without a word before mails are taken one by one
STATES: Final[Mapping[Kind, int]] = {
    "sent": batch.SENT,
    "recipient": batch.FAILED,
    "message": batch.FAILED,
    "throttle": batch.DEFERRED,
    "temporary": batch.DEFERRED,
    "down": batch.DEFERRED,
    "ours": batch.DEFERRED,
    "unsent": batch.DEFERRED,
    "unknown": batch.UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things take, in milliseconds: a lease, the part of the ack deadline a turn may use, the first back-off of a deferred
    mail, the wait while a provider is down, and when a mail that is refused again and again has failed.

    5 minutes, growing by BACK_OFF, for 72 hours: what greylisting servers and RFC 5321 §4.5.4.1 ask for.
    """

    lease: int
    budget: int
    retry: int
    wait: int
    give_up: int = 72 * 3_600_000


class Waiting(NamedTuple):
    """A mail that can go: its place in the ledger, and its reader as just read."""

    position: int
    sid: str
    data: Mapping[str, Any]


@dataclass
class Run:
    """What one turn has in hand."""

    campaign: str
    batch: str
    ledger: Ledger
    audience: Audience
    frozen: Mapping[str, Any]  # the campaign's mail
    mails: dict[str, CompiledMail]  # it, by language as far as needed; "": for who has none of its languages
    sender_address: str
    state: str  # of the campaign
    until: int  # no mail is begun from then on (ms), 0 for no end
    retrying: bool  # the source was read to its end before this turn
    retries: list[int]  # positions of deferred mails still to be read again in this round
    careful: bool  # one by one, each written down before anything else is done with it
    stopping: Stop
    contacts: Contacts | None = None
    quiet: Quiet | None = None
    limits: Limits | None = None  # of a mail that strangers can ask for
    earlier: Mapping[str, Any] = field(default_factory=dict)  # who asked first, where somebody else does now and it still waits
    adopted: bool = False  # the later request has its place
    held: Held | None = None  # by them
    ask_seldom: Callable[[], Awaitable[Contacts]] | None = None  # what counts for readers who want mails seldom
    seldom: Contacts | None = None  # that, asked for when there was one
    fuller: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # sid -> one of them, with what `seldom` needs besides
    before: Mapping[str, int] = field(default_factory=dict)  # end state -> mails, when this turn began
    waiting: list[Waiting] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)  # of those that could go, whoever was read too long ago
    ahead: list[Document] = field(default_factory=list)  # readers that were read with the others, and are not in the ledger yet
    ahead_at: float = 0.0  # monotonic seconds
    looked_at: int = 0  # readers of the range, in this turn
    started: float = field(default_factory=time.monotonic)
    last_page: bool = False  # nobody comes after them
    read_at: float = 0.0  # monotonic seconds, when those at hand were asked for
    broken: list[int] = field(default_factory=list)  # mails that could not be made, since the last that could
    stop: str = ""  # why this turn ends at the next window edge
    fault: str = ""  # the sentence that says so when the fault is ours
    shut: str = ""  # why some mails had no way to go
    awake_at: int = 0  # when the first of the readers whose quiet hours it is may be mailed
    windows: int = 0
    deferrals: int = 0

    @cached_property
    def fields(self) -> Sequence[str]:
        """What is read of each reader."""
        asked = self.audience.fields
        return sorted({*asked, *self.contacts.fields}) if self.contacts else asked

    @property
    def kind(self) -> str:
        """What sort of mail, as the metrics have it."""
        return self.campaign if self.campaign in SYSTEM else "campaign"

    @property
    def in_vain(self) -> bool:
        """Whether the later request finds no place either: then this turn leaves everything as it was."""
        return bool(self.earlier) and self.held is not None and not self.adopted and not self.ledger.held

    @property
    def heeded(self) -> bool:
        """Whether a reader's pause and frequency count."""
        return self.kind == "campaign" and self.campaign != TEST

    def language(self, reader: Mapping[str, Any]) -> str:
        """Which of `mails` somebody gets."""
        return best(self.frozen.get("languages", ()), reader.get("language") or "")

    def left(self) -> list[int]:
        """Deferred mails of this round that had no try in it yet."""
        return sorted([*self.retries, *self.stale, *(mail.position for mail in self.waiting)])

    def counted(self) -> None:
        """One entry for the turn: what the ledger has gained. It is the ledger's sum that is true; a turn that died wrote no entry."""
        after = batch.tally(self.ledger.states)
        gained = {state: after.get(state, 0) - self.before.get(state, 0) for state in batch.END_STATES}
        values = {f"mails_{state}": count for state, count in (gained | {"deferred": self.deferrals}).items() if count}
        why = self.stop or "end"
        metric("batch", values, kind=self.kind, campaign=self.campaign, batch=self.batch, windows=self.windows, why=why)


@dataclass(frozen=True, slots=True)
class Window:
    """Mails for one provider, handed over together."""

    route: Route
    mails: Sequence[Waiting]
