"""Who may push and tick: every forged or stale token is refused before the handler runs."""

from __future__ import annotations

import base64
import hmac
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from local.issuer import LocalIssuer
from shared import logs, push
from shared.config import Pushed
from shared.errors import BadInput, Unauthenticated, Unavailable
from shared.push import STRIPPED, Envelope, pushed, subscription, ticked, verify
from tests.house.asgi import Answer, call

AUDIENCE, EMAIL, ISSUER = "https://news.example", "pusher@x.example", "https://issuer.example"
MESSAGE = {"campaign": "C-0001", "batch": "000000"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def b64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_push(data: Any = MESSAGE) -> dict[str, Any]:
    return {"message": {"data": base64.b64encode(json.dumps(data).encode()).decode(), "messageId": "1"}, "subscription": "s"}


def told(id: str = "1", published: str = "", attempt: int = 0) -> dict[str, Any]:
    """A push with all that Pub/Sub says."""
    body = raw_push() | {"deliveryAttempt": attempt}
    body["message"] |= {"attributes": {"traceparent": PARENT}, "messageId": id, "publishTime": published}
    return body


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "email": EMAIL, "email_verified": True, "iat": now, "exp": now + 3600}
    return {name: value for name, value in (good | changes).items() if value is not None}


class Key:
    """An issuer's key that signs any claims."""

    def __init__(self, folder: Path) -> None:
        self.issuer = LocalIssuer(folder, ISSUER)
        self.certs = folder / "certs.json"
        [(self.kid, self.pem)] = self.issuer.certificates().items()

    def sign(self, claims: Mapping[str, Any], kid: str | None = None) -> str:
        signed = f"{b64({'alg': 'RS256', 'typ': 'JWT', 'kid': kid or self.kid})}.{b64(claims)}"
        return f"{signed}.{b64(self.issuer._signer.sign(signed.encode()))}"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key(tmp_path_factory.mktemp("other"))


@pytest.fixture
def oidc(key: Key, monkeypatch: pytest.MonkeyPatch) -> Pushed:
    monkeypatch.setattr(push, "_cached", {})
    return settings("oidc", key.certs.as_uri())


def settings(auth: str, certs: str = "") -> Pushed:
    return Pushed(
        stack="embedded",
        state_dir="x",
        tenant="t",
        public_url=AUDIENCE,
        push_auth=auth,
        push_audience=AUDIENCE,
        push_issuer=ISSUER,
        push_email=EMAIL,
        push_certs=certs,
        k_service="record",
    )


async def knock(
    given: Pushed, token: str, method: str = "POST", body: Any = None, scheme: str = "Bearer", **more: str
) -> tuple[Answer, list[Any]]:
    """One push to a step that records what it is handed."""
    handed: list[Any] = []

    async def step(message: Any) -> None:
        handed.append(message)

    app: Any = Starlette(routes=[Route("/{path:path}", pushed(lambda: given)(step), methods=["GET", "POST"])])
    data = body if isinstance(body, bytes) else json.dumps(body or raw_push()).encode()
    headers = ({"authorization": f"{scheme} {token}"} if token else {}) | more
    return await call(app, method, "/", data, headers), handed


# --- oidc ---


async def test_a_good_push_reaches_the_handler(oidc: Pushed, key: Key) -> None:
    for token in (key.issuer.sign(AUDIENCE, EMAIL), key.sign(claims())):
        answer, handed = await knock(oidc, token)
        assert (answer.status, handed) == (204, [MESSAGE])
    assert (await knock(oidc, key.sign(claims()), scheme="bearer"))[0].status == 204


REFUSED: dict[str, tuple[int, Callable[[Key, Key], str]]] = {
    "no token": (401, lambda key, other: ""),
    "garbage": (401, lambda key, other: "garbage"),
    "dots": (401, lambda key, other: ".."),
    "not base64": (401, lambda key, other: "%.%.%"),
    "not JSON": (401, lambda key, other: f"{b64(b'x')}.{b64(b'x')}.x"),
    "not objects": (401, lambda key, other: f"{b64([])}.{b64(3)}.x"),
    "deep": (401, lambda key, other: f"{b64(b'[' * 20_000)}.{b64({})}.eHg"),
    "expired": (401, lambda key, other: key.sign(claims(iat=1, exp=int(time.time()) - 90))),
    "not yet": (401, lambda key, other: key.sign(claims(iat=int(time.time()) + 90))),
    "no expiry": (401, lambda key, other: key.sign(claims(exp=None))),
    "words for dates": (401, lambda key, other: key.sign(claims(exp="never"))),
    "other issuer": (401, lambda key, other: key.sign(claims(iss="https://accounts.example"))),
    "other key": (401, lambda key, other: other.sign(claims())),
    "other key, our id": (401, lambda key, other: other.sign(claims(), kid=key.kid)),
    "other audience": (403, lambda key, other: key.sign(claims(aud="https://other.example"))),
    "several audiences": (403, lambda key, other: key.sign(claims(aud=[AUDIENCE]))),
    "other account": (403, lambda key, other: key.sign(claims(email="other@x.example"))),
    "no account": (403, lambda key, other: key.sign(claims(email=None))),
    "account not verified": (403, lambda key, other: key.sign(claims(email_verified="true"))),
    "stripped": (401, lambda key, other: key.sign(claims()).rpartition(".")[0] + "." + STRIPPED),
    "no signature": (401, lambda key, other: key.sign(claims()).rpartition(".")[0] + "."),
    "alg none": (401, lambda key, other: f"{b64({'alg': 'none', 'kid': key.kid})}.{b64(claims())}."),
    "alg none, no id": (401, lambda key, other: f"{b64({'alg': 'none'})}.{b64(claims())}."),
    "changed claims": (401, lambda key, other: _changed(key)),
    "public key as secret": (401, lambda key, other: _hs256(key)),
}


def _changed(key: Key) -> str:
    head, _, signature = key.sign(claims(email="other@x.example")).split(".")
    return f"{head}.{b64(claims())}.{signature}"


def _hs256(key: Key) -> str:
    signed = f"{b64({'alg': 'HS256', 'kid': key.kid})}.{b64(claims())}"
    return f"{signed}.{b64(hmac.digest(key.pem.encode(), signed.encode(), 'sha256'))}"


@pytest.mark.parametrize("case", REFUSED)
async def test_every_other_push_is_refused(oidc: Pushed, key: Key, other: Key, case: str) -> None:
    status, make = REFUSED[case]
    answer, handed = await knock(oidc, make(key, other))
    assert (answer.status, handed) == (status, [])
    assert answer.text == ("Not authenticated.\n" if status == 401 else "Not allowed.\n")


async def test_only_bearer_tokens_and_posts(oidc: Pushed, key: Key) -> None:
    assert (await knock(oidc, key.sign(claims()), scheme="Basic"))[0].status == 401
    answer, handed = await knock(oidc, key.sign(claims()), method="GET")
    assert (answer.status, handed) == (400, [])


async def test_a_stranger_is_refused_before_the_body_is_read(oidc: Pushed) -> None:
    answer, handed = await knock(oidc, "garbage", body=b"x" * (2 << 20))
    assert (answer.status, answer.chunks_read, handed) == (401, 0, [])


async def test_certificates_are_fetched_once_until_they_age(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    fetches: list[str] = []
    fetch, now = push._fetch, [1000.0]

    def counted(url: str) -> tuple[dict[str, str], float]:
        fetches.append(url)
        return fetch(url)[0], 60.0

    monkeypatch.setattr(push, "_cached", {})
    monkeypatch.setattr(push, "_fetch", counted)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    given = settings("oidc", key.certs.as_uri())
    for _ in range(3):
        await verify(key.sign(claims()), given)
    now[0] += 59
    await verify(key.sign(claims()), given)
    assert len(fetches) == 1
    now[0] += 2
    await verify(key.sign(claims()), given)
    assert fetches == [given.push_certs] * 2


def test_certificates_say_how_long_they_keep(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    assert push._fetch(key.certs.as_uri()) == ({key.kid: key.pem}, 300.0)

    class Cached:
        headers: Mapping[str, str] = {"cache-control": "public, max-age=19204, must-revalidate"}

        def __enter__(self) -> Cached:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def read(self) -> bytes:
            return b"{}"

    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Cached())
    assert push._fetch("https://x.example") == ({}, 19204.0)


async def test_certificates_that_cannot_be_had_ask_for_a_retry(tmp_path: Path, key: Key) -> None:
    with pytest.raises(Unavailable):
        await verify(key.sign(claims()), settings("oidc", (tmp_path / "none.json").as_uri()))
    (tmp_path / "bad.json").write_text("not JSON")
    with pytest.raises(Unavailable):
        await verify(key.sign(claims()), settings("oidc", (tmp_path / "bad.json").as_uri()))


# --- iam ---


def stripped(found: Any, signature: str = STRIPPED) -> str:
    return f"{b64({'alg': 'RS256'})}.{b64(found)}.{signature}"


async def test_what_cloud_run_has_verified_is_accepted() -> None:
    answer, handed = await knock(settings("iam"), stripped(claims()))
    assert (answer.status, handed) == (204, [MESSAGE])


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"iss": "x"}, 401),
        ({"exp": 1}, 401),
        ({"iat": None}, 401),
        ({"iat": "x"}, 401),
        ({"exp": 10**400}, 401),
        ({"iat": 4_000_000_000}, 401),
        ({"aud": "x"}, 403),
        ({"email": "x"}, 403),
        ({"email_verified": None}, 403),
    ],
)
async def test_wrong_claims_are_refused(changes: dict[str, Any], status: int) -> None:
    answer, handed = await knock(settings("iam"), stripped(claims(**changes)))
    assert (answer.status, handed) == (status, [])


async def test_a_token_that_cloud_run_did_not_strip_is_refused(key: Key) -> None:
    good = b64(claims())
    tokens = [
        key.sign(claims()),
        stripped(claims(), ""),
        stripped(claims(), "x"),
        f"{good}.{STRIPPED}",
        f".{good}..{STRIPPED}",
        f"x.%%%.{STRIPPED}",
        f"x.é.{STRIPPED}",
        stripped([1]),
        stripped(b"[" * 20_000),
    ]
    for token in tokens:
        answer, handed = await knock(settings("iam"), token)
        assert (answer.status, handed) == (401, []), token[:60]


async def test_where_cloud_run_has_checked_another_header_this_one_proves_nothing(oidc: Pushed, key: Key) -> None:
    other = {"x-serverless-authorization": f"Bearer {stripped(claims())}"}
    for also in (other, {"X-Serverless-Authorization": ""}):
        answer, handed = await knock(settings("iam"), stripped(claims()), **also)
        assert (answer.status, handed) == (401, [])
    assert (await knock(settings("iam"), "", **other))[0].status == 401
    assert (await knock(oidc, key.sign(claims()), **other))[0].status == 204  # checked here, whatever else there is


# --- bodies ---


def test_raw_and_eventarc_bodies_hold_one_message() -> None:
    body = told(id="17", published="2026-11-22T07:00:00.5Z", attempt=3)
    event = {"specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished", "data": body}
    for sent in (body, event):
        found = Envelope.read(json.dumps(sent).encode())
        assert found.message() == MESSAGE
        assert (found.attributes, found.id, found.attempt) == ({"traceparent": PARENT}, "17", 3)
        assert found.published == 1_795_330_800.5
    assert Envelope.read(json.dumps(raw_push()).encode()).message() == MESSAGE


@pytest.mark.parametrize(
    ("said", "id"), [("projects/p/subscriptions/notify-crm", "notify-crm"), ("s", "s"), (None, ""), (3, ""), ([], "")]
)
async def test_a_step_with_several_subscriptions_is_told_which(oidc: Pushed, key: Key, said: Any, id: str) -> None:
    told: list[str] = []

    async def step(message: Any) -> None:
        told.append(subscription())

    app: Any = Starlette(routes=[Route("/", pushed(lambda: oidc)(step), methods=["POST"])])
    for body in (raw_push() | {"subscription": said}, {"data": raw_push() | {"subscription": said}}):
        await call(app, "POST", "/", json.dumps(body).encode(), {"authorization": f"Bearer {key.sign(claims())}"})
    assert told == [id, id]


@pytest.mark.parametrize("odd", [None, 3, "x", [], {"traceparent": 3}, {"traceparent": None}])
async def test_what_only_the_logs_need_may_be_missing_or_odd(
    oidc: Pushed, key: Key, odd: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    body = raw_push() | {"deliveryAttempt": odd}
    body["message"] |= {"attributes": odd, "messageId": odd, "publishTime": odd}
    answer, handed = await knock(oidc, key.sign(claims()), body=body)
    assert (answer.status, handed) == (204, [MESSAGE])
    [entry] = entries(capsys)
    assert set(entry["metrics"]) == {"push_latency"}


async def test_a_push_goes_on_with_the_request_that_published_it(
    oidc: Pushed, key: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    body = told(id="17", published=datetime.fromtimestamp(time.time() - 2, UTC).isoformat(), attempt=3)

    async def step(message: Any) -> None:
        logs.log("INFO", "at work")
        raise Unavailable("x")

    app: Any = Starlette(routes=[Route("/", pushed(lambda: oidc)(step), methods=["POST"])])
    headers = {"authorization": f"Bearer {key.sign(claims())}", "traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
    assert (await call(app, "POST", "/", json.dumps(body).encode(), headers)).status == 503
    work, failure, measured = found = entries(capsys)
    for entry in found:
        assert entry["logging.googleapis.com/labels"]["request"] == TRACE
        labels = {"step": "step", "request": TRACE, "parent": SPAN, "message_id": "17", "attempt": "3"}
        assert entry["logging.googleapis.com/labels"] == labels
    assert (work["message"], failure["severity"], measured["status"]) == ("at work", "ERROR", "503")
    assert 2000 <= measured["metrics"]["push_lag"] < 10_000 and 0 <= measured["metrics"]["push_latency"] < 2000


async def test_only_an_authenticated_push_says_whose_request_it_is(oidc: Pushed, capsys: pytest.CaptureFixture[str]) -> None:
    await knock(oidc, "garbage", body=told())
    [entry] = entries(capsys)
    assert entry["metrics"] == {"refused": 1} and entry["status"] == "401"
    assert entry["logging.googleapis.com/labels"]["request"] != TRACE
    assert set(entry["logging.googleapis.com/labels"]) == {"step", "request"}


async def test_a_message_that_cannot_be_read_is_named(oidc: Pushed, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    body = told(id="18", attempt=5)
    body["message"]["data"] = "%%%"
    assert (await knock(oidc, key.sign(claims()), body=body))[0].status == 400
    refused, _ = entries(capsys)
    assert refused["logging.googleapis.com/labels"].items() >= {"message_id": "18", "attempt": "5"}.items()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"3",
        b'"message"',
        b"{}",
        b'{"message": {}}',
        b'{"message": 3}',
        b'{"message": {"data": 3}}',
        b'{"message": {"data": "%%%"}}',
        b'{"message": {"data": ""}}',
        b'{"data": {"data": {}}}',
        b'{"data": "message"}',
        json.dumps(raw_push([1])).encode(),
        json.dumps(raw_push("x")).encode(),
        b"[" * 100_000,
        b"\xff",
    ],
)
async def test_a_body_that_is_no_push_is_bad_input(oidc: Pushed, key: Key, body: bytes) -> None:
    with pytest.raises(BadInput):
        Envelope.read(body).message()
    if body:
        answer, handed = await knock(oidc, key.sign(claims()), body=body)
        assert (answer.status, answer.text, handed) == (400, "not a push message\n", [])


@pytest.mark.parametrize(("error", "status"), [(BadInput("x"), 400), (Unavailable("x"), 503), (ValueError("x"), 500)])
async def test_any_error_asks_for_a_retry(oidc: Pushed, key: Key, error: Exception, status: int) -> None:
    async def step(message: Any) -> None:
        raise error

    app: Any = Starlette(routes=[Route("/", pushed(lambda: oidc)(step), methods=["POST"])])
    headers = {"authorization": f"Bearer {key.sign(claims())}"}
    assert (await call(app, "POST", "/", json.dumps(raw_push()).encode(), headers)).status == status


async def test_a_tick_needs_the_same_proof(oidc: Pushed, key: Key) -> None:
    ticks: list[int] = []

    async def step() -> None:
        ticks.append(1)

    app: Any = Starlette(routes=[Route("/", ticked(lambda: oidc)(step), methods=["POST"])])
    assert (await call(app, "POST", "/", b"", {"authorization": "Bearer x"})).status == 401 and not ticks
    headers = {"authorization": f"Bearer {key.sign(claims())}"}
    assert (await call(app, "POST", "/", b"anything", headers)).status == 204 and ticks == [1]


async def test_a_tick_starts_a_request_of_its_own(oidc: Pushed, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    async def step() -> None:
        logs.log("INFO", "tick")

    app: Any = Starlette(routes=[Route("/", ticked(lambda: oidc)(step), methods=["POST"])])
    for _ in range(2):
        await call(app, "POST", "/", b"", {"authorization": f"Bearer {key.sign(claims())}"})
    first, second = entries(capsys)
    assert first["logging.googleapis.com/labels"]["request"] != second["logging.googleapis.com/labels"]["request"]


async def test_the_wrong_proof_says_nothing_more(oidc: Pushed) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await verify("secret.token.value", oidc)
    assert "secret" not in str(refused.value)
