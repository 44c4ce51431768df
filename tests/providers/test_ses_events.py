"""Amazon SES through SNS: the contract of webhooks, certificates, topics and subscriptions, and its documented events."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shared.errors import BadInput, NotFound, Unauthenticated, Unavailable
from shared.http import Request
from shared.model.event import Event
from shared.providers import ses_events
from shared.providers.ses import tag

from .webhook_contract import LINKS, NOW, REF
from .webhook_inside import InsideContract

ARN = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CHINESE = "arn:aws-cn:sns:cn-north-1:123456789012:ses-events"
URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
AT = 1767225600_000
HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}
_NOW = datetime.fromtimestamp(NOW / 1000, UTC)


@cache
def private() -> RSAPrivateKey:
    return rsa_key(65537, 2048)


def certificate(key: Any = None, start: datetime = _NOW - timedelta(days=30), end: datetime = _NOW + timedelta(days=30)) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    key = key or private()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signed(message: dict[str, Any], version: str = "2") -> Request:
    """A message of SNS, signed as it says; the names in their order are those of Amazon's documentation."""
    names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    proof = private().sign(text.encode("utf-8", "surrogatepass"), PKCS1v15(), HASHES[version])
    whole = {"SigningCertURL": URL, **message, "SignatureVersion": version, "Signature": base64.b64encode(proof).decode()}
    return Request("POST", "ses", headers={"content-type": "text/plain; charset=UTF-8"}, body=json.dumps(whole).encode())


def notification(text: str, **more: Any) -> dict[str, Any]:
    return {"Type": "Notification", "MessageId": "m-1", "TopicArn": ARN, "Message": text, "Timestamp": stamp(NOW), **more}


def subscription(**more: Any) -> dict[str, Any]:
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=x"
    return notification("Choose.", **{"Type": "SubscriptionConfirmation", "Token": "t0&k=1", "SubscribeURL": url, **more})


class Fetching:
    """A `Fetch` that notes what it is asked for."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else certificate()
        if isinstance(answer, Exception):
            raise answer
        return answer


def event(type: Any, **more: Any) -> Event:
    return Event(type, REF.text, AT, provider="ses", **{"id": "m-1", **more})


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    ses_events.certificates.clear()
    ses_events.certificates[URL] = x509.load_pem_x509_certificate(certificate())
    yield
    ses_events.certificates.clear()


class TestSes(InsideContract):
    NAME, PLAIN = "ses", "bounce"
    KEYS = [ARN.encode(), f"{ARN}-before arn:aws:sns:eu-west-1:123456789012:third".encode()]  # noqa: RUF012
    FIELDS = tuple((name,) for name in ("Type", "MessageId", "TopicArn", "Message", "Timestamp", "Signature", "SignatureVersion"))
    hook = ses_events

    def request(self, body: bytes, key: bytes) -> Request:
        text = body.decode("utf-8", "surrogateescape")
        return signed(notification(text, TopicArn=(key.decode("utf-8", "replace").split() or [""])[0]))

    def bodies(self) -> dict[str, Any]:
        text = json.dumps(super().bodies()).replace("{ses_tag}", tag(REF.text)).replace("{leave}", LINKS.unsubscribe(REF))
        found: dict[str, Any] = json.loads(text)
        return found

    @pytest.mark.parametrize("body", [b"null", b"[[]]", b'"text"', b"3"])
    def test_what_is_not_theirs_is_bad_input(self, body: bytes) -> None:
        """Or plain text, which SES and SNS say while they are set up."""
        assert self.events(body) == []

    @pytest.mark.parametrize("version", ["1", "2"])
    @pytest.mark.parametrize("more", [{}, {"Subject": "Amazon SES Email Event Notification"}])
    def test_both_versions_of_the_signature(self, version: str, more: dict[str, str]) -> None:
        good = signed(notification("{}", **more), version)
        ses_events.verify(good, self.KEYS, NOW)
        other = self.with_field(good, ("SignatureVersion",), {"1": "2", "2": "1"}[version])
        self.refused(other, self.KEYS)
        self.refused(self.with_field(good, ("Subject",), "Another") if more else self.with_subject(good), self.KEYS)

    def with_subject(self, request: Request) -> Request:
        return replace(request, body=json.dumps({**json.loads(request.body), "Subject": "Added"}).encode())

    @pytest.mark.parametrize("shift", [-300_000, 300_000])
    def test_the_window_has_two_sides(self, shift: int) -> None:
        ses_events.verify(signed(notification("{}", Timestamp=stamp(NOW + shift))), self.KEYS, NOW)
        late = NOW + shift + (1 if shift > 0 else -1)
        self.refused(signed(notification("{}", Timestamp=stamp(late))), self.KEYS)

    async def test_a_certificate_is_fetched_once(self) -> None:
        ses_events.certificates.clear()
        fetch, good = Fetching(), signed(notification("{}"))
        await asyncio.gather(*(ses_events.prepare(good, self.KEYS, NOW, fetch) for _ in range(5)))
        await ses_events.prepare(good, self.KEYS, NOW, fetch)
        ses_events.verify(good, self.KEYS, NOW)
        assert fetch.asked == [URL]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "/SimpleNotificationService-f3.pem",
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com.example/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-f3.pem",
            "https://evil.example/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com/evil/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3.pem?x=1",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3.pem#x",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-../../x.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3.pem\n",
            "https://SNS.eu-west-1.amazonaws.com/SimpleNotificationService-f3.pem",
            "https://sns.eu-west-1.amazonaws.com.cn/SimpleNotificationService-f3.pem",
            "https://s3.amazonaws.com/bucket/SimpleNotificationService-f3.pem",
            3,
        ],
    )
    async def test_no_certificate_is_fetched_from_elsewhere(self, url: Any) -> None:
        fetch = Fetching()
        ses_events.certificates[str(url)] = ses_events.certificates[URL]
        bad = signed(notification("{}", SigningCertURL=url))
        with pytest.raises(Unauthenticated):
            await ses_events.prepare(bad, self.KEYS, NOW, fetch)
        self.refused(bad, self.KEYS)
        assert fetch.asked == []

    async def test_in_china_the_host_has_another_end(self) -> None:
        url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-f3.pem"
        fetch, good = Fetching(), signed(notification("{}", TopicArn=CHINESE, SigningCertURL=url))
        await ses_events.prepare(good, [CHINESE.encode()], NOW, fetch)
        ses_events.verify(good, [CHINESE.encode()], NOW)
        assert fetch.asked == [url]

    @pytest.mark.parametrize(
        "changes",
        [
            {"TopicArn": f"{ARN}x"},
            {"TopicArn": "arn:aws:sns:us-east-1:123456789012:ses-events"},
            {"TopicArn": "evil.example/#"},
            {"Timestamp": stamp(NOW - 301_000)},
            {"Timestamp": "yesterday"},
            {"Type": "Else"},
        ],
    )
    async def test_nothing_is_fetched_for_a_stranger(self, changes: dict[str, str]) -> None:
        ses_events.certificates.clear()
        fetch = Fetching()
        with pytest.raises(Unauthenticated):
            await ses_events.prepare(signed(notification("{}", **changes)), [*self.KEYS, b"evil.example/#"], NOW, fetch)
        assert fetch.asked == []

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (Unavailable("sns"), Unavailable),
            (NotFound("404"), Unauthenticated),
            (b"<html>", Unauthenticated),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Unauthenticated),
        ],
    )
    async def test_without_a_certificate_nothing_is_believed(self, answer: Any, error: type[Exception]) -> None:
        ses_events.certificates.clear()
        fetch, good = Fetching(answer), signed(notification("{}"))
        with pytest.raises(error):
            await ses_events.prepare(good, self.KEYS, NOW, fetch)
        self.refused(good, self.KEYS)
        await ses_events.prepare(good, self.KEYS, NOW, fetch)  # it is asked for again
        ses_events.verify(good, self.KEYS, NOW)

    async def test_a_slow_certificate_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ses_events.certificates.clear()
        monkeypatch.setattr(ses_events, "FETCHING", 0.01)
        came = asyncio.Event()

        async def slow(url: str) -> bytes:
            await came.wait()
            return certificate()

        with pytest.raises(Unavailable):
            await ses_events.prepare(signed(notification("{}")), self.KEYS, NOW, slow)
        came.set()
        await asyncio.sleep(0.01)

    @pytest.mark.parametrize(
        "pem",
        [
            certificate(end=_NOW - timedelta(seconds=1)),
            certificate(start=_NOW + timedelta(seconds=1)),
            certificate(key=generate_private_key(SECP256R1())),
            certificate(key=rsa_key(65537, 2048)),
        ],
    )
    def test_a_certificate_must_be_valid_and_the_signers(self, pem: bytes) -> None:
        ses_events.certificates[URL] = x509.load_pem_x509_certificate(pem)
        self.refused(signed(notification("{}")), self.KEYS)

    async def test_few_certificates_are_kept(self) -> None:
        for n in range(ses_events.MOST_KEPT + 3):
            url = f"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{n}.pem"
            await ses_events.prepare(signed(notification("{}", SigningCertURL=url)), self.KEYS, NOW, Fetching())
        assert len(ses_events.certificates) == ses_events.MOST_KEPT and url in ses_events.certificates

    async def test_a_subscription_is_confirmed_at_the_topics_region_by_its_token(self) -> None:
        fetch, good = Fetching(b"<ok/>"), signed(subscription())
        ses_events.verify(good, self.KEYS, NOW)
        assert ses_events.normalise(good, LINKS, NOW) == []
        await ses_events.settle(good, fetch)
        [url] = fetch.asked
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "sns.eu-west-1.amazonaws.com", "/")
        query = {"Action": ["ConfirmSubscription"], "Version": ["2010-03-31"], "TopicArn": [ARN], "Token": ["t0&k=1"]}
        assert parse_qs(parts.query) == query

    async def test_nobody_elses_subscription_is_confirmed(self) -> None:
        self.refused(signed(subscription(TopicArn=f"{ARN}x")), self.KEYS)
        self.refused(self.with_field(signed(subscription()), ("Token",), "another"), self.KEYS)
        self.refused(self.with_field(signed(subscription()), ("SubscribeURL",), "https://evil.example"), self.KEYS)

    async def test_a_subscription_that_cannot_be_confirmed(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(BadInput):
            await ses_events.settle(signed(subscription()), Fetching(NotFound("400")))
        with pytest.raises(Unavailable):
            await ses_events.settle(signed(subscription()), Fetching(Unavailable("sns")))
        fetch = Fetching()
        await ses_events.settle(signed(notification("{}")), fetch)
        assert capsys.readouterr().out == ""
        await ses_events.settle(signed(subscription(Type="UnsubscribeConfirmation")), fetch)
        assert fetch.asked == [] and "unsubscribed" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("bounce", [event("bounced", hard=True, code="5.1.1", id="01000157c44f053b-61b59c11")]),
            ("full", [event("bounced", counts=True, code="4.2.2", id="01000157c44f053b-61b59c11")]),
            ("large", [event("bounced", code="5.2.3", id="01000157c44f053b-61b59c11")]),
            ("undetermined", [event("bounced", code="5.0.0", id="01000157c44f053b-61b59c11")]),
            ("complaint", [event("complained", code="abuse", id="01000157c44f053b-61b59c11")]),
            ("not_spam", []),
            ("delivery", [event("delivered")]),
            ("delay", [event("deferred", code="TransientCommunicationFailure")]),
            ("reject", [replace(event("bounced", code="Reject"), at=NOW)]),
            ("rendering", [replace(event("bounced", code="Rendering Failure"), at=NOW)]),
            ("send", []),
            ("open", []),
            ("notified", [event("bounced", hard=True, code="Permanent NoEmail", id="00000138111222aa")]),
            ("set_up", []),
        ],
    )
    def test_the_documented_events(self, name: str, expected: list[Event]) -> None:
        assert self.events(self.bodies()[name]) == expected

    @pytest.mark.parametrize(
        ("type", "subtype", "status", "hard", "counts"),
        [
            ("Permanent", "General", "5.1.1", True, False),
            ("Permanent", "General", None, True, False),
            ("Permanent", "General", "5.7.1", False, False),
            ("Permanent", "General", "5.2.2", False, True),
            ("Permanent", "NoEmail", "5.0.0", True, False),
            ("Permanent", "Suppressed", "5.1.1", True, False),
            ("Permanent", "OnAccountSuppressionList", "5.1.1", True, False),
            ("Transient", "General", "4.4.7", False, True),
            ("Transient", "General", "5.1.1", False, True),
            ("Transient", "General", "4.7.1", False, False),
            ("Transient", "MailboxFull", None, False, True),
            ("Transient", "ContentRejected", "5.6.0", False, False),
            ("Transient", "AttachmentRejected", None, False, False),
            ("Transient", "New", "5.1.1", False, False),
            ("Undetermined", "Undetermined", "5.1.1", False, False),
            ("New", "New", "5.1.1", False, False),
            (None, None, None, False, False),
        ],
    )
    def test_a_bounce_is_judged_by_type_and_status(self, type: Any, subtype: Any, status: Any, hard: bool, counts: bool) -> None:
        data = self.bodies()["bounce"]
        data["bounce"] |= {"bounceType": type, "bounceSubType": subtype, "bouncedRecipients": [{"status": status}]}
        [found] = self.events(data)
        assert (found.type, found.hard, found.counts) == ("bounced", hard, counts)

    def test_what_is_said_on_being_set_up_is_no_event(self) -> None:
        assert self.events(b"Successfully validated SNS topic for Amazon SES event publishing.") == []

    def test_an_unknown_kind_is_kept(self) -> None:
        data = self.bodies()["send"] | {"eventType": "Teleport"}
        assert self.events(data) == [replace(event("unknown", code="Teleport"), at=NOW)]
