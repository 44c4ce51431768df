"""Postmark: the contract of senders, its own documented answers, and its search."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import Unavailable
from shared.ports import Outcome, Outgoing
from shared.providers.api import ApiSender
from shared.providers.postmark import PostmarkSender
from tests.providers.api_server import RESET, Reply
from tests.providers.fake_postmark import FakePostmark
from tests.providers.sender_contract import BULK, FROM, SenderContract, kinds, letter, mail, mails

pytestmark = pytest.mark.network


class TestPostmark(SenderContract):
    KIND = "postmark"
    BLAMES = True

    def fresh(self) -> FakePostmark:
        return FakePostmark()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakePostmark]:
        async with self.fresh() as running:
            yield running

    @pytest.mark.parametrize(
        ("code", "said", "wanted"),
        [
            (10, "Bad or missing API token", "ours"),
            (100, "Maintenance", "down"),
            (300, "Invalid 'To' address: 'x'.", "recipient!"),
            (300, "Error parsing 'To': Illegal email domain 'x' in address 'y'.", "recipient!"),
            (300, "Invalid 'From' address: 'x'.", "message"),
            (400, "Sender Signature not found", "ours"),
            (401, "Sender signature not confirmed", "ours"),
            (402, "Invalid JSON", "message"),
            (403, "Incompatible JSON", "message"),
            (405, "Not allowed to send", "ours"),
            (406, "You tried to send to recipient(s) that have been marked as inactive.", "recipient!"),
            (409, "JSON required", "ours"),
            (411, "Forbidden attachment type", "message"),
            (412, "Account is Pending", "ours"),
            (413, "Account May Not Send", "ours"),
            (429, "Rate Limit Exceeded", "throttle"),
            (1235, "The stream does not exist", "ours"),
        ],
    )
    async def test_documented_codes_of_one_message(
        self, sender: ApiSender, server: FakePostmark, code: int, said: str, wanted: str
    ) -> None:
        server.codes = {"r1@example.org": (code, said)}
        outcomes = await sender.send(FROM, mails(3))
        assert outcomes[1] == Outcome(wanted.rstrip("!"), str(code), hard=wanted.endswith("!"))  # type: ignore[arg-type]
        assert kinds(outcomes)[::2] == ["sent"] * 2

    @pytest.mark.parametrize(
        ("status", "code", "wanted"),
        [
            (401, 10, "ours"),
            (413, 0, "sent"),  # the parts are small enough
            (415, 0, "ours"),
            (422, 402, "sent"),
            (422, 405, "ours"),
            (422, 410, "ours"),
            (422, None, "sent"),
            (429, 429, "throttle"),
            (500, None, "unknown"),
            (503, 100, "down"),
        ],
    )
    async def test_documented_answers_to_the_whole_call(
        self, sender: ApiSender, server: FakePostmark, status: int, code: int | None, wanted: str
    ) -> None:
        server.faults = {1: Reply(status, {} if code is None else {"ErrorCode": code, "Message": "…"})}
        assert kinds(await sender.send(FROM, mails(3))) == [wanted] * 3

    @pytest.mark.parametrize("answers", [[], [{"ErrorCode": 0}], {}, [{"ErrorCode": 0}] * 4, [None] * 3, [{}] * 3])
    async def test_a_good_status_without_an_answer_for_each_is_unknown(
        self, sender: ApiSender, server: FakePostmark, answers: object
    ) -> None:
        server.faults = {1: Reply(200, answers)}
        assert kinds(await sender.send(FROM, mails(3))) == ["unknown"] * 3

    async def test_an_answer_that_is_late_with_its_code_is_an_acceptance(self, sender: ApiSender, server: FakePostmark) -> None:
        late = {"Message": "Message accepted, but delivery may be delayed.", "MessageID": "b7bc"}
        server.faults = {1: Reply(200, [late] * 2)}
        assert kinds(await sender.send(FROM, mails(2))) == ["sent"] * 2

    async def test_lost_mails_are_found_by_their_ref(self, sender: PostmarkSender, server: FakePostmark) -> None:
        long = Outgoing("long@example.org", ref="C" * 79 + "~~" + "x" * 20, letter=BULK, values=mail(0).values)
        other = Outgoing("other@example.org", ref="C" * 79 + "~~" + "y" * 20, letter=BULK, values=mail(0).values)
        server.faults = {1: RESET}
        assert kinds(await sender.send(FROM, [mail(1), long])) == ["unknown"] * 2
        assert set(await sender.found([mail(1).ref, mail(2).ref, long.ref, other.ref])) == {mail(1).ref, long.ref}
        server.other = lambda request, body: server.error(500)  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await sender.found([mail(1).ref])

    async def test_heavy_mails_are_cut_before_they_are_written_out(self, sender: ApiSender, server: FakePostmark) -> None:
        heavy = letter(text=("x" * 3_000_000, 0))
        assert kinds(await sender.send(FROM, mails(8, heavy))) == ["sent"] * 8
        assert server.sizes == [6, 2]
