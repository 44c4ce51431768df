"""The emulated Google that the Sheets and Drive contracts share: one server a module, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.emulated import Emulated, emulated


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    place = tmp_path_factory.mktemp("google")
    with emulated(place / "state", place / "templates") as running:
        yield running


@pytest.fixture
def twin(server: Emulated) -> Emulated:
    server.reset()
    return server
