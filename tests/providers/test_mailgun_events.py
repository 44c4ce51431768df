"""Mailgun: the contract of webhooks, its documented signature, and its documented events."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from shared.http import Request
from shared.model.event import Event
from shared.providers import mailgun_events

from .webhook_contract import LINKS, NOW, REF
from .webhook_inside import InsideContract

AT = 1767225600_000
TOKEN = "a" * 50
VECTOR = "034634357816b50bd07f40acde38686ff7e40f8e154283bd8cfbf0aef6430d60"


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="mailgun", id="CPgfbmQMTCKtHW6uIWtuVe", **more)


def signature(key: bytes, at: int = NOW // 1000, token: str = TOKEN) -> dict[str, str]:
    return {"timestamp": str(at), "token": token, "signature": hmac.new(key, f"{at}{token}".encode(), "sha256").hexdigest()}


class TestMailgun(InsideContract):
    NAME, PLAIN = "mailgun", "permanent"
    FIELDS = (("signature", "timestamp"), ("signature", "token"), ("signature", "signature"))
    hook = mailgun_events

    def request(self, body: bytes, key: bytes) -> Request:
        whole = b'{"signature": ' + json.dumps(signature(key)).encode() + b', "event-data": ' + body + b"}"
        return Request("POST", "mailgun", body=whole)

    def test_the_documented_signature(self) -> None:
        """HMAC-SHA-256 of timestamp and token, as RFC 2104 and Mailgun say; the figures are OpenSSL's."""
        given = {
            "timestamp": "1529006854",
            "token": "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0",
            "signature": VECTOR,
        }
        request = Request("POST", "mailgun", body=json.dumps({"signature": given, "event-data": {}}).encode())
        mailgun_events.verify(request, [b"key-example"], 1529006854_000)
        assert mailgun_events.signed(request) == b"1529006854a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0"

    @pytest.mark.parametrize("shift", [-300, 300])
    def test_the_window_has_two_sides(self, shift: int) -> None:
        at = NOW // 1000 + shift
        good = self.request(self.plain(), self.KEYS[0])
        mailgun_events.verify(self.with_field(good, ("signature",), signature(self.KEYS[0], at)), self.KEYS, NOW)
        late = at + (1 if shift > 0 else -1)
        self.refused(self.with_field(good, ("signature",), signature(self.KEYS[0], late)), self.KEYS)

    @pytest.mark.parametrize("token", ["", "a" * 201, "é"])
    def test_a_token_is_short_and_plain(self, token: str) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        self.refused(self.with_field(good, ("signature",), signature(self.KEYS[0], token=token)), self.KEYS)

    def test_where_timestamp_and_token_meet_nothing_moves(self) -> None:
        """The two are signed without a mark between them."""
        good = self.request(self.plain(), self.KEYS[0])
        proof = signature(self.KEYS[0], token="1" + TOKEN)
        moved = proof | {"timestamp": proof["timestamp"] + "1", "token": TOKEN}
        self.refused(self.with_field(good, ("signature",), moved), self.KEYS)

    def test_what_tells_callbacks_apart_is_what_is_signed(self) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        other = self.request(self.encoded(self.bodies()["delivered"]), self.KEYS[0])
        assert good.body != other.body and mailgun_events.signed(good) == mailgun_events.signed(other)
        token = self.with_field(good, ("signature",), signature(self.KEYS[0], token="b" * 50))
        assert mailgun_events.signed(token) != mailgun_events.signed(good)
        assert mailgun_events.signed(replace(good, headers={"x": "y"})) == mailgun_events.signed(good)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("delivered", [event("delivered", code="250")]),
            ("permanent", [event("bounced", hard=True, code="5.1.1")]),
            ("temporary", [event("deferred", code="4.2.2")]),
            ("suppressed", [event("bounced", hard=True, code="605")]),
            ("old", [event("bounced", counts=True, code="602")]),
            ("rejected", [event("bounced", code="rejected")]),
            ("complained", [event("complained")]),
            ("unsubscribed", [event("unsubscribed")]),
            ("opened", []),
            ("clicked", []),
            ("accepted", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("reason", "code", "status", "expected"),
        [
            ("bounce", 550, "5.1.1", ("bounced", True, False)),
            ("generic", 550, None, ("bounced", True, False)),
            ("bounce", 550, "5.7.1", ("bounced", False, False)),
            ("bounce", 550, "5.2.2", ("bounced", False, True)),
            ("generic", 552, None, ("bounced", False, True)),
            ("generic", 499, None, ("bounced", False, True)),
            ("generic", 554, "5.1.1", ("bounced", False, False)),
            ("espblock", 421, None, ("bounced", False, False)),
            (None, "550", "", ("bounced", True, False)),
            (None, True, None, ("bounced", False, False)),
            ("suppress-complaint", 607, None, ("complained", False, False)),
            ("suppress-unsubscribe", 606, None, ("unsubscribed", False, False)),
        ],
    )
    def test_a_failure_is_judged_by_reason_code_and_status(
        self, reason: Any, code: Any, status: Any, expected: tuple[str, bool, bool]
    ) -> None:
        data = self.bodies()["permanent"]
        data["reason"], data["delivery-status"] = reason, {"code": code, "enhanced-code": status}
        [found] = self.events(data)
        assert (found.type, found.hard, found.counts) == expected

    def test_a_message_id_of_ours_tells_as_well(self) -> None:
        data = self.bodies()["delivered"] | {"user-variables": {}}
        data["message"]["headers"]["message-id"] = LINKS.message_id(REF, "brand.example").strip("<>")
        assert self.events(data) == [event("delivered", code="250")]

    def test_an_unknown_kind_is_kept(self) -> None:
        assert self.events(self.bodies()["complained"] | {"event": "teleported"}) == [event("unknown", code="teleported")]
