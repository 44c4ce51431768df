"""Forgeries of every proof, one after the other, each to a step that has taken nothing yet."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .asking import MOST_SHOWN, Figures, ask
from .callbacks import Broken, Callbacks
from .mutations import WEBHOOK, Attempt
from .pushes import Pushes

REFUSED = frozenset({401, 403, 404, 413})  # not 400: a body is only judged once it is believed


@dataclass
class Forged:
    """`accepted`: forgeries that were not refused, or of which something was published or stored."""

    forged: int = 0
    accepted: int = 0
    by: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)


def attempts(proof: Callbacks | Pushes, chance: random.Random) -> Callable[[], tuple[str, Attempt]]:
    """A source of forgeries, each with the name of the way it was made."""
    if isinstance(proof, Pushes):
        return lambda: ("token", proof.attempt(chance))
    given = proof.given()

    def draw() -> tuple[str, Attempt]:
        while True:
            mutate = chance.choice(WEBHOOK)
            if found := mutate(chance, given):
                return mutate.__name__, found

    return draw


async def forge(proof: Callbacks | Pushes, count: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Forged:
    """`count` forgeries, and then the valid one, which has to be taken; raises Broken when it is not."""
    found = Forged(figures=Figures(proof.name))
    draw = attempts(proof, random.Random(f"{seed} {proof.name}"))
    stored = proof.stored()
    while found.forged < count:
        how, attempt = draw()
        if not proof.counts(attempt):
            continue
        proof.set(attempt)
        before = proof.published()
        answer = await ask(proof.app, attempt.call)
        found.figures.note(attempt.call, answer)
        found.forged += 1
        found.by[how] += 1
        if answer.status not in REFUSED or proof.published() != before:
            found.accepted += 1
            if len(found.figures.faults) < MOST_SHOWN:
                found.figures.faults.append(f"{proof.name}, {how}: taken with {answer.status}: {attempt.call.shown()}")
        tell(f"proofs: {proof.name}, {found.forged:,} forged, {found.accepted:,} accepted")
    if not found.accepted:
        found.accepted += proof.stored() - stored
    proof.set(Attempt(proof.good))
    before = proof.published()
    answer = await ask(proof.app, proof.good)
    if answer.status not in (200, 204) or (proof.published() == before and not found.accepted):
        raise Broken(f"{proof.name}: a valid one was answered {answer.status}, and published {proof.published() - before}")
    return found
