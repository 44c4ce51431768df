"""CAPTCHAs against servers that answer as the providers document: what passes, what does not, and what befalls a call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from functions.subscribe.captcha import ACTION, KINDS, MAX_ANSWER, MAX_TOKEN, Captcha
from shared import http
from shared.providers.api_http import Http
from tests.steps.fakes import FakeSecrets

pytestmark = pytest.mark.network
HOST, KEY, SECRET = "news.example", "site-key-1", "secret-of-the-account"
GOOD, LOW, OTHER_FORM, OTHER_SITE, USED, OLD, EDGE = "good", "low", "other-form", "other-site", "used", "old", "edge"
REFUSED = {  # what each provider says of a token that is used, old, or unknown
    "turnstile": ("timeout-or-duplicate", "timeout-or-duplicate", "invalid-input-response"),
    "hcaptcha": ("already-seen-response", "expired-input-response", "invalid-input-response"),
    "recaptcha": ("timeout-or-duplicate", "timeout-or-duplicate", "invalid-input-response"),
    "recaptcha-v3": ("timeout-or-duplicate", "timeout-or-duplicate", "invalid-input-response"),
}
FIELDS = {
    "turnstile": "cf-turnstile-response",
    "hcaptcha": "h-captcha-response",
    "recaptcha": "g-recaptcha-response",
    "recaptcha-v3": "g-recaptcha-response",
}


class Provider:
    """siteverify. `fault`: a status, "slow", "cut", or a body to answer with instead; `forms`: what it was sent."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.fault: int | str | bytes = ""
        self.forms: list[dict[str, str]] = []
        self.url = ""
        self._seen: set[str] = set()

    async def verify(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "POST" and request.content_type == "application/x-www-form-urlencoded"
        form = {name: values[-1] for name, values in parse_qs((await request.read()).decode(), strict_parsing=True).items()}
        self.forms.append(form)
        if self.fault == "slow":
            await asyncio.sleep(30)
        if self.fault == "cut":
            assert request.transport is not None
            request.transport.close()
        if isinstance(self.fault, int):
            return web.Response(status=self.fault, headers={"Location": "/elsewhere"})
        if isinstance(self.fault, bytes):
            return web.Response(body=self.fault, content_type="application/json")
        return web.json_response(self._answer(form))

    def _answer(self, form: dict[str, str]) -> dict[str, Any]:
        used, old, unknown = REFUSED[self.kind]
        token = form["response"]
        if form["secret"] != SECRET:
            return self._no("invalid-input-secret")
        if self.kind == "hcaptcha" and form["sitekey"] != KEY:
            return self._no("sitekey-secret-mismatch")
        if token in self._seen or token == USED:
            return self._no(used)
        if token == OLD:
            return self._no(old)
        if token not in (GOOD, LOW, OTHER_FORM, OTHER_SITE, EDGE):
            return self._no(unknown)
        self._seen.add(token)
        host = "evil.example" if token == OTHER_SITE else HOST
        answer: dict[str, Any] = {"success": True, "challenge_ts": "2026-11-23T06:00:00Z", "hostname": host}
        if self.kind == "turnstile":
            answer |= {"error-codes": [], "cdata": ""}
        if KINDS[self.kind].action:
            answer["action"] = "login" if token == OTHER_FORM else ACTION
        if self.kind == "recaptcha-v3":
            answer["score"] = {LOW: 0.1, EDGE: 0.5}.get(token, 0.9)
        return answer

    def _no(self, code: str) -> dict[str, Any]:
        return {"success": False, "error-codes": [code]}


@pytest.fixture(params=list(KINDS))
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    found = Provider(request.param)
    app = web.Application()
    app.router.add_route("*", "/siteverify", found.verify)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/siteverify"
    yield found
    await runner.cleanup()


@pytest.fixture
async def captcha(provider: Provider) -> AsyncIterator[Captcha]:
    client = Http(3.0, most=MAX_ANSWER)
    yield asked(provider, client)
    await client.close()


def asked(provider: Provider, client: Http, secret: bytes = SECRET.encode()) -> Captcha:
    secrets = FakeSecrets(captcha_secret=[secret]) if secret else FakeSecrets()
    return Captcha(provider.kind, KEY, secrets, {HOST}, client, provider.url)


def metrics(out: pytest.CaptureFixture[str]) -> list[tuple[dict[str, int], str]]:
    entries = [json.loads(line) for line in out.readouterr().out.splitlines()]
    return [(entry["metrics"], entry["kind"]) for entry in entries if "metrics" in entry]


async def test_a_person_passes_once(captcha: Captcha, provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    assert await captcha.passed(GOOD, "203.0.113.9")
    sent = {"secret": SECRET, "response": GOOD, "remoteip": "203.0.113.9"}
    assert provider.forms == [sent | ({"sitekey": KEY} if provider.kind == "hcaptcha" else {})]
    assert not await captcha.passed(GOOD, "203.0.113.9"), "a duplicate"
    assert metrics(capsys) == []


@pytest.mark.parametrize("token", [USED, OLD, OTHER_SITE, "nonsense", "a&secret=b", "\r\nX: y", "\ud800", "é\x00"])
async def test_nobody_else_does(captcha: Captcha, provider: Provider, token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not await captcha.passed(token, "")
    assert len(provider.forms) == 1 and provider.forms[0]["secret"] == SECRET and "remoteip" not in provider.forms[0]
    assert metrics(capsys) == []


async def test_the_form_and_the_score_count_where_they_are_told(captcha: Captcha, provider: Provider) -> None:
    assert await captcha.passed(OTHER_FORM, "") == (not KINDS[provider.kind].action)
    assert await captcha.passed(LOW, "") == (provider.kind != "recaptcha-v3")
    assert await captcha.passed(EDGE, "")


@pytest.mark.parametrize("token", ["", "x" * (MAX_TOKEN + 1)])
async def test_no_token_asks_nobody(captcha: Captcha, provider: Provider, token: str) -> None:
    assert not await captcha.passed(token, "203.0.113.9")
    assert provider.forms == []


@pytest.mark.parametrize(
    "fault",
    [
        500,
        503,
        429,
        302,
        404,
        "cut",
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"success": "true"}',
        b'{"success": 1}',
        b"[" * 9999,
    ],
    ids=str,
)
async def test_a_provider_in_trouble_loses_nobody(
    captcha: Captcha, provider: Provider, fault: int | str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.fault = fault
    assert await captcha.passed("nonsense", "")
    assert metrics(capsys) == [({"captchas_unchecked": 1}, "down")]


async def test_an_endless_answer_is_not_read(captcha: Captcha, provider: Provider) -> None:
    provider.fault = json.dumps({"success": False, "x": "y" * MAX_ANSWER}).encode()
    assert await captcha.passed("nonsense", "")


async def test_a_slow_provider_is_not_waited_for(provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    provider.fault, client = "slow", Http(0.2)
    async with asyncio.timeout(10):
        assert await asked(provider, client).passed(GOOD, "")
    await client.close()
    assert metrics(capsys) == [({"captchas_unchecked": 1}, "down")]


async def test_a_provider_that_says_internal_error_is_down(captcha: Captcha, provider: Provider) -> None:
    provider.fault = b'{"success": false, "error-codes": ["internal-error"]}'
    assert await captcha.passed(GOOD, "")
    provider.fault = b'{"success": false, "error-codes": ["bad-request"]}'  # which a visitor can bring about
    assert not await captcha.passed(GOOD, "")
    provider.fault = b'{"success": false, "error-codes": {"internal-error": 1}}'
    assert not await captcha.passed(GOOD, "")


@pytest.mark.parametrize("secret", [b"", b"of-another-account"], ids=["none", "wrong"])
async def test_our_own_mistake_with_the_secret_loses_nobody(
    provider: Provider, secret: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Http(3.0)
    assert await asked(provider, client, secret).passed(GOOD, "")
    await client.close()
    assert metrics(capsys) == [({"captchas_unchecked": 1}, "secret")]


async def test_one_that_is_not_there_can_be_connected_to_by_nobody(provider: Provider) -> None:
    client = Http(3.0)
    captcha = asked(provider, client)
    captcha.url = "http://127.0.0.1:1/siteverify"
    assert await captcha.passed(GOOD, "")
    await client.close()


# --- without one, and on the page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "key"), [("", ""), ("", KEY), ("turnstile", ""), ("friendly", KEY)])
async def test_without_one_everything_is_as_before(kind: str, key: str) -> None:
    captcha = Captcha(kind, key, FakeSecrets(), {HOST})
    assert not captcha
    assert (captcha.field, str(captcha.widget), dict(captcha.guests)) == ("", "", {})
    assert await captcha.passed("", "")


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.inline.append(data)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_widget_loads_only_what_the_policy_allows(kind: str) -> None:
    captcha = Captcha(kind, KEY, FakeSecrets(), {HOST})
    assert captcha and captcha.field == FIELDS[kind]
    tags = Tags(captcha.widget)
    [source] = [attrs["src"] for tag, attrs in tags.found if tag == "script" and attrs.get("src")]
    policy = http.html("", guests=captcha.guests).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert source and _allowed(source, rules["script-src"].split())
    assert any(attrs.get("data-sitekey") == KEY for _, attrs in tags.found)
    assert rules["default-src"] == "'none'" and "unsafe" not in policy and rules["style-src"].startswith("'sha256-")
    assert all(
        site.startswith(("https://", "'sha256-", "data:", "'none'", "'self'")) for rule in rules.values() for site in rule.split()
    )


def test_the_script_of_ours_is_the_one_that_the_policy_names() -> None:
    captcha = Captcha("recaptcha-v3", KEY, FakeSecrets(), {HOST})
    [script] = Tags(captcha.widget).inline
    policy = http.html("", style=script, guests=captcha.guests).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["style-src"] in rules["script-src"]  # the same hash, which `html` made


def _allowed(url: str, sources: list[str]) -> bool:
    for source in sources:
        if source.endswith("/") and url.startswith(source):
            return True
        host, _, path = source.removeprefix("https://").partition("/")
        ours = url.removeprefix("https://").partition("/")[0]
        if not path and (ours == host or (host.startswith("*.") and ours.endswith(host[1:]))):
            return True
    return False


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_key_is_text(kind: str) -> None:
    tags = [tag for tag, _ in Tags(Captcha(kind, '"><img src=x onerror=alert(1)>', FakeSecrets(), {HOST}).widget).found]
    assert tags == [tag for tag, _ in Tags(Captcha(kind, KEY, FakeSecrets(), {HOST}).widget).found]
