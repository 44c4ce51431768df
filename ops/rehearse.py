"""`python -m ops rehearse`: the steps of cloudbuild.yaml that need no account, as Cloud Build would run them, but on this machine
instead of in their images."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ALONE = ("lint", "test", "stage")  # the steps that need no account


def scripts(text: str) -> dict[str, str]:
    """The script of each step of a cloudbuild.yaml, by the step's id, in their order."""
    return {step["id"]: step["script"] for step in yaml.safe_load(text)["steps"]}


def rehearse(names: Sequence[str], folder: Path = ROOT, environ: Mapping[str, str] = os.environ) -> int:
    """Run these steps of folder/cloudbuild.yaml there, one after the other; the first exit status that is not 0, or 0."""
    known = scripts((folder / "cloudbuild.yaml").read_text("utf-8"))
    for name in names:
        print(f"--- {name}", flush=True)
        done = subprocess.run(["/bin/sh", "-c", known[name]], cwd=folder, env=dict(environ), check=False)
        if done.returncode:
            print(f"{name} failed (exit {done.returncode}); Cloud Build would end here.", flush=True)
            return done.returncode
    return 0
