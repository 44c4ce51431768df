"""What goes by its age: unconfirmed sign-ups, deliveries, exports, test mails. And what the Sheet says of who was erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.privacy import sign_ups
from functions.privacy.deliveries import QUIET, Deliveries
from functions.privacy.files import EXPORTS_KEPT, STUCK, TESTS_KEPT, exported
from functions.privacy.handler import BUDGET
from functions.privacy.main import Config
from functions.privacy.sign_ups import KEPT
from functions.report.handler import Report
from functions.sync_sheet import erased, imports, tabs
from local import stacks
from local.steps import STEPS, subscriptions
from ops.erase import run as erase_by_hand
from ops.export import name_of, segment
from shared import config
from shared.adapters.embedded import FolderObjects
from shared.errors import BadInput, ConfigError, Unavailable
from shared.model import batch, campaign, erasure, marks
from shared.model.erasure import erase
from shared.model.event import Event
from shared.model.paths import CONFIRM, SYSTEM, TEST, WELCOME, MailTests
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Merge, Write

from .fakes import DAY, HOUR, NOW, FaultyStore
from .test_imports import Folder, notices, pasted, shown, step, told
from .world import World

ADA, BOB = "ada@example.com", "bob@example.com"


def slow(world: World) -> FaultyStore:
    """Each call takes a millisecond."""

    class Slow(FaultyStore):
        async def _call(self, verb: str, work: Any, path: str = "") -> Any:
            world.clock.advance(1)
            return await super()._call(verb, work, path)

    return Slow(world.store, lambda verb: "")


# --- sign-ups ---------------------------------------------------------------------------------------------------------


async def asked(world: World, address: str, at: int, /, **fields: Any) -> str:
    """A sign-up of that moment."""
    sid = world.sid(address)
    data = {"asked": address, "asked_at": at, "wanted": {"name": "A"}, "created_at": at, **fields}
    consent = Create(world.paths.consent(sid, f"c{at}"), {"at": at, "requested": {"name": "A"}})
    await world.store.commit([Merge(world.paths.subscriber(sid), data), consent])
    return sid


async def test_a_sign_up_that_nobody_confirms_goes_after_thirty_days(world: World) -> None:
    sid = await asked(world, ADA, NOW)
    await asked(world, BOB, NOW + 1)
    world.clock.advance(KEPT - 1)
    await world.privacy().handle()
    assert await world.subscriber(ADA)
    world.clock.advance(1)
    await world.privacy().handle()
    assert await world.subscriber(ADA) == {} and await world.all(world.paths.consents(sid)) == []
    assert (await world.subscriber(BOB))["asked"] == BOB


async def test_a_confirmed_reader_loses_only_what_a_later_sign_up_asked(world: World) -> None:
    sid = await asked(world, ADA, NOW, address=ADA, status="confirmed", tags=["tea"], segments=["everyone", "tea"])
    world.clock.advance(KEPT)
    await world.privacy().handle()
    left = {"address": ADA, "status": "confirmed", "tags": ["tea"], "segments": ["everyone", "tea"], "created_at": NOW}
    assert await world.subscriber(ADA) == left
    assert len(await world.all(world.paths.consents(sid))) == 1, "what they agreed to before is evidence"


async def test_of_a_suppressed_sign_up_the_reasons_stay(world: World) -> None:
    sid = await asked(world, ADA, NOW)
    await world.store.commit(suppress(world.paths, sid, "hard_bounce", "mail of confirm", NOW))
    world.clock.advance(KEPT)
    await world.privacy().handle()
    assert await world.subscriber(ADA) == {"suppressed": ["hard_bounce"], "segments": [], "bounced_at": NOW}


async def test_who_signs_up_again_meanwhile_is_left(world: World) -> None:
    """A new sign-up between the query and the write."""
    await asked(world, ADA, NOW)
    world.clock.advance(KEPT)

    class Meddled(FaultyStore):
        async def page(self, collection: str, *args: Any, **named: Any) -> Any:
            found = await super().page(collection, *args, **named)
            if collection == world.paths.subscribers and not self.met:
                self.met = True
                await asked(world, ADA, world.clock.now())
            return found

        met = False

    await world.privacy(Meddled(world.store, lambda verb: "")).handle()
    assert (await world.subscriber(ADA))["asked_at"] == world.clock.now()
    assert [found.id for found in await world.all(world.paths.consents(world.sid(ADA)))] == [f"c{world.clock.now()}"]


async def test_more_sign_ups_than_a_page_and_a_run_that_runs_out_of_time(world: World) -> None:
    many = 2 * sign_ups.MOST + 3
    for n in range(many):
        await asked(world, f"p{n}@example.com", NOW + n)
    world.clock.advance(KEPT + many)

    await replace(world.privacy(slow(world)), budget=100).handle()
    assert 0 < await world.store.count(world.paths.subscribers) < many
    await world.privacy().handle()
    assert await world.store.count(world.paths.subscribers) == 0


# --- deliveries -------------------------------------------------------------------------------------------------------


async def ended(world: World, id: str = "C-0001") -> list[str]:
    """A campaign that has ended, with deliveries and its report."""
    await world.add(ADA, BOB)
    await world.campaign(id)
    await world.send_batch().handle({"campaign": id, "batch": "000000"})
    for address in (ADA, BOB):
        ref = MailRef(id, world.sid(address)).text
        await world.record().handle(Event("opened", ref, NOW, label="human").to_message())
    over = {
        "state": "completed",
        "active": False,
        "answered_at": NOW,
        "totals": await campaign.progress(world.store, world.paths, id),
    }
    await world.store.commit([Merge(world.paths.campaign(id), over), marked(world, id)])
    world.clock.advance(marks.WINDOW + marks.SLACK + 1)
    await Report(world.store, world.clock, world.paths).handle()
    return [found.id for found in await world.all(world.paths.deliveries(id))]


def marked(world: World, id: str) -> Write:
    return marks.mark(world.paths, id, marks.EVERY, marks.window(world.clock.now()))


async def results(world: World, id: str = "C-0001") -> list[Any]:
    found = await world.store.get(world.paths.campaign(id))
    assert found
    return await tabs.result(world.store, world.paths, tabs.Tally(0), found, "UTC", [], world.clock.now())


async def test_deliveries_go_two_years_after_the_end_and_the_sums_stay(world: World) -> None:
    assert len(await ended(world)) == 2
    report, row = await world.data(world.paths.report("C-0001")), await results(world)
    assert report["rows"] and 2 in row
    world.clock.time = NOW + 730 * DAY - 1
    await world.privacy().handle()
    assert "purged_at" not in await world.data(world.paths.campaign("C-0001"))
    world.clock.time += DAY
    await world.privacy().handle()
    assert await world.store.count(world.paths.deliveries("C-0001")) == 2, "report may be at it"
    world.clock.advance(QUIET)
    await world.privacy().handle()
    assert await world.store.count(world.paths.deliveries("C-0001")) == 0
    assert await results(world) == row
    ref = MailRef("C-0001", world.sid(ADA)).text  # a late click, and all the ranges marked
    await world.record().handle(Event("clicked", ref, world.clock.now(), label="human").to_message())
    await world.store.commit([marked(world, "C-0001")])
    world.clock.advance(HOUR)
    await Report(world.store, world.clock, world.paths).handle()
    assert await world.data(world.paths.report("C-0001")) == report and await results(world) == row
    world.clock.advance(DAY)
    await world.privacy().handle()
    assert await world.store.count(world.paths.deliveries("C-0001")) == 0, "the late one, too"


async def test_for_ever_and_while_it_runs_deliveries_stay(world: World) -> None:
    await ended(world)
    world.clock.advance(5000 * DAY)
    await world.privacy(retention=0).handle()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"active": True})])
    for _ in range(2):
        await world.privacy().handle()
        world.clock.advance(DAY)
    assert await world.store.count(world.paths.deliveries("C-0001")) == 2


async def test_many_deliveries_go_a_part_a_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await ended(world)
    await world.store.write_many([Create(world.paths.delivery("C-0001", f"{n:032x}"), {"labels": []}) for n in range(1000)])
    world.clock.time = NOW + 731 * DAY
    await world.privacy().handle()
    world.clock.advance(QUIET)

    left = [1002]
    while left[-1]:
        await replace(world.privacy(slow(world)), budget=8).handle()
        left.append(await world.store.count(world.paths.deliveries("C-0001")))
        assert len(left) < 20
    assert len(left) > 2 and left == sorted(left, reverse=True)


async def test_a_day_is_looked_at_once(world: World) -> None:
    """The looks at all campaigns and at all who were erased cost a read each when they are done."""
    await ended(world)
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.privacy().handle()
    seen: list[str] = []

    class Watched(FaultyStore):
        async def page(self, collection: str, *args: Any, **named: Any) -> Any:
            seen.append(collection)
            return await super().page(collection, *args, **named)

    await world.privacy(Watched(world.store, lambda verb: "")).handle()
    assert world.paths.campaigns not in seen and world.paths.suppressions not in seen


# --- mails of the system's own, whose campaigns never end -------------------------------------------------------------


async def heard(world: World, at: int, address: str = ADA, key: str = "d", campaigns: Sequence[str] = SYSTEM) -> None:
    """A mail of each of these campaigns was delivered at that moment."""
    for name in campaigns:
        event = Event("delivered", MailRef(name, world.sid(address), key).text, at)
        await world.record().handle(event.to_message())


async def noted(world: World) -> list[str]:
    """What is noted of single mails: "confirm d" …"""
    found = [(name, one.id) for name in SYSTEM for one in await world.all(world.paths.deliveries(name))]
    return [f"{name} {id.partition('.')[2]}" for name, id in found]


async def test_what_is_noted_of_single_mails_goes_by_its_own_time(world: World) -> None:
    await heard(world, NOW, key="old")
    await heard(world, NOW + DAY, key="new")
    world.clock.time = NOW + 730 * DAY - 1
    await world.privacy().handle()
    assert len(await noted(world)) == 8
    world.clock.time = NOW + 731 * DAY - 1
    await world.privacy().handle()
    assert await noted(world) == [f"{name} new" for name in SYSTEM]


async def test_whatever_comes_first_the_first_time_decides(world: World) -> None:
    """A click two years later keeps nothing, and neither does a delivery that is told after it."""
    early, late = NOW, NOW + 700 * DAY
    for key, times in (("a", (early, late)), ("b", (late, early))):
        for at in times:
            await heard(world, at, key=key, campaigns=[WELCOME])
    assert [one.data["first_at"] for one in await world.all(world.paths.deliveries(WELCOME))] == [NOW, NOW]
    world.clock.time = NOW + 730 * DAY
    await world.privacy().handle()
    assert await noted(world) == []


async def test_single_mails_stay_for_ever_where_that_is_wanted(world: World) -> None:
    await heard(world, NOW)
    world.clock.advance(5000 * DAY)
    await world.privacy(retention=0).handle()
    assert len(await noted(world)) == 4


async def test_a_delivery_of_a_campaign_waits_for_its_end(world: World) -> None:
    await heard(world, NOW, key="r1", campaigns=["C-0001"])
    [one] = await world.all(world.paths.deliveries("C-0001"))
    assert one.data == {"labels": ["delivered"], "delivered_at": NOW}


async def test_many_single_mails_go_a_part_a_run(world: World) -> None:
    """Several pages of two campaigns. A run that ends in the middle leaves the day open."""
    old = [
        Create(world.paths.delivery(one, f"{n:032x}.d"), {"first_at": NOW + n}) for one in (CONFIRM, WELCOME) for n in range(700)
    ]
    young = Create(world.paths.delivery(CONFIRM, f"{9:032x}.e"), {"first_at": NOW + 2 * DAY})
    await world.store.write_many([*old, young])
    world.clock.time = NOW + 731 * DAY
    left = [1401]
    while "single_mails" not in await world.data(world.paths.privacy):
        await replace(world.privacy(slow(world)), budget=13).handle()
        left.append(sum([await world.store.count(world.paths.deliveries(name)) for name in SYSTEM]))
        assert len(left) < 20
    assert len({*left}) > 2 and left == sorted(left, reverse=True)
    assert await noted(world) == ["confirm e"]


async def test_what_the_store_refuses_is_left_to_the_next_run(world: World) -> None:
    await heard(world, NOW)
    world.clock.time = NOW + 731 * DAY
    with pytest.raises(Unavailable):
        await world.privacy(FaultyStore(world.store, lambda verb: "refused" if verb == "write_many" else "")).handle()
    assert len(await noted(world)) == 4
    await world.privacy().handle()
    assert await noted(world) == []


async def test_a_day_asks_once_for_single_mails_and_reads_none_that_is_kept(world: World) -> None:
    await world.store.write_many([Create(world.paths.delivery(CONFIRM, f"{n:032x}.d"), {"first_at": NOW}) for n in range(1000)])
    read: list[tuple[str, int]] = []

    class Watched(FaultyStore):
        async def page(self, collection: str, *args: Any, **named: Any) -> Any:
            found = await super().page(collection, *args, **named)
            read.append((collection, len(found)))
            return found

    for _ in range(3):
        await world.privacy(Watched(world.store, lambda verb: "")).handle()
    assert [one for one in read if one[0].endswith("/deliveries")] == [(world.paths.deliveries(name), 0) for name in SYSTEM]


async def test_the_sheet_says_the_same_without_them(world: World) -> None:
    await ended(world)
    await world.system(CONFIRM, WELCOME)
    await heard(world, NOW)
    await world.sync_sheet().handle()
    before = {tab: shown(world, tab) for tab in ("Results", "Dashboard")}
    assert all(before.values())
    done = await Deliveries(world.store, world.paths, world.clock.now() - NOW).run(world.clock.now(), lambda: False)
    assert done == {"single_deliveries": 4} and await noted(world) == []
    await world.sync_sheet().handle()
    assert {tab: shown(world, tab) for tab in before} == before


async def test_an_erasure_finds_what_is_noted_of_single_mails(world: World) -> None:
    for address in (ADA, BOB):
        await heard(world, NOW, address)
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.privacy().handle()
    found = [one.id for name in SYSTEM for one in await world.all(world.paths.deliveries(name))]
    assert found == [f"{world.sid(BOB)}.d"] * 4


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", ["29", "-1"])
def test_a_retention_that_figures_would_not_survive_is_refused(days: str) -> None:
    given = {"STACK": "google", "TENANT": "t", "PUBLIC_URL": "https://x", "GOOGLE_CLOUD_PROJECT": "p", "K_SERVICE": "privacy"}
    push = {f"PUSH_{name}": "x" for name in ("AUDIENCE", "ISSUER", "EMAIL")} | {"PUSH_AUTH": "iam"}
    assert config.load(Config, given | push | {"RETENTION_DAYS": "0"}).retention_days == 0
    with pytest.raises(ConfigError, match="RETENTION_DAYS"):
        config.load(Config, given | push | {"RETENTION_DAYS": days})


def test_a_run_begins_nothing_when_its_push_is_about_to_be_made_again() -> None:
    """In the twin; of Google tests/terraform asks the same."""
    plan = stacks.Plan(Path(), "", STEPS, subscriptions(""), lambda _: "")
    [own] = [one for one in plan.subscriptions(lambda _: "") if one.name == "privacy"]
    assert own.topic == erasure.TOPIC and 0.8 * own.ack_deadline >= BUDGET / 1000


# --- files and test mails ---------------------------------------------------------------------------------------------


async def test_exports_go_after_thirty_days(world: World) -> None:
    old, new = name_of("t", "everyone", NOW), name_of("t", "Tea & Co", NOW + DAY)
    other = name_of("tt", "everyone", NOW)
    for name in (old, new, other, "exports/t/by-hand.csv", "mails/x"):
        await world.objects.put(name, b"x")
    world.clock.advance(EXPORTS_KEPT)
    await world.privacy().handle()
    assert exported(new) == NOW + DAY
    assert await world.objects.list("exports/") == sorted([new, other]) and await world.objects.get("mails/x") == b"x"


async def test_a_test_mail_that_is_done_goes_a_day_later_and_at_the_first_erasure(world: World) -> None:
    where = MailTests.of(world.paths)

    async def made(id: str, at: int, state: str) -> None:
        ledger = {**batch.single(id * 16, "", at), "address": ADA, "state": state}
        await world.store.commit([Create(where.batch(TEST, id * 16), ledger)])

    async def left() -> set[str]:
        return {found.id[:2] for found in await world.all(where.batches(TEST))}

    for id, at, state in (("aa", NOW, "done"), ("bb", NOW, "open"), ("cc", NOW + HOUR, "done")):
        await made(id, at, state)
    world.clock.advance(TESTS_KEPT)
    await world.privacy().handle()
    assert await left() == {"bb", "cc"}
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.privacy().handle()
    assert await left() == {"bb"}, "it may be on its way"
    world.clock.advance(STUCK)
    await world.privacy().handle()
    assert await left() == set()


async def test_files_that_cannot_be_deleted_stop_nothing_else_and_no_erasure_ends(world: World) -> None:
    class Refusing(FolderObjects):
        async def list(self, prefix: str) -> Any:
            raise ConfigError("BUCKET: this account may not use the bucket")

    await asked(world, BOB, NOW)
    await world.add(ADA)
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    world.clock.advance(KEPT)
    with pytest.raises(ConfigError):
        await world.privacy(objects=Refusing(world.file.parent / "objects")).handle()
    assert await world.subscriber(BOB) == {} and await world.data(world.paths.erasure(world.sid(ADA)))


async def test_a_store_that_does_not_answer_is_told_at_the_end(world: World) -> None:
    with pytest.raises(Unavailable):
        await world.privacy(FaultyStore(world.store, lambda verb: "refused" if verb == "page" else "")).handle()


# --- the Sheet --------------------------------------------------------------------------------------------------------


def rows(world: World) -> list[list[str]]:
    return [row[:6] for row in world.sheet.rows("Import!A2:F")]


async def test_rows_of_who_was_erased_are_blanked_at_the_next_tick(world: World) -> None:
    table = [["I-1", ADA.upper(), "Ada", "en", "tea", "fair"], ["I-2", BOB, "Bob", "", "", "fair"], ["", f" {ADA} ", "Ada"]]
    await pasted(world, table)
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    assert rows(world) == [["I-1", "erased", "", "en", "tea", "fair"], table[1], ["", "erased"]]
    answers = {row[0]: row[1] for row in shown(world, "Import results")}
    assert answers == {"I-1": "Rejected: its owner had it erased, and stays off the list.", "I-2": "Imported."}
    assert (await world.data(world.paths.erasure(world.sid(ADA))))["told"] is True
    assert "Ada" not in str(world.sheet.tabs["Subscribers"])
    world.sheet.changes.clear()
    await world.sync_sheet().handle()
    assert world.sheet.changes == [], "and that is all"


async def test_an_address_that_stands_elsewhere_in_its_row_goes_too(world: World) -> None:
    mine = ["I-1", f" {ADA} ", "Ada", "en", "", f"Form of {ADA.upper()}, 3 May"]
    others = ["I-2", BOB, "Bob", "", "", f"told by {ADA}"]
    await pasted(world, [mine, others])
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    assert rows(world) == [["I-1", "erased", "", "en"], ["I-2", BOB, "Bob", "", "", "told by erased"]], (
        "of what is said of another only the address goes"
    )


async def test_an_address_in_any_notation_goes_and_others_in_the_cell_stay(world: World) -> None:
    """The import refuses such cells, and leaves them where they are."""
    cases = [
        (["I-1", f"Ada <{ADA}>", "Ada", "", "", "fair"], ["I-1", "erased", "", "", "", "fair"]),
        (["I-2", f"mailto:{ADA}", "Ada", "", "", "fair"], ["I-2", "erased", "", "", "", "fair"]),
        (["I-3", f"{ADA}; {BOB}", "Both", "", "", "fair"], ["I-3", f"erased; {BOB}", "Both", "", "", "fair"]),
        (["I-4", f" {ADA.upper()} (old)", "Ada", "", "", "fair"], ["I-4", "erased", "", "", "", "fair"]),
        (["I-5", "Ada", f"{ADA}", "", "", "fair"], ["I-5", "Ada", "erased", "", "", "fair"]),
        (["I-6", BOB, "Bob", "", f"tea, {ADA}", "fair"], ["I-6", BOB, "Bob", "", "tea, erased", "fair"]),
        ([ADA, "eve@example.com", "Eve", "", "", "fair"], ["erased", "eve@example.com", "Eve", "", "", "fair"]),
        (["I-8", f"x{ADA}", "Xada", "", "", "fair"], ["I-8", f"x{ADA}", "Xada", "", "", "fair"]),
    ]
    await pasted(world, [before for before, _ in cases])
    world.sheet.tabs["Import"][3] += ["", "", f"beside: {ADA}"]  # a column of their own, behind the answers
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    assert rows(world) == [after for _, after in cases]
    assert world.sheet.tabs["Import"][3].pop() == f"beside: {ADA}", "it may be a formula"
    rest = "the address of somebody who was erased stands there. The system changes nothing there: take it out."
    assert f"Import, I4: {rest}" in told(world)
    assert ADA not in str(world.sheet.tabs).lower().replace(f"x{ADA}", "")
    again = {row[0]: row[1] for row in shown(world, "Import results")}
    assert (again["I-6"], again["erased"]) == ("Imported. Left out as tags: a***@example.com.", "Imported."), "not taken in anew"
    assert all(imports.of_erased(again[id]) for id in ("I-1", "I-2", "I-4"))
    world.sheet.changes.clear()
    await world.sync_sheet().handle()
    assert world.sheet.changes == [], "and that is all"


async def test_what_is_said_of_another_is_kept_without_the_address(world: World) -> None:
    """Nobody who is erased later could be found in somebody else's document."""
    await pasted(world, [["I-1", BOB, f"Bob ({ADA})", "", "", f"told by {ADA}"], ["I-2", ADA, ADA, "", "", f"Form of {ADA}"]])
    await world.sync_sheet().handle()
    assert (await world.subscriber(BOB))["name"] == "Bob (a***@example.com)"
    [consent] = await world.all(world.paths.consents(world.sid(BOB)))
    assert consent.data["source"] == "told by a***@example.com"
    assert (await world.subscriber(ADA))["name"] == ADA, "of oneself all may be said"


async def test_where_else_the_address_stands_is_told_once_and_nothing_is_changed(world: World) -> None:
    """In the tabs that people own a word in its place could change what a campaign does."""
    await world.add(ADA)
    await world.sync_sheet().handle()
    tabs = world.sheet.tabs
    tabs["Campaigns"][1] = ["C-0001", f"For {ADA}", "letter", "", "", "", "Draft", "", "", "", f"{BOB}, {ADA}"]
    tabs["Segments"].append(["friends", "tag is vip"])
    tabs["Old list"] = [["Mail"], [BOB], *([f"mailto:{ADA}"] for _ in range(12))]
    tabs[f"List of {ADA}"] = [["", ADA]]
    before = {name: [[*row] for row in tab] for name, tab in tabs.items()}
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    assert all(tabs[name] == before[name] for name in ("Campaigns", "Segments", "Old list"))
    rest = "the address of somebody who was erased stands there. The system changes nothing there: take it out."
    told = [row[1] for row in tabs["Activity"][1:]]
    assert told == [
        f"Campaigns, B2, K2: {rest}",
        f"Old list, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12 and 2 more: {rest}",
        f"List of a***@example.com, B1: {rest}",
    ]
    await world.sync_sheet().handle()
    assert [row[1] for row in tabs["Activity"][1:]] == told


async def test_a_tab_that_cannot_be_read_is_named_and_keeps_no_erasure_waiting(world: World) -> None:
    await world.add(ADA)
    await world.sync_sheet().handle()
    world.sheet.tabs["Huge"] = [[ADA]]
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    read = world.sheet.read

    async def refused(ranges: Sequence[str]) -> list[list[list[str]]]:
        if ranges[0].startswith("Huge!"):
            raise Unavailable("sheets", "too large")
        return await read(ranges)

    world.sheet.read = refused  # type: ignore[method-assign]
    await world.sync_sheet().handle()
    assert world.sheet.tabs["Activity"][-1][1] == "Huge may hold the address of somebody who was erased: it could not be read."
    assert (await world.data(world.paths.erasure(world.sid(ADA))))["told"] is True


async def test_nobody_erased_costs_one_read_and_no_tab_is_looked_through(world: World) -> None:
    await pasted(world, [["I-1", f"Ada <{ADA}>", "Ada", "", "", "fair"]])
    world.sheet.tabs["Old list"] = [[ADA]]
    await world.sync_sheet().handle()
    asked: list[Sequence[str]] = []
    read = world.sheet.read

    async def noted(ranges: Sequence[str]) -> list[list[list[str]]]:
        asked.append(ranges)
        return await read(ranges)

    world.sheet.read = noted  # type: ignore[method-assign]
    await world.sync_sheet().handle()
    assert len(asked) == 1 and not [place for place in asked[0] if place.startswith("'Old list'")]


async def test_a_row_that_is_pasted_later_is_answered_and_blanked(world: World) -> None:
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    await pasted(
        world, [["I-1", BOB, "Bob", "", "", "fair"], ["I-2", ADA, "Ada", "", "", "fair"], ["I-3", ADA, "Ada", "", "", "fair"]]
    )
    await world.sync_sheet().handle()
    assert [row[1:3] for row in rows(world)] == [[BOB, "Bob"], ["erased", ""], ["erased", ""]]
    assert imports.of_erased({row[0]: row[1] for row in shown(world, "Import results")}["I-2"])
    assert set(await world.subscriber(ADA)) == {"suppressed", "segments"}


async def test_of_a_complaint_and_an_erasure_the_erasure_is_told(world: World) -> None:
    await world.add(ADA)
    await world.store.commit(suppress(world.paths, world.sid(ADA), "complaint", "x", NOW))
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await pasted(world, [["I-1", ADA, "Ada", "", "", "fair"]])
    await world.sync_sheet().handle()
    assert rows(world)[0][1] == "erased"


async def test_columns_that_cannot_be_told_keep_the_note_until_they_can(world: World) -> None:
    await pasted(world, [["I-1", ADA, "Ada", "", "", "fair"]])
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    world.sheet.tabs["Import"][0][2] = "Email"
    await world.sync_sheet().handle()
    assert (await world.data(world.paths.erasure(world.sid(ADA))))["told"] is False
    world.sheet.tabs["Import"][0][2] = "Name"
    await world.sync_sheet().handle()
    assert (await world.data(world.paths.erasure(world.sid(ADA))))["told"] is True and rows(world)[0][1] == "erased"


async def test_a_sort_between_the_look_and_the_write_blanks_nobody_else(world: World) -> None:
    await pasted(world, [["I-1", ADA, "Ada", "", "", "fair"], ["I-2", BOB, "Bob", "", "", "fair"]])
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    sheet, read = world.sheet, world.sheet.read

    async def sorted_after(ranges: Sequence[str]) -> list[list[list[str]]]:
        found = await read(ranges)
        if len(ranges) > 1 and len(sheet.tabs["Import"]) > 2:  # what the tick begins with
            sheet.tabs["Import"][1:3] = sheet.tabs["Import"][2:0:-1]
        return found

    sheet.read = sorted_after  # type: ignore[method-assign]
    await world.sync_sheet().handle()
    assert [row[1:3] for row in rows(world)] == [[BOB, "Bob"], ["erased", ""]]


async def test_what_is_said_of_another_stays_when_who_said_it_is_erased(world: World) -> None:
    proof = "Agreed in person at the Berlin fair on 3 May 2024 recommended by Ada"
    link = "https://s.example/?e="
    await pasted(
        world,
        [
            ["I-1", BOB, "Bob", "", "", f"{proof} <{ADA}>"],
            ["I-2", f"{BOB} and Ada <{ADA}>", "Both", "", "", "fair"],
            ["I-3", "eve@example.com", "Eve", "", "", f"{link}{ADA}"],
            ["I-4", f"x/{ADA}", "Eva", "", "", "fair"],
        ],
    )
    await world.sync_sheet().handle()
    before = [row for row in told(world) if row.startswith("Import:")]
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    await world.sync_sheet().handle()
    assert [row[1:] for row in rows(world)] == [
        [BOB, "Bob", "", "", f"{proof} erased"],
        [f"{BOB} and Ada erased", "Both", "", "", "fair"],
        ["eve@example.com", "Eve", "", "", f"{link}erased"],
        [f"x/{ADA}", "Eva", "", "", "fair"],
    ]
    assert [row for row in told(world) if row.startswith("Import:")][len(before) :] == ["Import: 0 accepted, 1 rejected."], (
        "but for I-2, whose Email changed, none is taken in anew"
    )


@pytest.mark.parametrize("change", ["sorted", "deleted"])
async def test_a_change_between_the_last_look_and_the_write_is_noticed(world: World, change: str) -> None:
    """Nobody can keep a person from it; so the note waits, and Activity says which rows to compare."""
    await pasted(world, [["I-1", ADA, "Ada", "", "", "fair"], ["I-2", BOB, "Bob", "", "", "fair"]])
    await world.sync_sheet().handle()
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    sheet, write = world.sheet, world.sheet.write

    async def changed_before(updates: Any, *, formulas: bool = False) -> None:
        if any(place.startswith("Import!") for place in updates):
            sheet.write = write  # type: ignore[method-assign]
            if change == "sorted":
                sheet.tabs["Import"][1:3] = sheet.tabs["Import"][2:0:-1]
            else:
                del sheet.tabs["Import"][1]
        await write(updates, formulas=formulas)

    sheet.write = changed_before  # type: ignore[method-assign]
    await world.sync_sheet().handle()
    note = world.paths.erasure(world.sid(ADA))
    assert (await world.data(note))["told"] is False
    line = "Import, row 2: the tab was changed just when who was erased was taken out of it. Compare with the version history."
    assert line in told(world)
    await world.sync_sheet().handle()
    assert (await world.data(note))["told"] is True and ADA not in str(sheet.tabs["Import"])
    assert told(world).count(line) == 1


async def test_the_second_look_asks_of_no_address_twice(world: World) -> None:
    """Between it and the write somebody may sort the tab: it is to be short."""
    await pasted(
        world, [["I-1", ADA, "Ada", "", "", "fair"], *([f"I-{n}", f"p{n}@example.com", "", "", "", "x"] for n in range(2, 50))]
    )
    asked: list[str] = []

    def theirs(address: str) -> bool:
        asked.append(address)
        return address == ADA

    tab = await erased.blank(world.sheet, world.sheet.rows("Import!A1:Z"), theirs)
    assert tab[1][:2] == ["I-1", "erased"] and sorted(asked) == sorted({*asked})


async def test_a_file_that_names_somebody_erased_is_told_until_it_is_gone(world: World) -> None:
    drive = Folder(people=f"Email,Name,Consent source\n{ADA},Ada,fair\n")
    sync = step(world, drive)
    await sync.handle()
    assert (await world.subscriber(ADA))["status"] == "confirmed" and notices(world) == []
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    assert (await world.data(world.paths.erasure(world.sid(ADA))))["files"] == ["people.csv"]
    await sync.handle()
    told = "It holds addresses that their owners had erased: delete it, and empty the bin of Drive."
    assert notices(world) == [f"Imports: people.csv. {told}"]
    assert shown(world, "Imports")[0][6] == f"Done. {told}"
    drive.put("again.csv", f"Email,Name,Consent source\n{ADA},Ada,crm\n")
    await step(world, drive).handle()
    assert notices(world) == [f"Imports: {name}.csv. {told}" for name in ("again", "people")]
    drive.files.clear()
    await step(world, drive).handle()
    assert notices(world) == []


async def test_a_topic_that_its_reader_turned_off_is_not_turned_on_by_an_import(world: World) -> None:
    choice = {"tea": {"on": False, "at": NOW, "consent": "c"}, "coffee": {"on": True, "at": NOW, "consent": "c"}}
    await world.add(ADA, tags=["coffee"], topics=choice)
    await pasted(world, [["I-1", ADA, "", "", "tea, coffee, vip", "fair"]])
    await world.sync_sheet().handle()
    assert (await world.subscriber(ADA))["tags"] == ["coffee", "vip"]


async def test_an_export_has_nobody_who_was_erased(world: World) -> None:
    await world.add(ADA, BOB)
    await erase(world.store, world.paths, world.sid(ADA), "x", NOW)
    rows = [row async for row in segment(world.store, world.paths, "everyone", NOW)]
    assert [row[1] for row in rows] == ["Address", BOB]


# --- the operator -----------------------------------------------------------------------------------------------------


async def test_an_operator_is_told_what_was_done(world: World) -> None:
    await world.add(ADA)
    sid = world.sid(ADA)
    sentences = [(await erase_by_hand(world.store, world.paths, sid, "Ola", NOW)).splitlines()[0] for _ in range(2)]
    assert sentences[0].startswith(f"{sid} is erased") and sentences[1].startswith(f"{sid} was erased before")
    assert (await world.data(world.paths.suppression(sid)))["erased_sources"] == ["an operator, Ola"]
    stranger = await erase_by_hand(world.store, world.paths, world.sid(BOB), "Ola", NOW)
    assert stranger.startswith("Nobody is known") and "docs/privacy.md" in stranger and BOB not in stranger
    with pytest.raises(BadInput, match="--by"):
        await erase_by_hand(world.store, world.paths, sid, " ", NOW)
