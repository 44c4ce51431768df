"""Every step that holds the signing keys takes up their rotation before it works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shared.errors import PipelineError
from shared.http import Request
from shared.links import Links
from shared.tokens import Tokens

from .world import BASE, World

WORK: dict[str, Callable[[World], Awaitable[object]]] = {
    "launch": lambda world: world.launch().handle(),
    "send_batch": lambda world: world.send_batch().handle({"campaign": "C-0001", "batch": "000000"}),
    "subscribe": lambda world: world.subscribe().handle(Request("GET", "")),
    "track": lambda world: world.track().handle(Request("GET", "o/token")),
    "unsubscribe": lambda world: world.unsubscribe().handle(Request("POST", "token")),
    "webhooks": lambda world: world.webhooks().handle(Request("POST", "generic")),
}


class Watched(Tokens):
    asked = 0

    async def fresh(self) -> None:
        self.asked += 1


@pytest.mark.parametrize("step", WORK)
async def test_keys_are_fresh_before_each_piece_of_work(world: World, step: str) -> None:
    tokens = Watched([b"s" * 32])
    world.links = Links(BASE, tokens)
    for _ in range(2):
        try:
            await WORK[step](world)
        except PipelineError:
            pass
    assert tokens.asked == 2
