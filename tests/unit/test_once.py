"""One build for all first callers, whatever befalls it or them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.once import once


class Builds:
    """A builder that waits for `gate` each time, and then gives its number or fails as `ends` say."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.count = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        await self.gate.wait()
        if self.ends and (error := self.ends.pop(0)):
            raise error
        return self.count

    @property
    def get(self) -> Callable[[], Awaitable[int]]:
        async def build() -> int:
            return await self()

        return once(build)


async def _waiting(get: Callable[[], Awaitable[int]], count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.ensure_future(get()) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


async def test_first_callers_share_one_build_and_later_ones_its_result() -> None:
    builds = Builds()
    get = builds.get
    tasks = await _waiting(get, 20)
    builds.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 20 and await get() == 1


async def test_callers_share_a_failure_and_the_next_one_builds_anew() -> None:
    builds = Builds(Unavailable("x"))
    get = builds.get
    tasks = await _waiting(get, 20)
    builds.gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends) and builds.count == 1
    assert await get() == await get() == 2


async def test_a_caller_that_leaves_takes_nobody_along() -> None:
    builds = Builds()
    get = builds.get
    first, second, third = await _waiting(get, 3)
    first.cancel()
    third.cancel()
    await asyncio.sleep(0.01)
    assert first.cancelled() and third.cancelled() and not second.done()
    builds.gate.set()
    assert await second == 1


async def test_a_build_that_everybody_left_serves_the_next_caller() -> None:
    builds = Builds()
    get = builds.get
    for task in await _waiting(get, 2):
        task.cancel()
    [later] = await _waiting(get, 1)
    builds.gate.set()
    assert await later == 1


async def test_a_failure_that_nobody_waits_for_is_no_noise() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    builds = Builds(Unavailable("x"), Unavailable("y"))
    get = builds.get
    for task in await _waiting(get, 2):
        task.cancel()
    builds.gate.set()
    await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="y"):
        await get()
    del get
    gc.collect()
    assert said == []


async def test_a_cancelled_build_is_tried_again() -> None:
    builds = Builds()
    get = builds.get
    [waiting] = await _waiting(get, 1)
    [build] = [task for task in asyncio.all_tasks() if task not in (waiting, asyncio.current_task())]
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    builds.gate.set()
    assert await get() == 2


def test_a_result_outlives_its_loop() -> None:
    async def build() -> list[int]:
        return [1]

    get = once(build)
    assert asyncio.run(_ask(get)) is asyncio.run(_ask(get))


async def _ask(get: Callable[[], Awaitable[list[int]]]) -> list[int]:
    return await get()


async def test_other_arguments_build_anew_and_the_same_do_not() -> None:
    builds: list[str] = []

    @once
    async def build(name: str) -> str:
        builds.append(name)
        return name * 2

    assert [await build("a"), await build("a"), await build("b"), await build("b"), await build("a")] == [
        "aa",
        "aa",
        "bb",
        "bb",
        "aa",
    ]
    assert builds == ["a", "b", "a"]
