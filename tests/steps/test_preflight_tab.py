"""The Preflight tab: every sentence of the latest look at a campaign, where the row has room for three."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.launch.handler import Launch
from functions.launch.preflight import Checks
from functions.launch.preflight_domain import Sending
from functions.launch.preflight_report import Blocked, Report, checked
from functions.sync_sheet import preflight
from functions.sync_sheet.workbook import HEADERS, lookup
from shared.errors import BadInput
from shared.model import console
from shared.ports import Create, Document, Merge

from .fakes import NOW
from .preflights import FakeDns, FakeSpam
from .world import World

HEADER = [*console.ROW_FIELDS]
FAULTY = "[one](https://TODO.example/a) [two](http://192.168.0.1/) [three](mailto:ada)"
POOR = f"---\nsubject: NEWS FOR YOU!!!\n---\n# Hello {{{{ name }}}}\n\n{FAULTY}\n"


def row(world: World, wanted: str, template: str = "letter", segment: str = "", id: str = "C-0001") -> None:
    world.sheet.put("Campaigns!A2", [[id, "News", template, "", segment, "", wanted]])


def launch(world: World) -> Launch:
    return replace(world.launch(), checks=Checks(FakeDns(), FakeSpam(), Sending()))


async def tick(world: World) -> list[list[str]]:
    """Launch, then the tab."""
    await launch(world).handle()
    await world.sync_sheet().handle()
    return world.sheet.rows("Preflight!A2:Z")


@pytest.fixture
async def ready(world: World) -> World:
    await world.sync_sheet().handle()
    await world.add(*(f"reader{n}@mail.example" for n in range(4)))
    world.drive.put("poor.md", POOR)
    return world


def document(id: str, **fields: Any) -> Document:
    return Document(f"tenants/t/campaigns/{id}", "", fields)


def found(at: int = NOW, **kinds: list[str]) -> dict[str, Any]:
    return {"checked": {"faults": [], "warnings": [], "notes": [], **kinds, "at": at}}


async def test_a_preview_shows_all_of_its_sentences(ready: World) -> None:
    row(ready, "Preview", "poor")
    rows = await tick(ready)
    report = (await ready.data(ready.paths.campaign("C-0001")))["checked"]
    assert len(report["faults"]) + len(report["warnings"]) > 3, "more than the row has room for"
    wanted = [("Fault", one) for one in report["faults"]] + [("Warning", one) for one in report["warnings"]]
    wanted += [("Note", one) for one in report["notes"]]
    assert [(result, sentence) for _, _, result, sentence, _ in rows] == wanted
    assert {(row[0], row[1]) for row in rows} == {("C-0001", "2027-01-15 08:00")}


async def test_a_launch_that_passes_and_one_that_does_not_are_told(ready: World) -> None:
    row(ready, "Go")
    await launch(ready).handle()
    assert {row[2]: row[4] for row in await tick(ready)}["Passed"] == preflight.summary(
        (await ready.data(ready.paths.campaign("C-0001")))["checked"]
    )
    row(ready, "Go", "nowhere", id="C-0002")
    await launch(ready).handle()
    [line] = [row for row in await tick(ready) if row[0] == "C-0002"]
    assert line[2] == "Fault" and line[3].startswith("There is no template “nowhere”") and line[4] == "1 fault"


async def test_a_mail_with_faults_is_told_in_full_when_its_launch_is_stopped(ready: World) -> None:
    row(ready, "Go", "poor")
    await launch(ready).handle()
    rows = await tick(ready)
    data = await ready.data(ready.paths.campaign("C-0001"))
    assert data["state"] == "draft" and len(data["checked"]["faults"]) > 1
    assert [row[3] for row in rows if row[2] == "Fault"] == data["checked"]["faults"]


async def test_a_quiet_tick_neither_writes_nor_reads_more(ready: World) -> None:
    row(ready, "Preview")
    step = ready.sync_sheet()
    assert await tick(ready)
    await step.handle()
    ready.sheet.changes.clear()
    before = ready.store.operations.reads
    await step.handle()
    with_it = ready.store.operations.reads - before
    await ready.store.commit([Merge(ready.paths.campaign("C-0001"), {"checked": {**found()["checked"], "at": 1}})])
    await step.handle()
    assert ready.store.operations.reads - before == 2 * with_it
    assert {place.partition("!")[0] for _, place in ready.sheet.changes} == {"Preflight"}


def test_a_passed_mail_says_so_first_and_in_short() -> None:
    [passed, note] = preflight.table([document("C-1", **found(notes=["No SpamAssassin is set up here."]))], "UTC")
    assert passed[2:] == ["Passed", preflight.PASSED, "Passed"] and note[2] == "Note"


@pytest.mark.parametrize(
    ("faults", "warnings", "short"),
    [(0, 0, "Passed"), (0, 1, "Passed, 1 warning"), (0, 2, "Passed, 2 warnings"), (1, 5, "1 fault"), (3, 0, "3 faults")],
)
def test_a_preflight_in_short(faults: int, warnings: int, short: str) -> None:
    data = {"faults": ["x"] * faults, "warnings": ["y"] * warnings}
    assert preflight.summary(data) == short


def test_the_newest_campaigns_are_shown_and_the_rest_is_counted() -> None:
    many = [document(f"C-{n:04d}", **found(NOW + n)) for n in range(preflight.MOST + 3)]
    rows = preflight.table([*many, document("C-9", state="draft"), document("C-8", archived=True, **found())], "UTC")
    assert [row[0] for row in rows[:2]] == ["C-0052", "C-0051"] and len(rows) == preflight.MOST + 1
    assert rows[-1] == ["… the newest 50 of 53 campaigns are shown"]


def test_what_stood_in_the_way_of_a_preflight_is_a_fault() -> None:
    nothing: dict[str, list[str]] = {"faults": [], "warnings": [], "notes": []}
    assert checked(BadInput("Nobody is here."), NOW) == {"checked": {**nothing, "faults": ["Nobody is here."], "at": NOW}}
    report = Report(faults=["One.", "Two."], warnings=["Odd."])
    assert checked(Blocked(report), 5)["checked"] == {"faults": ["One.", "Two."], "warnings": ["Odd."], "notes": [], "at": 5}


async def test_the_campaigns_row_looks_its_preflight_up(world: World) -> None:
    await world.sync_sheet().handle()
    [cells] = [cells for place, cells in world.sheet.formulas.items() if place.startswith("Campaigns")]
    at = console.ROW_RESULTS.index("Preflight")
    assert cells[0][at] == lookup(2, "Preflight!$A:$E", HEADERS[console.PREFLIGHT].index("Preflight") + 1)
    await world.store.commit([Create(world.paths.campaign("C-0001"), {"state": "draft", **found()})])
    await world.sync_sheet().handle()
    assert world.sheet.rows("Preflight!A2:Z")[0][4] == "Passed"
