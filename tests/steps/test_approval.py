"""Approval: what approvers have seen goes out, and nothing else does, whatever editors of the Sheet try."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from functions.launch import approval, start
from functions.launch.handler import Launch
from functions.launch.preflight_report import Report
from functions.sync_sheet.workbook import HEADERS
from local.approving import FIELDS, planned
from local.google.a1 import letters
from local.google.rest import Refused
from local.google.store import SERVICE
from shared.adapters.sheets import Sheets
from shared.errors import Unavailable
from shared.model import console
from shared.model.paths import TEST, MailTests
from shared.model.tenant import Approval, Tenant
from shared.ports import Create, Guarded, Merge, Protection
from tests.contract.emulated import Emulated, emulated

from .fakes import HOUR, NOW, FakeDrive
from .world import PEPPER, TENANT, World

pytestmark = pytest.mark.network
ADMIN, APPROVER, EDITOR = "admin@brand.example", "ada@brand.example", "eve@brand.example"
RULE = Approval(0, frozenset({ADMIN}), frozenset({SERVICE}))
MINUTE, DAY = 60_000, 86_400_000


class Drive(FakeDrive):
    async def edited(self, file: str) -> tuple[str, str]:
        self._answer()
        return APPROVER, "42"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    folder = tmp_path_factory.mktemp("google")
    with emulated(folder, folder / "templates") as twin:
        yield twin


@dataclass
class Desk:
    """A workbook in which campaigns need approval, and who works on it."""

    world: World
    twin: Emulated
    sheet: Sheets
    rule: Approval
    hold: int = 0

    def launch(self) -> Launch:
        rule = replace(self.rule, hold=self.hold)
        return replace(self.world.launch(), sheet=self.sheet, tenant=replace(TENANT, sheet="book", approval=rule), pepper=PEPPER)

    def change(self, who: str, kind: str, **given: Any) -> None:
        self.twin.google.api.change("book", [{kind: given}], who)

    def write(self, who: str, tab: str, row: int, column: int, *texts: str) -> None:
        start = {"sheetId": self.id(tab), "rowIndex": row - 1, "columnIndex": column - 1}
        cells = [{"userEnteredValue": {"stringValue": text}} for text in texts]
        self.change(who, "updateCells", start=start, rows=[{"values": cells}], fields="userEnteredValue")

    def type(self, who: str = EDITOR, row: int = 2, **cells: str) -> None:
        """Into a row of Campaigns, by header."""
        top = self.twin.google.sheets.read("book", self.twin.google.sheets.area("book", "Campaigns!1:1"))[0]
        for name, text in cells.items():
            self.write(who, "Campaigns", row, top.index(name) + 1, text)

    def id(self, tab: str) -> int:
        return self.twin.google.sheets.tab("book", tab).id

    @property
    def column(self) -> int:
        """Approved's, from 1."""
        return len(HEADERS[console.CAMPAIGNS]) + 1

    def protection(self, tab: str) -> dict[str, Any]:
        [one] = self.twin.google.sheets.look("book", self.id(tab))["protected"]
        return dict(one)

    def protect(self, tab: str, **changes: Any) -> None:
        """An admin, or somebody with as much power, changes a protection."""
        known = {"protectedRangeId": self.protection(tab)["protectedRangeId"]}
        self.change(ADMIN, "updateProtectedRange", protectedRange=known | changes, fields=",".join(changes))

    async def tick(self, later: int = MINUTE) -> dict[str, Any]:
        self.world.clock.advance(later)
        await self.launch().handle()
        return await self.campaign()

    async def campaign(self, id: str = "C-0001") -> dict[str, Any]:
        return await self.world.data(self.world.paths.campaign(id))

    async def code(self, id: str = "C-0001") -> str:
        return str((await self.campaign(id))["review"]["code"])

    async def went(self) -> bool:
        """One more tick: whether the campaign starts in it."""
        state = (await self.tick())["state"]
        assert state in ("scheduled", "running", "draft")
        return bool(state == "running")

    async def approved(self, **cells: str) -> None:
        """A campaign is asked for, and its code typed by an approver; no tick has seen that."""
        self.type(EDITOR, 2, **{"Template": "letter", "Wanted": "Go"} | cells)
        await self.tick()
        self.type(APPROVER, Approved=await self.code())


@pytest.fixture(scope="module")
def sheet(served: Emulated) -> Sheets:
    return Sheets("book", served.url)  # making a client takes a while


@pytest.fixture
def _unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails are frozen and compiled, and not read a second time for faults."""

    async def nothing(*_: Any, **__: Any) -> Report:
        return Report()

    monkeypatch.setattr(start, "preflight", nothing)


@pytest.fixture
async def desk(world: World, served: Emulated, sheet: Sheets, _unread: None) -> Desk:
    served.reset()
    served.google.sheets.add_tab("book", "Campaigns", 1, 200, len(HEADERS[console.CAMPAIGNS]))
    world.drive = Drive(letter="---\nsubject: News\n---\n# Hello\n\nA new coffee is here. [Shop](https://shop.example/a)\n")
    await world.add("a@example.com", "b@example.com", tags=["vip"])
    desk = Desk(world, served, sheet, RULE)
    desk.write(ADMIN, "Campaigns", 1, 1, *HEADERS[console.CAMPAIGNS])
    for row in (2, 3):
        desk.write(ADMIN, "Campaigns", row, 1, f"C-000{row - 1}")
    desk.change(ADMIN, "addSheet", properties={"title": "Other"})
    sheets = served.google.api.book("book", FIELDS, ADMIN)["sheets"]
    served.google.api.change("book", planned(sheets, 99, RULE, [APPROVER.upper().lower()]).requests, ADMIN)
    desk.rule = replace(RULE, tabs=(desk.id("Campaigns"), desk.id("Team")))
    return desk


# --- the way of an honest campaign ---


async def test_a_campaign_waits_for_its_code_and_then_goes(desk: Desk) -> None:
    desk.type(Template="letter", Wanted="Go")
    found = await desk.tick()
    code = found["review"]["code"]
    assert found["state"] == "scheduled" and not desk.world.bus.messages
    assert found["answer"] == f"Checked: it goes to 2 readers. To approve, write {code} in the Approved column."
    assert len(code) == 8 and code[0].isalpha() and not set(code) & set("AEIOUY01")
    before = desk.world.versions()
    reads = desk.twin.google.meter.reads
    await desk.tick()
    assert desk.world.versions() == before, "nothing new, nothing written"
    assert desk.twin.google.meter.reads - reads == 2, "as long as the column is empty nobody asks for protections"
    desk.type(APPROVER, Approved=f" {code[:4].lower()}-{code[4:].lower()} ")
    found = await desk.tick()
    assert (found["state"], found["answer"]) == ("running", "Sending to 2.")
    evidence = {"code": code, "at": desk.world.clock.now(), "editor": APPROVER, "revision": "42"}
    assert found["approval"] == evidence and len(desk.world.bus.messages) == 1


async def test_without_the_requirement_nothing_more_is_read(desk: Desk) -> None:
    desk.type(Template="letter", Wanted="Go")
    reads = desk.twin.google.meter.reads
    await replace(desk.launch(), tenant=replace(TENANT, sheet="book")).handle()
    assert (await desk.campaign())["state"] == "running" and "review" not in await desk.campaign()
    assert desk.twin.google.meter.reads - reads == 2


# --- who may say so ---


def _second(desk: Desk) -> None:
    desk.write(EDITOR, "Campaigns", 1, desk.column - 1, "approved ")


def _elsewhere(desk: Desk) -> None:
    desk.protect("Campaigns", range={"sheetId": desk.id("Campaigns"), "startColumnIndex": 3, "endColumnIndex": 4})


def _some_rows(desk: Desk) -> None:
    at = desk.column
    place = {"sheetId": desk.id("Campaigns"), "startColumnIndex": at - 1, "endColumnIndex": at, "endRowIndex": 100}
    desk.protect("Campaigns", range=place)


def _deleted(tab: str) -> Callable[[Desk], None]:
    return lambda desk: desk.change(ADMIN, "deleteProtectedRange", protectedRangeId=desk.protection(tab)["protectedRangeId"])


def _editors(tab: str, **editors: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.protect(tab, editors=desk.protection(tab)["editors"] | editors)


def _one_more(tab: str) -> Callable[[Desk], None]:
    return lambda desk: desk.protect(tab, editors={"users": [*desk.protection(tab)["editors"]["users"], EDITOR]})


def _overlaid(desk: Desk) -> None:
    place = {"sheetId": desk.id("Campaigns"), "startRowIndex": 1, "endRowIndex": 2}
    wanted = {"range": place, "editors": {"users": [SERVICE, APPROVER, EDITOR]}}
    desk.change(ADMIN, "addProtectedRange", protectedRange=wanted)


def _loosened_and_edited(desk: Desk) -> None:
    _one_more("Team")(desk)
    desk.write(EDITOR, "Team", 3, 1, EDITOR, "Approver")


def _no_longer_named(desk: Desk) -> None:
    desk.write(ADMIN, "Team", 2, 2, "Reader")


def _renamed(desk: Desk) -> None:
    properties = {"sheetId": desk.id("Team"), "title": "Team 2"}
    desk.change(ADMIN, "updateSheetProperties", properties=properties, fields="title")


def _another_team(desk: Desk) -> None:
    _renamed(desk)
    desk.change(EDITOR, "addSheet", properties={"title": "Team"})
    for row, line in enumerate([("Email", "Role"), (EDITOR, "Approver"), (APPROVER, "Approver")], 1):
        desk.write(EDITOR, "Team", row, 1, *line)


def _another_campaigns(desk: Desk) -> None:
    """Prepared by an account that may not use the Sheet any more, which takes it out of the editors."""
    desk.change(ADMIN, "addSheet", properties={"title": "Copy"})
    for row, line in enumerate(desk.twin.google.sheets.read("book", desk.twin.google.sheets.area("book", "Campaigns!A1:Z2")), 1):
        desk.write(ADMIN, "Copy", row, 1, *map(str, line))
    wanted = {"range": {"sheetId": desk.id("Copy")}, "editors": {"users": [ADMIN, SERVICE, APPROVER]}}
    desk.change(ADMIN, "addProtectedRange", protectedRange=wanted)
    for old, new in (("Campaigns", "Old"), ("Copy", "Campaigns")):
        desk.change(ADMIN, "updateSheetProperties", properties={"sheetId": desk.id(old), "title": new}, fields="title")


@pytest.mark.parametrize(
    ("tampered", "sentence"),
    [
        (_another_campaigns, "is not the tab of that name that was set up for approval."),
        (_second, "Campaigns needs one column “Approved”"),
        (_elsewhere, "Others than approvers may edit the column Approved."),
        (_some_rows, "Others than approvers"),
        (_deleted("Campaigns"), "Others than approvers"),
        (lambda desk: desk.protect("Campaigns", warningOnly=True), "Others than approvers"),
        (
            lambda desk: desk.protect("Campaigns", unprotectedRanges=[{"sheetId": desk.id("Campaigns"), "endRowIndex": 1}]),
            "Others",
        ),
        (lambda desk: desk.protect("Campaigns", namedRangeId="moves"), "Others than approvers"),
        (_one_more("Campaigns"), "Others than approvers"),
        (_editors("Campaigns", groups=["all@brand.example"]), "Others than approvers"),
        (_editors("Campaigns", domainUsersCanEdit=True), "Others than approvers"),
        (_overlaid, "Others than approvers"),
        (_no_longer_named, "Others than approvers"),
        (_one_more("Team"), "Others than admins may edit the tab Team"),
        (_loosened_and_edited, "Others than admins"),
        (_deleted("Team"), "Others than admins"),
        (lambda desk: desk.protect("Team", warningOnly=True), "Others than admins"),
        (lambda desk: desk.protect("Team", range={"sheetId": desk.id("Team"), "endColumnIndex": 1}), "Others than admins"),
        (_renamed, "The workbook needs a tab “Team”"),
        (_another_team, "is not the tab of that name that was set up"),
    ],
)
async def test_a_code_counts_only_where_nobody_else_could_write_it(
    desk: Desk, tampered: Callable[[Desk], None], sentence: str
) -> None:
    desk.type(APPROVER, Approved="k7q2 mxbd")
    assert (await approval.believed(desk.sheet, desk.rule)).codes["C-0001"] == "K7Q2MXBD", "the control"
    tampered(desk)
    found = await approval.believed(desk.sheet, desk.rule)
    assert sentence in found.problem and not found.codes


@pytest.mark.parametrize(
    ("tampered", "sentence"), [(_second, "one column “Approved”"), (_one_more("Campaigns"), "column"), (_renamed, "tab “Team”")]
)
async def test_nothing_goes_when_an_approval_is_not_believed(desk: Desk, tampered: Callable[[Desk], None], sentence: str) -> None:
    await desk.approved()
    tampered(desk)
    assert not await desk.went() and not desk.world.bus.messages
    found = await desk.campaign()
    assert sentence in found["answer"] and not found["approval"]


async def test_the_same_code_goes_where_nobody_tampered(desk: Desk) -> None:
    """The control of the attacks above."""
    await desk.approved()
    assert await desk.went()


async def test_mended_protections_are_believed_again(desk: Desk) -> None:
    await desk.approved()
    _deleted("Campaigns")(desk)
    assert not await desk.went()
    sheets = desk.twin.google.api.book("book", FIELDS, ADMIN, ["Campaigns", "Team"])["sheets"]
    plan = planned(sheets, 99, RULE, [])
    assert plan.left == ["empty the column Approved: until now others could write there."] and not plan.requests
    code = await desk.code()
    desk.type(EDITOR, Approved="")
    sheets = desk.twin.google.api.book("book", FIELDS, ADMIN, ["Campaigns", "Team"])["sheets"]
    desk.twin.google.api.change("book", planned(sheets, 99, RULE, []).requests, ADMIN)
    assert not await desk.went()
    desk.type(APPROVER, Approved=code)
    assert await desk.went()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda desk, code: desk.type(EDITOR, Approved=code),
        lambda desk, code: desk.write(EDITOR, "Campaigns", 1, desk.column, "Other"),
        lambda desk, code: desk.write(EDITOR, "Team", 3, 1, EDITOR, "Approver"),
        lambda desk, code: desk.write(APPROVER, "Team", 3, 1, EDITOR, "Approver"),
        lambda desk, code: desk.change(EDITOR, "deleteSheet", sheetId=desk.id("Team")),
        lambda desk, code: desk.change(
            EDITOR, "deleteProtectedRange", protectedRangeId=desk.protection("Team")["protectedRangeId"]
        ),
        lambda desk, code: desk.change(
            EDITOR,
            "updateProtectedRange",
            protectedRange={"protectedRangeId": desk.protection("Campaigns")["protectedRangeId"], "warningOnly": True},
            fields="warningOnly",
        ),
        lambda desk, code: desk.change(
            EDITOR,
            "addProtectedRange",
            protectedRange={"range": {"sheetId": desk.id("Campaigns")}, "editors": {"users": [EDITOR]}},
        ),
        lambda desk, code: desk.change(
            EDITOR, "updateSheetProperties", properties={"sheetId": desk.id("Team"), "title": "x"}, fields="title"
        ),
    ],
)
async def test_the_sheet_refuses_an_editor(desk: Desk, attempt: Callable[[Desk, str], None]) -> None:
    with pytest.raises(Refused, match="You are trying to edit a protected cell or object"):
        attempt(desk, "K7Q2MXBD")


@pytest.mark.parametrize("tab", ["Settings", "Topics"])
async def test_what_strangers_meet_only_admins_change(desk: Desk, tab: str) -> None:
    desk.change(ADMIN, "addSheet", properties={"title": tab})
    desk.write(EDITOR, tab, 2, 1, "before")
    sheets = desk.twin.google.api.book("book", FIELDS, ADMIN, ["Campaigns", "Team", tab])["sheets"]
    plan = planned(sheets, 99, RULE, [])
    assert plan.made == [f"protected {tab}"] and not plan.left
    desk.twin.google.api.change("book", plan.requests, ADMIN)
    for who in (EDITOR, APPROVER):
        with pytest.raises(Refused, match="You are trying to edit a protected cell or object"):
            desk.write(who, tab, 2, 1, "after")
    desk.write(SERVICE, tab, 2, 1, "answer")
    sheets = desk.twin.google.api.book("book", FIELDS, ADMIN, ["Campaigns", "Team", tab])["sheets"]
    assert not planned(sheets, 99, RULE, []).requests
    await desk.approved()
    assert await desk.went()


async def test_what_a_formula_shows_is_no_approval(desk: Desk) -> None:
    desk.type(Template="letter", Wanted="Go")
    await desk.tick()
    desk.type(EDITOR, Name=await desk.code())
    sheets = desk.twin.google.sheets
    where = f"Campaigns!{letters(desk.column)}2"
    sheets.write("book", [(sheets.area("book", where), [["=B2"]])], "USER_ENTERED")  # an approver, of good faith
    assert (await desk.sheet.read([where])) == [[[await desk.code()]]]
    assert not await desk.went()


async def test_a_row_that_is_there_twice_is_not_approved(desk: Desk) -> None:
    await desk.approved()
    desk.type(row=3, ID="c-0001", Wanted="Draft")
    assert not await desk.went()


async def test_an_address_in_capitals_is_the_same_person(desk: Desk) -> None:
    desk.write(ADMIN, "Team", 2, 1, APPROVER.upper())
    await desk.approved()
    assert await desk.went()


def test_editors_that_are_not_shown_are_not_believed() -> None:
    whole = (0, 0, None, None)
    people = frozenset({ADMIN})
    assert approval.only(Guarded(0, [], [], (Protection(whole, True, people),)), people)
    assert not approval.only(Guarded(0, [], [], (Protection(whole, True, None),)), people)
    assert not approval.only(Guarded(0, [], []), people)


# --- what was seen ---


async def test_the_code_of_another_campaign_approves_nothing(desk: Desk) -> None:
    desk.type(row=3, Template="letter", Wanted="Go")
    desk.type(Template="letter", Wanted="Go")
    await desk.tick()
    desk.type(APPROVER, Approved=await desk.code("C-0002"))
    assert not await desk.went()
    assert f"is not its code. To approve, write {await desk.code()} in" in (await desk.campaign())["answer"]


def _new_bytes(desk: Desk) -> None:
    desk.world.drive.put(
        "letter.md", "---\nsubject: News\n---\n# Other\n\nNothing that an approver saw. [Shop](https://shop.example/a)"
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda desk: desk.type(Subject="You have won"),
        lambda desk: desk.type(Template="other"),
        lambda desk: desk.type(Segment="vip"),
        lambda desk: desk.type(Schedule="2027-01-15 08:05"),
        _new_bytes,
    ],
)
async def test_an_edit_after_the_approval_voids_it(desk: Desk, edit: Callable[[Desk], None]) -> None:
    letter = desk.world.drive.files["letter.md"][0].decode()
    desk.world.drive.put("other.md", letter.replace("new coffee", "new tea"))
    await desk.approved()
    old = await desk.code()
    edit(desk)
    assert not await desk.went()
    found = await desk.campaign()
    assert found["review"]["code"] != old
    assert (
        f"It changed since it was approved, so that approval does not count any more. To approve, write {await desk.code()}"
        in (found["answer"])
    )
    desk.type(APPROVER, Approved=await desk.code())
    assert await desk.went()


async def test_a_new_rule_of_the_segment_voids_it(desk: Desk) -> None:
    path = desk.world.paths.segment("loyal")
    rule = {"rule": "tag = vip", "version": "1", "swept_at": NOW + HOUR}
    await desk.world.store.commit([Create(path, rule)])
    await desk.world.add("c@example.com", segments=["everyone", "loyal"], confirmed_at=NOW - 1)
    await desk.approved(Segment="loyal")
    await desk.world.store.commit([Merge(path, {"rule": "tag = vip or tag = other", "version": "2"})])
    assert not await desk.went()
    await desk.world.store.commit([Merge(path, {"rule": "tag = vip", "version": "3", "swept_at": NOW + 2 * HOUR})])
    assert await desk.went(), "the rule that was approved, counted at another moment"


@pytest.mark.parametrize(
    "edit",
    [
        lambda desk: desk.type(Rate="2000/h", Priority="5", Name="Other name", Hours="00:00-23:59"),
        lambda desk: desk.world.drive.put("letter.md", desk.world.drive.files["letter.md"][0].decode()),
        lambda desk: desk.world.drive.put("unrelated.md", "---\nsubject: x\n---\nx"),
    ],
)
async def test_what_changes_nothing_of_the_mail_voids_nothing(desk: Desk, edit: Callable[[Desk], None]) -> None:
    await desk.approved()
    edit(desk)
    assert await desk.went()


async def test_a_template_edited_at_the_last_moment_never_goes_out_unseen(desk: Desk) -> None:
    await desk.approved()
    drive, letter = desk.world.drive, desk.world.drive.files["letter.md"]
    drive.files["letter.md"] = (letter[0].replace(b"coffee", b"poison"), letter[1])  # edited when the files had been listed
    found = await desk.tick()
    assert found["state"] == "scheduled" and "It changed since it was approved" in found["answer"]
    drive.files["letter.md"] = letter
    assert await desk.went()


@pytest.mark.parametrize("call", [1, 2])
async def test_a_cell_cleared_at_the_last_moment_stops_it(desk: Desk, call: int) -> None:
    class Late(Sheets):
        calls = 0

        async def guarded(self, tabs: Any) -> Any:
            self.calls += 1
            if self.calls == call:
                desk.type(APPROVER, Approved="")
            return await super().guarded(tabs)

    await desk.approved()
    kept, desk.sheet = desk.sheet, Late("book", desk.twin.url)
    assert not await desk.went()
    desk.sheet = kept
    desk.type(APPROVER, Approved=await desk.code())
    assert await desk.went()


async def test_a_mail_that_must_not_go_is_told_at_once(desk: Desk) -> None:
    desk.type(Template="nothing", Schedule="2027-02-01 09:00", Wanted="Go")
    found = await desk.tick()
    assert found["state"] == "draft" and "There is no template “nothing”" in found["answer"]


# --- the hold ---


async def test_it_starts_when_schedule_and_hold_have_passed(desk: Desk) -> None:
    desk.hold = 30
    await desk.approved(Schedule="2027-01-15 08:10")
    found = await desk.tick(5 * MINUTE)  # 08:06
    assert "Approved. It begins to send at 2027-01-15 08:36 (Europe/Berlin)." not in found["answer"], "Berlin is an hour ahead"
    assert "Approved. It begins to send at 2027-01-15 09:36 (Europe/Berlin). Pause, Cancel, Draft or" in found["answer"]
    before = desk.world.versions()
    assert (await desk.tick(29 * MINUTE))["state"] == "scheduled" and desk.world.versions() == before
    assert (await desk.tick())["state"] == "running"


async def test_a_late_schedule_outlasts_the_hold(desk: Desk) -> None:
    desk.hold = 30
    await desk.approved(Schedule="2027-01-15 11:00")  # 10:00 UTC
    assert "at 2027-01-15 11:00" in (await desk.tick())["answer"]
    assert (await desk.tick(100 * MINUTE))["state"] == "scheduled"
    assert (await desk.tick(30 * MINUTE))["state"] == "running"


@pytest.mark.parametrize(("wanted", "state"), [("Cancel", "cancelled"), ("Pause", "draft"), ("Draft", "draft")])
async def test_it_can_be_stopped_within_the_hold(desk: Desk, wanted: str, state: str) -> None:
    desk.hold = 30
    await desk.approved()
    await desk.tick()
    desk.type(Wanted=wanted)
    assert (await desk.tick(HOUR))["state"] == state and not desk.world.bus.messages


async def test_clearing_the_cell_takes_the_approval_back(desk: Desk) -> None:
    desk.hold = 30
    await desk.approved()
    await desk.tick()
    desk.type(APPROVER, Approved="")
    found = await desk.tick(HOUR)
    assert found["state"] == "scheduled" and "Its approval was taken back. To approve, write" in found["answer"]
    before = desk.world.versions()
    assert "taken back" in (await desk.tick())["answer"] and desk.world.versions() == before
    desk.type(APPROVER, Approved=await desk.code())
    assert (await desk.tick())["state"] == "scheduled", "the hold begins again"
    assert (await desk.tick(HOUR))["state"] == "running"


async def test_a_draft_between_begins_the_hold_again(desk: Desk) -> None:
    desk.hold = 30
    await desk.approved()
    await desk.tick()
    desk.type(Wanted="Draft")
    await desk.tick(HOUR)
    desk.type(Wanted="Go")
    assert (await desk.tick())["state"] == "scheduled"
    assert (await desk.tick(HOUR))["state"] == "running"


# --- when something fails ---


async def test_two_ticks_at_once_approve_and_start_once(desk: Desk) -> None:
    await desk.approved()
    desk.world.clock.advance(MINUTE)
    await asyncio.gather(desk.launch().handle(), desk.launch().handle())
    found = await desk.campaign()
    assert (await desk.tick(0))["approval"] == found["approval"]
    assert len(desk.world.bus.messages) == 1


async def test_protections_that_cannot_be_read_let_it_wait(desk: Desk) -> None:
    class Down(Sheets):
        async def guarded(self, tabs: Any) -> Any:
            raise Unavailable("Google Sheets")

    await desk.approved()
    kept, desk.sheet = desk.sheet, Down("book", desk.twin.url)
    assert not await desk.went()
    before = desk.world.versions()
    assert approval.UNREAD in (await desk.tick())["answer"] and desk.world.versions() == before, "it is said once"
    desk.sheet = kept
    assert await desk.went()


async def test_a_campaigns_tab_that_cannot_be_read_starts_nothing(desk: Desk) -> None:
    await desk.approved()
    desk.write(EDITOR, "Campaigns", 1, 3, "Subject")
    assert not await desk.went()
    desk.write(EDITOR, "Campaigns", 1, 3, "Template")
    assert await desk.went()


async def test_nobody_is_asked_for_who_edited_last_in_vain(desk: Desk) -> None:
    await desk.approved()
    edited = desk.world.drive.edited
    desk.world.drive.edited = _down  # type: ignore[method-assign]
    assert await desk.went()
    assert (await desk.campaign())["approval"]["editor"] == ""
    desk.world.drive.edited = edited  # type: ignore[method-assign]


async def _down(file: str) -> tuple[str, str]:
    raise Unavailable("Google Drive")


async def test_without_a_key_for_codes_nothing_goes(desk: Desk) -> None:
    desk.type(Template="letter", Wanted="Go")
    await replace(desk.launch(), pepper=b"").handle()
    assert (await desk.campaign())["answer"].startswith(approval.UNSET)


@pytest.mark.parametrize(
    ("stored", "needed"),
    [(None, False), ({"required": False}, False), ({"required": True}, True), ({}, True), ({"required": "no"}, True)],
)
async def test_only_the_tenants_document_says_that_none_is_needed(world: World, stored: Any, needed: bool) -> None:
    document = {
        "name": "n",
        "identity": {"from_name": "n", "from_address": "a@b.example", "postal_address": "p", "list_name": "l"},
    }
    document |= {"sheet": "s", "folder": "f"} | ({} if stored is None else {"approval": stored})
    document["identity"]["list_domain"] = "d.example"  # type: ignore[index]
    await world.store.commit([Create(world.paths.tenant, document)])
    assert ((await Tenant.load(world.store, world.paths)).approval is not None) == needed


async def test_a_tab_under_another_spelling_lets_nothing_go(desk: Desk) -> None:
    class Folding(Sheets):
        """Finds a tab whatever its case, and tells it as it is written."""

        async def guarded(self, tabs: Any) -> Any:
            return {title.upper(): tab for title, tab in (await super().guarded(tabs)).items()}

    await desk.approved()
    desk.sheet = Folding("book", desk.twin.url)
    assert not await desk.went() and "The workbook needs a tab “Team”" in (await desk.campaign())["answer"]


async def test_test_mails_are_no_way_round_it(desk: Desk) -> None:
    for row, gone in ((3, 100), (2, 99)):  # mails that went today
        await desk.world.store.commit([Merge(MailTests.of(desk.world.paths).campaign(TEST), {"day": NOW // DAY, "mails": gone})])
        desk.type(row=row, **{"Template": "letter", "Wanted": "Test to me", "Test to": "new@example.com"})
        found = await desk.tick()
    assert "The test mail goes to" in found["answer"]
    assert (await desk.campaign("C-0002"))["answer"] == (
        "100 test mails went out today, and 100 a day is the most. Try again tomorrow."
    )
    desk.type(Wanted="Draft")
    await desk.tick(25 * HOUR)
    desk.type(Wanted="Test to me")
    assert "The test mail goes to" in (await desk.tick())["answer"], "the next day"
