"""A short run of `make fuzz`, and steps broken on purpose, to see that the harness notices."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from functions.webhooks.handler import Webhooks
from shared import push
from shared.asgi import served
from shared.http import Request, text
from shared.model import event
from shared.providers import brevo_events, events, generic, sendgrid_events, ses_events, webhooks
from tests.house.imports import ROOT
from tests.providers import test_ses_events

from .asking import Call, Figures, ask
from .callbacks import TIMED, Broken, Callbacks
from .mutations import Attempt
from .proofs import attempts, forge
from .replays import replay, spelled
from .requests import crossed, drawn, send
from .run import MUST_BE_ZERO, PUSHES, Plan, holds, opened_proof

PROVIDERS = sorted(webhooks.WEBHOOKS)
SEED = 1


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of pushes: made once, for they take long."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def folder(request: pytest.FixtureRequest, keys: Path, tmp_path: Path) -> Path:
    return keys if "push" in request.node.callspec.id or "token" in request.node.callspec.id else tmp_path


@pytest.mark.parametrize("name", [*PROVIDERS, *PUSHES])
async def test_no_forgery_is_taken(name: str, folder: Path) -> None:
    with closing(opened_proof(name, folder)) as proof:
        found = await forge(proof, 200, SEED)
    assert (found.forged, found.accepted, found.figures.server_errors, found.figures.hangs) == (200, 0, 0, 0), (
        found.figures.faults
    )
    assert name in PUSHES or len(found.by) >= 8


@pytest.mark.parametrize("name", PROVIDERS)
async def test_no_replay_is_published(name: str, tmp_path: Path) -> None:
    with closing(Callbacks(name, tmp_path)) as provider:
        found = await replay(provider, 12, SEED)
    assert found.forged >= 12 and found.accepted == 0, found.figures.faults
    assert (401 in found.figures.statuses) == (name in TIMED)


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_no_proof_covers_is_no_forgery(name: str, tmp_path: Path) -> None:
    with closing(Callbacks(name, tmp_path)) as provider:
        for n in (0, 1):
            assert not provider.counts(Attempt(spelled(random.Random(n), provider.fresh(n))))
        assert provider.counts(Attempt(provider.fresh(2))) or not (provider.contract.SIGNED or provider.given().fields)


@pytest.mark.parametrize("name", ["generic", "mailgun", "push iam"])
def test_a_seed_is_a_run(name: str, folder: Path) -> None:
    with closing(opened_proof(name, folder)) as proof:
        first, again, other = (attempts(proof, random.Random(seed)) for seed in (1, 1, 2))
        made = [[draw() for _ in range(30)] for draw in (first, again, other)]
    assert made[0] == made[1] != made[2]


def _claimed(token: str, certificates: Any) -> Any:
    """The claims, whoever signed them."""
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


# Where a guard is, what stands there instead, and the one way of forging that has to get through then
BROKEN: dict[str, tuple[str, Any, str, Any, str]] = {
    "anything is believed": ("brevo", brevo_events, "verify", lambda *_: None, "lose_header"),
    "only the beginning is compared": ("postmark", events, "same", lambda a, b: a[:8] == b[:8], "spoil_header"),
    "no time is old": ("generic", generic, "fresh", lambda stamp, now: stamp, "other_time"),
    "the body is not signed": ("sendgrid", sendgrid_events, "_holds", lambda key, proof, told: len(proof) > 69, "flip_body"),
    "any topic is ours": ("ses", ses_events, "texts", lambda keys: [test_ses_events.ARN], "other_key"),
    "no token is verified": ("push oidc", push, "_signed", _claimed, "token"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_verifier_is_found_out(broken: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, where, what, instead, way = BROKEN[broken]
    with closing(opened_proof(name, folder)) as proof:
        monkeypatch.setattr(where, what, instead)
        found = await forge(proof, 300, SEED)
    assert found.accepted > 0 and any(way in fault for fault in found.figures.faults)


async def test_a_verifier_that_refuses_everything_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "same", lambda *_: False)
    with closing(Callbacks("generic", tmp_path)) as provider:
        with pytest.raises(Broken, match="generic: a valid one was answered 401"):
            await forge(provider, 3, SEED)
        with pytest.raises(Broken, match="generic: a callback was answered 401"):
            await replay(provider, 3, SEED)


async def test_a_step_that_forgets_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def publish(self: Webhooks, provider: Any, request: Any, found: Any, now: int) -> None:
        await self.bus.publish(event.TOPIC, [one.to_message() for one in found])

    monkeypatch.setattr(Webhooks, "_once", publish)
    with closing(Callbacks("twilio", tmp_path)) as provider:
        found = await replay(provider, 8, SEED)
    assert found.accepted >= 4 and "published again" in found.figures.faults[0]


async def test_a_replay_outside_its_window_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "fresh", lambda stamp, now: stamp)
    with closing(Callbacks("generic", tmp_path)) as provider:
        found = await replay(provider, 5, SEED)
    assert found.accepted == 2 and "answered 204" in found.figures.faults[0]


async def _handler(request: Request) -> Any:
    if request.path == "boom":
        raise ValueError
    return text("fine")


async def _asleep(request: Any) -> Response:
    await asyncio.sleep(60)
    return PlainTextResponse("late")


async def _blocking(request: Any) -> Response:
    time.sleep(0.2)
    return PlainTextResponse("late")


async def _split(request: Any) -> Response:
    found = PlainTextResponse("fine")
    found.raw_headers.append((b"location", b"/\r\nset-cookie: a=b"))
    return found


async def _silent(scope: Any, receive: Any, send: Any) -> None:
    return


async def _raising(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError


@pytest.mark.parametrize(
    ("path", "server_errors", "hangs", "why"),
    [
        (b"/", 0, 0, ""),
        (b"/boom", 1, 0, "answered 500: GET b'/boom'"),
        (b"/asleep", 0, 1, "no answer in 0.1 s"),
        (b"/blocking", 0, 1, "no answer in 0.1 s"),
        (b"/split", 1, 0, "a header of several lines"),
        (b"/silent", 1, 0, "no whole answer"),
        (b"/raising", 1, 0, "raised RuntimeError"),
    ],
)
async def test_a_broken_step_is_found_out(path: bytes, server_errors: int, hangs: int, why: str) -> None:
    ways: list[tuple[str, Callable[..., Any]]] = [("/asleep", _asleep), ("/blocking", _blocking), ("/split", _split)]
    routes = [Route(place, handler) for place, handler in ways]
    rest: Any = Starlette(routes=[*routes, Route("/{path:path}", served(lambda: 0)(_handler))])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bare: dict[str, Any] = {"/silent": _silent, "/raising": _raising}
        await bare.get(scope["path"], rest)(scope, receive, send)

    figures = Figures("step")
    await send(app, [Call("GET", b"/"), Call("GET", path)], figures, patience=0.1)
    assert (figures.requests, figures.server_errors, figures.hangs) == (2, server_errors, hangs)
    assert [fault.startswith(f"step: {why}") for fault in figures.faults] == [True] * (server_errors or hangs)


async def test_a_caller_may_hang_up_and_send_in_pieces() -> None:
    bodies = []

    async def handle(request: Request) -> Any:
        bodies.append(request.body)
        return text("fine")

    app: Any = Starlette(routes=[Route("/{path:path}", served(lambda: 0)(handle), methods=["POST"])])
    assert (await ask(app, Call("POST", b"/a%20b?c=d", ((b"x", b"y"),), (b"1", b"2", b"3")))).status == 200
    assert (await ask(app, Call("POST", b"/", (), (b"1", b"2"), cut=True))).status == 400
    assert bodies == [b"123"]


def test_requests_are_drawn_alike_for_a_seed_and_crossed() -> None:
    calls = st.builds(Call, st.sampled_from(["GET", "POST"]), st.binary(max_size=9), chunks=st.tuples(st.binary(max_size=9)))
    pool = drawn(calls, 40, SEED)
    assert pool == drawn(calls, 40, SEED) != drawn(calls, 40, SEED + 1)
    made = [[crossed(chance, pool, {}) for _ in range(99)] for chance in (random.Random(1), random.Random(1))]
    assert made[0] == made[1] and len(set(made[0]) - set(pool)) > 20


@pytest.mark.parametrize("name", MUST_BE_ZERO)
def test_what_must_be_zero_is_the_exit_status(name: str) -> None:
    figures = dict.fromkeys(("forged", *MUST_BE_ZERO, "replays", "requests"), 0) | {"forged": 9, "requests": 9}
    assert holds(figures) and not holds(figures | {name: 1})
    assert Plan(seed=1, scale=0.1).count(5_000) == 500


@pytest.mark.network
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    settings = {"FUZZ_SCALE": "0.001", "FUZZ_SEED": "7", "FUZZ_OUT": str(out)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz"], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert (found["seed"], found["accepted"], found["server_errors"], found["hangs"], found["faults"]) == (7, 0, 0, 0, [])
    assert found["forged"] == 5 * len(found["proofs"]) and found["replays"] >= 12 and found["requests"] >= 100
    assert set(found["proofs"]) == {*PROVIDERS, *PUSHES} and set(found["providers"]) == set(PROVIDERS)
    assert {status for step in found["steps"].values() for status in step["statuses"]} >= {"200", "204", "400", "401", "404"}
    assert "FUZZ_SEED=7" in done.stdout and "accepted 0" in done.stdout
