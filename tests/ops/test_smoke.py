"""Each check holds on a product that is right, and fails when its own thing is broken."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from starlette.requests import Request as StarletteRequest

from ops import smoke
from ops.smoke import Answer, Fault, LeftOut, SignUp, Smoke, endpoints, plus
from shared.asgi import answered
from shared.errors import BadInput
from shared.http import Request, Response
from shared.model.event import TOPIC as EVENTS
from shared.ports import Delete, Merge, Outcome
from tests.steps.world import BASE, PEPPER, World

from .product import Product, product

REPO = Path(__file__).parents[2]
ADDRESS = "ops+smoke-1@example.com"


# --- what strangers see ---


class Seen:
    """A product and the checks on it."""

    def __init__(self, served: Product, session: aiohttp.ClientSession) -> None:
        self.product, self.said = served, list[str]()
        self.slept: list[float] = []
        self.checks = Smoke(session, served.url, served.endpoints, say=self.said.append, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def failed(self) -> list[str]:
        return [line for line in self.said if line.startswith("FAILED")]


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    async with product() as served, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
        yield Seen(served, session)


@pytest.mark.network
async def test_a_product_that_is_right_passes(seen: Seen) -> None:
    assert await seen.checks.passed()
    assert [line.split(":")[0] for line in seen.said] == [
        "ok        health",
        "ok        forged click",
        "ok        unsubscribe page",
        "ok        unsigned webhook",
        "ok        unsigned push to record",
        "ok        unsigned push to send_batch",
        "left out  sign-up",
        "left out  launch, record, report, inbox, notify and sync_sheet",
    ]


@pytest.mark.network
async def test_several_regions_are_not_all_asked_which_is_said(seen: Seen) -> None:
    async with aiohttp.ClientSession() as session:
        served = seen.product
        for regions in (["a1"], ["a1", "b2"]):
            seen.said.clear()
            await Smoke(session, served.url, served.endpoints, regions=regions, say=seen.said.append).passed()
            told = [line for line in seen.said if "regions" in line]
            sentence = "left out  other regions: of a1, b2 only the one nearest to here was asked."
            assert told == ([sentence] if len(regions) > 1 else [])


async def answer_of(path: str, work: Awaitable[Response]) -> tuple[int, bytes]:
    """As a step answers on the wire."""
    found = await answered("x", StarletteRequest({"type": "http", "method": "GET", "path": path, "headers": []}), work)
    return found.status_code, bytes(found.body)


async def test_the_real_steps_say_what_the_checks_look_for(tmp_path: Path) -> None:
    world = World.on(tmp_path)
    asked: list[str] = []

    async def send(method: str, url: str, **options: Any) -> Answer:
        _, step, path = url.removeprefix(BASE).split("/", 2)
        asked.append(step)
        handle = {"track": world.track().handle, "unsubscribe": world.unsubscribe().handle}[step]
        status, body = await answer_of(path, handle(Request(method, path, {}, {}, b"")))
        return Answer(status, body, "")

    async with aiohttp.ClientSession() as session:
        checks = Smoke(session, BASE, {}, say=print)
        checks._send = send  # type: ignore[method-assign]
        assert await checks._click() == "404, in the words of track"
        assert await checks._leave() == "200, the page that asks"
    assert asked == ["track", "unsubscribe"] and not world.bus.take(EVENTS)
    world.store.close()


@pytest.mark.network
@pytest.mark.parametrize(
    ("what", "status", "location", "sentence"),
    [
        ("health", 503, "", "health: answered 503, not 200."),
        ("health", 302, "/", "health: answered 302, not 200."),
        ("click", 302, "https://stranger.example/", "redirected (302) to stranger.example: track is an open redirect."),
        ("click", 302, "//stranger.example/", "redirected (302) to stranger.example: track is an open redirect."),
        ("click", 200, "", "forged click: answered 200, not 404."),
        ("click", 404, "", "forged click: answered 404, but not as track does."),
        ("leave", 404, "", "unsubscribe page: answered 404, not 200."),
        ("leave", 200, "", "unsubscribe page: answered 200, but not with the page that asks."),
        ("webhook", 204, "", "unsigned webhook: answered 204, not 401."),
        ("push", 204, "", "unsigned push to record: answered 204: a stranger may call it."),
        ("push", 400, "", "unsigned push to record: answered 400: a stranger may call it."),
        ("push", 500, "", "unsigned push to record: answered 500: a stranger may call it."),
    ],
)
async def test_what_is_broken_fails_its_check_and_no_other(
    seen: Seen, what: str, status: int, location: str, sentence: str
) -> None:
    seen.product.answers(what, status, **({"location": location} if location else {}))
    assert not await seen.checks.passed()
    assert seen.failed[0].endswith(sentence) and len(seen.failed) == (2 if what == "push" else 1)


@pytest.mark.network
@pytest.mark.parametrize("status", [401, 404])
async def test_a_push_that_is_refused_otherwise_is_refused(seen: Seen, status: int) -> None:
    seen.product.answers("push", status)
    assert await seen.checks.passed()
    why = {401: "refused with 401", 404: "refused with 404: nothing is found from outside"}[status]
    assert f"ok        unsigned push to record: {why}" in seen.said


@pytest.mark.network
async def test_one_bad_answer_among_many_is_found(seen: Seen) -> None:
    count = 0

    async def seldom(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.Response(status=500 if count == 30 else 200)

    seen.product.broken["health"] = seldom
    assert not await seen.checks.passed(samples=44)
    assert count == 44 and seen.product.asked["click"] == seen.product.asked["leave"] == 44 and seen.product.asked["push"] == 2


@pytest.mark.network
async def test_only_a_failed_connection_is_tried_again(seen: Seen) -> None:
    cut = [True] * 3

    async def hang_up(request: web.Request) -> web.StreamResponse:
        if cut:
            cut.pop()
            assert request.transport
            request.transport.abort()
        return web.Response()

    seen.product.broken["health"] = hang_up
    assert await seen.checks.passed() and seen.product.asked["health"] == 4
    assert seen.slept and seen.slept == [1, 2, 4][: len(seen.slept)]  # aiohttp repeats a GET once by itself
    seen.slept.clear()

    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    seen.product.broken["health"] = hang
    assert not await seen.checks.passed() and seen.slept == []
    assert "no answer within" in seen.failed[0]

    cut[:] = [True] * 99
    seen.product.broken["health"] = hang_up
    assert not await seen.checks.passed() and seen.slept == [1, 2, 4, 8]
    assert "health: cannot be reached (ServerDisconnectedError)." in seen.failed[1]


# --- the sign-up ---


class Signing:
    """The check, on the real subscribe and send_batch over a real store; `turn` is what happens between two looks."""

    def __init__(self, world: World) -> None:
        self.world, self.time = world, 0.0
        self.sign_up = SignUp(
            world.store, world.paths, PEPPER, world.clock, BASE, ADDRESS, patience=60, now=lambda: self.time, sleep=self.sleep
        )
        self.works = self.records = True

    async def send(self, method: str, url: str, **options: Any) -> Answer:
        body, headers = json.dumps(options["json"]).encode(), {"content-type": "application/json"}
        found = await self.world.subscribe().handle(Request(method, url.removeprefix(f"{BASE}/subscribe"), {}, headers, body))
        return Answer(found.status, found.body, "")

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.works:
            for message in self.world.bus.take("send-requests"):
                await self.world.send_batch().handle(message)
            for message in self.world.bus.take(EVENTS) if self.records else ():
                await self.world.record().handle(message)

    async def fault(self) -> str:
        with pytest.raises(Fault) as caught:
            await self.sign_up.check(self.send)
        return str(caught.value)


@pytest.fixture
async def signing(tmp_path: Path) -> AsyncIterator[Signing]:
    world = World.on(tmp_path)
    await world.system("confirm")
    yield Signing(world)
    world.store.close()


async def test_a_mail_that_goes_out_is_timed(signing: Signing) -> None:
    assert await signing.sign_up.check(signing.send) == "the mail server had the confirmation after 2.0 s"
    assert signing.world.sender.accepted == [ADDRESS]
    assert await signing.fault() == "this address has signed up before, and gets one confirmation a day: give another --run."
    assert signing.world.sender.accepted == [ADDRESS]


async def test_a_refused_sign_up(signing: Signing) -> None:
    object.__setattr__(signing.sign_up, "address", "ops@-.example")
    assert (await signing.fault()).startswith("refused: answered 400, not 202. {")


async def test_a_sign_up_behind_a_captcha_is_left_out_with_a_sentence(signing: Signing) -> None:
    world = signing.world
    said: list[str] = []
    await world.store.commit([Merge(world.paths.tenant, {"face": {"signup": {"captcha": "turnstile", "captcha_key": "k"}}})])

    async def asked(method: str, url: str, **options: Any) -> Answer:
        raise AssertionError("nobody signs up")

    with pytest.raises(LeftOut, match="a CAPTCHA, which only a person passes"):
        await signing.sign_up.check(asked)
    async with aiohttp.ClientSession() as session:
        checks = Smoke(session, BASE, {}, signing.sign_up, say=said.append)
        assert await checks._line("sign-up", signing.sign_up.check(asked))
    assert said[0].startswith("left out  sign-up: the Settings ask for a CAPTCHA")


async def test_a_sign_up_that_is_not_in_this_store(signing: Signing, tmp_path: Path) -> None:
    async def elsewhere(method: str, url: str, **options: Any) -> Answer:
        return Answer(202, b"", "")

    with pytest.raises(Fault, match="accepted, but not recorded"):
        await signing.sign_up.check(elsewhere)


async def test_a_worker_that_is_never_called(signing: Signing) -> None:
    signing.works = False
    assert "after 62 s the mail still waits: send_batch has not begun with it." in await signing.fault()


async def test_a_mail_that_is_not_frozen(signing: Signing) -> None:
    await signing.world.store.commit([Delete(signing.world.paths.campaign("confirm"))])
    assert "send_batch waits until 2027-01-15 08:00:30+00:00. Has launch frozen the template confirm" in await signing.fault()


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (Outcome("recipient", "550-5.1.1", hard=True), "the mail ended as failed: the mail server said 550-5.1.1."),
        (Outcome("unknown"), "the mail ended as unknown."),
        (Outcome("temporary", "451"), "put it off; the next attempt is not before 2027-01-15 08:00:01+00:00."),
        (Outcome("ours", "535"), "the next attempt is not before 2027-01-15 08:00:30+00:00."),
    ],
)
async def test_a_mail_that_the_server_does_not_take(signing: Signing, outcome: Outcome, sentence: str) -> None:
    signing.world.sender.answers = {ADDRESS: [outcome]}
    assert sentence in await signing.fault()


async def test_a_refusal_whose_words_are_not_kept(signing: Signing) -> None:
    signing.world.sender.answers = {ADDRESS: [Outcome("recipient", "550", hard=True)]}
    signing.records = False
    assert await signing.fault() == "the mail ended as failed; the mail server's words were not kept."


async def test_a_mail_under_way_around_midnight_is_found(signing: Signing) -> None:
    world = signing.world
    send = signing.send

    async def over(method: str, url: str, **options: Any) -> Answer:
        world.clock.advance(smoke.DAY)
        return await send(method, url, **options)

    assert "the mail server had" in await signing.sign_up.check(over)


# --- what is given ---


def test_the_address_is_made_unique_before_its_at() -> None:
    assert plus("ops@example.com", "7f") == "ops+smoke-7f@example.com"
    assert plus("ops+x@example.com", "7f") == "ops+x-smoke-7f@example.com"
    for address in ("ops", "", "a b@example.com"):
        with pytest.raises(BadInput):
            plus(address, "7f")


def test_endpoints_are_what_terraform_prints() -> None:
    assert endpoints('{"record": "https://record.example"}') == {"record": "https://record.example"}
    assert endpoints("") == {}
    for text in ("x", "[]", '{"record": {"value": "https://record.example"}}'):
        with pytest.raises(BadInput):
            endpoints(text)


# --- the whole product ---


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The twin as a process, and its settings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path / "twin"
    command = [sys.executable, "-m", "local", "run", "--state", str(state), "--port", str(port), "--tick", "1", "--until-eof"]
    process = subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and "local twin" in process.stdout.readline()
        told = json.loads((state / "twin.json").read_text())
        inside = {step: told["endpoints"][step] for step in ("launch", "send_batch", "record", "sync_sheet")}
        yield state, {**told["settings"], "ENDPOINTS": json.dumps(inside)}
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)


def ops(settings: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops", "smoke", *words]
    return subprocess.run(command, cwd=REPO, env={**os.environ, **settings}, capture_output=True, text=True, timeout=90)


@pytest.mark.slow
def test_the_whole_product_passes_and_its_mail_is_in_the_mailbox(twin: tuple[Path, dict[str, str]]) -> None:
    state, settings = twin
    started = time.monotonic()
    told = ops(settings, "--address", "ops@example.com", "--run", "r1")
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("ok        ") == 9 and "ok        sign-up: the mail server had the confirmation after" in told.stdout
    assert time.monotonic() - started < 60
    assert b"ops+smoke-r1@example.com" in (state / "mailbox.db").read_bytes() + (state / "mailbox.db-wal").read_bytes()
    again = ops(settings, "--address", "ops@example.com", "--run", "r1")
    assert again.returncode == 1 and "FAILED    sign-up: this address has signed up before" in again.stdout

    stranger = {**settings, "ENDPOINTS": json.dumps({"subscribe": settings["PUBLIC_URL"] + "/subscribe"})}
    told = ops(stranger)
    assert told.returncode == 1 and "FAILED    unsigned push to subscribe: answered 4" in told.stdout
    assert "left out  sign-up: no address was given" in told.stdout

    told = ops({**settings, "TENANT": ""}, "--address", "ops@example.com")
    assert (told.returncode, told.stderr) == (1, "TENANT is not set\n")
