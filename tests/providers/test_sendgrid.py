"""SendGrid: the contract of senders, and its own documented answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import Denied
from shared.providers.api import ApiSender
from tests.providers.api_server import Reply
from tests.providers.fake_sendgrid import FakeSendGrid
from tests.providers.sender_contract import FROM, SenderContract, kinds, mail, mails

pytestmark = pytest.mark.network


class TestSendGrid(SenderContract):
    KIND = "sendgrid"
    BLAMES = True

    def fresh(self) -> FakeSendGrid:
        return FakeSendGrid()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeSendGrid]:
        async with self.fresh() as running:
            yield running

    async def test_a_key_that_may_not_send_is_not_ready(self, sender: ApiSender, server: FakeSendGrid) -> None:
        server.scopes = ["user.profile.read"]
        with pytest.raises(Denied):
            await sender.ready()

    @pytest.mark.parametrize(
        ("status", "field", "wanted"),
        [
            (400, "personalizations.1.to.0.email", ["sent", "recipient", "sent"]),
            (400, "personalizations.1.custom_args", ["sent", "message", "sent"]),
            (400, "personalizations.9.to.0.email", ["sent", "sent", "sent"]),  # nobody's: the parts are tried
            (400, "content.0.value", ["message"] * 3),
            (400, "subject", ["message"] * 3),
            (400, "from.email", ["ours"] * 3),
            (400, None, ["sent", "sent", "sent"]),
            (401, None, ["ours"] * 3),
            (403, "from", ["ours"] * 3),
            (406, None, ["ours"] * 3),
            (413, None, ["sent", "sent", "sent"]),
            (415, None, ["ours"] * 3),
            (429, None, ["throttle"] * 3),
            (451, None, ["ours"] * 3),
            (500, None, ["unknown"] * 3),
            (502, None, ["unknown"] * 3),
            (503, None, ["down"] * 3),
            (504, None, ["unknown"] * 3),
            (301, None, ["ours"] * 3),
            (200, None, ["ours"] * 3),  # sandbox mode: valid, and not queued
        ],
    )
    async def test_documented_answers(
        self, sender: ApiSender, server: FakeSendGrid, status: int, field: str | None, wanted: list[str]
    ) -> None:
        server.faults = {1: Reply(status, {"errors": [{"field": field, "message": "…", "help": None}]})}
        outcomes = await sender.send(FROM, mails(3))
        assert kinds(outcomes) == wanted
        assert [outcome.hard for outcome in outcomes] == [outcome.kind == "recipient" for outcome in outcomes]

    async def test_a_refusal_without_a_culprit_is_bounded(self, sender: ApiSender, server: FakeSendGrid) -> None:
        server.faults = {n: Reply(400, {"errors": []}) for n in range(1, 10_000)}
        outcomes = await sender.send(FROM, mails(1000))
        assert set(kinds(outcomes)) == {"message", "temporary"} and server.sends < 1000
        assert server.inbox == []

    async def test_values_that_are_too_long_to_replace_go_alone(self, sender: ApiSender, server: FakeSendGrid) -> None:
        out = [mail(0), mail(1, name="x" * 9_000), mail(2), mail(3)]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 4
        assert sorted(server.sizes) == [1, 3]
