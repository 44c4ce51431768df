"""Google's official emulators for any test that asks for the fixture `emulators`: one start for the whole run.

Where they are not installed, these tests are left out and the end of the run says so in one sentence; under STRICT=1 they fail.
Tests keep apart by project id (`project`), since one emulator serves any number of projects.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
import pytest_socket

from local.emulators import Emulators, missing
from local.emulators import emulators as running

left_out: set[str] = set()  # sentences for the end of the run


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Firestore and Pub/Sub, empty at the start of the run."""
    if sentence := missing():
        if os.environ.get("STRICT") == "1":
            pytest.fail(f"STRICT=1: {sentence}")
        left_out.add(f"Left out: the tests on Google's emulators. {sentence}")
        pytest.skip(sentence)
    pytest_socket.enable_socket()  # a session's fixture comes before the test's own rule
    with running(tmp_path_factory.mktemp("emulators")) as found:
        yield found


@pytest.fixture
def project() -> str:
    """A project id of the test's own."""
    return f"test-{uuid.uuid4().hex[:12]}"
