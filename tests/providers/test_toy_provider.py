"""A new provider is one file and one registry line, and inherits the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.providers.senders import PROVIDERS
from tests.providers.sender_contract import SenderContract
from tests.providers.toy_provider import FakeToy

pytestmark = pytest.mark.network


class TestToy(SenderContract):
    KIND = "toy"
    OPTIONS = {"account": "shop"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROVIDERS, "toy", "tests.providers.toy_provider")

    def fresh(self) -> FakeToy:
        return FakeToy()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeToy]:
        async with self.fresh() as running:
            yield running
