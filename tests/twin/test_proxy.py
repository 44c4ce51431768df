"""The twin's front door changes nothing on the way to a step's process and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
from aiohttp import web

from local import proxy
from local.proxy import Proxy
from tests.house.asgi import call

pytestmark = pytest.mark.network


@pytest.fixture
def streaming() -> asyncio.Event:
    """Set when the step's stream has ended."""
    return asyncio.Event()


@pytest.fixture
async def step(streaming: asyncio.Event) -> AsyncIterator[str]:
    """A server that says what reached it; its URL."""

    async def echo(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path == "/leave":
            return web.Response(
                status=302, headers=[("location", "https://a.example/?q=%2F"), ("x-twice", "1"), ("x-twice", "2")]
            )
        if request.path == "/stream":
            stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await stream.prepare(request)
            await stream.write(b"data: 1\n\n")
            try:
                await asyncio.sleep(60)
            finally:
                streaming.set()
        if request.path == "/zipped":
            return web.Response(body=b"\x1f\x8bnot really", headers={"content-encoding": "gzip", "content-type": "image/gif"})
        said = {"method": request.method, "target": request.raw_path, "body": body.decode("latin-1")}
        return web.json_response(
            said | {"headers": [[name.lower(), value] for name, value in request.headers.items()]}, status=418
        )

    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def door(step: str) -> AsyncIterator[Proxy]:
    found = Proxy(step)
    yield found
    await found.close()


async def test_method_path_query_and_body_arrive_as_they_came(door: Proxy) -> None:
    answer = await call(door, "PUT", "/track/k/a%2Fb%20c/%7E?x=%2B+1&x=%7E", bytes(range(256)))
    said = json.loads(answer.body)
    assert answer.status == 418
    assert (said["method"], said["target"]) == ("PUT", "/k/a%2Fb%20c/%7E?x=%2B+1&x=%7E")
    assert said["body"].encode("latin-1") == bytes(range(256))


@pytest.mark.parametrize("path", ["/track", "/track/"])
async def test_the_steps_own_root(door: Proxy, path: str) -> None:
    assert json.loads((await call(door, "GET", path)).body)["target"] == "/"


async def test_headers_arrive_and_the_caller_is_appended(door: Proxy) -> None:
    sent = [
        ("host", "news.example"),
        ("authorization", "Bearer x"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2, 10.0.0.3"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("content-length", "999"),
    ]
    said = json.loads((await call(door, "POST", "/track", [b"ab", b"c"], sent, peer="192.0.2.7")).body)
    expected = [("host", "news.example"), ("authorization", "Bearer x"), ("content-length", "3")]
    forwarded = ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7")
    assert sorted(map(tuple, said["headers"])) == sorted([*expected, forwarded])
    assert said["body"] == "abc"


async def test_a_redirect_is_the_readers_to_follow(door: Proxy) -> None:
    answer = await call(door, "GET", "/track/leave")
    assert (answer.status, answer.headers["location"]) == (302, "https://a.example/?q=%2F")


async def test_an_answer_is_handed_on_unopened(door: Proxy) -> None:
    answer = await call(door, "GET", "/track/zipped")
    assert answer.body == b"\x1f\x8bnot really" and answer.headers["content-encoding"] == "gzip"


async def test_a_body_over_the_limit_is_refused_without_reading_on(door: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_BODY", 10)
    answer = await call(door, "POST", "/track", [b"12345"] * 10)
    assert (answer.status, answer.chunks_read) == (413, 3)


async def test_a_stream_is_handed_on_as_it_comes_and_ends_with_its_reader(door: Proxy, streaming: asyncio.Event) -> None:
    sent: list[MutableMapping[str, Any]] = []
    heard, gone = asyncio.Event(), asyncio.Event()
    given = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)
        if event.get("body"):
            heard.set()

    scope = {"type": "http", "method": "GET", "raw_path": b"/live/stream", "query_string": b"", "headers": []}
    asking = asyncio.create_task(door(scope, receive, send))
    await asyncio.wait_for(heard.wait(), 10)
    assert sent[1] == {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
    assert not asking.done() and not streaming.is_set()
    gone.set()
    await asyncio.wait_for(asking, 10)
    await asyncio.wait_for(streaming.wait(), 10)  # the step knows that nobody listens


async def test_a_step_that_is_down_or_late_is_said_to_be(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Proxy("http://127.0.0.1:1")
    answer = await call(nobody, "GET", "/track")
    assert (answer.status, answer.headers["retry-after"]) == (502, "1")
    await nobody.close()
    monkeypatch.setattr(proxy, "TIMEOUT", 1e-6)
    late = Proxy(step)
    assert (await call(late, "GET", "/track")).status == 504
    await late.close()
