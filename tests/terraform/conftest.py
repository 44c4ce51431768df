"""Workspaces for the tests in this folder. Without terraform they are left out, and the end of the run says so; under STRICT=1 they
fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.emulated_google import left_out
from tests.terraform.workspace import Workspace, missing


@pytest.fixture(scope="session")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Workspace]]:
    """Makes a Workspace in a folder of its own and closes it at the end of the run: workspaces(files, known=…, rules=…)."""
    if sentence := missing():
        if os.environ.get("STRICT") == "1":
            pytest.fail(f"STRICT=1: {sentence}")
        left_out.add(f"Left out: the tests of terraform/. {sentence}")
        pytest.skip(sentence)
    with ExitStack() as stack:

        def make(*given: Any, **options: Any) -> Workspace:
            folder: Path = tmp_path_factory.mktemp("workspace")
            return stack.enter_context(Workspace(folder, *given, **options))

        yield make
