"""When it is time to stop, an SMTP sender begins no mail, ends those begun, and leaves nothing unknown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from shared.ports import Outcome, Stop
from shared.providers.smtp import _unless
from tests.providers.fault_server import DROP, SLOW, FaultServer
from tests.providers.post import BIG, FROM, fault_sender, kinds, mails, once_each

pytestmark = pytest.mark.network


def when(stage: str, count: int, stop: Stop) -> Callable[[str, int], None]:
    """For `FaultServer.at`: stop at that event, before it is answered."""

    def at(happened: str, number: int) -> None:
        if (happened, number) == (stage, count):
            stop.now()

    return at


async def test_after_the_stop_nothing_is_begun_nor_connected() -> None:
    async with FaultServer() as server:
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(3), Stop(time.monotonic()))) == ["unsent"] * 3
        await sender.close()
    assert server.counts["connect"] == 0


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "content"])
async def test_a_stop_at_any_moment_leaves_every_mail_sent_or_unsent(stage: str, pipelining: bool) -> None:
    for number in (1, 2, 5, 6):
        stop = Stop()
        async with FaultServer(pipelining=pipelining) as server:
            server.at = when(stage, number, stop)
            sender = fault_sender(server)
            out = mails(6)
            outcomes = kinds(await sender.send(FROM, out, stop))
            sent = outcomes.count("sent")
            assert outcomes == ["sent"] * sent + ["unsent"] * (6 - sent)
            assert number <= sent <= number + 1, "the mail at hand, and one whose envelope was out already"
            assert once_each(server) == [m.recipient for m in out[:sent]]
            assert kinds(await sender.send(FROM, out[sent:])) == ["sent"] * (6 - sent)
            await sender.close()
        assert server.counts["connect"] == 1, "the connection stays in step"
        assert once_each(server) == [m.recipient for m in out]


async def test_a_stop_after_a_refusal_announces_nobody_else() -> None:
    stop = Stop()
    async with FaultServer({("rcpt", 2): "550 5.1.1 nobody"}) as server:
        server.at = when("rcpt", 2, stop)
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(4), stop)) == ["sent", "recipient", "unsent", "unsent"]
        assert kinds(await sender.send(FROM, mails(2, first=2))) == ["sent", "sent"]
        await sender.close()
    assert server.counts["mail"] == 4
    assert len(once_each(server)) == 3


async def test_a_stop_within_a_long_content_lets_it_end() -> None:
    stop = Stop()
    async with FaultServer() as server:
        server.at = when("middle", 1, stop)
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, [BIG, *mails(2)], stop)) == ["sent", "unsent", "unsent"]
        await sender.close()
    assert once_each(server) == ["big@example.org"]


async def test_after_a_loss_and_a_stop_no_other_connection_is_made() -> None:
    stop = Stop()
    async with FaultServer({("content", 2): DROP}) as server:
        server.at = when("content", 2, stop)
        sender = fault_sender(server)
        assert kinds(await sender.send(FROM, mails(4), stop)) == ["sent", "unknown", "unsent", "unsent"]
        await sender.close()
    assert server.counts["connect"] == 1


async def test_a_stop_ends_the_wait_for_a_connection_of_another() -> None:
    async with FaultServer({("content", 1): SLOW}) as server:
        sender = fault_sender(server, connections=1, timeout=20)
        first = asyncio.create_task(sender.send(FROM, mails(1)))
        while not server.accepted:
            await asyncio.sleep(0.01)
        stop = Stop()
        second = asyncio.create_task(sender.send(FROM, mails(2, first=1), stop))
        await asyncio.sleep(0.05)
        stop.now()
        assert await second == [Outcome("unsent")] * 2
        assert not first.done()
        first.cancel()
        await asyncio.wait({first})
        assert kinds(await sender.send(FROM, mails(2, first=1))) == ["sent", "sent"], "its place is free again"
        await sender.close()
    assert len(once_each(server)) == 3


@pytest.mark.parametrize("stage", ["connect", "ehlo"])
async def test_a_stop_ends_the_wait_for_a_server(stage: str) -> None:
    async with FaultServer({(stage, 1): SLOW}) as server:
        sender = fault_sender(server, timeout=20)
        sending = asyncio.create_task(sender.send(FROM, mails(2), Stop(time.monotonic() + 0.2)))
        assert await sending == [Outcome("unsent")] * 2
        assert server.open, "the server has not answered yet"
        assert kinds(await sender.send(FROM, mails(2))) == ["sent", "sent"]
        await sender.close()


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    async with FaultServer({("connect", 1): SLOW}) as server:
        sender = fault_sender(server, connections=1, timeout=20)
        waiting = [asyncio.create_task(sender.send(FROM, mails(1))) for _ in range(3)]
        while not server.counts["connect"]:
            await asyncio.sleep(0)  # the very moment in which wait_for would not heed it
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
        assert kinds(await sender.send(FROM, mails(1))) == ["sent"]
        await sender.close()
    assert len(once_each(server)) == 1


async def test_what_is_waited_for_is_given_up() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(True)
        return "never"

    given_up: list[bool] = []
    undone: list[str | None] = []
    assert await _unless(Stop(time.monotonic() + 0.01), work(), undone.append) is None
    await asyncio.sleep(0)
    assert given_up == [True] and undone == []


async def test_what_a_cancelled_caller_waited_for_is_given_back() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "a connection"

    cancelled = 0
    for steps in range(1, 8):
        undone: list[str | None] = []
        task = asyncio.create_task(_unless(Stop(), work(), undone.append))
        for _ in range(steps):
            await asyncio.sleep(0)
        came = task.done()
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)
        assert came == (not task.cancelled())
        cancelled += bool(undone)
        assert not (came and undone)
    assert cancelled, "in one of these steps the work was done, and its caller did not know yet"
