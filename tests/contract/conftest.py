"""What several contract tests share: the emulated Google of Sheets and Drive, one server a module and empty for each test; the endpoint
that every bus pushes to, and the issuer of its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp.web
import pytest

from local.issuer import LocalIssuer
from tests.contract.bus_contract import ISSUER, Inbox, Push
from tests.contract.emulated import Emulated, emulated


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    place = tmp_path_factory.mktemp("google")
    with emulated(place / "state", place / "templates") as running:
        yield running


@pytest.fixture
def twin(server: Emulated) -> Emulated:
    server.reset()
    return server


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()

    async def take(request: aiohttp.web.Request) -> aiohttp.web.Response:
        push = Push(await request.json(), request.headers["authorization"])
        inbox.pushes.append(push)
        status = inbox.answer(push)
        if status is None:
            await asyncio.sleep(30)
        return aiohttp.web.Response(status=status or 500, headers={"location": "/elsewhere"})

    async def elsewhere(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response()  # a redirect that was followed would be taken for an acknowledgement

    app = aiohttp.web.Application()
    app.router.add_post("/push", take)
    app.router.add_get("/elsewhere", elsewhere)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    inbox.url = f"http://127.0.0.1:{runner.addresses[0][1]}/push"
    yield inbox
    await runner.cleanup()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> LocalIssuer:
    return LocalIssuer(tmp_path_factory.mktemp("issuer"), ISSUER)
