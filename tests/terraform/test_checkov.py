"""Checkov finds nothing in terraform/ that is not explained beside it (`# checkov:skip=ID:reason`).

Severities are known to its paid service only, so every finding counts.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.environments import environment, install
from tests.emulated_google import left_out

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("checkov.txt")


@pytest.fixture(scope="module")
def checkov() -> Path:
    """The command, in an environment of its own, which only a strict run makes."""
    if os.environ.get("STRICT") == "1":
        list(install({"checkov": LOCK}))
    command = environment("checkov", LOCK) / "bin" / "checkov"
    if not command.exists():
        sentence = "Checkov is not installed; STRICT=1 installs it (290 MB)."
        left_out.add(f"Left out: the scan of terraform/. {sentence}")
        pytest.skip(sentence)
    return command


def scanned(checkov: Path, folder: Path) -> dict[str, Any]:
    """Checkov's results; it exits with 1 when something failed."""
    given = ["--directory", str(folder), "--framework", "terraform", "--skip-download", "--output", "json", "--quiet"]
    environ = {**os.environ, "PATH": f"{checkov.parent}:{os.environ['PATH']}", "LOG_LEVEL": "ERROR"}
    done = subprocess.run([str(checkov.parent / "python"), str(checkov), *given], capture_output=True, text=True, env=environ)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_checkov_finds_nothing_that_is_not_explained(checkov: Path, tmp_path: Path) -> None:
    found = scanned(checkov, ROOT / "terraform")
    failed = [f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in found["results"]["failed_checks"]]
    assert failed == [] and found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 30

    (tmp_path / "open.tf").write_text('resource "google_storage_bucket" "open" {\n  name     = "x"\n  location = "EU"\n}\n')
    assert scanned(checkov, tmp_path)["summary"]["failed"] > 0  # it does look


def test_every_exception_says_why() -> None:
    reasons = [
        line.partition("checkov:skip=")[2].partition(":")[2]
        for file in sorted((ROOT / "terraform").glob("*.tf"))
        for line in file.read_text().splitlines()
        if "checkov:skip=" in line
    ]
    assert reasons and all(re.match(r"\w.{10,}", reason.strip()) for reason in reasons)
