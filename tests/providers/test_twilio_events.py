"""Twilio: the contract of webhooks, the signatures of Twilio's own tests, and its documented statuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode

import pytest

from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.providers import twilio_events
from shared.providers.signatures import addressed
from tests.providers.webhook_contract import LINKS, NOW, OTHERS, REF, WebhookContract, payloads

PUBLISHED: dict[str, Any] = payloads("twilio_signatures")
HOOK = "https://mail.example/webhooks/twilio"
SID = "SM0123456789abcdef0123456789abcdef"
SETTINGS = "x-twilio-webhooks-signature-settings"


def covered(body: bytes) -> str:
    fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict")
    return "".join(name + value for name in sorted(fields) for value in sorted(set(fields[name])))


def form(body: bytes) -> bool:
    try:
        covered(body)
        json.loads(body)
    except RecursionError:
        return False
    except ValueError as error:
        return isinstance(error, json.JSONDecodeError) and not body.startswith(b"[")
    return False


def signed(
    body: bytes, key: bytes, ref: str = REF.text, url: str = HOOK, algorithm: Literal["sha1", "sha256"] = "sha1", **headers: str
) -> Request:
    """As Twilio signs: a form with its fields, any other body by its hash in the query."""
    query = {"ref": ref} if form(body) else {"ref": ref, "bodySHA256": hashlib.sha256(body).hexdigest()}
    text = f"{url}?{urlencode(query, safe='~')}" + (covered(body) if form(body) else "")
    proof = base64.b64encode(hmac.new(key, text.encode(), algorithm).digest()).decode()
    return addressed(Request("POST", "twilio", query, {"x-twilio-signature": proof, **headers}, body), HOOK)


def published(signature: str, body: str | Mapping[str, str] | None = None, url: str = "", **query: str) -> Request:
    encoded = body if isinstance(body, str) else urlencode(body or PUBLISHED["fields"])
    request = Request(
        "POST", "twilio", {**PUBLISHED["query"], **query}, {"x-twilio-signature": PUBLISHED[signature]}, encoded.encode()
    )
    return addressed(request, url or PUBLISHED["url"])


def event(type: Any, status: str, **more: Any) -> Event:
    return Event(type, REF.text, NOW, provider="twilio", id=f"{SID}.{status}", **more)


class TestTwilio(WebhookContract):
    NAME, PLAIN = "twilio", "delivered"
    SIGNED = True
    PROOFS = ("x-twilio-signature",)
    KEYS = [b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210"]  # noqa: RUF012
    TOKEN = [b"12345"]  # noqa: RUF012
    hook = twilio_events

    def request(self, body: bytes, key: bytes) -> Request:
        return signed(body, key)

    def encoded(self, data: Any) -> bytes:
        plain = isinstance(data, dict) and data and all(isinstance(value, str) for value in data.values())
        try:
            return urlencode(data).encode() if plain else json.dumps(data).encode()
        except UnicodeEncodeError:
            return json.dumps(data).encode()

    def told(self, body: bytes) -> object:
        try:
            return covered(body)
        except ValueError:
            return body

    def test_the_mail_of_others_is_left_out_and_logged(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert twilio_events.normalise(signed(self.plain(), self.KEYS[0], OTHERS), LINKS, NOW) == []
        assert capsys.readouterr().out.count("no mail of ours") == 1
        assert twilio_events.normalise(addressed(Request("POST", "twilio", body=self.plain()), HOOK), LINKS, NOW) == []

    @pytest.mark.parametrize(
        "request_",
        [
            published("signature"),
            published("signature_port"),
            published("signature", url="https://mycompany.com:1234/myapp.php"),
            published("signature_http_port_1234", url="http://mycompany.com:1234/myapp.php"),
            published("signature_http_port_80", url="http://mycompany.com/myapp.php"),
            published("signature_twice", PUBLISHED["twice"]),
            published("signature_json", PUBLISHED["json"], bodySHA256=PUBLISHED["bodySHA256"]),
        ],
    )
    def test_the_published_signatures(self, request_: Request) -> None:
        twilio_events.verify(request_, self.TOKEN, NOW)
        changed = Request("POST", "twilio", request_.query, request_.headers, request_.body + b"&a=b")
        self.refused(changed, self.TOKEN)
        self.refused(request_, [b"12346"])

    def test_a_shared_key_may_sign_with_sha256(self) -> None:
        good = published("signature_sha256")
        headers = {**good.headers, SETTINGS: "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}
        twilio_events.verify(Request("POST", "twilio", good.query, headers, good.body), self.TOKEN, NOW)
        self.refused(good, self.TOKEN)

    @pytest.mark.parametrize(
        "settings", ["algorithm=HMAC_MD5", "algorithm=", "algorithm=none", "key=1, algorithm=SHA1", "algorithm=é"]
    )
    def test_no_other_algorithm(self, settings: str) -> None:
        for signature in ("signature", "signature_sha256"):
            good = published(signature)
            headers = {**good.headers, SETTINGS: settings}
            self.refused(Request("POST", "twilio", good.query, headers, good.body), self.TOKEN)

    def test_the_url_is_the_one_that_was_given_to_twilio(self) -> None:
        good = signed(self.plain(), self.KEYS[0])
        for url in (
            "https://mail.example/webhooks/other",
            "https://other.example/webhooks/twilio",
            "http://mail.example/webhooks/twilio",
        ):
            self.refused(addressed(good, url), self.KEYS)
        for url in ("", "mail.example", "https://u:p@mail.example/x", "ftp://mail.example/x", "https://mail.example"):
            self.refused(addressed(good, url), self.KEYS)
        self.refused(
            Request("POST", "twilio", good.query, {"x-twilio-signature": good.headers["x-twilio-signature"]}, good.body),
            self.KEYS,
        )

    @pytest.mark.parametrize(
        "query", [{}, {"ref": "C-0002~" + REF.text.partition("~")[2]}, {"ref": REF.text, "a": "b"}, {"ref": "\ud800"}]
    )
    def test_the_query_is_signed(self, query: dict[str, str]) -> None:
        good = signed(self.plain(), self.KEYS[0])
        self.refused(Request("POST", "twilio", query, good.headers, good.body), self.KEYS)

    def test_another_json_is_refused(self) -> None:
        good = signed(b'{"MessageSid": "SM1", "MessageStatus": "delivered"}', self.KEYS[0])
        twilio_events.verify(good, self.KEYS, NOW)
        self.refused(Request("POST", "twilio", good.query, good.headers, good.body + b" "), self.KEYS)

    def test_a_url_without_a_query_is_signed_as_it_is(self) -> None:
        digest = hmac.new(self.KEYS[0], f"{HOOK}{covered(self.plain())}".encode(), "sha1").digest()
        headers = {"x-twilio-signature": base64.b64encode(digest).decode()}
        bare = addressed(Request("POST", "twilio", headers=headers, body=self.plain()), HOOK)
        twilio_events.verify(bare, self.KEYS, NOW)
        assert twilio_events.normalise(bare, LINKS, NOW) == []

    def test_a_form_cannot_pass_as_json(self) -> None:
        good = signed(self.plain(), self.KEYS[0])
        query = {**good.query, "bodySHA256": hashlib.sha256(good.body).hexdigest()}
        self.refused(Request("POST", "twilio", query, good.headers, good.body), self.KEYS)

    @pytest.mark.parametrize("body", [b"\xff=1", b"a=%FF", b"a=1" + b"&b=2" * 200])
    def test_a_form_that_cannot_be_read_is_refused(self, body: bytes) -> None:
        good = signed(self.plain(), self.KEYS[0])
        self.refused(Request("POST", "twilio", good.query, good.headers, body), self.KEYS)
        with pytest.raises(BadInput):
            twilio_events.normalise(Request("POST", "twilio", good.query, good.headers, body), LINKS, NOW)

    def test_a_form_may_have_so_many_fields(self) -> None:
        most = signed(self.plain() + b"&b=2" * (200 - self.plain().count(b"=")), self.KEYS[0])
        twilio_events.verify(most, self.KEYS, NOW)
        self.refused(signed(most.body + b"&b=2", self.KEYS[0]), self.KEYS)

    def test_spellings_of_one_callback_are_told_to_be_the_same(self) -> None:
        good = signed(self.plain(), self.KEYS[0])
        spelled = Request("POST", "twilio", good.query, good.headers, b"&" + good.body.replace(b"SmsSid=S", b"SmsSid=%53"))
        twilio_events.verify(spelled, self.KEYS, NOW)
        assert twilio_events.signed(spelled) == twilio_events.signed(good)
        assert twilio_events.signed(signed(self.plain(), self.KEYS[0], OTHERS)) != twilio_events.signed(good)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("delivered", [event("delivered", "delivered")]),
            ("undelivered", [event("bounced", "undelivered", code="30005")]),
            ("failed", [event("bounced", "failed", code="30007")]),
            ("sent", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize("status", ["accepted", "scheduled", "queued", "sending", "sent", "read"])
    def test_what_says_nothing_of_the_end_is_left_out(self, status: str) -> None:
        assert self.events({**self.bodies()["delivered"], "MessageStatus": status}) == []

    @pytest.mark.parametrize("status", ["canceled", "partially_delivered", "teleported"])
    def test_an_unknown_status_is_unknown(self, status: str) -> None:
        assert self.events({**self.bodies()["delivered"], "MessageStatus": status}) == [event("unknown", status)]

    @pytest.mark.parametrize("code", ["30003", "30005", "30006", "21610"])
    def test_no_text_message_gives_a_mail_address_up(self, code: str) -> None:
        [found] = self.events({**self.bodies()["undelivered"], "ErrorCode": code})
        assert (found.hard, found.counts, found.code) == (False, False, code)

    def test_the_older_names_serve_too(self) -> None:
        assert self.events({"SmsSid": SID, "SmsStatus": "delivered"}) == [event("delivered", "delivered")]

    def test_a_json_body_is_read_alike(self) -> None:
        body = json.dumps({**self.bodies()["undelivered"], "ErrorCode": 30005}).encode()
        assert self.events(body) == [event("bounced", "undelivered", code="30005")]

    @pytest.mark.parametrize("missing", ["Sid", "Status"])
    def test_another_form_is_bad_input(self, missing: str) -> None:
        with pytest.raises(BadInput):
            self.events(
                {
                    name: value
                    for name, value in self.bodies()["delivered"].items()
                    if name not in (f"Sms{missing}", f"Message{missing}")
                }
            )
