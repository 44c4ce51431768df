"""A short run of `make chaos`, and the step broken on purpose, to see that the harness notices."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from local.emulators import Emulators

from .__main__ import SENDERS
from .points import POINTS, Sabotage
from .summary import Results, as_json, broken, by, controls, run_all
from .trial import Trial

AT_ONCE = 6

pytestmark = pytest.mark.slow


def _run(trials: list[Trial], folder: Path) -> Results:
    return asyncio.run(run_all(trials, folder, AT_ONCE, tell=lambda line: None))


def _short(host: str) -> list[Trial]:
    return [
        Trial(
            point=point,
            firestore=host,
            role=role,
            kills=2,
            recipients=60,
            batch=15,
            window=5,
            seed=random.randrange(1 << 30),
        )
        for role in SENDERS
        for point in (POINTS if role == "ours" else ["handed"])
    ]


def _nothing_is_lost(host: str, folder: Path) -> None:
    results = _run(_short(host), folder)
    assert not broken(results), (broken(results), [trial.seed for trial, _ in results])
    found = as_json(results)
    assert set(found["points"]) == set(POINTS) and all(point["kills"] == 2 for point in found["points"].values())
    assert found["lost"] == found["repeated"] == 0 < found["unknown"] <= 5 * found["kills"]
    assert all(figures.lost + figures.repeated > 0 for figures in controls(results).values())


def test_nothing_is_lost_or_repeated_by_kills_on_sqlite(tmp_path: Path) -> None:
    _nothing_is_lost("", tmp_path)


def test_nothing_is_lost_or_repeated_by_kills_on_the_firestore_emulator(tmp_path: Path, emulators: Emulators) -> None:
    _nothing_is_lost(emulators.firestore, tmp_path)


def test_a_step_that_is_broken_is_found_out(tmp_path: Path) -> None:
    cases: dict[Sabotage, str] = {"unwritten": "last-byte", "unchained": "done", "resent": "last-byte", "believed": "handed"}
    trials = [
        Trial(point=point, kills=3, recipients=150, batch=15, window=5, twice=1.0, seed=1, sabotage=sabotage)
        for sabotage, point in cases.items()
    ]
    results = _run(trials, tmp_path)
    found = by(results, lambda trial: trial.sabotage)
    assert all(found[sabotage].repeated > 0 for sabotage in ("unwritten", "unchained", "resent")), found
    assert found["believed"].lost > 0, found
    assert len(broken(results)) >= len(cases)
