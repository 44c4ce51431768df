"""The bootstrap through the official client against our emulator of Sheets and Drive: what it makes, that a second run changes
nothing and an interrupted one is completed, and that the product runs on it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import google.auth
import pytest

from functions.launch.handler import Launch
from functions.sync_sheet.handler import SyncSheet
from functions.sync_sheet.workbook import HEADERS
from local import seed, starting
from local.emulators import Emulators
from local.google.rest import Refused
from ops.bootstrap import UNFINISHED
from ops.bootstrap_options import VARIABLES, checked
from ops.oauth import SCOPES
from shared.adapters import google_rest
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import READING, Sheets
from shared.model import batch, console
from shared.model.tenant import Tenant
from tests.contract.emulated import emulated
from tests.ops.google_account import IDENTITY, PERSON, Account, Browser, account
from tests.steps.world import PEPPER, World

pytestmark = pytest.mark.network

LAUNCH, SYNC = (f"{step}@brand-mail.iam.gserviceaccount.com" for step in ("step-launch", "step-sync-sheet"))
STARTERS = sorted(file.name for file in starting.TEMPLATES.iterdir())
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("bootstrap")) as running:
        yield running


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_rest, "PAUSE", 0.001)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the sign-in here is not https
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")  # put back after the test
    monkeypatch.setattr(webbrowser, "get", lambda name=None: Browser())


@pytest.fixture
def operator(server: Account) -> Account:
    """Somebody with an OAuth client and nothing else."""
    server.fresh(own=True)
    return server


@pytest.fixture
def service(server: Account) -> Account:
    """A service account with which a person shared an empty Sheet "book" and an empty folder "templates"."""
    server.fresh(own=False)
    return server


def put_by_hand(account: Account) -> None:
    for file in starting.TEMPLATES.iterdir():
        (account.emulated.google.drive.folder / file.name).write_bytes(file.read_bytes())


# --- as the operator


def test_a_first_run_makes_workbook_folder_sharing_and_tenant(operator: Account) -> None:
    found = operator.own()
    assert (found.exit_code, found.stderr) == (0, ""), found.output
    held, google = operator.tenant(), operator.emulated.google
    assert google.sheets.properties(held["sheet"]) == ("Brand: ops dashboard", "Asia/Tokyo")
    assert [tab.title for tab in google.sheets.tabs(held["sheet"])] == [starting.START, *HEADERS]
    assert operator.cells(held["sheet"], starting.START) == starting.CELLS
    assert operator.cells(held["sheet"], console.CAMPAIGNS)[0] == [
        *console.ROW_FIELDS,
        *console.ROW_OPTIONS,
        *console.ROW_RESULTS,
    ]
    assert operator.cells(held["sheet"], console.CAMPAIGNS)[200][0] == "C-0200"
    [folder] = [path for path in google.drive.folder.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == STARTERS
    assert all((folder / name).read_bytes() == (starting.TEMPLATES / name).read_bytes() for name in STARTERS)
    assert google.drive.shared(held["sheet"]) == {LAUNCH: "reader", SYNC: "writer"}
    assert google.drive.shared(held["folder"]) == {LAUNCH: "reader", SYNC: "reader"}
    assert (held["name"], held["identity"]["from_address"], held["identity"]["list_name"]) == (
        "Brand",
        "hello@brand.example",
        "Brand news",
    )
    lines = found.stdout.splitlines()
    assert lines[0].startswith("Sheet: made, https://docs.google.com/spreadsheets/d/")
    assert "Sheet: added tab Campaigns" in lines and "folder: added welcome.md" in lines and lines[-1] == "tenant main: made"
    assert google.sheets.tabs("book") and PERSON not in found.output, "what else is in the Drive stays as it is"


@pytest.mark.parametrize("again", ["same options", "none"])
def test_a_second_run_changes_nothing(operator: Account, again: str) -> None:
    assert operator.own().exit_code == 0
    before, operator.gate.requests[:] = operator.everything(), []
    arguments = ("--project", "brand-mail", "--client", str(operator.client), "--token", str(operator.token))
    found = operator.own() if again == "same options" else operator.run(*arguments)
    assert found.exit_code == 0, found.stderr or found.output
    assert operator.gate.writes == [] and operator.gate.requests
    assert operator.everything() == before
    assert all(line.endswith("unchanged") for line in found.stdout.splitlines()), found.stdout


def test_what_people_typed_deleted_and_edited_stays(operator: Account) -> None:
    assert operator.own().exit_code == 0
    held, google = operator.tenant(), operator.emulated.google
    book = held["sheet"]
    operator.type(book, "'Start here'!A1", ["Ours: read the wiki"])
    operator.type(book, "Campaigns!B2", ["Harvest", "newsletter"])
    operator.type(book, "Campaigns!A3", [""])
    operator.type(book, "Campaigns!Q1", ["Owner"], ["Mira"])
    google.sheets.update_spreadsheet(book, "Harvest sheet", "Europe/Lisbon")
    [folder] = [path for path in google.drive.folder.iterdir() if path.is_dir()]
    (folder / "newsletter.md").write_text("---\nsubject: Ours\n---\nText\n")
    (folder / "confirm.md").unlink()
    (folder / "Confirm.html").write_text("ours")
    (folder / "welcome.md").rename(folder / "welcome.gdoc.md")  # a Google Doc
    google.drive.share(held["folder"], "writer", LAUNCH)
    before = operator.everything()
    found = operator.own()
    assert (found.exit_code, operator.everything()) == (0, before), found.output
    assert "its time zone is Europe/Lisbon, and stays so" in found.stdout


def test_what_people_deleted_altogether_is_added_again(operator: Account) -> None:
    assert operator.own().exit_code == 0
    held, google = operator.tenant(), operator.emulated.google
    clean = operator.plain()
    tabs = {tab.title: tab.id for tab in google.sheets.tabs(held["sheet"])}
    google.sheets.delete_tab(held["sheet"], tabs[console.CAMPAIGNS])
    google.sheets.delete_tab(held["sheet"], tabs[starting.START])
    google.drive.find("Brand: templates/newsletter.md").unlink()  # type: ignore[union-attr]
    found = operator.own()
    assert (found.exit_code, operator.plain()) == (0, clean)
    assert "Sheet: added tab Start here\nSheet: added tab Campaigns\nSheet: added what its tabs lacked\n" in found.stdout


def test_a_run_interrupted_after_any_write_is_completed_by_the_next(operator: Account) -> None:
    """The nth request is done and its answer lost, and nothing answers after it."""
    assert operator.own().exit_code == 0
    clean, requests = operator.plain(), list(operator.gate.requests)
    ends = [n for n, (method, _) in enumerate(requests) if method != "GET"]
    for end in (0, *ends):
        operator.fresh(own=True)
        operator.gate.fault = lambda n, end=end: "" if n < end else "lost" if n == end else "refused"  # type: ignore[misc]
        first = operator.own()
        assert first.exit_code == 1 and "run this again" in first.stderr, f"{requests[end]}: {first.output}"
        operator.gate.fault = lambda n: ""
        second = operator.own()
        assert (second.exit_code, operator.plain()) == (0, clean), f"{requests[end]}: {second.output}"
    assert len(ends) == 23, "workbook, zone, help, tabs, headers (Import grows), lookups, the look, folder, 9 templates, 4 shares"


def test_a_tenant_that_differs_is_shown_and_changed_only_with_update(operator: Account) -> None:
    assert operator.own().exit_code == 0
    before = operator.everything()
    found = operator.own("--from-name", "Mira at Brand")
    assert (found.exit_code, operator.everything()) == (UNFINISHED, before)
    assert "tenant main: from_name is “Brand”, not “Mira at Brand”\n" in found.stdout
    assert "--update" in found.stdout and found.stdout.endswith("Not finished. Do the above, then run this again.\n")
    assert operator.own("--from-name", "Mira at Brand", "--update").exit_code == 0
    assert operator.tenant()["identity"]["from_name"] == "Mira at Brand"
    assert operator.tenant()["identity"]["list_name"] == "Brand news"


def test_another_sheet_needs_update_and_leaves_the_first_alone(operator: Account) -> None:
    assert operator.own().exit_code == 0
    first = operator.tenant()["sheet"]
    before = operator.everything()
    assert operator.own("--sheet", "book").exit_code == UNFINISHED
    assert operator.everything() == before
    assert operator.own("--sheet", "book", "--update").exit_code == 0
    assert operator.tenant()["sheet"] == "book" != first
    assert [tab.title for tab in operator.emulated.google.sheets.tabs("book")] == [starting.START, "Sheet1", *HEADERS]


def test_two_tenants_of_one_operator_have_a_workbook_each(operator: Account) -> None:
    assert operator.own().exit_code == 0
    clean = operator.tenant()
    assert operator.own("--tenant", "second", "--name", "Second").exit_code == 0
    assert operator.tenant() == clean
    assert len(operator.emulated.google.sheets.spreadsheets()) == 3


@pytest.mark.parametrize("whose", ["mine", "a stranger's"])
def test_a_file_that_a_stranger_shared_under_our_mark_is_not_taken(operator: Account, whose: str) -> None:
    assert operator.own().exit_code == 0
    first, drive = operator.tenant(), operator.emulated.google.drive
    with closing(sqlite3.connect(operator.state / "store.db", isolation_level=None)) as db:
        db.execute("delete from documents")  # as before a first run
    if whose == "a stranger's":
        drive.share(first["sheet"], "owner", "stranger@example.com")
    assert operator.own().exit_code == 0
    assert (operator.tenant()["sheet"] == first["sheet"]) == (whose == "mine")


def test_an_account_that_google_does_not_share_with_is_left_for_later(operator: Account) -> None:
    refusal = Refused(400, "Bad Request. User message: the account does not exist.", "invalidSharingRequest")
    operator.gate.refusals["POST", "/permissions"] = refusal
    found = operator.own()
    assert found.exit_code == UNFINISHED
    assert f"Left for you: share the Sheet with {SYNC} as Editor; Google refused it now: Bad Request" in found.stdout
    assert operator.tenant()["sheet"], "the rest is done"
    operator.gate.refusals.clear()
    assert operator.own().exit_code == 0
    assert operator.emulated.google.drive.shared(operator.tenant()["sheet"]) == {LAUNCH: "reader", SYNC: "writer"}


def test_a_role_that_a_person_gave_is_theirs_to_change(operator: Account) -> None:
    assert operator.own().exit_code == 0
    operator.emulated.google.drive.share(operator.tenant()["sheet"], "reader", SYNC)
    before = operator.everything()
    found = operator.own()
    assert (found.exit_code, operator.everything()) == (UNFINISHED, before)
    assert f"Left for you: share the Sheet with {SYNC} as Editor.\n" in found.stdout


# --- approval


def guarded(account: Account, book: str) -> dict[str, dict[str, Any]]:
    """Tab -> its only hard protection."""
    store = account.emulated.google.sheets
    looks = {tab.title: store.look(book, tab.id).get("protected", []) for tab in store.tabs(book)}
    return {title: one for title, there in looks.items() for one in there if not one.get("warningOnly")}


def test_approval_is_set_up_once_and_can_be_believed(operator: Account) -> None:
    found = operator.own("--approvers", "Ada@brand.example, bob@brand.example", "--hold", "15")
    assert found.exit_code == 0, found.stderr or found.output
    assert "Sheet: added tab Team" in found.output and "added column Approved to Campaigns" in found.output
    services = [f"step-{step}@brand-mail.iam.gserviceaccount.com" for step in ("launch", "sync-sheet")]
    book = operator.tenant()["sheet"]
    tabs = [operator.emulated.google.sheets.tab(book, tab).id for tab in ("Campaigns", "Team")]
    kept = {"required": True, "hold": 15, "admins": [PERSON], "services": services, "tabs": tabs}
    assert operator.tenant()["approval"] == kept
    assert operator.cells(book, "Team") == [
        ["Email", "Role"],
        ["ada@brand.example", "Approver"],
        ["bob@brand.example", "Approver"],
    ]
    assert operator.cells(book, "Campaigns")[0][-1] == "Approved"
    protected = guarded(operator, book)
    assert set(protected) == {"Team", "Campaigns", "Settings", "Topics"}
    for tab in ("Team", "Settings", "Topics"):
        assert len(protected[tab]["range"]) == 1 and set(protected[tab]["editors"]["users"]) == {PERSON, *services}
    assert set(protected["Campaigns"]["editors"]["users"]) == {PERSON, *services, "ada@brand.example", "bob@brand.example"}
    assert operator.emulated.google.drive.shared(book)[services[0]] == "writer", "who may not edit is not shown who may"
    before = operator.everything()
    for again in ([], ["--approvers", "ada@brand.example"]):
        found = operator.own(*again)
        assert found.exit_code == 0 and "Sheet: approval found, unchanged" in found.output
        assert operator.everything() == before
    found = operator.own("--approvers", "cleo@brand.example")
    assert found.exit_code == 0, found.stderr or found.output
    assert "cleo@brand.example" in guarded(operator, book)["Campaigns"]["editors"]["users"]


def test_another_tab_in_the_place_of_one_that_was_protected_is_taken_only_when_told_to(operator: Account) -> None:
    operator.own("--approvers", "ada@brand.example")
    book, store = operator.tenant()["sheet"], operator.emulated.google.sheets
    kept = operator.tenant()["approval"]
    store.update_tab(book, replace(store.tab(book, "Team"), title="Old team"))
    found = operator.own("--approvers", "ada@brand.example")
    assert found.exit_code == UNFINISHED and "is not the tab that was protected before" in found.output
    assert operator.tenant()["approval"] == kept
    found = operator.own(UPDATE="1")
    assert found.exit_code == 0, found.output
    assert operator.tenant()["approval"]["tabs"] == [kept["tabs"][0], store.tab(book, "Team").id]


def test_without_being_asked_for_nothing_of_approval_is_made(operator: Account) -> None:
    assert operator.own().exit_code == 0
    book = operator.tenant()["sheet"]
    assert "approval" not in operator.tenant() and not guarded(operator, book)
    assert "Team" not in [tab.title for tab in operator.emulated.google.sheets.tabs(book)]


def test_an_owner_who_is_no_admin_is_named(service: Account) -> None:
    put_by_hand(service)
    service.emulated.google.drive.share("book", "owner", "owner@brand.example")
    found = service.filled("--approvers", "ada@brand.example")
    assert found.exit_code == UNFINISHED and "Besides admins these may edit there: ada@brand.example, owner@brand" in found.output
    found = service.filled("--admins", "owner@brand.example", UPDATE="1")
    assert "no approval counts yet" not in found.output, found.output


def test_what_others_could_write_until_now_is_not_taken_over(operator: Account) -> None:
    operator.own()
    book = operator.tenant()["sheet"]
    at = len(operator.cells(book, "Campaigns")[0])
    operator.emulated.google.sheets.update_tab(
        book, replace(operator.emulated.google.sheets.tab(book, "Campaigns"), columns=at + 1)
    )
    operator.type(book, f"Campaigns!{ascii_uppercase[at]}1", ["Approved"], ["K7Q2MXBD"])
    operator.emulated.google.sheets.add_tab(book, "Team")
    operator.type(book, "Team!A1", ["Email", "Role"], ["eve@brand.example", "Approver"])
    found = operator.own("--approvers", "ada@brand.example", UPDATE="1")
    assert found.exit_code == UNFINISHED
    assert "see that all in the tab Team may approve" in found.output and "empty the column Approved" in found.output
    assert set(guarded(operator, book)) == {"Team", "Settings", "Topics"}


# --- a Sheet and a folder that a person made


def test_a_shared_sheet_is_filled_and_what_only_a_person_can_do_is_named(service: Account) -> None:
    service.type("book", "Sheet1!A1", ["Notes of ours"])
    drive = service.emulated.google.drive
    found = service.filled()
    assert (found.exit_code, found.stderr) == (UNFINISHED, ""), found.output
    left = [line for line in found.stdout.splitlines() if line.startswith("Left for you: ")]
    assert left[0].startswith(
        f"Left for you: upload {', '.join(STARTERS)} from {starting.TEMPLATES} to https://drive.google.com/"
    )
    assert left[1:] == [
        f"Left for you: share the Sheet with {LAUNCH} as Viewer.",
        f"Left for you: share the Sheet with {SYNC} as Editor.",
        f"Left for you: share the folder with {LAUNCH} as Viewer.",
        f"Left for you: share the folder with {SYNC} as Viewer.",
    ]
    assert service.cells("book", "Sheet1") == [["Notes of ours"]]
    assert [tab.title for tab in service.emulated.google.sheets.tabs("book")] == [starting.START, "Sheet1", *HEADERS]
    assert service.emulated.google.sheets.properties("book") == ("Pipeline", "Europe/Berlin")
    assert (service.tenant()["sheet"], service.tenant()["folder"]) == ("book", "templates"), "the rest is done"

    put_by_hand(service)
    drive.share("book", "writer", LAUNCH)
    drive.share("book", "reader", SYNC)
    drive.share("templates", "reader", LAUNCH)
    drive.share("templates", "reader", SYNC)
    found = service.filled()
    assert found.exit_code == UNFINISHED and f"share the Sheet with {SYNC} as Editor" in found.stdout, "to read is not enough"
    drive.share("book", "writer", SYNC)
    before, service.gate.requests[:] = service.everything(), []
    found = service.run("--project", "brand-mail")
    assert (found.exit_code, service.gate.writes, service.everything()) == (0, [], before), found.output


def test_a_tab_of_theirs_in_the_way_is_named(service: Account) -> None:
    service.emulated.google.sheets.add_tab("book", "Import")
    service.type("book", "Import!A1", ["Wine", "Price"], ["Vinho verde", "7"])
    found = service.filled()
    assert "Left for you: Import: the column “ID” is missing. Nothing in this tab is read until it is there once." in found.stdout
    assert service.cells("book", "Import") == [["Wine", "Price"], ["Vinho verde", 7]]


def test_only_what_is_missing_in_the_folder_is_to_be_uploaded(service: Account) -> None:
    put_by_hand(service)
    service.emulated.google.drive.find("confirm.md").unlink()  # type: ignore[union-attr]
    assert "upload confirm.md from" in service.filled().stdout


def test_where_sharing_is_not_shown_the_addresses_are_told_and_nothing_is_left(service: Account) -> None:
    put_by_hand(service)
    service.gate.refusals["GET", "/permissions"] = Refused(403, "Insufficient permissions.", "insufficientFilePermissions")
    found = service.filled()
    assert found.exit_code == 0
    assert all(
        f"share the {what}" in found.stdout for what in (f"Sheet with {SYNC} as Editor", f"folder with {LAUNCH} as Viewer")
    )


def test_addresses_from_the_browser_are_ids(service: Account) -> None:
    sheet, folder = (
        "https://docs.google.com/spreadsheets/d/{}/edit?usp=sharing#gid=0",
        "https://drive.google.com/drive/u/0/folders/{}",
    )
    assert service.filled("--sheet", sheet.format("book"), "--folder", folder.format("templates")).exit_code == UNFINISHED
    assert (service.tenant()["sheet"], service.tenant()["folder"]) == ("book", "templates")
    assert checked("folder", "https://drive.google.com/open?id=1a-B_c") == "1a-B_c"


# --- what goes wrong


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"--sheet": "nope"},
            "There is no Sheet with the id nope, or it is not shared with steps@twin.iam.gserviceaccount.com: check",
        ),
        ({"--folder": "nope"}, "There is no folder with the id nope, or it is not shared with steps@twin"),
        ({"--sheet": "templates"}, "--sheet: templates is not a Google Sheet but another file."),
        ({"--folder": "book"}, "--folder: book is not a folder but another file."),
    ],
)
def test_wrong_ids_are_sentences(service: Account, options: dict[str, str], sentence: str) -> None:
    found = service.filled(*(part for pair in options.items() for part in pair))
    assert found.exit_code == 1 and found.stderr.startswith(sentence), found.output
    assert service.tenant() == {}


@pytest.mark.parametrize(
    ("where", "refusal", "sentence"),
    [
        (
            ("POST", "/v4/spreadsheets/book"),
            Refused(403, "The caller does not have permission"),
            "Google refused: The caller does not have permission Are the Sheet and the folder shared with steps@twin.iam",
        ),
        (
            ("GET", "/drive/v3/files/book"),
            Refused(403, "Google Drive API has not been used in project 1 before.", "accessNotConfigured"),
            "Google Drive API has not been used in project 1 before. Or: gcloud services enable sheets.googleapis.com drive.",
        ),
        (
            ("GET", "/drive/v3/files"),
            Refused(403, "Request had insufficient authentication scopes.", "insufficientPermissions"),
            "The default credentials may not use Sheets and Drive: run as a service account, or give --client.",
        ),
    ],
)
def test_refusals_are_sentences(service: Account, where: tuple[str, str], refusal: Refused, sentence: str) -> None:
    service.gate.refusals[where] = refusal
    found = service.filled()
    assert found.exit_code == 1 and found.stderr.startswith(sentence), found.output
    assert "Traceback" not in found.output and len(found.stderr.splitlines()) == 1


def test_no_network_is_a_sentence(service: Account) -> None:
    found = service.filled(SHEETS_ENDPOINT="http://127.0.0.1:9", DRIVE_ENDPOINT="http://127.0.0.1:9")
    assert found.exit_code == 1 and found.stderr.startswith("drive is unavailable: ConnectionRefusedError. Check the network")


def test_missing_credentials_are_a_sentence(service: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service.state / "nowhere.json"))
    found = service.filled(STACK="google")
    assert found.exit_code == 1 and "gcloud auth application-default login" in found.stderr, found.output


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--from-address", "hello at brand", "--from-address: This is not an e-mail address we can mail"),
        ("--list-domain", "https://brand.example", "--list-domain must be a domain name, like news.example.com."),
        ("--list-domain", "hello@brand.example", "--list-domain must be a domain name"),
        ("--time-zone", "Europe", "--time-zone: “Europe” is not a time zone, like Europe/Lisbon is."),
        ("--time-zone", "../Tokyo", "--time-zone: “../Tokyo” is not a time zone"),
        ("--from-name", "Brand\x07", "--from-name holds characters that cannot be shown."),
        ("--project", "Brand Mail", "--project: “Brand Mail” is not the id of a project."),
        ("--tenant", "a/b", "--tenant: “a/b” must be made of small letters"),
        ("--sheet", "my sheet", "--sheet must be the id of a Sheet, or its address."),
        ("--folder", "https://docs.google.com/spreadsheets/d/book/edit", "--folder must be the id of a folder, or its address."),
        ("--sheet", "https://drive.google.com/drive/folders/templates", "--sheet must be the id of a Sheet"),
    ],
)
def test_bad_values_are_sentences_before_anything_is_done(service: Account, option: str, value: str, sentence: str) -> None:
    found = service.filled(option, value)
    assert found.exit_code == 1 and found.stderr.startswith(sentence), found.output
    assert service.gate.requests == [] and not (service.state / "store.db").exists()


def test_all_bad_values_are_named_at_once(service: Account) -> None:
    found = service.filled("--from-address", "x", "--time-zone", "y")
    assert [line.partition(":")[0] for line in found.stderr.splitlines()] == ["--from-address", "--time-zone"]


def test_all_that_is_missing_is_named_at_once(service: Account) -> None:
    found = service.run("--name", " ", "--from-name", "Brand")
    assert (found.exit_code, found.stderr) == (
        1,
        "Missing: --project (GOOGLE_CLOUD_PROJECT), --sheet (SHEET), --folder (FOLDER), --name (TENANT_NAME), "
        "--from-address (FROM_ADDRESS), --postal-address (POSTAL_ADDRESS), --list-domain (LIST_DOMAIN); "
        "or give --client (CLIENT) and let me make the Sheet and the folder.\n",
    )
    found = service.run(
        "--project", "brand-mail", "--client", str(service.client), FROM_NAME="Brand", LIST_DOMAIN="brand.example"
    )
    assert found.stderr == (
        "Missing: --time-zone (TIME_ZONE), --name (TENANT_NAME), --from-address (FROM_ADDRESS), --postal-address (POSTAL_ADDRESS).\n"
    )


def test_somebody_at_the_terminal_is_asked_until_the_answer_can_be_used(service: Account) -> None:
    program = "import typer; from ops.bootstrap import bootstrap; typer.run(bootstrap)"
    arguments = ["--project", "brand-mail", "--sheet", "book", "--folder", "templates", "--name", "Brand"]
    outer, inner = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=REPO,
        stdin=inner,
        stdout=subprocess.PIPE,
        env={**os.environ, **service.environment()},
    )
    os.close(inner)
    os.write(outer, b"nonsense\nhello@brand.example\nMira\n1 Street, Town\nnews.brand.example\n")
    output, _ = child.communicate(timeout=60)
    os.close(outer)
    assert child.returncode == UNFINISHED and b"--from-address: This is not an e-mail address" in output, output
    identity = service.tenant()["identity"]
    assert [identity[name] for name in ("from_address", "from_name", "postal_address", "list_domain")] == [
        "hello@brand.example",
        "Mira",
        "1 Street, Town",
        "news.brand.example",
    ]


def test_the_tenant_is_kept_in_firestore(service: Account, emulators: Emulators) -> None:
    put_by_hand(service)
    service.gate.refusals["GET", "/permissions"] = Refused(403, "Insufficient permissions.", "insufficientFilePermissions")
    program = "import typer; from ops.bootstrap import bootstrap; typer.run(bootstrap)"
    given = {"--project": "brand-mail", "--sheet": "book", "--folder": "templates"} | IDENTITY
    environ = {**os.environ, **service.environment(), "STACK": "google", "FIRESTORE_EMULATOR_HOST": emulators.firestore}

    def run(*more: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", program, *(part for pair in given.items() for part in pair), *more]
        done = subprocess.run(
            command, cwd=REPO, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout.splitlines()[-1], done.stderr

    assert run() == (0, "tenant main: made", "")
    assert run() == (0, "tenant main: found, unchanged", "")
    assert run("--postal-address", "2 Street, Town", "--update") == (0, "tenant main: changed", "")
    assert run("--postal-address", "2 Street, Town") == (0, "tenant main: found, unchanged", "")


# --- the operator's consent


def test_consent_is_asked_once_kept_for_the_owner_only_and_refreshed(operator: Account) -> None:
    operator.token.unlink()
    sign_in = operator.gate.sign_in
    assert operator.own().exit_code == 0
    assert (sign_in.consents, stat.S_IMODE(operator.token.stat().st_mode)) == (1, 0o600)
    kept = json.loads(operator.token.read_text())
    assert (kept["type"], kept["refresh_token"], kept["scopes"]) == ("authorized_user", sign_in.refresh_tokens[-1], list(SCOPES))
    os.chmod(operator.token, 0o644)
    assert operator.own().exit_code == 0
    assert (sign_in.consents, stat.S_IMODE(operator.token.stat().st_mode)) == (1, 0o600)
    assert json.loads(operator.token.read_text())["token"] == sign_in.access_tokens[-1] != kept["token"]
    assert sorted(path.name for path in operator.token.parent.iterdir()) == ["token.json"]


def test_the_adapters_find_the_operators_token_and_need_not_refresh_it(operator: Account) -> None:
    assert operator.own().exit_code == 0
    found, _ = google.auth.default(scopes=[READING])  # as Sheets asks: a scope that was not granted by that name
    assert found.valid and found.token == operator.gate.sign_in.access_tokens[-1]


@pytest.mark.parametrize("kept", ["revoked", "another client's", "rubbish"])
def test_a_token_of_no_use_is_asked_for_anew(operator: Account, kept: str) -> None:
    if kept == "revoked":
        operator.gate.sign_in.refresh_tokens.clear()
    elif kept == "another client's":
        operator.token.write_text(json.dumps({"client_id": "other", "refresh_token": "kept"}))
    else:
        operator.token.write_text("{")
    assert operator.own().exit_code == 0
    assert operator.gate.sign_in.consents == 1


def test_without_consent_nothing_is_made(operator: Account) -> None:
    operator.token.unlink()
    operator.gate.sign_in.denies = True
    found = operator.own()
    assert (found.exit_code, found.stderr) == (1, "Google did not give access (access_denied): run this again, and allow it.\n")
    operator.gate.sign_in.denies, operator.gate.sign_in.grants = False, SCOPES[:1]
    found = operator.own()
    assert (found.exit_code, found.stderr) == (1, "Not everything was allowed: run this again, and tick both Sheets and Drive.\n")
    assert operator.gate.requests == [] and not operator.token.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"installed": {}}', '{"web": {"client_id": "id"}}', None])
def test_a_client_file_of_no_use_is_a_sentence(operator: Account, content: str | None) -> None:
    operator.client.write_text(content) if content is not None else operator.client.unlink()
    found = operator.own()
    assert found.exit_code == 1 and found.stderr.startswith(f"--client: {operator.client} "), found.output
    assert operator.gate.requests == []


# --- what it is for


def test_a_campaign_runs_on_what_the_bootstrap_made(operator: Account) -> None:
    assert operator.own().exit_code == 0
    url = operator.emulated.url

    async def story() -> tuple[World, list[list[list[str]]]]:
        world = World.on(operator.state, "main")
        tenant = await Tenant.load(world.store, world.paths)
        sheet, drive = Sheets(tenant.sheet, url), GoogleDrive(url)
        sync = SyncSheet(world.store, sheet, world.clock, world.paths, PEPPER)
        launch = Launch(world.store, world.bus, world.clock, world.objects, sheet, drive, world.links, world.paths, tenant)
        operator.type(tenant.sheet, "Import!B2", *([f"{name}@x.example", name, "en", "", "fair"] for name in ("ann", "bob")))
        await sync.handle()
        operator.type(tenant.sheet, "Campaigns!B2", ["First", "newsletter", "", "", "", "Go"])
        await launch.handle()
        for message in world.bus.take(batch.TOPIC):
            await world.send_batch().handle(message)
        await launch.handle()
        await sync.handle()
        return world, await sheet.read(["Campaigns!A2:P2", "Import!G2:G3", "Dashboard!A1:B"])

    world, (row, answers, board) = asyncio.run(story())
    assert row == [
        ["C-0001", "First", "newsletter", "", "", "", "Go", "", "", "", "", "", "completed", "Done: 2 sent.", "Passed", "2"]
    ]
    assert answers == [["Imported."], ["Imported."]]
    assert sorted(world.sender.accepted) == ["ann@x.example", "bob@x.example"]
    assert all(b"hello@brand.example" in mail and b"1 Street, Town" in mail for mail in world.sender.mails.values())
    assert dict(cells for cells in board if len(cells) == 2)["Mails sent"] == "2"
    confirmation = asyncio.run(world.data(world.paths.campaign("confirm")))
    assert (confirmation["answer"], confirmation["mail"]["name"]) == ("", "confirm.md")
    before, operator.gate.requests[:] = operator.everything(), []
    assert operator.own().exit_code == 0
    assert operator.gate.writes == [] and operator.everything() == before, "and the bootstrap leaves a list at work alone"


@pytest.mark.slow
def test_the_demo_runs_on_what_the_bootstrap_made(tmp_path: Path) -> None:
    """The twin's own seed finds everything there, and the demo audits itself."""
    state = tmp_path / "demo"
    with emulated(state, state / seed.FOLDER, account=PERSON) as twin:
        twin.google.sheets.create_spreadsheet(seed.SHEET, "Made by a person", "Asia/Tokyo")
        environ = {"STACK": "embedded", "STATE_DIR": str(state), "SHEETS_ENDPOINT": twin.url, "DRIVE_ENDPOINT": twin.url}
        given = {"--tenant": "local", "--sheet": seed.SHEET, "--folder": seed.FOLDER, **IDENTITY}
        environ |= {VARIABLES.get(name[2:], name[2:].upper()): text for name, text in given.items()}
        environ["FIRESTORE_DATABASE"] = "(default)"  # or make asks an operator's own Terraform
        for time in ("first", "second"):
            found = subprocess.run(
                ["make", "-s", "bootstrap", "PROJECT=brand-mail"],
                cwd=REPO,
                env={**os.environ, **environ},
                capture_output=True,
                text=True,
            )
            assert "share the Sheet" in found.stdout, f"{found}: all but the sharing, which no twin needs"
            lines = [line for line in found.stdout.splitlines() if line.startswith(("Sheet: ", "folder: ", "tenant "))]
            assert all(line.endswith("unchanged") for line in lines) == (time == "second"), found.stdout
    command = [sys.executable, "-m", "local", "demo", "--state", str(state)]
    demo = subprocess.run(command, cwd=REPO, env={**os.environ, "RESUME": "1"}, capture_output=True, text=True, timeout=400)
    assert demo.returncode == 0, demo.stdout
    with emulated(state, state / seed.FOLDER) as twin:
        assert twin.google.sheets.properties(seed.SHEET) == ("Made by a person", "Asia/Tokyo"), "not the seed's"
        campaigns = twin.google.sheets.read(seed.SHEET, twin.google.sheets.area(seed.SHEET, "Campaigns!A2:M3"))
        assert [(row[0], row[12]) for row in campaigns] == [("C-0001", "completed"), ("C-0002", "completed")]
