"""SparkPost: the contract of webhooks, its ways to log in, and its documented events."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.providers import sparkpost_events
from tests.providers.webhook_contract import NOW, REF, WebhookContract

AT = 1460989507_000
LATER = 1454442600_000


def event(type: Any, id: int, at: int = LATER, **more: Any) -> Event:
    return Event(type, REF.text, at, provider="sparkpost", id=f"923569276938138{id}", **more)


class TestSparkPost(WebhookContract):
    NAME, PLAIN = "sparkpost", "bounce"
    PROOFS = ("authorization",)
    hook = sparkpost_events

    def request(self, body: bytes, key: bytes) -> Request:
        return Request("POST", "sparkpost", headers={"authorization": f"Basic {base64.b64encode(key).decode()}"}, body=body)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("test", []),
            ("delivery", [event("delivered", 56, AT)]),
            ("bounce", [event("bounced", 56, AT, code="554")]),
            ("out_of_band", [event("bounced", 57, AT, hard=True, code="550")]),
            ("delay", [event("deferred", 58, AT, code="454")]),
            ("spam_complaint", [event("complained", 59)]),
            ("policy_rejection", [event("bounced", 60, code="550")]),
            ("generation_rejection", [event("bounced", 61, code="554")]),
            ("link_unsubscribe", [event("unsubscribed", 62)]),
            ("click", []),
            ("injection", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    def test_a_batch_keeps_its_order(self) -> None:
        batch = [item for name in ("test", "delay", "click", "out_of_band", "delivery") for item in self.bodies()[name]]
        assert [found.type for found in self.events(batch)] == ["deferred", "bounced", "delivered"]

    @pytest.mark.parametrize(
        ("grade", "hard", "counts"),
        [
            *[(grade, True, False) for grade in ("10", "30", "90")],
            *[(grade, False, True) for grade in ("20", "21", "22", "23", "40")],
            *[(grade, False, False) for grade in ("1", "24", "25", "26", "50", "51", "52", "53", "54", "70", "15", "", "010")],
            (10, True, False),
            (None, False, False),
            ([], False, False),
        ],
    )
    def test_a_bounce_is_judged_by_its_class(self, grade: Any, hard: bool, counts: bool) -> None:
        for name in ("bounce", "out_of_band"):
            batch = self.bodies()[name]
            batch[0]["msys"]["message_event"]["bounce_class"] = grade
            [found] = self.events(batch)
            assert (found.type, found.hard, found.counts) == ("bounced", hard, counts)

    @pytest.mark.parametrize(
        ("reason", "hard"), [("550 5.7.1 policy", False), ("550 5.1.1 unknown", True), ("unknown", True), ([], True)]
    )
    def test_the_server_can_make_it_milder(self, reason: Any, hard: bool) -> None:
        batch = self.bodies()["out_of_band"]
        batch[0]["msys"]["message_event"]["reason"] = reason
        assert [found.hard for found in self.events(batch)] == [hard]

    @pytest.mark.parametrize("grade", ["60", "80", "100"])
    def test_an_answer_of_a_robot_is_no_bounce(self, grade: str) -> None:
        batch = self.bodies()["out_of_band"]
        batch[0]["msys"]["message_event"]["bounce_class"] = grade
        assert self.events(batch) == []

    def test_a_rejection_of_theirs_says_nothing_of_the_address(self) -> None:
        batch = self.bodies()["policy_rejection"]
        batch[0]["msys"]["message_event"] |= {"bounce_class": "10", "reason": "suppressed"}
        assert self.events(batch) == [event("bounced", 60, code="550")]

    @pytest.mark.parametrize(
        ("group", "name", "expected"),
        [
            ("gen_event", "generation_failure", [event("bounced", 56, AT, code="554")]),
            ("unsubscribe_event", "list_unsubscribe", [event("unsubscribed", 56, AT)]),
            ("message_event", "delivery", [event("delivered", 56, AT)]),
            ("message_event", "sms_status", []),
            ("relay_event", "relay_delivery", []),
        ],
    )
    def test_other_events(self, group: str, name: str, expected: list[Event]) -> None:
        found = {**self.bodies()["bounce"][0]["msys"]["message_event"], "type": name, "bounce_class": "10"}
        assert self.events([{"msys": {group: found}}]) == expected

    def test_the_class_is_the_code_where_there_is_no_other(self) -> None:
        batch = self.bodies()["out_of_band"]
        del batch[0]["msys"]["message_event"]["error_code"]
        assert [found.code for found in self.events(batch)] == ["10"]

    @pytest.mark.parametrize(
        "item", [{}, {"msys": []}, {"msys": None}, {"msys": {"message_event": []}}, {"msys": {"track_event": 1}}]
    )
    def test_another_shape_is_bad_input(self, item: dict[str, Any]) -> None:
        with pytest.raises(BadInput):
            self.events([*self.bodies()["delivery"], item])

    def test_an_unknown_kind_is_unknown(self) -> None:
        batch = self.bodies()["delivery"]
        batch[0]["msys"]["message_event"]["type"] = "teleportation"
        assert self.events(batch) == [event("unknown", 56, AT)]

    @pytest.mark.parametrize(
        "time", ["", "soon", "-1", "1460989507000", 946_684_799, NOW // 1000 + 86_401, None, True, 1.5, "٣" * 10]
    )
    def test_a_time_that_cannot_be_is_bad_input(self, time: Any) -> None:
        batch = self.bodies()["delivery"]
        batch[0]["msys"]["message_event"]["timestamp"] = time
        with pytest.raises(BadInput):
            self.events(batch)

    @pytest.mark.parametrize("time", [946_684_800, NOW // 1000 + 86_400, "1460989507"])
    def test_a_time_is_in_seconds(self, time: Any) -> None:
        batch = self.bodies()["delivery"]
        batch[0]["msys"]["message_event"]["timestamp"] = time
        assert [found.at for found in self.events(batch)] == [int(time) * 1000]

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "bearer newest:nnnnnnnnnnnnnnnnnnnnnnnn"},
            {"x-messagesystems-webhook-token": "before:bbbbbbbbbbbbbbbbbbbbbbbb"},
            {"authorization": "basic bmV3ZXN0Om5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubg=="},
        ],
    )
    def test_every_documented_way_to_log_in(self, headers: dict[str, str]) -> None:
        sparkpost_events.verify(Request("POST", "sparkpost", headers=headers), self.KEYS, NOW)

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "newest:nnnnnnnnnnnnnnnnnnnnnnnn"},
            {"authorization": "digest newest:nnnnnnnnnnnnnnnnnnnnnnnn"},
            {"authorization": "basic newest:nnnnnnnnnnnnnnnnnnnnnnnn"},
            {"authorization": "bearer nnnnnnnnnnnnnnnnnnnnnnnn"},
            {"authorization": "bearer bmV3ZXN0Om5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubg=="},
            {"authorization": "basic  bmV3ZXN0Om5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubg=="},
            {"x-messagesystems-webhook-token": "newest"},
            {"x-webhook-token": "newest:nnnnnnnnnnnnnnnnnnnnnnnn"},
        ],
    )
    def test_no_other_way(self, headers: dict[str, str]) -> None:
        self.refused(Request("POST", "sparkpost", headers=headers), self.KEYS)

    def test_only_a_200_is_not_sent_again(self) -> None:
        assert sparkpost_events.ANSWER == 200
