"""One request, followed through the topics: a visitor's sign-up and the mail it leads to are one trace in the logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from local.bus import LocalBus, Subscription
from local.issuer import LocalIssuer
from local.server import ISSUER, PUSHER, mounted
from shared.model import batch, event
from tests.house.asgi import App, call
from tests.house.serving import URL, environment

from .test_mounted import fresh

__all__ = ["fresh"]  # a fixture
pytestmark = pytest.mark.network
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """uvicorn's own signal handling has no place in a test."""
    yield


@pytest.mark.usefixtures("fresh")
async def test_a_sign_up_and_its_mail_have_the_same_request_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    for name, value in (await environment(state)).items():
        monkeypatch.setenv(name, value)

    async def nothing(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not for a step")

    app: App = mounted(nothing)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off"))
    monkeypatch.setattr(server, "capture_signals", quiet)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    issuer = LocalIssuer(state / "issuer", ISSUER)
    pushes = Subscription("send_batch", batch.TOPIC, f"http://127.0.0.1:{port}/send_batch", URL)
    bus = LocalBus(state / "bus.db", [pushes], lambda audience: issuer.sign(audience, PUSHER), topics=[event.TOPIC])
    await bus.start()
    try:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "content-type": "application/json"}
        answer = await call(app, "POST", "/subscribe/", b'{"email": "ada@example.com"}', headers)
        assert answer.status == 202
        async with asyncio.timeout(20):
            while not (delivered := await bus.recent()):
                await asyncio.sleep(0.02)
    finally:
        await bus.stop()
        server.should_exit = True
        await serving
    assert delivered[0].attributes["traceparent"].startswith(f"00-{TRACE}-")
    said: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    mine = [entry for entry in said if entry["step"] == "send_batch"]
    assert mine
    for entry in mine:
        assert entry["logging.googleapis.com/trace"].endswith(TRACE)
        labels = entry["logging.googleapis.com/labels"]
        assert (labels["request"], labels["message_id"]) == (TRACE, delivered[0].message)
    with contextlib.closing(sqlite3.connect(state / "bus.db")) as file:
        assert file.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
