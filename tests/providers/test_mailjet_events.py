"""Mailjet: the contract of webhooks, and its documented events and errors."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.providers import mailjet_events
from tests.providers.webhook_contract import LINKS, NOW, REF, WebhookContract


def event(type: Any, at: int, **more: Any) -> Event:
    return Event(type, REF.text, at * 1000, provider="mailjet", **more)


class TestMailjet(WebhookContract):
    NAME, PLAIN = "mailjet", "bounce"
    PROOFS = ("authorization",)
    hook = mailjet_events

    def request(self, body: bytes, key: bytes) -> Request:
        return Request("POST", "mailjet", headers={"authorization": f"Basic {base64.b64encode(key).decode()}"}, body=body)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("sent", [event("delivered", 1433333949)]),
            ("bounce", [event("bounced", 1430812195, hard=True, code="user unknown")]),
            ("blocked", [event("bounced", 1430812195, counts=True, code="user unknown")]),
            ("spam", [event("complained", 1430812195)]),
            ("unsub", [event("unsubscribed", 1433334941)]),
            ("open", []),
            ("click", []),
            ("group", [event("delivered", 1424873938)]),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("related", "error", "permanent", "otherwise"),
        [
            ("recipient", "user unknown", "hard", "counts"),
            ("recipient", "mailbox inactive", "hard", "counts"),
            ("recipient", "quota exceeded", "counts", "counts"),
            ("domain", "invalid domain", "hard", "counts"),
            ("domain", "no mail host", "hard", "counts"),
            ("domain", "relay/access denied", "", ""),
            ("spam", "sender blocked", "", ""),
            ("spam", "content blocked", "", ""),
            ("spam", "policy issue", "", ""),
            ("system", "system issue", "", ""),
            ("system", "protocol issue", "", ""),
            ("system", "connection issue", "", ""),
            ("mailjet", "preblocked", "", ""),
            ("mailjet", "duplicate in campaign", "", ""),
            ("recipient", "a new word", "", ""),
        ],
    )
    def test_an_error_is_judged_by_its_word(self, related: str, error: str, permanent: str, otherwise: str) -> None:
        for name, flag, expected in [("bounce", True, permanent), ("bounce", False, otherwise), ("blocked", True, otherwise)]:
            body = {**self.bodies()["bounce"], "event": name, "hard_bounce": flag, "error_related_to": related, "error": error}
            [found] = self.events(body)
            assert (found.type, found.code) == ("bounced", error)
            assert "hard" * found.hard + "counts" * found.counts == expected, name

    @pytest.mark.parametrize("flag", [None, "true", 1, [], {}])
    def test_only_a_flag_makes_it_permanent(self, flag: Any) -> None:
        assert [found.hard for found in self.events({**self.bodies()["bounce"], "hard_bounce": flag})] == [False]

    def test_a_greylisted_mail_is_on_its_way(self) -> None:
        body = {**self.bodies()["bounce"], "error_related_to": "domain", "error": "greylisted"}
        assert self.events({**body, "hard_bounce": False}) == [event("deferred", 1430812195, code="greylisted")]
        assert self.events(body) == [event("bounced", 1430812195, code="greylisted")]

    @pytest.mark.parametrize("error", [None, [], {}, 7, "x" * 41, "someone@example.com said no"])
    def test_an_error_that_is_no_word_is_not_kept(self, error: Any) -> None:
        [found] = self.events({**self.bodies()["bounce"], "error": error})
        assert (found.hard, found.counts, found.code) == (False, False, "7" if error == 7 else "bounce")

    def test_a_message_id_of_ours_serves_too(self) -> None:
        body = {**self.bodies()["sent"], "CustomID": LINKS.message_id(REF, "news.example")}
        assert self.events(body) == [event("delivered", 1433333949)]

    def test_an_unknown_kind_is_unknown(self) -> None:
        assert self.events({**self.bodies()["sent"], "event": "teleported"}) == [event("unknown", 1433333949)]

    @pytest.mark.parametrize("name", [None, 1, [], {}])
    def test_an_event_without_a_name_is_bad_input(self, name: Any) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["sent"], "event": name})

    @pytest.mark.parametrize("time", [None, "", 0, -1, 1430812195000, NOW // 1000 + 86_401, 1430812195.0, True])
    def test_a_time_that_cannot_be_is_bad_input(self, time: Any) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["sent"], "time": time})

    def test_a_token_is_no_way_to_log_in_by_a_header_of_ones_own(self) -> None:
        self.refused(Request("POST", "mailjet", headers={"x-messagesystems-webhook-token": self.KEYS[0].decode()}), self.KEYS)

    def test_only_a_200_is_not_sent_again(self) -> None:
        assert mailjet_events.ANSWER == 200
