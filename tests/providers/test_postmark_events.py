"""Postmark: the contract of webhooks, its ways to log in, and its documented events."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.providers import postmark_events
from shared.providers.postmark import metadata

from .webhook_contract import NOW, REF, WebhookContract

AT = 1767225600_000
BOUNCE = "4323372036854775807"


def event(type: Any, at: int = AT, **more: Any) -> Event:
    return Event(type, REF.text, at, provider="postmark", **more)


class TestPostmark(WebhookContract):
    NAME, PLAIN = "postmark", "bounce"
    PROOFS = ("authorization",)
    hook = postmark_events

    def request(self, body: bytes, key: bytes) -> Request:
        return Request("POST", "postmark", headers={"authorization": f"Basic {base64.b64encode(key).decode()}"}, body=body)

    def test_a_header_of_its_own_is_a_proof_as_well(self) -> None:
        good = Request("POST", "postmark", headers={"x-webhook-token": "a-token"}, body=self.plain())
        postmark_events.verify(good, [b"a-token\n"], NOW)
        self.refused(good, [b"another"])
        self.refused(Request("POST", "postmark", headers={"x-webhook-token": ""}), [b""])

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("delivery", [event("delivered")]),
            ("bounce", [event("bounced", AT + 907, hard=True, code="HardBounce", id=BOUNCE)]),
            ("soft", [event("bounced", AT + 907, counts=True, code="SoftBounce", id=BOUNCE)]),
            ("delay", [event("deferred", AT + 907, code="Transient", id=BOUNCE)]),
            ("spam", [event("complained", code="SpamComplaint", id="42")]),
            ("left", [event("unsubscribed", code="ManualSuppression")]),
            ("back", []),
            ("open", []),
            ("click", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("type", "expected"),
        [
            ("HardBounce", ("bounced", True, False)),
            ("BadEmailAddress", ("bounced", True, False)),
            ("SoftBounce", ("bounced", False, True)),
            ("DnsError", ("deferred", False, False)),
            *(
                (type, ("bounced", False, False))
                for type in (
                    "SpamNotification",
                    "VirusNotification",
                    "Blocked",
                    "DMARCPolicy",
                    "ChallengeVerification",
                    "Unknown",
                )
            ),
            *(
                (type, ("bounced", False, False))
                for type in ("SMTPApiError", "TemplateRenderingFailed", "Unconfirmed", "New", None, 7)
            ),
            ("SpamComplaint", ("complained", False, False)),
            ("Unsubscribe", ("unsubscribed", False, False)),
        ],
    )
    def test_a_bounce_is_judged_by_its_type(self, type: Any, expected: tuple[str, bool, bool]) -> None:
        [found] = self.events(self.bodies()["bounce"] | {"Type": type})
        assert (found.type, found.hard, found.counts) == expected

    @pytest.mark.parametrize("type", ["AutoResponder", "AddressChange", "Subscribe"])
    def test_an_answer_of_a_robot_is_no_bounce(self, type: str) -> None:
        assert self.events(self.bodies()["bounce"] | {"Type": type}) == []

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("HardBounce", [event("bounced", hard=True, code="HardBounce")]),
            ("SpamComplaint", [event("complained", code="SpamComplaint")]),
            ("ManualSuppression", [event("unsubscribed", code="ManualSuppression")]),
            ("for fun", []),
        ],
    )
    def test_why_an_address_gets_no_more(self, reason: str, expected: list[Event]) -> None:
        data = self.bodies()["left"] | {"SuppressionReason": reason}
        assert self.events(data) == expected
        assert self.events(data | {"SuppressSending": False}) == []

    def test_a_long_reference_is_in_two_fields(self) -> None:
        ref = MailRef("C" * 40, "ab" * 16, "k" * 40).text
        data = self.bodies()["delivery"] | {"Metadata": metadata(ref)}
        assert len(metadata(ref)) == 2 and [found.ref for found in self.events(data)] == [ref]

    def test_an_unknown_kind_is_kept_with_any_time(self) -> None:
        data = {name: value for name, value in self.bodies()["delivery"].items() if name != "DeliveredAt"}
        assert self.events(data | {"RecordType": "Smell"}) == [event("unknown", NOW, code="Smell")]
