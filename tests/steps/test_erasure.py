"""A person who is erased is gone everywhere and stays gone; 1,000 of them, with every trace that the steps leave, prove it byte by byte."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from functions.launch import testing
from functions.privacy import erasures
from functions.privacy.files import Files
from functions.sync_sheet import erased
from functions.sync_sheet.handler import SyncSheet
from ops.export import name_of, segment
from ops.export import write as write_csv
from shared import contention
from shared.adapters import sqlite_file
from shared.adapters.sqlite_file import SqliteFile
from shared.errors import Conflict, NotFound, Unavailable
from shared.model import batch, suppression
from shared.model.erasure import LINGER, erase
from shared.model.event import Event
from shared.model.paths import CONFIRM, WELCOME
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.paging import every
from shared.ports import Create, File, Merge

from .fakes import DAY, HOUR, NOW, Died, FaultyStore, nth
from .world import World

ADA = "ada@example.com"
TOMB: Final = {"suppressed": ["erased"], "segments": []}


# --- one person -------------------------------------------------------------------------------------------------------


async def erased_at(world: World, address: str = ADA, at: int = NOW) -> str:
    await erase(world.store, world.paths, world.sid(address), "mail of C-0001", at)
    return world.sid(address)


async def test_what_is_left_of_a_reader_is_a_tombstone(world: World) -> None:
    await world.add(ADA, name="Ada", tags=["tea"], wanted={"name": "Ada"}, located={"city": "Lisbon"}, soft={"01": NOW})
    sid = world.sid(ADA)
    told = {"unsubscribed_at": NOW - 5, "unsubscribed_sources": ["mail of C-0001"]}
    held = Create(world.paths.suppression(sid), {"reasons": ["unsubscribed"], **told, "why": "too many"})
    await world.store.commit([held, Merge(world.paths.subscriber(sid), {"suppressed": ["unsubscribed"]})])
    await erased_at(world)
    assert await world.data(world.paths.subscriber(sid)) == {"suppressed": ["erased", "unsubscribed"], "segments": []}
    assert await world.data(world.paths.suppression(sid)) == {
        "reasons": ["erased", "unsubscribed"],
        **told,
        "erased_at": NOW,
        "erased_sources": ["mail of C-0001"],
    }
    assert await world.data(world.paths.erasure(sid)) == {"at": NOW, "due": NOW, "cursor": "", "files": [], "told": False}


@pytest.mark.parametrize("reason", ["complaint", "hard_bounce"])
async def test_a_reason_that_is_never_lifted_stays_beside(world: World, reason: Any) -> None:
    await world.add(ADA)
    await world.store.commit(suppress(world.paths, world.sid(ADA), reason, "mail of C-0001", NOW))
    sid = await erased_at(world)
    for path, name in ((world.paths.subscriber(sid), "suppressed"), (world.paths.suppression(sid), "reasons")):
        assert (await world.data(path))[name] == [reason, "erased"]
    found = await world.store.get(world.paths.subscriber(sid))
    assert found and suppression.settled(world.paths, found) == [], "what is kept is what holds"


async def test_again_changes_nothing_and_later_is_noted(world: World) -> None:
    await world.add(ADA)
    sid = await erased_at(world)
    before = world.versions()
    await erased_at(world)
    assert world.versions() == before
    await erased_at(world, at=NOW + DAY)
    assert (await world.data(world.paths.suppression(sid)))["erased_at"] == NOW + DAY
    assert (await world.data(world.paths.erasure(sid)))["at"] == NOW + DAY


async def test_an_address_that_nobody_knows_is_kept_off_too(world: World) -> None:
    sid = await erased_at(world)
    assert await world.data(world.paths.subscriber(sid)) == TOMB
    assert (await world.data(world.paths.suppression(sid)))["reasons"] == ["erased"]


@pytest.mark.parametrize("fault", ["conflict", "lost", "refused", "died after"])
async def test_whatever_becomes_of_the_reply_the_person_is_gone_in_the_end(world: World, fault: Any) -> None:
    await world.add(ADA)
    sid = world.sid(ADA)
    store = FaultyStore(world.store, nth(0, fault))
    with contextlib.suppress(Unavailable, Died):
        await erase(store, world.paths, sid, "mail of C-0001", NOW)
    await erase(store, world.paths, sid, "mail of C-0001", NOW)
    assert await world.subscriber(ADA) == TOMB


async def test_who_writes_meanwhile_is_not_written_over(world: World) -> None:
    """The write of a complaint comes between our read and our commit."""
    await world.add(ADA)
    sid = world.sid(ADA)

    class Meddled(FaultyStore):
        async def get_many(self, paths: Any, fields: Any = None) -> Any:
            found = await super().get_many(paths, fields)
            if not self.met:
                self.met = True
                await world.store.commit(suppress(world.paths, sid, "complaint", "mail of C-0001", NOW))
            return found

        met = False

    await erase(Meddled(world.store, lambda verb: ""), world.paths, sid, "mail of C-0001", NOW)
    assert (await world.subscriber(ADA))["suppressed"] == ["complaint", "erased"]


async def test_files_that_hold_a_person_are_found_among_any_number_of_sign_ups(world: World) -> None:
    """Strangers make as many as they like, with ids before those of imports and behind."""
    sid = world.sid(ADA)
    ids = [*(f"{n:016x}" for n in range(400)), *(f"f{n:015x}" for n in range(400))]
    sign_ups = [Create(world.paths.consent(sid, id), {"page": "https://x.example/subscribe"}) for id in ids]
    files = [
        Create(world.paths.consent(sid, f"import-{n:012x}"), {"page": f"imports/{name}"})
        for n, name in enumerate(("list.csv", "x.csv"))
    ]
    await world.store.write_many([*sign_ups, *files, Create(world.paths.consent(sid, "import-ff"), {"page": "Import tab"})])
    await erased_at(world)
    assert (await world.data(world.paths.erasure(sid)))["files"] == ["list.csv", "x.csv"]


async def test_somebody_whose_document_is_contended_keeps_no_other_erasure_waiting(world: World) -> None:
    people = sorted((ADA, "bob@example.com", "eve@example.com"), key=world.sid)
    for address in people:
        await world.add(address)
        sid = await erased_at(world, address)
        await world.store.commit([Merge(world.paths.subscriber(sid), {"engaged_at": NOW})])

    class Contended(FaultyStore):
        async def commit(self, writes: Any) -> Any:
            if writes[0].path == world.paths.subscriber(world.sid(people[0])):
                raise Conflict(writes[0].path, "version")
            return await super().commit(writes)

    await world.privacy(Contended(world.store, lambda verb: "")).handle()
    found = [(await world.data(world.paths.erasure(world.sid(address))))["due"] for address in people]
    assert found == [NOW, NOW + LINGER, NOW + LINGER]


async def test_who_waits_for_the_sheet_is_looked_for_no_more_and_takes_no_new_export(world: World) -> None:
    for n in range(20):
        await world.campaign(f"C-{n:04d}")
    await world.add(ADA)
    sid = await erased_at(world)
    await world.privacy().handle()
    world.clock.advance(LINGER)
    await world.privacy().handle()
    await world.objects.put(name_of("t", "everyone", world.clock.now()), b"bob@example.com")
    asked: list[str] = []

    class Told(FaultyStore):
        async def page(self, collection: str, *args: Any, **named: Any) -> Any:
            asked.append(collection)
            return await super().page(collection, *args, **named)

    world.clock.advance(erasures.AGAIN)
    await world.privacy(Told(world.store, lambda verb: "")).handle()
    assert not [one for one in asked if "/campaigns/C-" in one], "it costs three reads, and not one for each campaign"
    assert await world.objects.list("exports/") != [], "what was exported since holds nobody who was erased before"
    await erased_at(world, at=world.clock.now())  # again: then it all is
    await world.privacy(Told(world.store, lambda verb: "")).handle()
    assert [one for one in asked if "/campaigns/C-" in one] and await world.objects.list("exports/") == []
    assert (await world.data(world.paths.erasure(sid)))["told"] is False


async def test_a_store_that_always_conflicts_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "BUDGET", 0.0)
    await world.add(ADA)

    class Contended(FaultyStore):
        async def commit(self, writes: Any) -> Any:
            raise Conflict(writes[0].path, "version")

    with pytest.raises(Unavailable):
        await erase(Contended(world.store, lambda verb: ""), world.paths, world.sid(ADA), "x", NOW)
    assert (await world.subscriber(ADA))["address"] == ADA


async def test_what_a_sign_up_of_after_the_erasure_asks_for_stays(world: World) -> None:
    await world.add(ADA)
    sid, later = await erased_at(world), NOW + 60_000
    await world.store.commit(
        [
            Merge(
                world.paths.subscriber(sid),
                {"asked": ADA, "asked_at": later, "wanted": {"tags": []}, "created_at": later, "opens": {"01": 1}},
            ),
            Create(world.paths.consent(sid, "old"), {"at": NOW - 1}),
            Create(world.paths.consent(sid, "new"), {"at": later}),
            Create(world.paths.batch(CONFIRM, f"{sid}.1"), batch.single(sid, "old", NOW - 1)),
            Create(world.paths.batch(CONFIRM, f"{sid}.2"), batch.single(sid, "new", later)),
            Create(world.paths.delivery(CONFIRM, f"{sid}.1"), {"delivered_at": NOW - 1}),
            Create(world.paths.delivery(CONFIRM, f"{sid}.2"), {"delivered_at": later}),
            Create(world.paths.delivery("C-0001", sid), {"opened_at": later + 1}),
            Create(world.paths.campaign("C-0001"), {"state": "running"}),
        ]
    )
    await world.privacy().handle()
    assert await world.subscriber(ADA) == TOMB | {"asked": ADA, "asked_at": later, "wanted": {"tags": []}, "created_at": later}
    assert [found.id for found in await world.all(world.paths.consents(sid))] == ["new"]
    assert [found.id for found in await world.all(world.paths.batches(CONFIRM))] == [f"{sid}.2"]
    assert [found.id for found in await world.all(world.paths.deliveries(CONFIRM))] == [f"{sid}.2"]
    assert await world.all(world.paths.deliveries("C-0001")) == []


async def test_who_comes_back_before_the_rest_is_done_keeps_what_is_new(world: World) -> None:
    """The confirmation takes the suppression away: the note of the erasure stands apart from it."""
    await world.add(ADA)
    sid, later = await erased_at(world), NOW + 60_000
    await world.store.commit(
        [Create(world.paths.consent(sid, "old"), {"at": NOW}), Create(world.paths.consent(sid, "new"), {"at": later})]
    )
    fresh = {"address": ADA, "status": "confirmed", "confirmed_at": later, "suppressed": [], "segments": ["everyone"]}
    await world.store.commit([Merge(world.paths.subscriber(sid), fresh)])
    await world.privacy().handle()
    assert await world.subscriber(ADA) == fresh
    assert [found.id for found in await world.all(world.paths.consents(sid))] == ["new"]


async def test_the_note_goes_when_the_sheet_has_heard_and_an_hour_is_over(world: World) -> None:
    await world.add(ADA)
    sid = await erased_at(world)
    note = world.paths.erasure(sid)
    await world.privacy().handle()
    assert (await world.data(note))["due"] == NOW + LINGER
    world.clock.advance(LINGER)
    await world.privacy().handle()
    assert (await world.data(note))["due"] == NOW + LINGER + erasures.AGAIN, "the Sheet has not heard of it"
    await world.sync_sheet().handle()
    world.clock.advance(erasures.AGAIN)
    await world.privacy().handle()
    assert await world.data(note) == {}


async def test_a_run_that_runs_out_of_time_goes_on_where_it_was(world: World) -> None:
    campaigns = [f"C-{n:04d}" for n in range(3 * erasures.AT_ONCE)]
    await world.add(ADA)
    sid = world.sid(ADA)
    await world.store.write_many([Create(world.paths.campaign(id), {"state": "completed"}) for id in campaigns])
    await world.store.write_many([Create(world.paths.delivery(id, f"{sid}.r1"), {"opened_at": 1}) for id in campaigns])
    await erased_at(world)

    async def left() -> int:
        return sum([await world.store.count(world.paths.deliveries(id)) for id in campaigns])

    class Slow(FaultyStore):
        async def _call(self, verb: str, work: Any, path: str = "") -> Any:
            world.clock.advance(1)
            return await super()._call(verb, work, path)

    counts = [await left()]
    while counts[-1] and len(counts) < 20:
        step = replace(world.privacy(Slow(world.store, lambda verb: "")), budget=30)
        await step.handle()
        counts.append(await left())
    assert counts[-1] == 0 and len(counts) > 3 and counts == sorted(counts, reverse=True)


async def test_late_events_leave_nothing_for_longer_than_a_day(world: World) -> None:
    await world.add(ADA)
    await world.campaign()
    sid = await erased_at(world)
    for _ in range(2):
        await world.privacy().handle()
        await world.sync_sheet().handle()
        world.clock.advance(LINGER)
    assert await world.data(world.paths.erasure(sid)) == {} and await world.subscriber(ADA) == TOMB
    ref = MailRef("C-0001", sid).text
    for event in (
        Event("clicked", ref, NOW + 9, label="human", link=1, country="PT", city="Lisbon"),
        Event("delivered", ref, NOW + 9),
        Event("bounced", ref, NOW + 9, counts=True),
    ):
        await world.record().handle(event.to_message())
    assert set(await world.subscriber(ADA)) > {"located", "engaged", "soft", "delivered_at"}
    assert await world.all(world.paths.deliveries("C-0001"))
    world.clock.advance(DAY)
    await world.privacy().handle()
    await world.privacy().handle()
    assert await world.subscriber(ADA) == TOMB
    assert await world.all(world.paths.deliveries("C-0001")) == [] and await world.data(world.paths.erasure(sid)) == {}


# --- a thousand people ------------------------------------------------------------------------------------------------

MARK: Final = "zq7x"
DOMAIN: Final = "Erase-Me.example"
_FOUND = re.compile(rb"p(\d{4})\." + MARK.encode())
_INSIDE = re.compile(rb"[A-Za-z0-9+/=_-]{24,}")


def address(n: int) -> str:
    return f"p{n:04d}.{MARK}@{DOMAIN.lower()}"


class Folder:
    """A Drive folder with one CSV file to import."""

    def __init__(self, rows: list[str]) -> None:
        self.data = "\n".join(["Email,Name,Consent source", *rows]).encode()

    async def list(self, folder: str) -> list[File]:
        md5 = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        return (
            [File("id", "people.csv", "text/csv", "1", "2027-01-01T00:00:00Z", md5, len(self.data), "imports")]
            if self.data
            else []
        )

    async def download(self, file: str) -> bytes:
        return self.data

    async def edited(self, file: str) -> tuple[str, str]:
        raise NotFound(file)


class Town:
    """The world with people in it, and what can be searched of it. Of ten, six were pasted, two came in a file, two signed up."""

    def __init__(self, world: World, root: Path, logs: Callable[[], str], people: int) -> None:
        self.world, self.root, self.logs, self.people = world, root, logs, people
        self.pasted, self.filed = 6 * people // 10, 8 * people // 10
        self.drive = Folder([f"{address(n)},Name {n},fair" for n in range(self.pasted, self.filed)])
        self.sheet: SyncSheet = replace(world.sync_sheet(), drive=self.drive, folder="folder")
        self.sids = [world.sid(address(n)) for n in range(people)]

    async def found(self) -> set[int]:
        """Whose addresses are anywhere, in whatever spelling: files of the store and Objects, the Sheet, the queue, the log."""
        places = [path.read_bytes() for path in self.root.rglob("*") if path.is_file()]
        places += [json.dumps(what).encode() for what in (self.world.sheet.tabs, self.world.bus.messages)]
        places.append(self.logs().encode())
        return {int(n) for place in places for n in numbers(place)}

    async def lived(self) -> None:
        """Every trace that the steps leave of a reader."""
        world = self.world
        await self.sheet.handle()
        world.sheet.tabs["Import"][1:] = [
            [f"I-{n:04d}", address(n).upper(), f"Name {n}", "", "tea", "fair"] for n in range(self.pasted)
        ]
        for n in range(0, self.pasted - 1, 5):  # what the import refuses, and what people note beside a row
            odd = [
                f"Name {n} <{address(n)}>",
                f"mailto:{address(n)}",
                f"{address(n)}; {address(n + 1).upper()}",
                f"{address(n)} (old)",
            ]
            world.sheet.tabs["Import"].append(
                [f"K-{n:04d}", odd[n % 4], address(n), "", f"of {address(n)}", f"told by {address(n + 1)}"]
            )
        await self.sheet.handle()
        for n in range(self.filed, self.people):
            await self._signed_up(n)
        await world.system("confirm", "welcome")
        await self._mailed()
        await self._exported()

    async def _signed_up(self, n: int) -> None:
        world, sid, day = self.world, self.sids[n], NOW // DAY
        wanted = {"consent": "c1", "name": f"Name {n}", "at": NOW, "tags": []}
        await world.store.commit(
            [
                Create(
                    world.paths.consent(sid, "c1"), {"at": NOW, "kind": "sign-up", "requested": {"name": f"Name {n}", "tags": []}}
                ),
                Merge(world.paths.subscriber(sid), {"asked": address(n), "asked_at": NOW, "wanted": wanted, "created_at": NOW}),
                Create(world.paths.batch(CONFIRM, f"{sid}.{day}"), batch.single(sid, "c1", NOW)),
                Create(world.paths.batch(WELCOME, f"{sid}.c1"), batch.single(sid, "c1", NOW)),
                Create(world.paths.delivery(CONFIRM, f"{sid}.{day}"), {"delivered_at": NOW}),
            ]
        )
        if n % 2:
            fresh = {"address": address(n), "status": "confirmed", "confirmed_at": NOW, "segments": ["everyone"]}
            await world.store.commit([Merge(world.paths.subscriber(sid), fresh)])

    async def _mailed(self) -> None:
        world = self.world
        world.clock.advance(1)
        await world.campaign("C-0001")
        await world.send_batch().handle({"campaign": "C-0001", "batch": "000000"})
        assert len(world.sender.accepted) == 9 * self.people // 10
        for n in range(0, self.people, 3):
            ref = MailRef("C-0001", self.sids[n]).text
            for event in (
                Event("delivered", ref, NOW),
                Event("clicked", ref, NOW, label="human", link=1, country="PT", city="Lisbon"),
            ):
                await world.record().handle(event.to_message())
        plan = {"name": "letter", **(await world.frozen("letter", "C-0001"))}
        readers = [testing.Reader(address(n), testing.made_up("en"), known=False) for n in range(5)]
        await world.store.commit(testing.mails(world.paths, "C-0001", plan, readers, ["smtp"], NOW))
        for found in await world.all("tenants/t/tests/mails/campaigns/test/batches"):
            await world.store.commit([Merge(found.path, {"state": "done"})])

    async def _exported(self) -> None:
        world, file = self.world, BytesIO()
        assert await write_csv(segment(world.store, world.paths, "everyone", NOW), file) == 9 * self.people // 10
        await world.objects.put(name_of("t", "everyone", NOW), file.getvalue())
        spelled = [quote(address(1), safe=""), base64.b64encode(b"to:" + address(2).encode()).decode(), address(3).upper()]
        await world.objects.put("callbacks/unknown/esp/abc", json.dumps(spelled).encode())

    async def erased(self) -> None:
        for sid in self.sids:
            await erase(self.world.store, self.world.paths, sid, "mail of C-0001", self.world.clock.now())
        self.drive.data = b""  # what the Dashboard asks its owner to do

    async def settled(self) -> None:
        """Ticks until nothing is left to do."""
        for _ in range(4):
            await self.sheet.handle()
            await self.world.privacy().handle()
            self.world.clock.advance(HOUR)
        await asyncio.sleep(2.5 * sqlite_file.IDLE)

    async def returned(self) -> None:
        """Everything that could bring them back: imports, a CRM's list, callbacks, sends."""
        world = self.world
        world.sheet.tabs["Import"][1:] = [
            [f"J-{n:04d}", address(n), f"Name {n}", "", "tea", "CRM"] for n in range(self.people // 2)
        ]
        self.drive.data = Folder([f"{address(n).upper()},Name {n},CRM" for n in range(self.people // 2, self.people)]).data
        await self.sheet.handle()
        self.drive.data = b""
        for n in range(0, self.people, 5):
            ref, again = MailRef("C-0001", self.sids[n]).text, MailRef("C-0001", self.sids[n], "r1").text
            for event in (
                Event("clicked", ref, NOW + 9, label="human", country="PT", city="Lisbon"),
                Event("bounced", ref, NOW + 9, hard=n % 2 > 0, counts=n % 2 == 0),
                Event("delivered", again, NOW + 9),
            ):
                await world.record().handle(event.to_message())
        world.sender.accepted.clear()
        await world.campaign("C-0002")
        await world.send_batch().handle({"campaign": "C-0002", "batch": "000000"})
        for n in range(0, self.people, 10):
            for campaign, name in ((CONFIRM, f"{self.sids[n]}.{NOW // DAY}"), (WELCOME, f"{self.sids[n]}.c1")):
                await world.send_batch().handle(batch.request(campaign, name, "c1"))


def numbers(place: bytes) -> Iterator[bytes]:
    """The numbers of those whose address is in there: as it is, in any case, and inside of base64."""
    yield from _FOUND.findall(place.lower())
    for run in _INSIDE.findall(place):
        for start in range(4):
            part = run[start : start + (len(run) - start) // 4 * 4].replace(b"-", b"+").replace(b"_", b"/")
            try:
                yield from _FOUND.findall(base64.b64decode(part + b"=" * (-len(part) % 4)).lower())
            except ValueError:
                continue


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[int], Town]]:
    """A town of so many people."""
    monkeypatch.setattr(sqlite_file, "IDLE", 0.1)
    told: list[str] = []

    def logs() -> str:
        told.append("".join(capsys.readouterr()))
        return "".join(told)

    with contextlib.ExitStack() as opened:

        def make(people: int) -> Town:
            world = World.on(tmp_path / "state")
            opened.callback(world.store.close)
            world.sender.window = 50
            return Town(world, tmp_path, logs, people)

        yield make


async def test_a_thousand_people_are_gone_to_the_last_byte_and_stay_away(town: Callable[[int], Town]) -> None:
    thousand = town(1000)
    await thousand.lived()
    assert await thousand.found() == set(range(1000)), "the search finds them all"
    await thousand.erased()
    await thousand.settled()
    assert await thousand.found() == set()
    world = thousand.world
    for campaign in (CONFIRM, WELCOME):
        assert await world.store.count(world.paths.batches(campaign)) == 0
    await thousand.returned()
    world.clock.advance(DAY)
    await thousand.settled()
    assert world.sender.accepted == [], "0 mails"
    assert await thousand.found() == set()
    people = [found async for found in every(world.store, world.paths.subscribers)]
    assert len(people) == await world.store.count(world.paths.suppressions) == 1000
    for found in people:
        assert set(found.data) == {"suppressed", "segments"} and "erased" in found.data["suppressed"]
    for collection in (world.paths.erasures, world.paths.deliveries("C-0001")):
        assert await world.store.count(collection) == 0, collection
    assert "its owner had it erased" in json.dumps(world.sheet.tabs)


async def _left(*_: Any, **__: Any) -> Counter[str]:
    return Counter()


async def _same(sheet: Any, tab: Any, find: Any) -> Any:
    return tab


CONTROLS: Final[dict[str, set[int]]] = {  # what is left out -> whom the search then finds, of a hundred
    "tombstones": set(range(100)),
    "the Import tab": set(range(60)),
    "exports, callbacks and test mails": {*range(80), *range(81, 100, 2)},
    "the remains on the disk": set(),
}


@pytest.mark.parametrize("control", CONTROLS)
async def test_the_search_misses_no_place(town: Callable[[int], Town], monkeypatch: pytest.MonkeyPatch, control: str) -> None:
    """With one of the deletions left out, those of that place are found."""
    match control:
        case "tombstones":
            monkeypatch.setattr("shared.model.erasure.Replace", Merge)
            monkeypatch.setattr(erasures, "cleaned", lambda data, at: None)
        case "the Import tab":
            monkeypatch.setattr(erased, "blank", _same)
        case "exports, callbacks and test mails":
            monkeypatch.setattr(Files, "with_addresses", _left)
        case _:
            monkeypatch.setattr(sqlite_file, "SECURE", "PRAGMA secure_delete = OFF")
            monkeypatch.setattr(SqliteFile, "wipe", staticmethod(lambda connection: None))
    hundred = town(100)
    await hundred.lived()
    await hundred.erased()
    await hundred.settled()
    found = await hundred.found()
    assert found and (found == CONTROLS[control] or not CONTROLS[control])
