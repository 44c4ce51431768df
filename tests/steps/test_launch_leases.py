"""Campaigns over providers with a limit: what is leased goes, the best readers first, and the rest waits without standing in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from functions.launch import pace
from functions.launch.release import LATER
from functions.send_batch.routes import Route, Routes
from shared.model import batch
from shared.model.provider import Provider
from shared.ports import Create, Document, Merge

from .fakes import DAY, NOW, FakeSender, FaultyStore
from .test_launch import GO, campaign, finish, rows
from .test_launch_pace import HEADER
from .world import PACE, World

MINUTE, HOUR = 60_000, 3_600_000
GMAIL = [f"reader{n:03d}@gmail.com" for n in range(120)]
OTHERS = [f"reader{n:03d}@brand.example" for n in range(30)]
WARMING = Provider("ses", "ses", warm_up=date(2027, 1, 15))
DAILY = Provider("day", "smtp", daily=100)


class Post:
    """Ticks and workers over some providers."""

    def __init__(self, world: World, *providers: Provider) -> None:
        self.world, self.providers = world, providers
        self.sender = FakeSender(window=50)
        routes = Routes([Route(provider, self.sender) for provider in providers], world.store, world.paths, PACE.wait)
        self.worker = replace(world.send_batch(), routes=routes)

    async def tick(self, *lines: dict[str, str]) -> list[str]:
        """A minute passes; the batches that go."""
        if lines:
            rows(self.world, *({**GO, **line} for line in lines), header=HEADER)
        self.world.clock.advance(MINUTE)
        await replace(self.world.launch(), providers=self.providers).handle()
        return [message["batch"] for _, message in self.world.bus.messages]

    async def work(self) -> list[str]:
        """Workers do what was published; who was mailed, in order."""
        before = len(self.sender.accepted)
        for message in self.world.bus.take(batch.TOPIC):
            await self.worker.handle(message)
        return self.sender.accepted[before:]

    async def spend(self, minutes: int, *lines: dict[str, str]) -> list[str]:
        found: list[str] = []
        for n in range(minutes):
            await self.tick(*(lines if not n else ()))
            found += await self.work()
        return found


async def readers(world: World) -> None:
    """The later in the list the more lately they clicked; the first third never did."""
    for n, address in enumerate(GMAIL):
        await world.add(address, **({"engaged_at": NOW - (200 - n) * DAY} if n >= 40 else {}))
    await world.add(*OTHERS)


async def test_in_a_warm_up_the_best_readers_go_first_and_the_rest_day_by_day(world: World) -> None:
    await readers(world)
    post = Post(world, WARMING)
    first = await post.spend(5, {})
    found = await campaign(world)
    assert found["sends"][0]["parts"] == 0 and found["expected"] == 150
    assert {document.data["group"] for document in await world.all(world.paths.batches("C-0001"))} == {"gmail", "other"}
    assert sorted(first) == sorted(GMAIL[70:] + OTHERS), "50 a day to each mailbox provider"
    assert [address for address in first if address in GMAIL] == GMAIL[:69:-1]
    assert found["answer"] == "Sending to 150. 80 today, the rest by 2027-01-17 while ses warms up."
    assert await post.spend(70) == []
    assert (await campaign(world))["answer"] == found["answer"], "told once a day"
    assert (await world.data(world.paths.provider("ses")))["waiting"] == 70
    world.clock.time = NOW + 17 * HOUR
    second = await post.spend(15)
    assert (await campaign(world))["answer"] == "Sending to 150. 58 today, the rest by 2027-01-17 while ses warms up."
    assert [address for address in second if address in GMAIL[40:]] == GMAIL[69:39:-1], "who never clicked comes last"
    for n in range(2, 4):
        world.clock.time = NOW + n * DAY
        second += await post.spend(15)
    assert sorted(first + second) == sorted(GMAIL + OTHERS) and len(post.sender.accepted) == 150
    assert (await campaign(world))["answer"] == "Done: 150 sent."
    assert (await world.data(world.paths.provider("ses")))["waiting"] == 0


async def test_a_days_mails_are_not_exceeded(world: World) -> None:
    await readers(world)
    post = Post(world, DAILY)
    assert len(await post.spend(20, {})) == 100
    assert (await campaign(world))["answer"] == "Sending to 150. 100 today, the rest by 2027-01-16 as day takes it."
    world.clock.time = NOW + DAY
    await post.spend(15)
    assert sorted(post.sender.accepted) == sorted(GMAIL + OTHERS)
    assert (await campaign(world))["answer"] == "Done: 150 sent."
    assert (await world.data(world.paths.provider("day")))["used"] == 50, "what the workers did not need was taken back"


async def test_waiting_batches_do_not_stand_in_the_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gmail's allowance is used up at once; others have a provider without a limit. Only two due batches are read at a time."""
    monkeypatch.setattr(pace, "PAGE", 2)
    monkeypatch.setattr(pace, "size", lambda rate: 10)
    await readers(world)
    free = Provider("free", "smtp", domains=("brand.example",))
    post = Post(world, replace(WARMING, domains=("gmail.com",), daily=4), free)
    found = await post.spend(3, {})
    assert sorted(found) == sorted(GMAIL[-4:] + OTHERS)


async def test_a_providers_rate_is_used_each_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that only wait for the next minute are not put off."""
    monkeypatch.setattr(pace, "size", lambda rate: 10)
    await readers(world)
    post = Post(world, Provider("slow", "smtp", rate=1))
    went = []
    for n in range(4):
        went.append(len(await post.tick(*([{"Schedule": "best"}] if not n else []))))
        for message in world.bus.take(batch.TOPIC):
            await finish(world, message["batch"])
    assert went == [6, 6, 3, 0]


async def test_what_a_provider_refuses_takes_nothing_of_the_campaigns_rate(world: World) -> None:
    await readers(world)
    post = Post(world, replace(DAILY, daily=20))
    assert len(await post.spend(1, {"Rate": "240/h", "Schedule": "best"})) == 20
    before = (await campaign(world))["next_at"]
    assert await post.spend(30) == []
    assert (await campaign(world))["next_at"] <= world.clock.now()
    assert before == world.clock.now() - 30 * MINUTE + 5 * MINUTE
    world.clock.time = NOW + DAY
    assert len(await post.spend(1)) == 20


async def test_what_the_last_worker_left_is_taken_back_at_the_end(world: World) -> None:
    """It ends between the tick's first look and its count of open batches."""
    await readers(world)
    post = Post(world, DAILY)
    await post.tick({})
    name = post.providers[0].name
    assert (await world.data(world.paths.provider(name)))["used"] == 100
    left = {"leftover": True, "grants": {name: {"mails": 60, "rate": 0}}}

    class Ending(FaultyStore):
        async def count(self, collection: str, *filter: Any) -> int:
            if collection.endswith("/batches"):
                await finish(world)
                await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), left)])
            return await super().count(collection, *filter)

    world.clock.advance(MINUTE // 2)
    await replace(world.launch(Ending(world.store, lambda verb: "")), providers=post.providers).handle()
    assert (await campaign(world))["state"] == "completed"
    assert (await world.data(world.paths.provider(name)))["used"] == 40


async def test_waiting_for_tomorrow_costs_next_to_nothing(world: World) -> None:
    await readers(world)
    post = Post(world, WARMING)
    await post.spend(12, {})
    before, spent = replace(world.store.operations), []
    for _ in range(20):
        await post.spend(1)
        done = world.store.operations
        spent.append((done.reads - before.reads, done.writes - before.writes))
        before = replace(done)
    assert sum(reads for reads, _ in spent) <= 20 * 18, "however many wait"
    assert sum(writes for _, writes in spent) <= 6, spent


async def test_who_has_priority_gets_what_is_left(world: World) -> None:
    await readers(world)
    post = Post(world, DAILY)
    await post.tick({"Segment": "everyone"}, {"Segment": "everyone", "Priority": "1"})
    mailed = {message["campaign"] for _, message in world.bus.messages}
    assert mailed == {"C-0002"}


async def test_what_is_cancelled_needs_no_allowance(world: World) -> None:
    await readers(world)
    post = Post(world, replace(DAILY, daily=10))
    assert len(await post.spend(3, {})) == 10
    assert await post.spend(3, {"Wanted": "Cancel"}) == []
    found = await campaign(world)
    assert (found["state"], found["active"], found["totals"]["sent"], found["totals"]["cancelled"]) == (
        "cancelled",
        False,
        10,
        140,
    )
    assert (await world.data(world.paths.provider("day")))["used"] == 10


async def test_single_mails_are_brought_back_whatever_is_left(world: World) -> None:
    await readers(world)
    post = Post(world, replace(DAILY, daily=1))
    await world.system("confirm")
    assert len(await post.spend(3, {})) == 1
    sid = world.sid(GMAIL[0])
    held = batch.single(sid, "c1", world.clock.now() - batch.GRACE)
    await world.store.commit([Create(world.paths.batch("confirm", f"{sid}.20833"), held)])
    assert await post.tick() == [f"{sid}.20833"]
    assert (await world.ledger(f"{sid}.20833", "confirm"))["swept"] == 1
    assert await post.work() == GMAIL[:1]


async def test_later_sends_are_cut_for_the_warm_up_too(world: World) -> None:
    await readers(world)
    post = Post(world, Provider("free", "smtp"))
    assert len(await post.spend(3, {})) == 150
    post = Post(world, WARMING)
    found = await post.spend(3, {"Wanted": "Resend to non-openers"})
    assert sorted(found) == sorted(GMAIL[70:] + OTHERS)
    assert (await campaign(world))["answer"].startswith("Sending again to 150 who did not open it. 80 today, the rest by")


def test_documents_hold_what_stamping_needs() -> None:
    from functions.launch import allowance, sweep

    made: Any = batch.new({"low": "", "high": ""}, 0)
    assert {*allowance.FIELDS} <= {*sweep.FIELDS} <= {*made, "granted"}
    batches: Sequence[Document] = [Document("b/1", "1", {name: made[name] for name in sweep.FIELDS if name in made})]
    assert pace.mails(batches[0], {}) == batch.BATCH_SIZE


async def test_the_outlook_follows_what_the_answer_says_besides(world: World) -> None:
    await readers(world)
    post = Post(world, WARMING)
    await post.spend(1, {})
    told = (await campaign(world))["answer"]
    warned = told.replace("150. ", "150. There is no preheader. ")
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"answer": warned})])
    world.clock.time = NOW + DAY
    await post.spend(1)
    assert (await campaign(world))["answer"] == (
        "Sending to 150. There is no preheader. 58 today, the rest by 2027-01-17 while ses warms up."
    )
    await post.spend(1, {"Wanted": "Pause"})
    await post.spend(LATER // MINUTE + 1, {})
    assert (await campaign(world))["answer"] == "Sending to 150. None today, all by 2027-01-17 while ses warms up."
