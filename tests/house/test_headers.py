"""Every answer to a stranger, good or bad, says what a browser may do with it; none sets a cookie."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NoReturn

import pytest

from local.server import mounted
from shared.http import ALWAYS, STRICT_TRANSPORT

from .asgi import Answer, App, call
from .routes import METHODS, ROUTES, reader
from .test_mounted import fresh, state

__all__ = ("fresh", "state")  # fixtures
KINDS = re.compile(r"text/(html|plain|xml)|application/(json|rss\+xml|xml)|image/gif")
HTTPS = {"x-forwarded-proto": "https"}
CASES = [(step, route, method) for step, routes in ROUTES.items() for route in routes for method in METHODS]


async def rest(scope: object, receive: object, send: object) -> NoReturn:
    raise AssertionError("not for a step")


@pytest.fixture
def app(state: Path) -> App:
    return mounted(rest)


def faults(answer: Answer) -> list[str]:
    """What is wrong with an answer's headers."""
    found = [f"{name} is missing" for name in (*ALWAYS, *STRICT_TRANSPORT) if not answer.headers.get(name)]
    found += [f"{name}: {answer.headers[name]}" for name in ("set-cookie", "server", "x-powered-by") if name in answer.headers]
    policy = dict(rule.strip().partition(" ")[::2] for rule in answer.headers.get("content-security-policy", "").split(";"))
    if policy.get("default-src") != "'none'" or "unsafe-eval" in str(policy) or "*" in policy.get("script-src", ""):
        found.append(f"policy {policy}")
    for directive in ("base-uri", "frame-ancestors"):
        if directive not in policy and "sandbox" not in policy:
            found.append(f"the policy has no {directive}")
    if answer.headers.get("x-content-type-options") != "nosniff" or answer.headers.get("referrer-policy") != "no-referrer":
        found.append("nosniff, no-referrer")
    if answer.body and not KINDS.match(answer.headers["content-type"]):
        found.append(answer.headers["content-type"])
    return found


async def test_every_answer_of_every_route(app: App, state: Path) -> None:
    tokens = await reader(state)
    seen: set[int] = set()
    wrong: dict[str, list[str]] = {}
    for step, route, method in CASES:
        for body in (b"", b"a=%ff", b'{"email": "', b"x" * (2 << 20)):
            if body and method in ("GET", "HEAD"):
                continue
            kind = "application/json" if body[:1] == b"{" else "application/x-www-form-urlencoded"
            for path in (route.format(**tokens), re.sub(r"\{\w+\}", "forged", route)):
                answer = await call(app, method, f"/{step}{path}", body, {**HTTPS, "content-type": kind})
                seen.add(answer.status)
                if bad := faults(answer):
                    wrong[f"{method} /{step}{route} {answer.status}"] = bad
    assert wrong == {}
    assert {200, 400, 401, 404, 405, 413} <= seen


@pytest.mark.parametrize("step", list(ROUTES))
async def test_an_answer_that_we_did_not_mean(step: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> NoReturn:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(importlib.import_module(f"functions.{step}.main"), "step", broken)
    answer = await call(app, "GET", f"/{step}/", headers=HTTPS)
    assert (answer.status, faults(answer)) == (500, [])


async def test_over_plain_http_nothing_is_promised_for_tls(app: App) -> None:
    answer = await call(app, "GET", "/subscribe/")
    assert "strict-transport-security" not in answer.headers
    assert "strict-transport-security is missing" in faults(answer)


def test_a_bare_answer_would_be_noticed() -> None:
    bare = Answer(200, {"content-type": "text/html", "set-cookie": "a=b", "content-security-policy": "default-src *"}, b"<p>")
    assert len(faults(bare)) >= 6
