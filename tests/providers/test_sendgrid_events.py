"""SendGrid: the contract of webhooks, its published signature, and its documented events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.errors import Unauthenticated
from shared.http import Request
from shared.model.event import Event
from shared.providers import sendgrid_events

from .webhook_contract import NOW, PAYLOADS, REF, WebhookContract

AT = 1767225600_000
SIGNATURE, TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"


def public(key: ec.EllipticCurvePrivateKey, encoding: Encoding = Encoding.DER) -> bytes:
    found = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    return found if encoding is Encoding.PEM else base64.b64encode(found)


PRIVATE = [ec.derive_private_key(n, ec.SECP256R1()) for n in (1001, 1002)]
OTHER_CURVE = ec.derive_private_key(1003, ec.SECP384R1())


def sign(body: bytes, key: ec.EllipticCurvePrivateKey, at: int = NOW // 1000) -> Request:
    proof = base64.b64encode(key.sign(str(at).encode() + body, ec.ECDSA(SHA256(), deterministic_signing=True))).decode()
    return Request("POST", "sendgrid", headers={SIGNATURE: proof, TIMESTAMP: str(at)}, body=body)


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="sendgrid", id="ZGVsaXZlcmVkLTA", **more)


class TestSendGrid(WebhookContract):
    NAME, PLAIN, SIGNED = "sendgrid", "bounce", True
    KEYS = [public(key) for key in PRIVATE]  # noqa: RUF012
    PROOFS = (SIGNATURE, TIMESTAMP)
    hook = sendgrid_events

    def request(self, body: bytes, key: bytes) -> Request:
        return sign(body, dict(zip(self.KEYS, PRIVATE, strict=True)).get(key, PRIVATE[0]))

    def test_the_published_signature(self) -> None:
        vector = json.loads((PAYLOADS / "sendgrid_signature.json").read_text())
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        request = Request("POST", "sendgrid", headers=headers, body=vector["body"].encode())
        now = int(headers[TIMESTAMP]) * 1000
        keys = [vector["other_key"].encode(), vector["key"].encode()]
        sendgrid_events.verify(request, keys, now)
        with pytest.raises(Unauthenticated):
            sendgrid_events.verify(request, keys[:1], now)

    @pytest.mark.parametrize("shift", [-300, 300])
    def test_the_window_has_two_sides(self, shift: int) -> None:
        at = NOW // 1000 + shift
        sendgrid_events.verify(sign(b"[]", PRIVATE[0], at), self.KEYS, NOW)
        self.refused(sign(b"[]", PRIVATE[0], at + (1 if shift > 0 else -1)), self.KEYS)

    def test_a_signature_has_one_spelling(self) -> None:
        good = next(found for n in range(100) if (found := sign(b"[]" + b" " * n, PRIVATE[0])).headers[SIGNATURE].endswith("="))
        proof = good.headers[SIGNATURE].rstrip("=")
        alike = [
            proof[:-1] + chr(ord(proof[-1]) + 1) + good.headers[SIGNATURE][len(proof) :],
            proof,
            f" {good.headers[SIGNATURE]}",
        ]
        for other in alike:
            self.refused(Request("POST", "sendgrid", headers={**good.headers, SIGNATURE: other}, body=good.body), self.KEYS)

    def test_a_key_may_be_pem_and_must_be_of_its_curve(self, capsys: pytest.CaptureFixture[str]) -> None:
        sendgrid_events.verify(sign(b"[]", PRIVATE[0]), [b"no key", public(PRIVATE[0], Encoding.PEM)], NOW)
        self.refused(sign(b"[]", OTHER_CURVE), [public(OTHER_CURVE)])
        assert capsys.readouterr().out.count("no P-256 public key") == 2

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("processed", []),
            ("delivered", [event("delivered")]),
            ("deferred", [event("deferred")]),
            ("bounce", [event("bounced", hard=True, code="5.1.1")]),
            ("blocked", [event("bounced", code="4.7.1")]),
            ("dropped", [event("bounced", hard=True, code="Bounced Address")]),
            ("spamreport", [event("complained")]),
            ("unsubscribe", [event("unsubscribed")]),
            ("group_unsubscribe", [event("unsubscribed")]),
            ("group_resubscribe", []),
            ("open", []),
            ("click", []),
            ("account", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("said", "status", "hard", "counts"),
        [
            ("Invalid Address", "5.1.1", True, False),
            ("Invalid Address", "5.0.0", True, False),
            ("Invalid Address", "5.7.1", False, False),
            ("Invalid Address", "5.2.2", False, True),
            ("Mailbox Unavailable", "5.2.2", False, True),
            ("Mailbox Unavailable", "5.1.1", False, True),
            ("Unclassified", "5.5.0", False, True),
            ("Reputation", "5.1.1", False, False),
            ("Content", "5.0.0", False, False),
            ("Technical Failure", "5.4.4", False, False),
            ("Frequency or Volume Too High", "4.7.0", False, False),
            ("of another kind", "5.1.1", False, False),
            ("", "5.1.1", True, False),
            (None, None, True, False),
        ],
    )
    def test_a_bounce_is_judged_by_its_class_and_status(self, said: Any, status: Any, hard: bool, counts: bool) -> None:
        item = self.bodies()["bounce"][0] | {"bounce_classification": said, "status": status}
        [found] = self.events([item])
        assert (found.type, found.hard, found.counts) == ("bounced", hard, counts)
        [blocked] = self.events([item | {"type": "blocked"}])
        assert (blocked.type, blocked.hard, blocked.counts) == ("bounced", False, False)

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("Bounced Address", event("bounced", hard=True, code="Bounced Address")),
            ("Invalid", event("bounced", hard=True, code="Invalid")),
            ("Spam Reporting Address", event("complained", code="Spam Reporting Address")),
            ("Unsubscribed Address", event("unsubscribed", code="Unsubscribed Address")),
            ("Spam Content", event("bounced", code="dropped")),
            ("Recipient List over Package Quota", event("bounced", code="dropped")),
        ],
    )
    def test_why_a_mail_was_dropped(self, reason: str, expected: Event) -> None:
        assert self.events([self.bodies()["dropped"][0] | {"reason": reason}]) == [expected]

    def test_a_batch_keeps_its_order_and_leaves_others_out(self) -> None:
        bodies = self.bodies()
        batch = [item for name in ("delivered", "click", "account", "spamreport", "bounce") for item in bodies[name]]
        assert [found.type for found in self.events(batch)] == ["delivered", "complained", "bounced"]

    def test_an_unknown_kind_is_kept(self) -> None:
        assert self.events([self.bodies()["delivered"][0] | {"event": "teleported"}]) == [event("unknown", code="teleported")]
