"""A fresh workbook in the old one's place: what is still needed is there, what was erased is not, and the product goes on in it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.launch.handler import Launch
from functions.sync_sheet.handler import SyncSheet
from local.google.rest import Refused
from ops.bootstrap import UNFINISHED
from shared.adapters import google_rest
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.model import batch, console
from shared.model.erasure import erase
from shared.model.tenant import Tenant
from shared.ports import Create, Merge
from tests.ops.google_account import PERSON, Account, Browser, account
from tests.steps.world import PEPPER, World

pytestmark = pytest.mark.network

REPO = Path(__file__).parents[2]
STALE = "Left for you: the tab Campaigns of the new Sheet is not what the old one has now: clear the tab, all of its cells."
ADA, TEAM = "ada@x.example", "team@brand.example"
LAUNCH, SYNC = (f"{step}@brand-mail.iam.gserviceaccount.com" for step in ("step-launch", "step-sync-sheet"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("fresh")) as running:
        yield running


@pytest.fixture
def operator(server: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Somebody with an OAuth client, a workbook at work and an empty Sheet "fresh"."""
    monkeypatch.setattr(google_rest, "PAUSE", 0.001)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the sign-in here is not https
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")  # put back after the test
    monkeypatch.setattr(webbrowser, "get", lambda name=None: Browser())
    server.fresh(own=True)
    assert server.own().exit_code == 0
    server.emulated.google.sheets.create_spreadsheet("fresh", "Made by a person", "Europe/Berlin")
    return server


class Product:
    """The steps that see the workbook, made anew for each tick, as the tenant is then."""

    def __init__(self, operator: Account) -> None:
        self.world, self.url = World.on(operator.state, "main"), operator.emulated.url

    async def ticks(self, times: int = 1) -> None:
        world = self.world
        for _ in range(times):
            tenant = await Tenant.load(world.store, world.paths)
            sheet, drive = Sheets(tenant.sheet, self.url), GoogleDrive(self.url)
            launch = Launch(world.store, world.bus, world.clock, world.objects, sheet, drive, world.links, world.paths, tenant)
            await SyncSheet(world.store, sheet, world.clock, world.paths, PEPPER).handle()
            await launch.handle()
            for message in world.bus.take(batch.TOPIC):
                await world.send_batch().handle(message)
            await launch.handle()
            await SyncSheet(world.store, sheet, world.clock, world.paths, PEPPER).handle()
            world.clock.advance(60_000)


def worked(operator: Account) -> str:
    """A list at work: one campaign has gone, one is scheduled, one is a draft, and Ada had herself erased; the Sheet's id."""
    book = operator.tenant()["sheet"]

    async def story() -> None:
        product = Product(operator)
        await product.ticks()
        contacts = [[f"{name}@x.example", name, "en", "vip", "fair"] for name in ("ann", "bob", "ada")]
        operator.type(book, "Import!B2", *contacts, [f"Ada <{ADA}>", "Ada", "", "", "fair"])
        operator.type(book, "Segments!A2", ["friends", "tag is vip"])
        operator.type(book, "Topics!A2", ["events", "Events", "What goes on."])
        settings = [row[0] for row in operator.cells(book, "Settings")]
        operator.type(book, f"Settings!B{settings.index('Accent colour') + 1}", ["#123456"])
        operator.type(book, "Campaigns!B2", ["First", "newsletter", "", "friends", "", "Go"])
        await product.ticks(2)
        operator.type(book, "Campaigns!B3", ["Later", "newsletter", "", "friends", "2027-06-01 09:30", "Go", "", "", "", TEAM])
        operator.type(book, "Campaigns!B8", ["Draft", "event"])
        await erase(product.world.store, product.world.paths, product.world.sid(ADA), "mail of C-0001", product.world.clock.now())
        await product.ticks(2)
        assert sorted(product.world.sender.accepted) == [ADA, "ann@x.example", "bob@x.example"]

    asyncio.run(story())
    return str(book)


def fresh(operator: Account, *more: str) -> Any:
    return operator.own("--sheet", "fresh", "--update", "--carry", *more)


def clear(operator: Account, tab: str) -> None:
    """A person selects all cells of a tab of the new Sheet, and deletes them."""
    store = operator.emulated.google.sheets
    store.clear("fresh", [store.area("fresh", f"{tab}!A1:Z")])


def everything(operator: Account, book: str) -> str:
    return json.dumps([operator.cells(book, tab.title) for tab in operator.emulated.google.sheets.tabs(book)])


def test_what_is_needed_is_there_what_was_erased_is_not_and_the_product_goes_on(operator: Account) -> None:
    old = worked(operator)
    before = everything(operator, old)
    environ = operator.environment() | {"CLIENT": str(operator.client), "TOKEN_FILE": str(operator.token), "TENANT": "main"}
    environ["FIRESTORE_DATABASE"] = "(default)"  # or make asks an operator's own Terraform
    command = [
        "make",
        "-s",
        "fresh-workbook",
        "PROJECT=brand-mail",
        "SHEET=https://docs.google.com/spreadsheets/d/fresh/edit#gid=0",
    ]
    for time in ("first", "second"):
        found = subprocess.run(command, cwd=REPO, env=os.environ | environ, capture_output=True, text=True, timeout=120)
        assert found.returncode == 0, found
        assert found.stdout.splitlines()[-1].startswith("Now delete the old Sheet")
        assert ("taken over" in found.stdout, "tenant main: changed" in found.stdout) == ((time == "first"),) * 2, found.stdout
    google = operator.emulated.google
    assert operator.tenant()["sheet"] == "fresh" and google.sheets.properties("fresh") == ("Made by a person", "Asia/Tokyo")
    assert google.drive.shared("fresh") == {LAUNCH: "reader", SYNC: "writer"}
    assert everything(operator, old) == before and old in google.sheets.spreadsheets(), "the old one is its owner's to delete"
    campaigns = operator.cells("fresh", "Campaigns")
    assert campaigns[1][10] == TEAM, "a row is the same to the letter"
    assert [row[:7] for row in campaigns[1:4]] == [
        ["C-0002", "Later", "newsletter", "", "friends", "2027-06-01 09:30:00", "Go"],
        ["C-0007", "Draft", "event", "", "", "", ""],
        ["C-0008", "", "", "", "", "", ""],
    ]
    assert operator.cells("fresh", "Segments")[1][:2] == ["friends", "tag is vip"]

    async def on() -> Product:
        product = Product(operator)
        await product.ticks()
        operator.type("fresh", "Campaigns!B4", ["Third", "newsletter", "", "friends", "", "Go"])
        await product.ticks(2)
        return product

    product = asyncio.run(on())
    assert sorted(product.world.sender.accepted) == ["ann@x.example", "bob@x.example"], (
        "the new campaign alone, and not the old one again"
    )
    rows = asyncio.run(
        Sheets("fresh", operator.emulated.url).read(["Campaigns!A2:N4", "Segments!A2:D2", "Settings!A1:B", "Topics!A2:C2"])
    )
    assert [(row[0], "".join(row[12:13])) for row in rows[0]] == [
        ("C-0002", "scheduled"),
        ("C-0007", ""),
        ("C-0008", "completed"),
    ]
    assert rows[1][0][2] and ["Accent colour", "#123456"] in rows[2] and rows[3] == [["events", "Events", "What goes on."]]
    state = asyncio.run(product.world.data(product.world.paths.campaign("C-0001")))["state"]
    assert state == "completed"
    there = everything(operator, "fresh").lower()
    assert not [address for address in (ADA, "ann@x.example", "bob@x.example") if address in there], "no reader's address at all"


def test_a_run_interrupted_after_any_write_leaves_the_old_one_in_use_and_is_completed_by_the_next(operator: Account) -> None:
    """The nth request is done and its answer lost, and nothing answers after it."""

    def begun() -> str:
        book = operator.tenant()["sheet"]
        operator.type(book, "Segments!A2", ["friends", "tag is vip"])
        operator.type(book, "Campaigns!B4", ["Draft", "event"])
        operator.gate.requests.clear()
        return str(book)

    def made() -> Any:
        google = operator.emulated.google
        return everything(operator, "fresh"), google.sheets.properties("fresh"), google.drive.shared("fresh")

    begun()
    assert fresh(operator).exit_code == 0
    clean, requests = made(), list(operator.gate.requests)
    ends = [n for n, (method, _) in enumerate(requests) if method != "GET"]
    assert len(ends) >= 10, "zone, two tabs, what is taken over, help and its tab, tabs, headers, lookups, the look, 2 shares"
    for end in ends:
        operator.fresh(own=True)
        assert operator.own().exit_code == 0
        operator.emulated.google.sheets.create_spreadsheet("fresh", "Made by a person", "Europe/Berlin")
        old = begun()
        operator.gate.fault = lambda n, end=end: "" if n < end else "lost" if n == end else "refused"  # type: ignore[misc]
        first = fresh(operator)
        assert first.exit_code == 1 and "run this again" in first.stderr, f"{requests[end]}: {first.output}"
        assert operator.tenant()["sheet"] == old
        operator.gate.fault = lambda n: ""
        second = fresh(operator)
        assert (second.exit_code, operator.tenant()["sheet"]) == (0, "fresh"), f"{requests[end]}: {second.output}"
        assert made() == clean, requests[end]


def test_a_sheet_that_the_steps_cannot_use_does_not_take_the_old_ones_place(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    operator.emulated.google.drive.share("fresh", "reader", SYNC)
    found = fresh(operator)
    assert found.exit_code == UNFINISHED and f"Left for you: share the Sheet with {SYNC} as Editor" in found.stdout
    assert "names the old Sheet until that is done" in found.stdout and operator.tenant()["sheet"] == old
    operator.emulated.google.drive.share("fresh", "writer", SYNC)
    assert fresh(operator).exit_code == 0 and operator.tenant()["sheet"] == "fresh"


def test_what_a_person_has_put_into_the_new_sheet_stays(operator: Account) -> None:
    operator.type(operator.tenant()["sheet"], "Campaigns!B2", ["Old"])
    operator.emulated.google.sheets.add_tab("fresh", "Campaigns")
    theirs = [[*console.ROW_FIELDS], ["X-1", "Mine"]]
    operator.type("fresh", "Campaigns!A1", *theirs)
    found = fresh(operator)
    assert found.exit_code == UNFINISHED and STALE in found.stdout
    assert operator.cells("fresh", "Campaigns")[1][:2] == ["X-1", "Mine"] and operator.tenant()["sheet"] != "fresh"


def test_a_copy_that_is_out_of_date_does_not_take_the_old_ones_place(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    operator.type(old, "Campaigns!B2", ["One", "newsletter", "", "", "", "Go"])
    operator.emulated.google.drive.share("fresh", "reader", SYNC)
    assert fresh(operator).exit_code == UNFINISHED
    operator.emulated.google.drive.share("fresh", "writer", SYNC)
    operator.type(old, "Campaigns!G2", ["Pause"])
    found = fresh(operator)
    assert found.exit_code == UNFINISHED and STALE in found.stdout and "the tab Segments" not in found.stdout
    assert operator.tenant()["sheet"] == old and operator.cells("fresh", "Campaigns")[1][6] == "Go"
    clear(operator, "Campaigns")
    assert fresh(operator).exit_code == 0
    assert operator.tenant()["sheet"] == "fresh" and operator.cells("fresh", "Campaigns")[1][6] == "Pause"


def test_a_sheet_that_cannot_be_read_does_not_take_the_old_ones_place(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    operator.emulated.google.sheets.add_tab("fresh", "Import")
    operator.type("fresh", "Import!A1", ["Something", "else"])
    found = fresh(operator)
    assert found.exit_code == UNFINISHED and "Left for you: Import: the column “ID” is missing" in found.stdout
    assert operator.tenant()["sheet"] == old and "names the old Sheet until that is done" in found.stdout
    clear(operator, "Import")
    assert fresh(operator).exit_code == 0 and operator.tenant()["sheet"] == "fresh"


def test_a_sheet_of_which_nobody_says_who_has_it_does_not_take_the_old_ones_place(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    operator.gate.refusals["GET", "/permissions"] = Refused(403, "The user does not have sufficient permissions for this file.")
    found = fresh(operator)
    wish = f"Left for you: share the Sheet with {SYNC} as Editor; whom it is shared with is not shown to {PERSON}"
    assert found.exit_code == UNFINISHED and wish in found.stdout, found.output
    assert "share the folder" not in found.stdout.partition("Left for you")[2], "it is in use already"
    assert operator.tenant()["sheet"] == old
    operator.gate.refusals.clear()
    assert fresh(operator).exit_code == 0 and operator.tenant()["sheet"] == "fresh"


def test_rows_stay_as_they_are_to_the_letter_and_so_does_what_launch_made_of_them(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    rows = [
        ["Refused", "nowhere", "-20% today", "", "", "Go", "", "", "-3", TEAM],
        ["Held", "newsletter", "=cheaper", "", "2027-06-01 09:30", "Go", "", "", "", TEAM],
    ]
    for row, [*typed] in zip("23", rows, strict=True):
        store = operator.emulated.google.sheets
        store.write(old, [(store.area(old, f"Campaigns!B{row}"), [typed])], "RAW")

    product = Product(operator)
    world, paths = product.world, [product.world.paths.campaign(id) for id in ("C-0001", "C-0002")]

    async def begun() -> list[dict[str, Any]]:
        await product.ticks()
        await world.store.commit([Merge(paths[1], {"state": "paused"})])
        return [await world.data(path) for path in paths]

    async def gone_on() -> list[dict[str, Any]]:
        await product.ticks(2)
        return [await world.data(path) for path in paths]

    before = asyncio.run(begun())
    assert [one["state"] for one in before] == ["draft", "paused"] and "nowhere" in before[0]["answer"], before
    assert fresh(operator).exit_code == 0 and operator.tenant()["sheet"] == "fresh"
    assert asyncio.run(gone_on()) == before and not world.sender.accepted
    assert [row[:11] for row in operator.cells("fresh", "Campaigns")[1:3]] == [
        [f"C-000{n}", *row] for n, row in enumerate(rows, 1)
    ]


def test_a_row_with_an_address_is_named(operator: Account) -> None:
    operator.type(operator.tenant()["sheet"], "Campaigns!B5", [f"For {ADA}", "newsletter"])
    operator.type(operator.tenant()["sheet"], "Campaigns!A8", ["", "Nameless", "event"])
    found = fresh(operator)
    assert "Sheet: Campaigns: 1 row has no ID and stays behind" in found.stdout
    assert "Sheet: Campaigns, C-0004: an address stands in the row; see that it is no reader's" in found.stdout
    assert ADA not in found.output


def test_an_id_in_two_spellings_is_refused_before_the_one_that_stays_behind_sets_the_other_free(operator: Account) -> None:
    old = operator.tenant()["sheet"]
    operator.type(old, "Campaigns!A2", ["C-0001", "Ended", "newsletter"], ["c-0001", "Mine", "newsletter", "", "", "", "Go"])

    async def ended() -> None:
        world = World.on(operator.state, "main")
        await world.store.commit([Create(world.paths.campaign("C-0001"), {"kind": "campaign", "state": "completed"})])

    asyncio.run(ended())
    found = fresh(operator)
    assert found.exit_code == 1 and "c-0001 stands in more than one row of the old Sheet. Give each row an ID" in found.stderr
    assert operator.tenant()["sheet"] == old


def test_each_row_taken_over_and_each_free_one_shows_its_results(operator: Account) -> None:
    rows = [[f"X-{number:04d}", f"Draft {number}"] for number in range(850)]
    sheets = operator.emulated.google.sheets
    old = operator.tenant()["sheet"]
    sheets.write(old, [(sheets.area(old, "Campaigns!A2"), rows)], "RAW")
    assert fresh(operator).exit_code == 0
    found = operator.cells("fresh", "Campaigns")
    assert len(found) == 1 + 850 + 200 and [row[:2] for row in found[1:851]] == rows
    assert [found[n][12].partition(",")[0] for n in (1, 850, 1050)] == ['=IF($A2=""', '=IF($A851=""', '=IF($A1051=""']


def test_ids_go_on_behind_the_last_one_ever_used_even_when_its_row_is_gone(operator: Account) -> None:
    async def sent() -> None:
        world = World.on(operator.state, "main")
        await world.campaign("C-0417")

    asyncio.run(sent())
    assert fresh(operator).exit_code == 0
    assert [operator.cells("fresh", "Campaigns")[row][0] for row in (1, 200)] == ["C-0418", "C-0617"]


@pytest.mark.parametrize("what", ["no tenant", "no sheet", "old gone", "new unknown"])
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(operator: Account, what: str) -> None:
    old = operator.tenant()["sheet"]
    if what == "old gone":
        operator.gate.refusals["GET", f"/spreadsheets/{old}"] = Refused(404, "Requested entity was not found.")
    sentence, arguments = {
        "no tenant": ("A fresh workbook takes the place of an old one", ("--tenant", "other", "--sheet", "fresh")),
        "no sheet": ("A fresh workbook takes the place of an old one", ()),
        "old gone": (f"The old Sheet {old} is not there, or not shared with {PERSON}", ("--sheet", "fresh")),
        "new unknown": ("There is no Sheet with the id nowhere", ("--sheet", "nowhere")),
    }[what]
    found = operator.own("--update", "--carry", *arguments)
    assert found.exit_code == 1 and found.stderr.startswith(sentence), found.output
    assert operator.tenant()["sheet"] == old and len(operator.emulated.google.sheets.tabs("fresh")) == 1
