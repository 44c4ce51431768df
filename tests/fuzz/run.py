"""A whole run: forgeries of every proof, replays of every provider's callbacks, requests to every step; and its figures."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from local.steps import STEPS
from shared.providers import webhooks

from .asking import PATIENCE, Figures
from .callbacks import Callbacks
from .proofs import Forged, forge
from .pushes import Pushes
from .replays import replay
from .requests import fuzz
from .stage import staged

MUTATIONS, REPLAYS, REQUESTS = 5_000, 12_000, 100_000  # of each proof; over all providers; over all steps
EVERY = 10.0  # seconds between two lines
STUCK = 120.0  # seconds without any progress after which the process tells where it is, and ends
MUST_BE_ZERO = ("accepted", "server_errors", "hangs")

Tell = Callable[[str], None]
PUSHES = ("push oidc", "push iam")


@dataclass(frozen=True)
class Plan:
    """`scale`: the part of the full counts; at least one of each is made."""

    seed: int
    scale: float = 1.0
    providers: Sequence[str] = tuple(webhooks.WEBHOOKS)
    steps: Sequence[str] = STEPS
    patience: float = PATIENCE

    def count(self, full: int) -> int:
        return max(1, round(full * self.scale))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the steps' own log."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def telling(write: Tell) -> Iterator[Tell]:
    """What takes a line at every step of the work, and writes one every ten seconds. Without one for two minutes, as when a step
    never gives the event loop back, the process ends with where it is."""
    last = [time.monotonic()]

    def tell(line: str) -> None:
        if time.monotonic() - last[0] >= EVERY:
            last[0] = time.monotonic()
            faulthandler.dump_traceback_later(STUCK, exit=True, file=sys.__stderr__ or sys.stderr)
            write(line)

    faulthandler.dump_traceback_later(STUCK, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield tell
    finally:
        faulthandler.cancel_dump_traceback_later()


async def run(plan: Plan, tell: Tell = lambda line: None) -> dict[str, Any]:
    """The content of .twin/fuzz.json. Raises Broken when something valid is not taken."""
    forged, replayed = await proofs(plan, tell), await replays(plan, tell)
    with TemporaryDirectory(prefix="fuzz-") as folder:
        async with staged(Path(folder), plan.steps) as given:
            asked = await fuzz(given, plan.count(REQUESTS), plan.seed, plan.patience, tell)
    return summary(plan, forged, replayed, asked)


async def proofs(plan: Plan, tell: Tell = lambda line: None) -> dict[str, Forged]:
    """The forgeries of each proof."""
    found = {}
    for name in [*plan.providers, *PUSHES]:
        with TemporaryDirectory(prefix="fuzz-") as folder, ExitStack() as opened:
            proof = opened_proof(name, Path(folder))
            opened.callback(proof.close)
            found[name] = await forge(proof, plan.count(MUTATIONS), plan.seed, tell)
    return found


def opened_proof(name: str, folder: Path) -> Callbacks | Pushes:
    match name:
        case "push oidc":
            return Pushes("oidc", folder)
        case "push iam":
            return Pushes("iam", folder)
    return Callbacks(name, folder)


async def replays(plan: Plan, tell: Tell = lambda line: None) -> dict[str, Forged]:
    """The replays of each provider's callbacks."""
    found = {}
    each = -(-plan.count(REPLAYS) // len(plan.providers))
    for name in plan.providers:
        with TemporaryDirectory(prefix="fuzz-") as folder, ExitStack() as opened:
            provider = Callbacks(name, Path(folder))
            opened.callback(provider.close)
            found[name] = await replay(provider, each, plan.seed, tell)
    return found


def summary(
    plan: Plan, forged: Mapping[str, Forged], replayed: Mapping[str, Forged], asked: Mapping[str, Figures]
) -> dict[str, Any]:
    """All figures: the sums first. Server errors and hangs count wherever they were."""
    tried = [*forged.values(), *replayed.values()]
    every = [*(one.figures for one in tried), *asked.values()]
    return {
        "seed": plan.seed,
        "scale": plan.scale,
        "forged": sum(one.forged for one in forged.values()),
        "accepted": sum(one.accepted for one in tried),
        "replays": sum(one.forged for one in replayed.values()),
        "requests": sum(one.requests for one in asked.values()),
        "server_errors": sum(one.server_errors for one in every),
        "hangs": sum(one.hangs for one in every),
        "proofs": {name: _of(one, "forged") for name, one in forged.items()},
        "providers": {name: _of(one, "replays") for name, one in replayed.items()},
        "steps": {step: _figures(one) for step, one in asked.items()},
        "faults": [line for one in every for line in one.faults],
    }


def _of(found: Forged, what: str) -> dict[str, Any]:
    ways = {"ways": dict(found.by.most_common())} if found.by else {}
    return {what: found.forged, "accepted": found.accepted, **_figures(found.figures), **ways}


def _figures(found: Figures) -> dict[str, Any]:
    statuses = {str(status): count for status, count in sorted(found.statuses.items())}
    return {"requests": found.requests, "server_errors": found.server_errors, "hangs": found.hangs, "statuses": statuses}


def holds(found: Mapping[str, Any]) -> bool:
    return all(found[name] == 0 for name in MUST_BE_ZERO)
