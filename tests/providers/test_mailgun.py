"""Mailgun: the contract of senders, and its own documented answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import ConfigError
from shared.providers import Given
from shared.providers.api import ApiSender
from shared.providers.senders import open_sender
from tests.providers.api_server import Reply
from tests.providers.fake_mailgun import FakeMailgun
from tests.providers.sender_contract import FROM, SenderContract, kinds, mails

pytestmark = pytest.mark.network
BAD_TO = "to parameter is not a valid address. please check documentation"


class TestMailgun(SenderContract):
    KIND = "mailgun"
    OPTIONS = {"domain": FakeMailgun.domain}  # noqa: RUF012

    def fresh(self) -> FakeMailgun:
        return FakeMailgun()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeMailgun]:
        async with self.fresh() as running:
            yield running

    @pytest.mark.parametrize(
        ("status", "said", "wanted"),
        [
            (400, BAD_TO, ["sent"] * 3),  # nobody's once they are apart
            (400, "'from' parameter is not a valid address. please check documentation", ["ours"] * 3),
            (400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified", ["sent"] * 3),
            (401, "Forbidden", ["ours"] * 3),
            (402, "Request failed", ["ours"] * 3),
            (403, "Domain is not allowed to send", ["ours"] * 3),
            (404, "Domain not found", ["ours"] * 3),
            (413, "Request Entity Too Large", ["sent"] * 3),
            (420, "limit exceeded", ["throttle"] * 3),
            (429, "Too many requests", ["throttle"] * 3),
            (500, "Internal Server Error", ["unknown"] * 3),
            (502, "Bad Gateway", ["unknown"] * 3),
            (503, "Service Unavailable", ["unknown"] * 3),
            (504, "Gateway Timeout", ["unknown"] * 3),
        ],
    )
    async def test_documented_answers(
        self, sender: ApiSender, server: FakeMailgun, status: int, said: str, wanted: list[str]
    ) -> None:
        server.faults = {1: Reply(status, {"message": said})}
        assert kinds(await sender.send(FROM, mails(3))) == wanted

    async def test_a_bad_address_is_refused_for_good(self, sender: ApiSender, server: FakeMailgun) -> None:
        server.bad = {"r1@example.org"}
        outcomes = await sender.send(FROM, mails(3))
        assert (outcomes[1].kind, outcomes[1].hard) == ("recipient", True)

    async def test_a_good_status_without_an_id_is_unknown(self, sender: ApiSender, server: FakeMailgun) -> None:
        server.faults = {1: Reply(200, "Mailgun Magnificent API")}
        assert kinds(await sender.send(FROM, mails(3))) == ["unknown"] * 3

    def test_a_domain_with_a_slash_would_be_another_endpoint(self) -> None:
        async def secret() -> str:
            return ""

        with pytest.raises(ConfigError, match="domain"):
            open_sender("mailgun", Given(name="m", options={"domain": "a/b"}, secret=secret))
