"""SIGTERM to the real server in mid-window: the step leaves at a mail's edge, answers, and nothing is unknown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from local.mailbox import Mailbox
from local.staging import stage
from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch
from tests.house.serving import environment, push
from tests.steps.fakes import FakeClock
from tests.steps.world import World

from .test_staged import ask, served

pytestmark = pytest.mark.network
PEOPLE = [f"p{n:02d}@example.com" for n in range(60)]


async def test_a_worker_that_is_told_to_end_leaves_nothing_unknown(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = await environment(state)
    world = World.on(state, "local")
    await world.add(*PEOPLE)
    await world.campaign()
    world.store.close()
    nowhere = "http://127.0.0.1:9/webhooks/generic"
    mailbox = Mailbox(state / "mailbox.db", 0, 60, webhook_url=nowhere, secret=b"s" * 32, clock=FakeClock())
    await mailbox.start()
    way = {"name": "box", "kind": "smtp", "options": {"host": "127.0.0.1", "port": str(mailbox.port), "security": "none"}}
    stage("send_batch", tmp_path / "build" / "send_batch")
    try:
        with served(tmp_path / "build" / "send_batch", "send_batch", settings | {"PROVIDERS": json.dumps([way])}) as serving:
            body, headers = push(state, {"campaign": "C-0001", "batch": "000000"})
            answer = asyncio.create_task(asyncio.to_thread(ask, serving.port, "POST", "/", body, headers))
            while await mailbox.count() < 7:
                assert not answer.done(), answer.result()
                await asyncio.sleep(0.02)
            serving.process.terminate()
            status, _, _ = await answer
            await asyncio.to_thread(serving.process.wait, 20)
    finally:
        await mailbox.stop()
    store = SqliteStore.open(state / "store.db")
    found = await store.get(world.paths.batch("C-0001", "000000"))
    store.close()
    assert found is not None
    accepted = len(await mailbox.list(limit=100))
    tally = batch.tally(found.data["states"])
    assert status == 204 and 7 <= accepted < 50
    assert tally == {"sent": accepted, "deferred": 50 - accepted}
    assert (found.data["state"], found.data["lease_until"]) == ("open", 0)
