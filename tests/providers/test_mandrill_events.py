"""Mandrill: the contract of webhooks, a signature of Mandrill's own, and its documented events."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import Unauthenticated
from shared.http import Request
from shared.model.event import Event
from shared.providers import mandrill_events
from shared.providers.signatures import addressed

from .webhook_contract import NOW, PAYLOADS, REF, WebhookContract, many, spoiled

AT = 1767225600_000
HOOK = "https://mail.example/webhooks/mandrill"
HEADER = "x-mandrill-signature"


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="mandrill", **more)


class TestMandrill(WebhookContract):
    NAME, PLAIN, SIGNED = "mandrill", "hard_bounce", True
    PROOFS = (HEADER,)
    hook = mandrill_events

    def request(self, body: bytes, key: bytes) -> Request:
        proof = base64.b64encode(hmac.digest(key, f"{HOOK}mandrill_events".encode() + body, "sha1")).decode()
        form = b"mandrill_events=" + quote_plus(body).encode()
        return addressed(Request("POST", "mandrill", headers={HEADER: proof}, body=form), HOOK)

    def test_a_signature_of_mandrills_own(self) -> None:
        vector = json.loads((PAYLOADS / "mandrill_signature.json").read_text())
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        request = Request("POST", "mandrill", headers=headers, body=vector["body"].encode())
        mandrill_events.verify(addressed(request, vector["url"]), [vector["key"].encode()], NOW)
        for url in (vector["url"] + "/", vector["url"] + "?a=b", HOOK):
            with pytest.raises(Unauthenticated):
                mandrill_events.verify(addressed(request, url), [vector["key"].encode()], NOW)

    def test_a_caller_cannot_say_which_url_was_called(self) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        forged = Request("POST", "mandrill", headers={**good.headers, ":url": "https://elsewhere.example"}, body=good.body)
        mandrill_events.verify(addressed(forged, HOOK), self.KEYS, NOW)

    @many
    @given(draw=st.data())
    def test_another_body_is_refused(self, draw: st.DataObject) -> None:
        """Or it is the same in another spelling."""
        good = self.request(self.plain(), self.KEYS[0])
        bad = replace(good, body=spoiled(draw, good.body.decode()).encode("utf-8", "surrogatepass"))
        try:
            assume(mandrill_events.signed(bad) != mandrill_events.signed(good))
        except Unauthenticated:
            pass
        self.refused(bad, self.KEYS)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"&",
            b"mandrill_events",
            b"mandrill_events=[]&mandrill_events=[]",
            b"a=1&" * 30,
            "mandrill_events=é".encode(),
            b"\xff=1",
        ],
    )
    def test_what_is_no_form_proves_nothing(self, body: bytes) -> None:
        signed = base64.b64encode(hmac.digest(self.KEYS[0], f"{HOOK}mandrill_events[]".encode(), "sha1")).decode()
        self.refused(addressed(Request("POST", "mandrill", headers={HEADER: signed}, body=body), HOOK), self.KEYS)

    def test_no_variable_stands_twice(self) -> None:
        told = f"{HOOK}mandrill_events[]mandrill_events[]".encode()
        proof = base64.b64encode(hmac.digest(self.KEYS[0], told, "sha1")).decode()
        form = b"mandrill_events=[]&mandrill_events=[]"
        self.refused(addressed(Request("POST", "mandrill", headers={HEADER: proof}, body=form), HOOK), self.KEYS)

    def test_variables_are_sorted(self) -> None:
        told = f"{HOOK}aXmandrill_events[]zY".encode()
        proof = base64.b64encode(hmac.digest(self.KEYS[0], told, "sha1")).decode()
        form = b"z=Y&mandrill_events=%5b%5d&a=X"
        request = addressed(Request("POST", "mandrill", headers={HEADER: proof}, body=form), HOOK)
        mandrill_events.verify(request, self.KEYS, NOW)
        assert mandrill_events.normalise(request, None, NOW) == []  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("send", []),
            ("delivered", [event("delivered")]),
            ("deferral", [event("deferred")]),
            ("hard_bounce", [event("bounced", hard=True, code="5.1.1")]),
            ("soft_bounce", [event("bounced", counts=True, code="5.2.2")]),
            ("reject", [event("bounced", hard=True, code="hard-bounce")]),
            ("spam", [event("complained")]),
            ("unsub", [event("unsubscribed")]),
            ("open", []),
            ("click", []),
            ("sync", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("name", "diag", "hard", "counts"),
        [
            ("hard_bounce", "smtp;550 5.1.1 no", True, False),
            ("hard_bounce", "smtp;550 no such user", True, False),
            ("hard_bounce", None, True, False),
            ("hard_bounce", "smtp;550 5.7.1 blocked", False, False),
            ("hard_bounce", "smtp;552 5.2.2 full", False, True),
            ("soft_bounce", "smtp;550 5.1.1 no", False, True),
            ("soft_bounce", "", False, True),
            ("soft_bounce", "smtp;554 5.7.1 spam", False, False),
            ("soft_bounce", "smtp;554 5.6.0 content", False, False),
        ],
    )
    def test_a_bounce_is_judged_by_its_kind_and_status(self, name: str, diag: Any, hard: bool, counts: bool) -> None:
        batch = self.bodies()[name]
        batch[0]["msg"]["diag"] = diag
        [found] = self.events(batch)
        assert (found.type, found.hard, found.counts) == ("bounced", hard, counts)

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("soft-bounce", event("bounced", counts=True, code="soft-bounce")),
            ("spam", event("complained", code="spam")),
            ("unsub", event("unsubscribed", code="unsub")),
            ("custom", event("bounced", code="custom")),
            (None, event("bounced", code="reject")),
        ],
    )
    def test_why_a_mail_was_rejected(self, reason: Any, expected: Event) -> None:
        batch = self.bodies()["reject"]
        batch[0]["msg"]["reject"]["reason"] = reason
        assert self.events(batch) == [expected]

    def test_an_unknown_kind_is_kept(self) -> None:
        assert self.events([self.bodies()["spam"][0] | {"event": "teleport"}]) == [event("unknown", code="teleport")]
