"""The rules of the house for each step's folder: small entry points, and locks that hold exactly what is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvicorn

from .imports import ROOT, STEPS, distributions, foreign, pins, wanted

EVENT_LOOP = "uvloop"  # uvicorn looks for it; nothing of ours imports it
FRAMEWORK = "functions-framework"


def test_the_steps_are_those_of_the_makefile_and_the_twin() -> None:
    from local.steps import STEPS as SERVED

    [line] = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("STEPS :=")]
    assert STEPS == sorted(line.split()[2:]) == sorted(SERVED)
    assert len(STEPS) >= 8


@pytest.mark.parametrize("step", STEPS)
def test_an_entry_point_is_short_and_names_its_trigger(step: str) -> None:
    text = (ROOT / "functions" / step / "main.py").read_text()
    assert len(text.splitlines()) <= 60
    assert text.startswith(f'"""{step}, ')
    assert f"async def {step}(" in text and "@functions_framework.aio.http" in text


@pytest.mark.parametrize("step", STEPS)
def test_only_the_entry_point_knows_the_framework(step: str) -> None:
    for file in (ROOT / "functions" / step).glob("*.py"):
        if file.name != "main.py":
            text = file.read_text()
            assert not [word for word in ("starlette", "functions_framework", "os.environ", "import google") if word in text]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_only_what_its_lock_holds(step: str) -> None:
    missing = distributions(step) - set(pins(ROOT / "functions" / step / "requirements.txt"))
    assert not missing


@pytest.mark.parametrize("step", STEPS)
def test_a_step_asks_only_for_what_it_imports(step: str) -> None:
    asked = wanted(ROOT / "functions" / step / "requirements.in")
    assert asked - distributions(step) - {EVENT_LOOP} == set()
    assert FRAMEWORK in asked


def test_the_server_takes_the_event_loop_that_send_batch_asks_for() -> None:
    assert EVENT_LOOP in wanted(ROOT / "functions" / "send_batch" / "requirements.in")
    factory = uvicorn.Config("functions:none").get_loop_factory()
    assert factory and factory.__module__ == EVENT_LOOP


@pytest.mark.parametrize("step", STEPS)
def test_a_steps_lock_is_cut_from_the_union_lock(step: str) -> None:
    union, own = pins(ROOT / "requirements.txt"), pins(ROOT / "functions" / step / "requirements.txt")
    assert {name: version for name, version in own.items() if union.get(name) != version} == {}
    assert own and wanted(ROOT / "functions" / step / "requirements.in") <= set(own)
    assert (ROOT / "functions" / step / "requirements.txt").read_text().count("--hash=sha256:") >= len(own)


def test_imports_are_found_wherever_they_stand() -> None:
    launch = foreign("launch")
    assert {"sqlite3", "googleapiclient.discovery", "jinja2", "starlette.requests"} <= launch
    assert "shared.providers.generic" not in launch
    assert "crawleruseragents" in foreign("track") and "crawleruseragents" not in launch
    assert {"css_inline", "aiosmtplib", "aiohttp"} <= foreign("send_batch")
    assert "aiosmtplib" not in foreign("webhooks")


@pytest.mark.parametrize("step", ["track", "webhooks", "unsubscribe"])
def test_a_step_that_answers_readers_stays_light(step: str) -> None:
    heavy = {"google-api-python-client", "css-inline", "email-validator", "aiosmtplib"}
    assert not heavy & set(pins(Path(ROOT / "functions" / step / "requirements.txt")))
