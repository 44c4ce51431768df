"""The costs in docs/operations.md are those that bench.costs computes, and what it assumes of the steps and of Terraform is so.
Also the script of that page, which an operator runs against a restored database: it is read from there and run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from bench import costs, letter, prices
from functions.launch.regular import QUARTER
from shared.links import Links
from shared.mail.compile import Recipient
from shared.mail.compile import compile as compile_mail
from shared.mail.source import Source
from shared.model import batch
from shared.model.paths import CONFIRM, SYSTEM
from shared.model.ref import MailRef
from shared.ports import Create, Merge
from shared.tokens import Tokens
from tests.steps.fakes import DAY, NOW
from tests.steps.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
IDLE, *CASES = costs.CASES


pytestmark = pytest.mark.network  # the bench's mail server


@pytest.fixture(autouse=True)
def counts() -> costs.Counts:
    """Counted once, and not within a test's event loop."""
    return costs.counts()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.on(tmp_path)
    yield world
    world.store.close()


def _terraform(name: str) -> str:
    return (ROOT / "terraform" / name).read_text("utf-8")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_computed() -> None:
    assert costs.text() in PAGE, "python -m bench.costs, and put it into docs/operations.md"


def test_the_sentences_below_the_table_agree_with_it() -> None:
    large = costs.CASES[-1]
    reads = costs.TICKS * costs.sync_tick(large.subscribers, large.kept, round(costs.LEAVES * large.mails * costs.MONTHS))
    month = costs.Month(large)
    kept = sum(sum for name, sum in month.bill().items() if name.startswith("Firestore: ") and "reads" not in name)
    slow = prices.CPU.of(2 * costs.TICKS * costs.DAYS * 5) + prices.MEMORY.of(2 * costs.TICKS * costs.DAYS * 5)
    said = [
        f"that is {reads / 1e6:.1f} million reads a day, ${costs.DAYS * reads * prices.EUR3.operations.read:.0f} of",
        f"all of the {month.data():.0f} GiB, and with backups ${kept:.0f} a month",
        f"over {prices.CPU.free / (costs.TICKS * costs.DAYS) - 0.05:.1f} s together",
        f"At 5 s each it would be ${slow:.0f}",
    ]
    plain = " ".join(PAGE.split())
    assert [sentence for sentence in said if sentence not in plain] == []


def test_an_idle_product_costs_what_has_no_free_allowance() -> None:
    bill = costs.Month(IDLE).bill()
    paid = {"Cloud Storage", "Artifact Registry and builds", "Uptime check and alerts"}
    assert {name for name, sum in bill.items() if sum} == paid
    assert 0 < sum(bill.values()) < 2


def test_what_is_within_an_allowance_is_free() -> None:
    for case in costs.CASES:
        for parts in costs.Month(case).lines().values():
            for meter, used in parts:
                assert meter.of(used) == pytest.approx(max(0, used - meter.free) * meter.price)
    assert prices.CPU.of(prices.CPU.free) == 0


def test_the_free_operations_of_a_quiet_day_are_no_use_to_a_campaigns_day() -> None:
    month = costs.Month(replace(CASES[0], subscribers=30_000, campaigns=1))
    over = max(0, month.days()[0].reads - prices.FREE_A_DAY.reads) * month.database.operations.read
    assert month.operations() >= over > 0


def test_more_mails_cost_more() -> None:
    totals = [costs.Month(case).total() for case in costs.CASES]
    assert all(less < more for less, more in pairwise(totals))
    once, twice = (costs.Month(replace(CASES[1], campaigns=count)).total() for count in (4, 8))
    assert once < twice < 2.5 * once
    assert all(costs.Month(case, prices.EUROPE_WEST1).total() <= costs.Month(case).total() for case in costs.CASES)


# --- what it assumes --------------------------------------------------------------------------------------------------


async def _reads(world: World) -> int:
    """Of a tick of sync_sheet that finds what the one before has left."""
    step = world.sync_sheet()
    await step.handle()
    before = world.store.operations.reads
    await step.handle()
    return world.store.operations.reads - before


@pytest.mark.parametrize("people", [1, 1_100])
async def test_a_quiet_tick_of_sync_sheet_reads_what_is_computed(world: World, people: int) -> None:
    await world.add(*(f"reader{n}@example.com" for n in range(people)))
    for system in SYSTEM:
        await world.store.commit([Create(world.paths.campaign(system), {"kind": "system", "state": "running"})])
    totals = dict.fromkeys((*batch.END_STATES, "deferred", "handed", "recipients"), 0)
    ended = {"state": "completed", "expected": 5, "frozen_at": NOW - 8 * 86_400_000, "answer": "Done.", "answered_at": 1}
    for n in range(3):
        await world.store.commit([Create(world.paths.campaign(f"C-{n}"), {**ended, "totals": totals})])
    assert await _reads(world) == costs.sync_tick(people, 3)


async def test_a_quiet_run_of_privacy_reads_what_is_computed(world: World) -> None:
    await world.add("reader@example.com")
    await world.privacy().handle()
    before = world.store.operations.reads
    await world.privacy().handle()
    assert world.store.operations.reads - before == costs.PRIVACY


async def test_a_running_campaign_adds_what_is_computed(world: World) -> None:
    await world.add("reader@example.com")
    for system in SYSTEM:
        await world.store.commit([Create(world.paths.campaign(system), {"kind": "system", "state": "running"})])
    running = {"state": "running", "expected": 2_000, "frozen_at": NOW, "answer": "Sending.", "answered_at": NOW, "active": True}
    await world.store.commit([Create(world.paths.campaign("C-1"), running)])
    cut = batch.ranges(2_000)
    for n, source in enumerate(cut):
        await world.store.commit([Create(world.paths.batch("C-1", f"{n:06d}"), batch.new(source, NOW))])
    assert await _reads(world) == costs.sync_tick(1, 1) + len(cut) + costs.headlines(2_000 / 2_000)


def test_the_mail_is_the_benchs_letter() -> None:
    links = Links("https://mail.lumen-coffee.example", Tokens([b"k" * 32]))
    mail = compile_mail(Source(name="news.html", data=letter.template(), campaign="C-0001", identity=letter.IDENTITY), links)
    reader = Recipient(MailRef("C-0001", "0" * 32), "reader@example.com", {"name": "Ana", "language": "en"})
    assert len(mail.splice(reader, letter.DATE)) == pytest.approx(costs.MAIL, rel=0.05)


def test_terraform_makes_what_is_counted() -> None:
    functions = _terraform("functions.tf")
    send_batch = functions.partition("send_batch = {")[2].partition("track = {")[0]
    assert re.findall(r"max = (\d+)", send_batch) == [str(costs.SENDERS)]
    ticks = {step: 1440 // int(every) for step, every in re.findall(r"(\w+) = \{[^{}]*?every += (\d+)", functions)}
    assert costs.PRIVACY_RUNS == DAY // QUARTER
    assert ticks == {"launch": costs.TICKS, "inbox": 288, "report": costs.REPORT_TICKS, "sync_sheet": costs.TICKS}
    assert ("jobs", len(ticks.keys() - {"inbox"})) in {
        (meter.unit, used) for meter, used in costs.Month(IDLE).lines()["Scheduler"]
    }
    assert "*/${local.steps[each.key].every} * * * *" in _terraform("scheduler.tf")
    assert _terraform("firestore.tf").count(f'"{costs.KEPT_BACKUPS * 86_400}s"') == 1
    monitoring = _terraform("monitoring.tf")
    assert 'period       = "900s"' in monitoring  # from three places: PROBES
    listed = len(re.findall(r"^    [a-z_]+ = \{$", monitoring.partition("alerts = merge(")[2].partition("}, {")[0], re.M))
    assert listed + len(ticks.keys() - {"inbox"}) + 1 == costs.ALERTS  # one each that ticks; and the uptime check's


# --- the script for a restored database -------------------------------------------------------------------------------


def _script() -> ModuleType:
    """The page's only Python."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    module = ModuleType("restored")
    exec(compile(code, "docs/operations.md", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("mended", [True, False])
async def test_a_restored_database_mails_nobody_twice_and_nobody_who_left(world: World, tmp_path: Path, mended: bool) -> None:
    """Without the script the same first ticks would mail everybody again: the Sheet still says Go in every row."""
    (tmp_path / "restored").mkdir()
    script, restored, paths = _script(), World.on(tmp_path / "restored"), world.paths
    for one in (world, restored):
        await one.add("left@example.com", "stays@example.com")
        for system in ("confirm", "welcome"):
            await one.store.commit([Create(paths.campaign(system), {"kind": "system", "state": "running"})])
    left, stays = world.sid("left@example.com"), world.sid("stays@example.com")
    row = {"name": "A", "template": "letter", "subject": "", "segment": "everyone", "schedule": "", "wanted": "go"}
    campaign = {"kind": "campaign", "active": True, "row": row, "at": NOW, "answer": "", "answered_at": 1}
    mail = await restored.frozen("letter", "C-RUN")
    sent = {"mail": mail, "segment": "everyone", "frozen_at": NOW, "expected": 2, "cut": True}
    for name, then, now in (
        ("C-RUN", "running", "completed"),
        ("C-PAUSE", "paused", "completed"),
        ("C-PLAN", "scheduled", "completed"),
        ("C-DRAFT", "draft", "running"),
        ("C-NEW", "", "completed"),
        ("C-LATER", "draft", "draft"),
        ("C-OLD", "completed", "completed"),
    ):
        if then:
            more = sent if then in ("running", "paused") else {}
            await restored.store.commit([Create(paths.campaign(name), {**campaign, **more, "state": then})])
            if more:
                await restored.store.commit([Create(paths.batch(name, "000000"), batch.new({"low": "", "high": ""}, 0))])
        await world.store.commit([Create(paths.campaign(name), {**campaign, "state": now})])
    await restored.store.commit([Merge(paths.campaign(CONFIRM), {"mail": await restored.frozen("confirm", CONFIRM)})])
    await restored.store.commit([Create(paths.batch(CONFIRM, f"{stays}.1"), batch.new({"sid": stays, "consent": "c"}, 0))])
    suppressed = {"reasons": ["unsubscribed"], "unsubscribed_at": NOW, "unsubscribed_sources": ["mail of C-NEW"]}
    await world.store.commit([Create(paths.suppression(left), suppressed)])

    for _ in range(2 * mended):  # again is harmless
        await script.mend(world.store, restored.store, paths, NOW)

    header = ["ID", "Name", "Template", "Subject", "Segment", "Schedule", "Wanted"]
    names = ("C-RUN", "C-PAUSE", "C-PLAN", "C-DRAFT", "C-NEW", "C-OLD")
    restored.sheet.tabs["Campaigns"] = [header, *([name, "A", "letter", "", "", "", "Go"] for name in names)]
    for _ in range(3):
        await restored.launch().handle()
        for message in restored.bus.take(batch.TOPIC):
            await restored.send_batch().handle(message)
        restored.clock.advance(120_000)
    assert bool(restored.sender.accepted) is not mended
    if mended:
        states = {found.id: found.data["state"] for found in await restored.store.page(paths.campaigns)}
        stopped = dict.fromkeys(("C-RUN", "C-PAUSE", "C-PLAN", "C-DRAFT", "C-NEW"), "cancelled")
        assert states == {**stopped, "C-LATER": "draft", "C-OLD": "completed", **dict.fromkeys(SYSTEM, "running")}
        assert [await restored.data(paths.suppression(left))] == [suppressed]
        gone, there = [await restored.data(paths.subscriber(sid)) for sid in (left, stays)]
        assert (gone["suppressed"], gone["segments"], there["segments"]) == (["unsubscribed"], [], ["everyone"])
    restored.store.close()


async def test_without_the_damaged_database_what_was_on_its_way_still_stops(world: World) -> None:
    await world.store.commit([Create(world.paths.campaign("C-1"), {"kind": "campaign", "state": "scheduled", "active": True})])
    await _script().mend(None, world.store, world.paths, NOW)
    found = await world.data(world.paths.campaign("C-1"))
    assert (found["state"], found["active"]) == ("cancelled", False)
