"""The demo on Google's emulators: the same story and the same audit, with every step a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local import emulators
from local.steps import STEPS
from tests.twin.test_demo import demo


@pytest.mark.slow
def test_on_the_emulators_everybody_gets_each_campaign_once(tmp_path: Path) -> None:
    if lacking := emulators.missing():
        pytest.skip(lacking)
    state = tmp_path / "demo"
    output, _ = (running := demo(state, STACK="emulators")).communicate(timeout=900)
    assert running.returncode == 0, output
    found: dict[str, Any] = json.loads((tmp_path / "demo.json").read_text())
    assert found["stack"] == "emulators"
    assert found["recipients"] == found["end_states"]["sent"] == 915
    assert [row["recipients"] for row in found["campaigns"]] == [463, 452]
    assert (found["duplicates"], found["dead_letters"], found["template_changed"]) == (0, 0, True)
    assert (found["imported"], found["rejected"], found["unsubscribed"]) == (462, 38, 5)
    assert found["mailbox_messages"] == 915 + found["confirmations"] + found["welcomes"]
    assert not (state / "store.db").exists()
    for step in STEPS:
        said = [json.loads(line) for line in (state / f"{step}.log").read_text().splitlines() if line.startswith("{")]
        assert {line["step"] for line in said} == {step}
    assert "starts again" not in (state / "twin.log").read_text()


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    output, _ = (running := demo(tmp_path / "demo", STACK="emulators", RESUME="1")).communicate(timeout=60)
    assert running.returncode == 1 and "The emulators keep nothing" in output
