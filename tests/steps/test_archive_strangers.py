"""What strangers can make the archive cost: a store call for what was not asked before, and no more for what does not exist."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from functions.archive import view
from functions.archive.conditional import answer
from functions.archive.held import AGE, PAUSE, Held
from shared.errors import NotFound, Unavailable
from shared.http import Request, Response
from shared.ports import Merge

from .fakes import NOW, FakeClock, Fault, FaultyStore
from .test_archive import FRENCH, Counting, archive, ask, brand, fill, launch
from .world import World

__all__ = ["brand"]


async def test_an_invented_language_costs_nothing(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    await launch(world, {}, {})
    store, objects = Counting(world.store), Counting(world.objects)
    step = archive(world, store, objects)
    link, other = world.links.view("C-0001"), world.links.view("C-0002", "fr")
    first = [(await ask(world, address, step=step)).body for address in (link, f"{link}?lang=fr", other)]
    asked = {"get_many": 1, "get": 2}, {"get": len(set(first))}
    assert (store.asked, objects.asked) == asked
    for n in range(100):
        assert (await ask(world, f"{link}?lang=x-{n}", step=step)).body == first[0]
        assert (await ask(world, f"{link}?lang=fr-x{n}", step=step)).body == first[1]
        await ask(world, f"?lang=y{n}", step=step)
    assert (await ask(world, f"{other}?lang=fr", step=step)).body == first[2]
    assert (store.asked, objects.asked) == ({"get_many": 1, "get": 3}, asked[1])  # one more, for the list


async def test_invented_places_and_years_read_no_more_than_the_list(world: World) -> None:
    await fill(world, 60)
    store = Counting(world.store)
    step = archive(world, store)
    for n in range(100):
        await ask(world, f"?before={NOW + n}.C-{n}x", step=step)
        await ask(world, f"?after={n}.C-{n}", step=step)
        assert (await ask(world, f"?year={1900 + n}", step=step)).status == 404
    assert store.asked == {"get_many": 1, "get": 1}


async def test_many_mails_keep_little(world: World) -> None:
    """Whoever walks through all mails makes each read once, and the pages kept stay few."""
    many = [f"C-{n:04d}" for n in range(view.KEPT * 3)]
    for id in many:
        name = f"views/{id}.html"
        await world.objects.put(name, id.encode())
        data = {"mail": {"view": {"object": name, "subject": id, "about": ""}}, "public": "shown"}
        await world.store.commit([Merge(world.paths.campaign(id), data)])
    store, objects = Counting(world.store), Counting(world.objects)
    step = archive(world, store, objects)
    for _ in range(2):
        for id in many:
            assert (await ask(world, world.links.view(id), step=step)).body == id.encode()
    assert store.asked["get"] == len(many) and objects.asked["get"] == 2 * len(many)
    assert len(step._pages._kept) == view.KEPT and len(step._campaigns._kept) <= view.CAMPAIGNS


async def test_a_mail_whose_object_is_gone_is_looked_for_once_a_minute(world: World) -> None:
    await launch(world, {})

    class Lost:
        async def get(self, name: str) -> bytes:
            raise NotFound(name)

    objects = Counting(Lost())
    step = archive(world, objects=objects)
    for _ in range(5):
        assert (await ask(world, world.links.view("C-0001"), step=step)).status == 404
    assert objects.asked == {"get": 1}
    world.clock.advance(AGE)
    await ask(world, world.links.view("C-0001"), step=step)
    assert objects.asked == {"get": 2}


async def test_a_store_that_does_not_answer_is_asked_once_a_second(world: World) -> None:
    await launch(world, {})
    down, link = False, world.links.view("C-0001")
    asked = Counting(world.store)

    def plan(verb: str) -> Fault:
        asked.asked["tried"] += down
        return "refused" if down else ""

    step = archive(world, FaultyStore(asked, plan))
    await ask(world, step=step)
    down = True
    for _ in range(3):
        found = await asyncio.gather(*(ask(world, link, step=step) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in found)
    assert asked.asked["tried"] == 1
    world.clock.advance(PAUSE)
    down = False
    assert (await ask(world, link, step=step)).status == 200


async def test_who_comes_while_it_is_read_waits_for_it_and_others_do_not() -> None:
    held, going, reads = Held[str](FakeClock(), 2), asyncio.Event(), list[str]()

    def read(key: str) -> Callable[[], asyncio.Future[str]]:
        async def work() -> str:
            reads.append(key)
            if key == "slow":
                await going.wait()
            return key

        return lambda: asyncio.ensure_future(work())

    slow = [asyncio.ensure_future(held.get("slow", read("slow"))) for _ in range(3)]
    assert [await held.get(key, read(key)) for key in ("a", "b", "c")] == ["a", "b", "c"]
    going.set()
    assert await asyncio.gather(*slow) == ["slow"] * 3 and reads.count("slow") == 1
    assert await held.get("c", read("c")) == "c" and reads.count("c") == 1 and len(held._kept) == 2


HEADERS: dict[str, Callable[[int], dict[str, str]]] = {
    "quotes": lambda n: {"if-none-match": '"' * n},
    "weak": lambda n: {"if-none-match": 'W/"' * n},
    "open": lambda n: {"if-none-match": '"' + "x" * n},
    "date": lambda n: {"if-modified-since": "Mon, " * (n // 5)},
    "digits": lambda n: {"if-modified-since": "9" * n},
    "colons": lambda n: {"if-modified-since": "1 Jan 2020 " + ":1" * (n // 2)},
}


@pytest.mark.parametrize("case", sorted(HEADERS))
def test_a_long_header_takes_no_longer_than_its_length(case: str) -> None:
    def spent(n: int) -> float:
        request = Request("GET", headers=HEADERS[case](n))
        began = time.process_time()
        assert answer(request, Response(200, b"x"), NOW).status == 200
        return time.process_time() - began

    sizes = (16_000, 64_000)
    for small, large in pairwise([min(spent(n) for _ in range(3)) for n in sizes]):
        assert large < 8 * small + 0.02, "16 times where it is quadratic"
