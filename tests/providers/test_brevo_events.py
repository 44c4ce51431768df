"""Brevo: the contract of webhooks, its ways to log in, and its documented events."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.providers import brevo_events
from tests.providers.webhook_contract import LINKS, NOW, REF, WebhookContract

AT = 1604933654_000


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="brevo", **more)


class TestBrevo(WebhookContract):
    NAME, PLAIN = "brevo", "delivered"
    PROOFS = ("authorization",)
    hook = brevo_events

    def request(self, body: bytes, key: bytes) -> Request:
        return Request("POST", "brevo", headers={"authorization": f"Bearer {key.decode('latin-1')}"}, body=body)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("request", []),
            ("delivered", [event("delivered")]),
            ("hard_bounce", [event("bounced", hard=True, code="hard_bounce")]),
            ("soft_bounce", [event("bounced", counts=True, code="soft_bounce")]),
            ("blocked", [event("bounced", code="blocked")]),
            ("spam", [event("complained")]),
            ("deferred", [event("deferred", code="deferred")]),
            ("invalid_email", [event("bounced", code="invalid_email")]),
            ("error", [event("bounced", code="error")]),
            ("unsubscribed", [event("unsubscribed")]),
            ("opened", []),
            ("click", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("name", "type"),
        [("complaint", "complained"), ("unsubscribe", "unsubscribed"), ("teleported", "unknown"), ("Delivered", "unknown")],
    )
    def test_other_names(self, name: str, type: Any) -> None:
        assert self.events({**self.bodies()["delivered"], "event": name}) == [event(type)]

    @pytest.mark.parametrize("name", ["sent", "unique_opened", "proxy_open", "unique_proxy_open"])
    def test_what_our_own_links_count_is_left_out(self, name: str) -> None:
        assert self.events({**self.bodies()["delivered"], "event": name}) == []

    @pytest.mark.parametrize(
        ("reason", "code", "hard", "soft"),
        [
            ("550 5.1.1 <someone@example.com>: no such user", "550 5.1.1", "hard", "counts"),
            ("550-5.2.1 disabled", "550 5.2.1", "hard", "counts"),
            ("smtp; 552 5.2.2 mailbox full", "552 5.2.2", "counts", "counts"),
            ("550 no such user", "550", "hard", "counts"),
            ("554 5.7.1 blocked by policy", "554 5.7.1", "", ""),
            ("421 4.7.0 too many", "421 4.7.0", "", ""),
            ("550 5.7.26 unauthenticated", "550 5.7.26", "", ""),
            ("553 5.1.8 sender's domain", "553 5.1.8", "", ""),
            ("550 5.3.4 too big", "550 5.3.4", "", ""),
            ("550.1 is no code", None, "hard", "counts"),
            ("550 5.7.1.1 is no status", "550", "hard", "counts"),
            ("in 250 days", None, "hard", "counts"),
            (["550 5.7.1"], None, "hard", "counts"),
            (550, "550", "hard", "counts"),
        ],
    )
    def test_the_milder_of_name_and_status_decides(self, reason: Any, code: str | None, hard: str, soft: str) -> None:
        for name, expected in [("hard_bounce", hard), ("soft_bounce", soft)]:
            [found] = self.events({**self.bodies()[name], "reason": reason})
            assert found == event("bounced", hard=expected == "hard", counts=expected == "counts", code=code or name)

    def test_a_batch_is_a_list(self) -> None:
        batch = [self.bodies()[name] for name in ("spam", "opened", "delivered")]
        assert self.events(batch) == [event("complained"), event("delivered")]
        assert self.events([]) == []

    @pytest.mark.parametrize(
        "marks",
        [
            {"X-Mailin-custom": REF.text},
            {"X-Mailin-custom": f'{{"campaign": 1, "ref": "{REF.text}"}}'},
            {"tags": [None, "x", REF.text]},
            {"tag": REF.text},
            {"message-id": LINKS.message_id(REF, "news.example")},
        ],
    )
    def test_our_ref_comes_back_in_several_places(self, marks: dict[str, Any]) -> None:
        bare = {"event": "delivered", "ts_event": AT // 1000}
        assert self.events({**bare, **marks}) == [event("delivered")]
        assert self.events(bare) == []

    @pytest.mark.parametrize("name", [None, 1, [], {}])
    def test_an_event_without_a_name_is_bad_input(self, name: Any) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["delivered"], "event": name})

    @pytest.mark.parametrize("time", [None, "", 0, AT, NOW // 1000 + 86_401])
    def test_a_time_that_cannot_be_is_bad_input(self, time: Any) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["delivered"], "ts_event": time})

    def test_every_documented_way_to_log_in(self) -> None:
        login = base64.b64encode(self.KEYS[1]).decode()
        brevo_events.verify(Request("POST", "brevo", headers={"authorization": f"Basic {login}"}), self.KEYS, NOW)
        self.refused(Request("POST", "brevo", headers={"x-token": self.KEYS[1].decode()}), self.KEYS)

    def test_an_address_of_brevo_is_no_proof(self) -> None:
        self.refused(Request("POST", "brevo", headers={"x-forwarded-for": "1.179.112.1"}, client="1.179.112.1"), self.KEYS)

    def test_only_a_429_is_sent_again(self) -> None:
        assert (brevo_events.RETRY, brevo_events.ANSWER) == (429, 200)
