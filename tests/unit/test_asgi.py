"""Where Starlette stops: sizes, addresses, and every error as one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from shared import asgi, logs
from shared.asgi import MAX_BODY, client_address, served
from shared.errors import BadInput, BadTemplate, BadToken, ConfigError, Conflict, NotFound, Unauthenticated, Unavailable
from shared.http import Request, Response, redirect, text
from tests.house.asgi import Answer, App, call


def app(handle: Callable[[Request], Awaitable[Response]], hops: int = 0) -> App:
    endpoint = served(lambda: hops)(handle)
    return Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])])


def raising(error: Exception) -> App:
    async def step(request: Request) -> Response:
        raise error

    return app(step)


async def test_a_handler_sees_what_was_sent() -> None:
    seen: list[Request] = []

    async def step(request: Request) -> Response:
        seen.append(request)
        return Response(201, b"made", "image/x", {"x-mine": "1"})

    answer = await call(app(step), "POST", "/a/b%20c/?q=1&q=2&e=", [b"one ", b"two"], {"X-Thing": "V"})
    assert (answer.status, answer.body, answer.headers["content-type"], answer.headers["x-mine"]) == (
        201,
        b"made",
        "image/x",
        "1",
    )
    [request] = seen
    assert (request.method, request.path, request.query, request.body) == ("POST", "a/b c", {"q": "2", "e": ""}, b"one two")
    assert (request.headers["x-thing"], request.client) == ("V", "192.0.2.1")


async def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    async def step(request: Request) -> Response:
        return text(str(len(request.body)))

    chunk = b"x" * (MAX_BODY // 4)
    answer = await call(app(step), "POST", "/", [chunk] * 100)
    assert (answer.status, answer.text, answer.chunks_read) == (413, "The request is too large.\n", 5)
    answer = await call(app(step), "POST", "/", [chunk] * 4)
    assert (answer.status, answer.text) == (200, f"{MAX_BODY}\n")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_has_no_body_is_not_waited_for(method: str) -> None:
    async def step(request: Request) -> Response:
        return text(f"{request.method} {request.body!r}")

    answer = await call(app(step), method, "/", [b"x", b"y"])
    assert (answer.status, answer.chunks_read) == (200, 0)


async def test_a_step_may_set_a_lower_limit() -> None:
    @served(lambda: 0, max_body=10)
    async def step(request: Request) -> Response:
        return text(str(len(request.body)))

    small = Starlette(routes=[Route("/", step, methods=["POST"])])
    assert (await call(small, "POST", "/", b"x" * 11)).status == 413
    assert (await call(small, "POST", "/", b"x" * 10)).text == "10\n"


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (BadInput("Say something."), 400, "Say something."),
        (BadTemplate("Line 3 is odd."), 400, "Line 3 is odd."),
        (BadToken("secret reason"), 404, "This link is not valid."),
        (Unauthenticated("secret reason"), 401, "Not authenticated."),
        (Unauthenticated("secret reason", 403), 403, "Not allowed."),
        (Unavailable("the store", "secret reason"), 503, "Please try again in a minute."),
        (Conflict("secret", "exists"), 503, "Please try again in a minute."),
        (NotFound("secret"), 500, "Something went wrong on our side. Please try again."),
        (ZeroDivisionError("secret"), 500, "Something went wrong on our side. Please try again."),
    ],
)
async def test_every_error_is_one_sentence(error: Exception, status: int, sentence: str) -> None:
    answer = await call(raising(error), "GET", "/")
    assert (answer.status, answer.text) == (status, sentence + "\n")
    assert "secret" not in str(answer.headers)


@pytest.mark.parametrize(("given", "said"), [(0, "30"), (7.5, "7")])
async def test_unavailable_says_when_to_come_back(given: float, said: str) -> None:
    assert (await call(raising(Unavailable("x", retry_after=given)), "GET", "/")).headers["retry-after"] == said


async def test_a_conflict_that_nobody_resolved_asks_for_another_try() -> None:
    answer = await call(raising(Conflict("x", "version")), "POST", "/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")


async def test_a_wrong_setting_is_left_to_the_platform() -> None:
    with pytest.raises(ConfigError):
        await call(raising(ConfigError("X is not set")), "GET", "/")


@pytest.mark.parametrize("make", [BadInput, Unauthenticated, Unavailable, RuntimeError])
async def test_no_address_reaches_the_log(make: Callable[[str], Exception], capsys: pytest.CaptureFixture[str]) -> None:
    await call(raising(make("no zoe.l+x@mail.example.com or <bob@bücher.example>, sorry")), "GET", "/")
    line = capsys.readouterr().out.splitlines()[0]
    entry = json.loads(line)
    assert line.count("[address]") >= 2 and entry["step"] == "step"
    assert entry["severity"] in ("WARNING", "ERROR")
    assert "zoe" not in line and "bob@" not in line and "example" not in line


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_an_unexpected_error_is_reported_without_query_token_or_reader(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    path = "/k/C-0001~q6urq6urq6urq6urq6urqw~.AbCdEfGhIjKlMnOpQrStUA/averyverylongsegmentofwords?email=ada%40example.com"
    await call(raising(ZeroDivisionError("x")), "GET", path, headers=headers)
    error, slow = entries(capsys)
    assert error["@type"].endswith("ReportedErrorEvent") and "ZeroDivisionError" in error["stack_trace"]
    assert error["context"]["httpRequest"] == {"method": "GET", "url": "/k/…/…", "responseStatusCode": 500}
    assert error["logging.googleapis.com/labels"]["request"] == slow["logging.googleapis.com/labels"]["request"] == TRACE


async def test_only_what_is_slow_or_fails_on_our_side_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def step(request: Request) -> Response:
        await asyncio.sleep(0.02)
        return text("fine", 404)

    await call(app(step), "GET", "/")
    assert entries(capsys) == []
    monkeypatch.setattr(asgi, "SLOW", 0.01)
    await call(app(step), "GET", "/")
    [entry] = entries(capsys)
    assert 20 <= entry["metrics"]["request_latency"] < 2000 and (entry["status"], entry["step"]) == ("404", "step")
    monkeypatch.undo()
    await call(raising(Unavailable("x")), "GET", "/")
    assert [found["status"] for found in entries(capsys) if "metrics" in found] == ["503"]


@pytest.mark.parametrize(
    ("error", "values", "labels"),
    [
        (Unauthenticated("no signature", 403), {"refused": 1}, {"status": "403"}),
        (BadToken("x"), {"dead_tokens": 1}, {"kind": "link"}),
    ],
)
async def test_refusals_are_counted(
    error: Exception, values: dict[str, int], labels: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await call(raising(error), "GET", "/")
    [entry] = entries(capsys)
    assert (entry["metrics"], entry["severity"]) == (values, "WARNING") and labels.items() <= entry.items()


async def test_each_request_has_a_trace_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    async def step(request: Request) -> Response:
        await asyncio.sleep(0.001)
        logs.log("INFO", request.path)
        return text("fine")

    def visit(n: int) -> Awaitable[Answer]:
        headers = {"traceparent": f"00-{n:032x}-{SPAN}-00"} if n % 2 else {"traceparent": f"00-{n}-ada@example.com"}
        return asyncio.create_task(call(app(step), "GET", f"/{n}", headers=headers))  # uvicorn makes a task for each, too

    answers = await asyncio.gather(*(visit(n) for n in range(1, 41)))
    assert {answer.status for answer in answers} == {200}
    found = {int(entry["message"]): entry["logging.googleapis.com/labels"]["request"] for entry in entries(capsys)}
    assert len(set(found.values())) == 40
    assert all(found[n] == f"{n:032x}" for n in range(1, 41, 2))


async def test_a_redirect_to_any_target_can_be_sent() -> None:
    async def step(request: Request) -> Response:
        return redirect("https://例え.example/日本")

    assert (await call(app(step), "GET", "/")).status == 302


@pytest.mark.parametrize(
    ("forwarded", "hops", "client"),
    [
        ("", 0, "peer"),
        ("1.1.1.1, 2.2.2.2", 0, "peer"),
        ("1.1.1.1, 2.2.2.2", 1, "2.2.2.2"),
        ("1.1.1.1,2.2.2.2 , 3.3.3.3", 2, "2.2.2.2"),
        ("1.1.1.1, 2.2.2.2", 2, "1.1.1.1"),
        ("1.1.1.1", 2, "peer"),
        ("", 1, "peer"),
        (", ,", 1, "peer"),
    ],
)
def test_the_client_is_counted_from_the_right(forwarded: str, hops: int, client: str) -> None:
    assert client_address({"x-forwarded-for": forwarded}, "peer", hops) == client


async def test_forwarded_lines_are_one_list() -> None:
    async def step(request: Request) -> Response:
        return text(request.client)

    lines = [("x-forwarded-for", "6.6.6.6"), ("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]
    assert (await call(app(step, hops=2), "GET", "/", headers=lines)).text == "1.1.1.1\n"
    assert (await call(app(step, hops=2), "GET", "/", headers=lines, peer="")).text == "1.1.1.1\n"
