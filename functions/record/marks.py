"""The marks of one process: each at most once a window. shared/model/marks.py says why nothing is missed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from shared.model.marks import EVERY, FEW, PROMPT, bucket, mark, window
from shared.model.paths import SYSTEM, Paths
from shared.model.ref import MailRef
from shared.ports import Clock, Merge

CAMPAIGNS: Final = 1000  # that are remembered, those marked last


@dataclass(frozen=True, slots=True)
class Marking:
    """What was noted when a delivery's write was made. `write`: the mark that goes with it; None when it is there already."""

    campaign: str
    bucket: str
    at: int
    write: Merge | None


@dataclass(frozen=True)
class Marks:
    """`_made`: campaign -> (window, what is marked in it for sure)."""

    clock: Clock
    paths: Paths
    _made: OrderedDict[str, tuple[int, set[str]]] = field(default_factory=OrderedDict, init=False)

    def begin(self, mail: MailRef) -> Marking | None:
        """Before a delivery is written; None for a system mail, of which there is no report."""
        if mail.campaign in SYSTEM:
            return None
        at = self.clock.now()
        made = self._of(mail.campaign, window(at))
        name = bucket(mail.sid)
        if EVERY in made or name in made:
            return Marking(mail.campaign, name, at, None)
        name = EVERY if len(made) >= FEW else name
        return Marking(mail.campaign, name, at, mark(self.paths, mail.campaign, name, window(at)))

    def end(self, marking: Marking) -> Merge | None:
        """When the store has answered; what is still to be written before the event is done with."""
        if marking.write:
            number = window(marking.at)
            self._of(marking.campaign, number).add(marking.bucket)
        now = self.clock.now()
        return None if now - marking.at <= PROMPT else mark(self.paths, marking.campaign, EVERY, window(now))

    def _of(self, campaign: str, number: int) -> set[str]:
        """What is marked in a window; a later one is begun, of an earlier one nothing is kept."""
        held, made = self._made.get(campaign, (-1, set()))
        if held > number:
            return set()
        if held < number:
            made = set()
            self._made[campaign] = number, made
        self._made.move_to_end(campaign)
        while len(self._made) > CAMPAIGNS:
            self._made.popitem(last=False)
        return made
