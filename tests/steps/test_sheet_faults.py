"""Google's Sheets and Drive on a bad day: launch and sync_sheet go through the real adapters, to the emulator, by way of a network that
refuses, cuts, delays and repeats what was true before. Nobody is lost or mailed twice, and the quota of writes is kept.

The controls lose: the same adapters without a second attempt, and a client that writes each row by itself. More storms:

    SHEET_STORMS=50 .venv/bin/python -m pytest tests/steps/test_sheet_faults.py -k storm_loses_nobody
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.launch.handler import Launch
from functions.sync_sheet.handler import SyncSheet
from shared.adapters import google_rest
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.errors import Unavailable
from shared.model import batch, console
from shared.ports import Create, Outcome, Outgoing
from tests.contract.emulated import Emulated, emulated

from .fakes import FakeSender
from .world import CONFIRM, LETTER, TENANT, WELCOME, World

pytestmark = pytest.mark.network

READERS = ("a@example.com", "b@example.com", "c@example.com")
CAMPAIGNS = ("C-0001", "C-0002", "C-0003")
CONTACTS = {"I-0001": "x@example.com", "I-0002": "y@example.com", "I-0003": "nobody", "I-0004": "z@example.com"}
MINUTE = 60_000
STORM: tuple[str, ...] = ("429", "500", "503", "reset", "lost", "cut", "half", "slow", "stale")
NO_JSON = b"<html>Service temporarily out of order"


class Weather:
    """An ASGI app around the emulator. `share` of the calls meet one of `faults`, each of which comes `most` times at most.

    429, 500, 503: refused · reset: closed before the call is done, lost: after it · cut: JSON without its end, half: its bytes do not
    all come · slow: done, and answered later than anybody waits · stale: a read as it was before the last write.
    """

    def __init__(self, seed: int = 0) -> None:
        self.share, self.faults, self.most = 0.0, STORM, math.inf
        self.met: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._read: dict[str, list[Any]] = {}
        self._before: dict[str, list[Any]] = {}

    def around(self, app: Any) -> Any:
        self._app = app
        return self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fault = self._chance.choice(self.faults) if self._chance.random() < self.share else ""
        fault = fault if self.met[fault] < self.most else ""
        self.met[fault] += 1
        if fault.isdecimal():
            await _answer(send, int(fault), NO_JSON if fault == "503" else b'{"error": {"message": "why"}}')
            return
        answer = [] if fault == "reset" else await self._ask(scope, receive, stale=fault == "stale")
        whole = b"".join(part.get("body", b"") for part in answer)
        match fault:
            case "cut":
                await _answer(send, answer[0]["status"], whole[: len(whole) // 2])
            case "half":
                await send(answer[0])
                await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
            case "" | "slow" | "stale":
                await asyncio.sleep(2 * google_rest.TIMEOUT if fault == "slow" else 0)
                for part in answer:
                    await send(part)
        if fault in ("reset", "lost", "half"):
            receive.__self__.transport.abort()  # uvicorn's own

    async def _ask(self, scope: Any, receive: Any, stale: bool) -> list[Any]:
        read, key = scope["method"] == "GET", f"{scope['path']}?{scope['query_string']}"
        if read and stale and key in self._before:
            return self._before[key]
        if not read:
            self._before = dict(self._read)
        answer: list[Any] = []

        async def keep(part: Any) -> None:
            answer.append(part)

        await self._app(scope, receive, keep)
        if read:
            self._read[key] = answer
        return answer


async def _answer(send: Any, status: int, body: bytes) -> None:
    kind, length = (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [kind, length]})
    await send({"type": "http.response.body", "body": body})


class Mailbox(FakeSender):
    """Counts the mails by what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Counter[tuple[str, str]] = Counter()  # (campaign, reader)

    def _one(self, mail: Outgoing) -> Outcome:
        self.taken[mail.ref.partition("~")[0], mail.recipient] += 1
        return Outcome("sent", "250")


class Rig:
    """A workbook and a folder at the far end of the weather; waiting moves the world's clock, and no other."""

    def __init__(self, world: World, twin: Emulated, weather: Weather) -> None:
        self.world, self.twin, self.weather = world, twin, weather
        self.world.sender = self.mailbox = Mailbox()
        twin.google.meter.now = self.now
        self.sheet = Sheets("book", twin.url, now=self.now, sleep=self.sleep)
        self.drive = GoogleDrive(twin.url)
        self.drive._service._sleep = self.sleep

    def now(self) -> float:
        return self.world.clock.now() / 1000

    async def sleep(self, seconds: float) -> None:
        self.world.clock.advance(int(seconds * 1000))
        await asyncio.sleep(0)

    def launch(self) -> Launch:
        tenant = replace(TENANT, folder="templates")
        return replace(self.world.launch(), sheet=self.sheet, drive=self.drive, tenant=tenant)

    def sync(self) -> SyncSheet:
        return replace(self.world.sync_sheet(), sheet=self.sheet)

    async def fill(self) -> None:
        """Templates, readers, three campaigns that are to go and four contacts, one of whom has no address. No lookups: they cost time."""
        for name, text in {"letter": LETTER, "confirm": CONFIRM, "welcome": WELCOME}.items():
            (self.twin.google.drive.folder / f"{name}.md").write_text(text)
        await self.world.add(*READERS, tags=["vip"])
        await self.sheet.add_tabs([console.CAMPAIGNS, console.IMPORT])
        fields = [*console.ROW_FIELDS, *console.ROW_OPTIONS, "My notes"]
        rows = [
            [{"ID": id, "Template": "letter", "Segment": "vip", "Wanted": "Go"}.get(name, "") for name in fields]
            for id in CAMPAIGNS
        ]
        contacts = [
            [{"ID": id, "Email": address, "Consent source": "fair"}.get(name, "") for name in console.IMPORT_FIELDS]
            for id, address in CONTACTS.items()
        ]
        tops = {"Campaigns!A1": [fields, *rows], "Import!A1": [[*console.IMPORT_FIELDS, "My notes"], *contacts]}
        await self.sheet.write(tops)

    async def ticks(self, count: int, *steps: Launch | SyncSheet) -> int:
        """So many minutes of these steps, with the workers' turn; how many ticks gave up."""
        given_up = 0
        for _ in range(count):
            for step in steps:
                try:
                    await step.handle()
                except Unavailable:
                    given_up += 1
            for message in self.world.bus.take(batch.TOPIC):
                await self.world.send_batch().handle(message)
            self.world.clock.advance(MINUTE)
        return given_up

    async def rows(self, tab: str) -> list[list[str]]:
        """As they stand, whatever the weather."""
        self.weather.share, share = 0.0, self.weather.share
        [found] = await self.sheet.read([f"'{tab}'!A2:Z"])
        self.weather.share = share
        return found

    async def done(self) -> bool:
        """Whether every contact has its answer and every campaign went to every reader."""
        results = dict(row[:2] for row in await self.rows(console.IMPORT_RESULTS))
        states = {row[0]: row[1] for row in await self.rows(console.RESULTS) if len(row) > 1}
        return results.keys() == CONTACTS.keys() and states == dict.fromkeys(CAMPAIGNS, "completed")


@contextmanager
def rig(world: World, place: Path, seed: int = 0, quota: int = 60) -> Iterator[Rig]:
    weather = Weather(seed)
    with emulated(place / "google", place / "templates", write_quota=quota, front=weather.around) as twin:
        yield Rig(world, twin, weather)


@pytest.fixture(autouse=True)
def _impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow on purpose is not waited for; where nothing is, a busy machine may take its time."""
    if "storm" in request.node.name or "each_fault" in request.node.name:
        monkeypatch.setattr(google_rest, "TIMEOUT", 1.0)


SHARE, TICKS = 0.45, 5


@pytest.mark.parametrize("seed", range(int(os.environ.get("SHEET_STORMS", "1"))))
async def test_a_storm_loses_nobody_and_mails_nobody_twice(world: World, tmp_path: Path, seed: int) -> None:
    with rig(world, tmp_path, seed) as bad:
        await bad.fill()
        bad.weather.share = SHARE
        await bad.ticks(TICKS, bad.launch(), bad.sync())
        assert sum(bad.weather.met.values()) - bad.weather.met[""] > 10
        assert await bad.done()
        assert bad.mailbox.taken == Counter((id, reader) for id in CAMPAIGNS for reader in READERS)
        answers = [(row[0], row[1].partition(":")[0]) for row in await bad.rows(console.IMPORT_RESULTS)]
        assert sorted(id for id, _ in answers) == list(CONTACTS), "one answer each"
        assert {id for id, answer in answers if answer == "Rejected"} == {"I-0003"}
        for address in ("x@example.com", "y@example.com", "z@example.com"):
            consents = await world.all(f"{world.paths.subscriber(world.sid(address))}/consents")
            assert len(consents) == 1, "answered again or not, it is one consent"


async def test_without_a_second_attempt_the_storm_loses_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig(world, tmp_path) as bad:
        await bad.fill()
        monkeypatch.setattr(google_rest, "ATTEMPTS", 1)
        monkeypatch.setattr(google_rest, "PATIENCE", 0.0)
        bad.weather.share = SHARE
        assert await bad.ticks(TICKS, bad.launch(), bad.sync()) > 0
        assert not await bad.done()


async def test_each_fault_alone_costs_an_attempt_and_no_more(world: World, tmp_path: Path) -> None:
    with rig(world, tmp_path) as bad:
        await bad.fill()
        for fault in ("429", "500", "503", "reset", "lost", "cut", "half", "slow"):
            bad.weather.faults, bad.weather.share, bad.weather.most = (fault,), 1.0, 1
            assert await bad.sheet.read(["Campaigns!A2:A"]) == [[[id] for id in CAMPAIGNS]], fault
            assert bad.weather.met[fault] == 1
            bad.weather.most = 2
            assert [file.name for file in await bad.drive.list("templates")] == ["confirm.md", "letter.md", "welcome.md"], fault
            assert bad.weather.met[fault] == 2


async def outages(bad: Rig) -> list[str]:
    return [row[1] for row in await bad.rows(console.ACTIVITY) if "did not answer" in row[1]]


async def test_an_outage_is_told_once_when_it_is_over(world: World, tmp_path: Path) -> None:
    with rig(world, tmp_path) as bad:
        await bad.fill()
        first, second = bad.sync(), bad.sync()  # two processes of the step take turns
        bad.weather.faults, bad.weather.share = ("503",), 1.0
        assert await bad.ticks(2, first) + await bad.ticks(1, second) == 3
        bad.weather.share = 0.0
        await bad.ticks(3, second, first)
        assert await outages(bad) == ["Google Sheets did not answer for 3 minutes; caught up at 09:03."]
        await bad.ticks(1, bad.sync())
        assert len(await outages(bad)) == 1, "another process has nothing to tell"
        bad.weather.share = 1.0
        await bad.ticks(1, first)
        bad.weather.share = 0.0
        await bad.ticks(1, bad.sync())
        assert len(await outages(bad)) == 2, "another outage is told"


IDS = [f"C-{n:04d}" for n in range(1, 201)]


async def test_two_hundred_campaigns_changing_at_once_stay_below_the_quota(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig(world, tmp_path) as bad:
        await bad.fill()
        sync, meter = bad.sync(), bad.twin.google.meter
        await sync.handle()
        data = {"kind": "campaign", "state": "draft", "active": False, "answer": "Draft."}
        await world.store.write_many([Create(world.paths.campaign(id), data) for id in IDS])
        while meter.writes < meter.write_quota - 1:  # somebody else has used up most of this minute's
            meter.write()
        began, before = bad.now(), meter.writes
        with monkeypatch.context() as control:
            control.setattr(google_rest, "PATIENCE", 0.0)
            with pytest.raises(Unavailable, match="429 Quota exceeded"):
                await sync.handle()
            assert await bad.rows(console.RESULTS) == [], "without waiting they are lost"
        await sync.handle()
        assert meter.writes - before <= 5, "many campaigns are one write"
        assert meter.refused > 1 and bad.now() - began > 30, "what the minute did not hold waited for the next"
        assert [row[:3:2] for row in await bad.rows(console.RESULTS)] == [[id, "Draft."] for id in IDS]


async def test_a_client_that_writes_each_row_by_itself_loses_most_of_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google_rest, "PATIENCE", 0.0)
    with rig(world, tmp_path, quota=10) as bad:
        for n in range(1, 31):
            try:
                await bad.sheet.write({f"Sheet1!A{n}": [["Draft."]]})
            except Unavailable:
                continue
        [found] = await bad.sheet.read(["Sheet1!A1:A30"])
        assert len(found) == 10
