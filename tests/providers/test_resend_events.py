"""Resend: the contract of webhooks, Svix's published signature, and its documented events."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Any

import pytest

from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.providers import resend_events
from tests.providers.webhook_contract import LINKS, NOW, REF, WebhookContract, payloads

ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECOND = NOW // 1000
AT = 1771803672_126


def proofs(body: bytes, secret: bytes, id: str = ID, at: int = SECOND) -> dict[str, str]:
    encoded = secret.removeprefix(b"whsec_")
    key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4)) if encoded.isalnum() else encoded
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, "sha256").digest()
    return {"svix-id": id, "svix-timestamp": str(at), "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="resend", id=ID, **more)


class TestResend(WebhookContract):
    NAME, PLAIN = "resend", "delivered"
    SIGNED = True
    PROOFS = ("svix-id", "svix-timestamp", "svix-signature")
    KEYS = [b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"whsec_" + b"Zm9y" * 8]  # noqa: RUF012
    hook = resend_events

    def request(self, body: bytes, key: bytes) -> Request:
        return Request("POST", "resend", headers=proofs(body, key), body=body)

    def test_the_published_signature(self) -> None:
        published = payloads("resend_signature")
        headers = {name: published[name] for name in self.PROOFS}
        request = Request("POST", "resend", headers=headers, body=published["body"].encode())
        now = int(published["svix-timestamp"]) * 1000
        resend_events.verify(request, [published["secret"].encode()], now)
        assert proofs(request.body, published["secret"].encode(), published["svix-id"], now // 1000) == headers

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("delivered", [event("delivered")]),
            ("delivery_delayed", [event("deferred")]),
            ("complained", [event("complained")]),
            ("failed", [event("bounced", code="reached_daily_quota")]),
            ("suppressed", [event("bounced", code="OnAccountSuppressionList")]),
            ("opened", []),
            ("clicked", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    def test_the_documented_bounce(self) -> None:
        [found] = self.events(self.bodies()["bounced"])
        assert found == Event("bounced", REF.text, 1795390872_126, hard=True, code="Suppressed", provider="resend", id=ID)

    @pytest.mark.parametrize(
        ("type", "subtype", "expected"),
        [
            ("Permanent", "General", "hard"),
            ("Permanent", "NoEmail", "hard"),
            ("Permanent", "Suppressed", "hard"),
            ("Permanent", "OnAccountSuppressionList", "hard"),
            ("Permanent", "MessageRejected", ""),
            ("Transient", "General", "counts"),
            ("Transient", "MailboxFull", "counts"),
            ("Temporary", "MailboxFull", "counts"),
            ("Temporary", "General", "counts"),
            ("Transient", "MessageTooLarge", ""),
            ("Transient", "ContentRejected", ""),
            ("Transient", "AttachmentRejected", ""),
            ("Undetermined", "General", ""),
            ("Undetermined", "Undetermined", ""),
            ("permanent", "General", ""),
            (None, ["General"], ""),
        ],
    )
    def test_a_bounce_is_judged_by_type_and_subtype(self, type: Any, subtype: Any, expected: str) -> None:
        body = self.bodies()["bounced"]
        body["data"]["bounce"] = {"type": type, "subType": subtype, "message": "someone@example.com is gone"}
        [found] = self.events(body)
        assert "hard" * found.hard + "counts" * found.counts == expected
        assert found.code == (subtype if isinstance(subtype, str) else "")
        body["data"]["bounce"]["diagnosticCode"] = ["smtp; 550 5.7.1 not from you", "550 5.1.1 unknown"]
        [found] = self.events(body)
        assert (found.hard, found.counts, found.code) == (False, False, "550 5.7.1")

    def test_the_codes_of_a_dead_address_leave_it_dead(self) -> None:
        body = self.bodies()["bounced"]
        body["data"]["bounce"]["diagnosticCode"] = "smtp; 550 5.1.1 unknown"
        [found] = self.events(body)
        assert (found.hard, found.code) == (True, "550 5.1.1")

    @pytest.mark.parametrize("key", ["", "2027-01-14", "a"])
    def test_a_tag_is_our_ref(self, key: str) -> None:
        for sid in ("00" * 16, "ff" * 16, "fb" * 16):
            ref = MailRef("C-0001", sid, key)
            [found] = self.events(payloads("resend", ref.text)["delivered"])
            assert found.ref == ref.text

    @pytest.mark.parametrize(
        "marks",
        [
            {"message_id": LINKS.message_id(REF, "news.example")},
            {
                "headers": [
                    {"name": "X-Other", "value": 1},
                    {"name": "Message-ID", "value": LINKS.message_id(REF, "news.example")},
                ]
            },
        ],
    )
    def test_a_message_id_of_ours_serves_too(self, marks: dict[str, Any]) -> None:
        bare = {"type": "email.delivered", "created_at": "2026-02-22T23:41:12.126Z"}
        assert self.events({**bare, "data": marks}) == [event("delivered")]
        assert self.events({**bare, "data": {}}) == []

    def test_an_unknown_kind_of_mail_is_unknown_and_others_are_left_out(self) -> None:
        body = self.bodies()["delivered"]
        assert self.events({**body, "type": "email.teleported"}) == [event("unknown")]
        for name in ("contact.updated", "domain.created", "email.sent", "email.scheduled", "email.received"):
            assert self.events({**body, "type": name}) == []

    @pytest.mark.parametrize("change", [{"type": None}, {"type": 1}, {"data": None}, {"data": []}])
    def test_another_shape_is_bad_input(self, change: dict[str, Any]) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["delivered"], **change})

    @pytest.mark.parametrize(
        "at",
        ["", "yesterday", None, 1771803672, [], "1999-12-31T23:59:59Z", "2027-01-16T08:00:01Z", "9999-12-31T23:59:59-23:59"],
    )
    def test_a_time_that_cannot_be_is_bad_input(self, at: Any) -> None:
        with pytest.raises(BadInput):
            self.events({**self.bodies()["delivered"], "created_at": at})

    @pytest.mark.parametrize(
        "at",
        [
            "2026-02-22T23:41:12.126Z",
            "2026-02-22T23:41:12.126000+00:00",
            "2026-02-23T00:41:12.126+01:00",
            "2026-02-22T23:41:12.126",
        ],
    )
    def test_a_time_is_iso_8601(self, at: str) -> None:
        assert self.events({**self.bodies()["delivered"], "created_at": at}) == [event("delivered")]

    def test_a_time_without_a_zone_is_utc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        try:
            with monkeypatch.context() as patch:
                patch.setenv("TZ", "Asia/Tokyo")
                time.tzset()
                assert self.events({**self.bodies()["delivered"], "created_at": "2026-02-22T23:41:12.126"}) == [
                    event("delivered")
                ]
        finally:
            time.tzset()

    def test_only_a_bounce_is_judged(self) -> None:
        body = self.bodies()["failed"]
        body["data"]["bounce"] = {"type": "Permanent", "subType": "General"}
        assert self.events(body) == [event("bounced", code="reached_daily_quota")]

    @pytest.mark.parametrize("shift", [-300, 300])
    def test_the_window_has_two_sides(self, shift: int) -> None:
        body = self.plain()
        resend_events.verify(
            Request("POST", "resend", headers=proofs(body, self.KEYS[0], at=SECOND + shift), body=body), self.KEYS, NOW
        )
        late = proofs(body, self.KEYS[0], at=SECOND + shift + (1 if shift > 0 else -1))
        self.refused(Request("POST", "resend", headers=late, body=body), self.KEYS)

    @pytest.mark.parametrize("stamp", ["", "now", f"{SECOND}.0", f" {SECOND}", f"-{SECOND}", "9" * 400, "٣"])
    def test_a_timestamp_is_digits(self, stamp: str) -> None:
        body = self.plain()
        key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        digest = hmac.new(key, f"{ID}.{stamp}.".encode() + body, "sha256").digest()
        headers = {"svix-id": ID, "svix-timestamp": stamp, "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}
        self.refused(Request("POST", "resend", headers=headers, body=body), self.KEYS)

    def test_one_good_signature_among_several_is_enough(self) -> None:
        body = self.plain()
        good = proofs(body, self.KEYS[1])
        first = proofs(body, b"whsec_" + b"b3Ro" * 8)["svix-signature"]
        for signatures in (f"{first} {good['svix-signature']}", f"v1a,AAAA nonsense v1, {good['svix-signature']} {first}"):
            resend_events.verify(
                Request("POST", "resend", headers={**good, "svix-signature": signatures}, body=body), self.KEYS, NOW
            )

    @pytest.mark.parametrize("id", ["", "a.b", "a b", "é", "x" * 201, "a\n"])
    def test_an_id_cannot_reach_into_what_is_signed(self, id: str) -> None:
        body = self.plain()
        self.refused(Request("POST", "resend", headers=proofs(body, self.KEYS[0], id), body=body), self.KEYS)

    @pytest.mark.parametrize("encoded", [b"", b"%%%", b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa%Sw", b"A", b"==", b"\xc3\xa9"])
    def test_a_malformed_secret_opens_nothing(self, encoded: bytes) -> None:
        body = self.plain()
        digest = hmac.new(b"", f"{ID}.{SECOND}.".encode() + body, "sha256").digest()
        empty = {**proofs(body, self.KEYS[0]), "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}
        for headers in (empty, proofs(body, self.KEYS[0])):
            self.refused(Request("POST", "resend", headers=headers, body=body), [b"whsec_" + encoded])

    @pytest.mark.parametrize("key", [b"k" * 16, b"k" * 17, b"k" * 18])
    def test_a_secret_may_lack_its_padding(self, key: bytes) -> None:
        body, secret = self.plain(), b"whsec_" + base64.b64encode(key)
        digest = hmac.new(key, f"{ID}.{SECOND}.".encode() + body, "sha256").digest()
        headers = {**proofs(body, self.KEYS[0]), "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}
        for written in (secret, secret.rstrip(b"=")):
            resend_events.verify(Request("POST", "resend", headers=headers, body=body), [written], NOW)

    def test_only_some_signatures_are_looked_at(self) -> None:
        body = self.plain()
        good = proofs(body, self.KEYS[0])
        for others, heard in ((7, True), (8, False)):
            request = Request(
                "POST", "resend", headers={**good, "svix-signature": "v1,x " * others + good["svix-signature"]}, body=body
            )
            if heard:
                resend_events.verify(request, self.KEYS, NOW)
            else:
                self.refused(request, self.KEYS)

    def test_a_secret_may_lack_its_prefix(self) -> None:
        resend_events.verify(self.request(self.plain(), self.KEYS[0]), [b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], NOW)

    def test_a_200_is_what_it_expects(self) -> None:
        assert resend_events.ANSWER == 200
