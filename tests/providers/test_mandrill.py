"""Mailchimp Transactional: the contract of senders, and its own documented answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.ports import Outcome
from shared.providers.api import ApiSender
from shared.providers.senders import open_sender
from tests.providers.api_server import Reply
from tests.providers.fake_mandrill import FakeMandrill
from tests.providers.sender_contract import FROM, SINGLE, SenderContract, kinds, mails

pytestmark = pytest.mark.network


class TestMandrill(SenderContract):
    KIND = "mandrill"
    MESSAGE_ID = False
    BLAMES = True

    def fresh(self) -> FakeMandrill:
        return FakeMandrill()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeMandrill]:
        async with self.fresh() as running:
            yield running

    async def test_headers_of_ones_own_need_a_call_of_ones_own(self, sender: ApiSender, server: FakeMandrill) -> None:
        assert kinds(await sender.send(FROM, mails(12))) == ["sent"] * 12
        assert server.sizes == [1] * 12
        assert kinds(await sender.send(FROM, mails(12, SINGLE))) == ["sent"] * 12
        assert server.sizes[12:] == [12]

    @pytest.mark.parametrize(
        ("reason", "wanted"),
        [
            ("hard-bounce", "recipient!"),
            ("soft-bounce", "recipient"),
            ("spam", "recipient!"),
            ("unsub", "recipient!"),
            ("custom", "recipient"),
            ("invalid", "recipient!"),
            ("rule", "message"),
            ("invalid-sender", "ours"),
            ("test-mode-limit", "ours"),
            ("unsigned", "ours"),
        ],
    )
    async def test_documented_reasons(self, sender: ApiSender, server: FakeMandrill, reason: str, wanted: str) -> None:
        server.reasons = {"r1@example.org": reason}
        outcomes = await sender.send(FROM, mails(3, SINGLE))
        assert outcomes[1] == Outcome(wanted.rstrip("!"), f"rejected {reason}", hard=wanted.endswith("!"))  # type: ignore[arg-type]
        assert kinds(outcomes)[::2] == ["sent"] * 2

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("Invalid_Key", "ours"),
            ("PaymentRequired", "ours"),
            ("Unknown_Subaccount", "ours"),
            ("ServiceUnavailable", "down"),
            ("GeneralError", "unknown"),
            ("Unheard_Of", "unknown"),
            ("ValidationError", "sent"),  # the halves are taken
        ],
    )
    async def test_documented_errors(self, sender: ApiSender, server: FakeMandrill, name: str, wanted: str) -> None:
        server.faults = {1: Reply(500, {"status": "error", "code": 1, "name": name, "message": "…"})}
        assert kinds(await sender.send(FROM, mails(3, SINGLE))) == [wanted] * 3

    async def test_an_error_under_a_good_status_is_unknown(self, sender: ApiSender, server: FakeMandrill) -> None:
        server.faults = {1: Reply(202, {"status": "error", "code": -2, "name": "ValidationError", "message": "…"})}
        assert kinds(await sender.send(FROM, mails(3, SINGLE))) == ["unknown"] * 3

    async def test_a_recipient_without_an_answer_is_unknown(self, sender: ApiSender, server: FakeMandrill) -> None:
        server.faults = {1: Reply(200, [{"email": "R1@example.org", "status": "sent"}])}
        assert kinds(await sender.send(FROM, mails(3, SINGLE))) == ["unknown", "sent", "unknown"]

    async def test_a_subaccount(self, server: FakeMandrill) -> None:
        sender = open_sender("mandrill", self.configured(server, subaccount="shop"))
        assert isinstance(sender, ApiSender)
        assert b'"subaccount":"shop"' in sender.api.call(mails(1), "key").body
        await sender.close()
