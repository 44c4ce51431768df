"""A short run of `make faults`: nobody loses a mail or gets it twice when replies are cut and the emulator is frozen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from local.emulators import missing

from .__main__ import holds, measure


@pytest.mark.slow
def test_nothing_is_lost_or_repeated_while_replies_are_cut_and_the_emulator_freezes(tmp_path: Path) -> None:
    if lacking := missing():
        pytest.skip(lacking)
    found = measure(tmp_path, cuts=100, freezes=1, seconds=3.0, chance=0.15, seed=random.randrange(1 << 30))
    assert found["cut_replies"] >= 100 and found["freezes"] == 1
    assert holds(found), found
