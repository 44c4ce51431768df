"""Every step that holds the signing keys takes up their rotation before it works, and says nothing false while it cannot."""

from __future__ import annotations

import asyncio
import quopri
import re
from collections.abc import Awaitable, Callable

import pytest

from functions.track.handler import PIXEL
from shared.adapters.secret_manager import SecretManager
from shared.errors import PipelineError, Unavailable
from shared.http import Request
from shared.links import Links
from shared.model.ref import MailRef
from shared.ports import HAND_OVER, Secret
from shared.tokens import Tokens

from .fakes import HOUR, NOW, FakeDrive
from .world import BASE, CONFIRM, World

OLD, NEW = b"o" * 32, b"n" * 32
TARGET = "https://shop.example/a"

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


class Rotated:
    """Links whose keys were read from a Secret Manager before a rotation, long ago; `new`: those of a process that has seen it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.versions = [Secret(OLD)]
        self.down = False
        self.new = Links(BASE, Tokens([NEW, OLD]))

    async def before(self) -> None:
        """Give the world's steps these links, then rotate."""
        clock = self.world.clock
        self.world.links = Links(BASE, await Tokens.load(SecretManager(self._read, lambda: clock.now() / 1000), clock))
        self.versions.insert(0, Secret(NEW, NOW))

    async def _read(self, name: str) -> list[Secret]:
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("Secret Manager")
        return list(self.versions)


@pytest.fixture
async def rotated(world: World) -> Rotated:
    rotated = Rotated(world)
    await rotated.before()
    return rotated


async def test_an_instance_idle_through_a_rotation_lets_everybody_leave_at_once(world: World, rotated: Rotated) -> None:
    addresses = [f"{n}@example.com" for n in range(5)]
    await world.add(*addresses)
    refs = [MailRef("C-0001", world.sid(address)) for address in addresses]
    world.clock.advance(HOUR)
    step = world.unsubscribe()
    tokens = [rotated.new.unsubscribe(ref).rpartition("/")[2] for ref in refs]
    answers = await asyncio.gather(*(step.handle(Request("POST", token)) for token in tokens))
    assert [answer.status for answer in answers] == [200] * 5
    for address in addresses:
        assert (await world.subscriber(address))["suppressed"] == ["unsubscribed"]


async def test_nobody_is_told_that_they_have_left_while_the_keys_cannot_be_had(world: World, rotated: Rotated) -> None:
    await world.add("ada@example.com", "bob@example.com")
    ada, bob = (MailRef("C-0001", world.sid(address)) for address in ("ada@example.com", "bob@example.com"))
    rotated.down = True
    world.clock.advance(HOUR)
    old = Links(BASE, Tokens([OLD]))
    assert (await world.unsubscribe().handle(Request("POST", old.unsubscribe(ada).rpartition("/")[2]))).status == 200
    assert (await world.subscriber("ada@example.com"))["suppressed"] == ["unsubscribed"]
    with pytest.raises(Unavailable):
        await world.unsubscribe().handle(Request("POST", rotated.new.unsubscribe(bob).rpartition("/")[2]))


async def test_readers_are_served_while_the_keys_cannot_be_had(world: World, rotated: Rotated) -> None:
    ref = MailRef("C-0001", "ab" * 16)
    rotated.down = True
    world.clock.advance(HOUR)
    token, old = rotated.new.track_token(ref), Links(BASE, Tokens([OLD]))
    assert await world.track().handle(Request("GET", f"o/{token}")) == PIXEL
    answer = await world.track().handle(Request("GET", f"k/{token}/{old.signed_target('C-0001', 0, TARGET)}"))
    assert (answer.status, answer.headers["location"]) == (302, TARGET)
    assert world.bus.messages == []
    with pytest.raises(Unavailable):
        await world.track().handle(Request("GET", f"k/{token}/{rotated.new.signed_target('C-0001', 0, TARGET)}"))


async def test_every_link_of_a_mail_is_signed_by_the_key_of_the_day(world: World, rotated: Rotated) -> None:
    world.drive = FakeDrive(confirm=CONFIRM, welcome=f"---\nsubject: Welcome\n---\n[Shop]({TARGET})\n")
    await world.system("welcome")
    step = world.send_batch()
    for key, address in ((OLD, "ada@example.com"), (NEW, "bob@example.com")):
        await world.add(address, consent="c1")
        await step.handle({"campaign": "welcome", "batch": f"{world.sid(address)}.c1"})
        links, ref = Links(BASE, Tokens([key])), MailRef("welcome", world.sid(address), "c1")
        text = quopri.decodestring(world.sender.mails[address]).decode()
        clicks = re.findall(r"/track/k/([^/\s\"]+)/([^\s\")>]+)", text)
        assert clicks
        for token, target in clicks:
            assert links.read_track(token) == (ref, world.clock.now())
            assert links.read_target("welcome", target) == (0, TARGET)
        world.clock.advance(HAND_OVER)
    assert len(step.mails._kept) == 1
