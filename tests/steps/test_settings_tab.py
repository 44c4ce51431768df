"""The tabs Settings and Topics: what a marketer writes is how the tenant meets strangers, and what cannot be used changes nothing."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.launch.handler import Launch
from functions.sync_sheet.handler import SyncSheet
from functions.sync_sheet.logo import LARGEST
from functions.sync_sheet.settings import SETTINGS, values_of
from shared.adapters.drive import GoogleDrive
from shared.adapters.sheets import Sheets
from shared.errors import BadInput, NotFound
from shared.model import console
from shared.model.cells import neutralise
from shared.model.face import ACCENT, MAX_LOGO, Face, SignUp, Topic
from shared.model.tenant import Tenant, document
from shared.ports import Create, File, Merge, Store
from tests.contract.emulated import emulated

from .fakes import FakeDrive, FaultyStore, nth
from .world import PEPPER, TENANT, World

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
SVG = b'<?xml version="1.0"?>\n<!-- ours --><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h9v9z"/></svg>'
NAMES = [one.name for one in SETTINGS]
NEWS, EVENTS = Topic("news", "News", "Once a week."), Topic("events", "Events")


class Folder(FakeDrive):
    """As its parent, with pictures in `assets`, and what was fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: dict[str, tuple[bytes, str]] = {}
        self.fetched: list[str] = []

    async def list(self, folder: str) -> list[File]:
        self._answer()
        return [
            File(name, name, "image/png", version, "2027-01-01T00:00:00Z", "", len(data), "assets")
            for name, (data, version) in self.pictures.items()
        ]

    async def download(self, file: str) -> bytes:
        self.fetched.append(file)
        if file not in self.pictures:
            raise NotFound(file)
        return self.pictures[file][0]


@pytest.fixture
def folder(world: World) -> Folder:
    found = Folder()
    world.drive = found
    return found


def step(world: World, store: Store | None = None) -> SyncSheet:
    return SyncSheet(store or world.store, world.sheet, world.clock, world.paths, PEPPER, drive=world.drive, folder="folder")


async def tick(world: World, times: int = 1) -> None:
    for _ in range(times):
        await step(world).handle()


async def set_up(world: World, face: Face | None = None) -> None:
    """A tenant, and the workbook with its rows."""
    data = document(TENANT.name, TENANT.identity, TENANT.sheet, TENANT.folder)
    data |= {"face": face.document()} if face else {}
    await world.store.commit([Create(world.paths.tenant, data)])
    await tick(world)


def say(world: World, setting: str, value: str) -> None:
    at = [row[0] for row in world.sheet.rows("Settings!A1:A")].index(setting) + 1
    world.sheet.put(f"Settings!B{at}", [[value]])


def topics(world: World, *rows: Sequence[str]) -> None:
    blank = [["", "", ""]] * 5
    world.sheet.put("Topics!A2", [*([*row, "", ""][:3] for row in rows), *blank])


def settings(world: World) -> dict[str, str]:
    return {row[0]: (row[1:] or [""])[0] for row in world.sheet.rows("Settings!A2:B")}


def answers(world: World, tab: str = console.SETTING_RESULTS) -> dict[str, str]:
    return {row[0]: row[-1] for row in world.sheet.rows(f"'{tab}'!A2:Z")}


async def face(world: World) -> Face:
    return Face.of((await world.data(world.paths.tenant)).get("face"))


# --- the workbook ---


async def test_a_new_workbook_shows_each_setting_with_what_is_in_force_and_writes_no_face(world: World, folder: Folder) -> None:
    await set_up(world)
    assert list(settings(world)) == NAMES
    assert settings(world)["Accent colour"] == ACCENT and settings(world)["Public archive"] == "no"
    assert set(answers(world).values()) == {"In force.", "As it comes: none."}
    assert all(len(row) == 3 and row[1].endswith(".") for row in world.sheet.rows("'Setting results'!A2:C"))
    assert "face" not in await world.data(world.paths.tenant)
    world.sheet.changes.clear()
    before = world.versions()
    await tick(world, 2)
    assert (world.sheet.changes, world.versions()) == ([], before)


async def test_a_workbook_from_before_gets_the_values_in_force(world: World, folder: Folder) -> None:
    sign_up = SignUp(sites=("https://a.example", "https://b.example"), disposable="flag", mx=True, network_hour=7, fill=9)
    sign_up = replace(sign_up, captcha="turnstile", captcha_key="0x4AAA", tags=("berlin", "spring fair"))
    wanted = Face("#123456", "", "https://www.brand.example/", True, (NEWS, EVENTS), sign_up)
    await set_up(world, wanted)
    shown = settings(world)
    assert (shown["Accent colour"], shown["Sites with the form"]) == ("#123456", "https://a.example\nhttps://b.example")
    assert (shown["CAPTCHA"], shown["Fastest sign-up"], shown["Check mail domains"]) == ("turnstile", "9", "yes")
    assert shown["Sign-up tags"] == "berlin, spring fair"
    assert world.sheet.rows("Topics!A2:C9") == [["news", "News", "Once a week."], ["events", "Events"]]
    await tick(world, 2)
    assert await face(world) == wanted
    assert {name for name, said in answers(world).items() if said != "In force."} == {"Logo"}, "which is blank"
    assert set(answers(world, console.TOPIC_RESULTS).values()) == {"In force."}


async def test_every_setting_reads_what_it_shows() -> None:
    some = Face("#123456", "", "https://x.example/y", True, (), SignUp(("https://a.example",), "allow", "refuse", True, 1, 2))
    some = replace(some, signup=replace(some.signup, captcha="hcaptcha", captcha_key="k-1", fill=0, tags=("a b", "c++")))
    for one in SETTINGS:
        value = values_of(some)[one.field]
        assert not value or one.read(one.shown(value)) == value


async def test_rows_that_are_gone_come_back_with_what_is_in_force(world: World, folder: Folder) -> None:
    await set_up(world)
    say(world, "Fastest sign-up", "5")
    await tick(world)
    rows = [row for row in world.sheet.tabs["Settings"] if row[0] not in ("Fastest sign-up", "Logo")]
    world.sheet.tabs["Settings"] = rows
    await tick(world)
    assert settings(world)["Fastest sign-up"] == "5" and sorted(settings(world)) == sorted(NAMES)
    del world.sheet.tabs["Settings"]
    await tick(world, 2)
    assert settings(world)["Fastest sign-up"] == "5" and (await face(world)).signup.fill == 5


async def test_rows_may_be_sorted_and_columns_moved(world: World, folder: Folder) -> None:
    await set_up(world)
    say(world, "Accent colour", "#aa0000")
    top, *rows = world.sheet.tabs["Settings"]
    random.Random(1).shuffle(rows)
    world.sheet.tabs["Settings"] = [["Mine", *top], *(["x", *row] for row in rows)]
    await tick(world)
    assert (await face(world)).accent == "#aa0000"
    world.sheet.tabs["Settings"] = [row for row in world.sheet.tabs["Settings"] if "Home page" not in row]
    await tick(world)
    assert world.sheet.tabs["Settings"][-1][1] == "Home page", "below the others, in its own column"


# --- values ---


@pytest.mark.parametrize(
    ("setting", "value", "field", "wanted"),
    [
        ("Accent colour", "#A0C", "accent", "#aa00cc"),
        ("Accent colour", "#0B6B5f", "accent", "#0b6b5f"),
        ("Home page", "https://Brand.example/a?b=c", "home", "https://Brand.example/a?b=c"),
        ("Public archive", "TRUE", "archive", True),
        (
            "Sites with the form",
            "https://a.example/,\n https://b.example:8443",
            "sites",
            ("https://a.example", "https://b.example:8443"),
        ),
        ("Sites with the form", "http://localhost:8000", "sites", ("http://localhost:8000",)),
        ("Sign-up tags", " Berlin; Spring Fair,\nberlin,", "tags", ("berlin", "spring fair")),
        ("Sign-up tags", "हिन्दी, R&D", "tags", ("हिन्दी", "r&d")),
        ("Sign-up tags", " * ", "tags", ("*",)),
        ("Disposable addresses", "Allow", "disposable", "allow"),
        ("Role addresses", "refuse", "role", "refuse"),
        ("Check mail domains", "yes", "mx", True),
        ("Confirmations an hour, one network", "1,000", "network_hour", 1000),
        ("Confirmations an hour, one network", "1.000", "network_hour", 1000),
        ("Confirmations an hour, one domain", "0", "domain_hour", 0),
        ("CAPTCHA key", "6Lc_aCMTAAAAABx7u2W0", "captcha_key", "6Lc_aCMTAAAAABx7u2W0"),
        ("Fastest sign-up", "0", "fill", 0),
    ],
)
async def test_a_value_is_in_force_at_the_next_tick(
    world: World, folder: Folder, setting: str, value: str, field: str, wanted: Any
) -> None:
    await set_up(world)
    say(world, setting, value)
    await tick(world)
    assert values_of(await face(world))[field] == wanted
    assert answers(world)[setting] == "In force."
    assert world.sheet.rows("Activity!B2:B9") == [[f"Settings: changed {setting}."]]
    before = world.versions()
    await tick(world)
    assert world.versions() == before


HOSTILE = [
    ("Accent colour", "red"),
    ("Accent colour", "#12345"),
    ("Accent colour", "#0b6b53;background:url(//x)"),
    ("Accent colour", "#0b6b53\n}body{}"),
    ("Accent colour", "=#0b6b53"),
    ("Home page", "javascript:alert(1)"),
    ("Home page", "data:text/html,x"),
    ("Home page", "//evil.example"),
    ("Home page", "https://"),
    ("Home page", 'https://a.example/"onclick=x'),
    ("Home page", "https://a.example/<b>"),
    ("Home page", "https://user@a.example/"),
    ("Home page", "https://a.example/" + "x" * 300),
    ("Home page", "=HYPERLINK(1)"),
    ("Public archive", "perhaps"),
    ("Sites with the form", "https://a.example/form"),
    ("Sites with the form", "https://*.a.example"),
    ("Sites with the form", "*"),
    ("Sites with the form", "https://a.example; script-src *"),
    ("Sites with the form", "http://a.example"),
    ("Sites with the form", "https://a.example:70000"),
    ("Sites with the form", "https://münchen.example"),
    ("Sites with the form", "\n".join(f"https://a{n}.example" for n in range(21))),
    ("Sign-up tags", "berlin, everyone"),
    ("Sign-up tags", "vip*"),
    ("Sign-up tags", "berlin, *"),
    ("Sign-up tags", "=vip"),
    ("Sign-up tags", "x" * 41),
    ("Sign-up tags", ",".join(f"t{n}" for n in range(101))),
    ("Disposable addresses", "delete"),
    ("Confirmations an hour, one network", "-1"),
    ("Confirmations an hour, one network", "1.5"),
    ("Confirmations an hour, one network", "٣"),
    ("Confirmations an hour, one domain", "9" * 400),
    ("CAPTCHA", "friendly"),
    ("CAPTCHA", "turnstile"),
    ("CAPTCHA key", '"><script>'),
    ("Fastest sign-up", "soon"),
    ("Fastest sign-up", "61"),
    ("Logo", "../secret.png"),
    ("Logo", "logo.png"),
    ("Fastest sign-up", "x" * 40_000),
]


@pytest.mark.parametrize(("setting", "value"), HOSTILE, ids=[f"{setting}: {value[:20]!r}" for setting, value in HOSTILE])
async def test_a_value_that_cannot_be_used_is_told_and_the_earlier_one_stays(
    world: World, folder: Folder, setting: str, value: str
) -> None:
    kept = Face("#123456", "", "https://www.brand.example/", signup=SignUp(sites=("https://a.example",), network_hour=7, fill=9))
    await set_up(world, kept)
    say(world, setting, value)
    say(world, "Public archive" if setting != "Public archive" else "Check mail domains", "yes")
    await tick(world)
    found = await face(world)
    assert {**values_of(found), "archive": False, "mx": False} == values_of(kept), "and the row beside it counts"
    assert found.archive or found.signup.mx
    told = answers(world)[setting]
    assert "Until then: " in told and len(told) < 350 and neutralise(told) == told
    assert settings(world)[setting].strip() in (value.strip(), neutralise(value)), "what people typed stays"


async def test_a_blank_cell_is_as_the_product_comes(world: World, folder: Folder) -> None:
    await set_up(world, Face("#123456", signup=SignUp(network_hour=7)))
    say(world, "Accent colour", "")
    say(world, "Confirmations an hour, one network", "")
    await tick(world)
    assert await face(world) == Face()
    assert answers(world)["Confirmations an hour, one network"] == "As it comes: 60."
    assert answers(world)["Accent colour"] == f"As it comes: {ACCENT}."


async def test_a_workbook_from_before_gets_the_row_of_a_new_setting_which_lets_no_sign_up_set_tags(
    world: World, folder: Folder
) -> None:
    old = Face("#123456").document()
    del old["signup"]["tags"]
    await set_up(world)
    await world.store.commit([Merge(world.paths.tenant, {"face": old})])
    world.sheet.tabs["Settings"] = [row for row in world.sheet.tabs["Settings"] if row[0] != "Sign-up tags"]
    say(world, "Accent colour", "#123456")
    await tick(world, 2)
    assert settings(world)["Sign-up tags"] == "" and sorted(settings(world)) == sorted(NAMES)
    assert answers(world)["Sign-up tags"] == "As it comes: none."
    assert (await face(world)).signup.tags == () and not (await face(world)).signup.allows("vip")
    say(world, "Sign-up tags", "berlin, spring fair")
    await tick(world)
    say(world, "Sign-up tags", "berlin, everyone")
    await tick(world)
    assert (await face(world)).signup.tags == ("berlin", "spring fair")
    assert answers(world)["Sign-up tags"].endswith("Until then: berlin, spring fair.")


async def test_a_captcha_needs_its_key_and_losing_it_changes_neither(world: World, folder: Folder) -> None:
    await set_up(world)
    say(world, "CAPTCHA", "hcaptcha")
    say(world, "CAPTCHA key", "key-1")
    await tick(world)
    assert ((await face(world)).signup.captcha, (await face(world)).signup.captcha_key) == ("hcaptcha", "key-1")
    say(world, "CAPTCHA key", "")
    await tick(world)
    assert ((await face(world)).signup.captcha, (await face(world)).signup.captcha_key) == ("hcaptcha", "key-1")
    assert answers(world)["CAPTCHA"] == "Write its public key beside CAPTCHA key. Until then: hcaptcha."
    say(world, "CAPTCHA", "none")
    await tick(world)
    assert (await face(world)).signup == SignUp()


async def test_a_row_twice_and_a_row_of_no_setting_are_told(world: World, folder: Folder) -> None:
    await set_up(world)
    world.sheet.put("Settings!A30", [["accent  COLOUR", "#ff0000"], ["=cmd()", "x"]])
    await tick(world)
    assert (await face(world)).accent == ACCENT
    assert answers(world)["Accent colour"].startswith("This setting stands here more than once")
    assert answers(world)[str(neutralise("=cmd()"))] == "There is no setting of that name: correct it, or clear the row."


async def test_a_header_that_cannot_be_trusted_changes_nothing_and_is_told_on_the_dashboard(world: World, folder: Folder) -> None:
    await set_up(world, Face("#123456", topics=(NEWS,)))
    world.sheet.put("Settings!A1", [["Setting", "Setting"]])
    world.sheet.put("Topics!A1", [["Tag", "Tag"]])
    await tick(world)
    assert (await face(world)).accent == "#123456" and (await face(world)).topics == (NEWS,)
    notices = [row[1] for row in world.sheet.rows("Dashboard!A2:B") if row[0] == "Notice"]
    assert len(notices) == 2 and all("the column" in notice for notice in notices)


# --- the logo ---


async def test_a_logo_comes_from_the_folder_and_is_fetched_again_only_when_it_changes(world: World, folder: Folder) -> None:
    folder.pictures["Logo.svg"] = SVG, "1"
    await set_up(world)
    say(world, "Logo", "logo.svg")
    await tick(world)
    kind, _, data = (await face(world)).logo.partition(";base64,")
    assert (kind, b64decode(data)) == ("data:image/svg+xml", SVG)
    await tick(world, 3)
    assert folder.fetched == ["Logo.svg"]
    folder.pictures["Logo.svg"] = PNG, "2"
    await tick(world)
    assert (await face(world)).logo.startswith("data:image/png;base64,") and len(folder.fetched) == 2
    folder.down = True
    await tick(world)
    assert (await face(world)).logo.startswith("data:image/png;base64,") and answers(world)["Logo"] == "In force."
    folder.down = False
    say(world, "Logo", "")
    await tick(world)
    assert (await face(world)).logo == ""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PNG + bytes(LARGEST), "9 KB, and 8 KB is the most"),
        (b"<html>", "no picture that pages can show"),
        (b"", "no picture that pages can show"),
        (b"<svg onload=alert(1)></svg>", "holds more than a picture"),
        (b"<svg><script>x</script></svg>", "holds more than a picture"),
        (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><svg></svg>', "no picture"),
    ],
    ids=["large", "html", "empty", "handler", "script", "entities"],
)
async def test_a_file_that_is_no_logo_is_told_once_and_not_fetched_again(
    world: World, folder: Folder, data: bytes, says: str
) -> None:
    folder.pictures["logo.png"] = data, "1"
    await set_up(world)
    say(world, "Logo", "assets/logo.png")
    sync = step(world)
    for _ in range(3):
        await sync.handle()
    assert says in answers(world)["Logo"] and (await face(world)).logo == ""
    assert len(folder.fetched) <= 1


async def test_the_largest_logo_fits(world: World, folder: Folder) -> None:
    folder.pictures["logo.png"] = PNG + bytes(LARGEST - len(PNG)), "1"
    await set_up(world)
    say(world, "Logo", "logo.png")
    await tick(world)
    assert 0 < len((await face(world)).logo) <= MAX_LOGO


# --- topics ---


async def test_topics_are_shown_in_the_order_of_their_rows(world: World, folder: Folder) -> None:
    await set_up(world)
    topics(world, ["News", "The news", "Once a week."], ["events", "Events"])
    await tick(world)
    assert (await face(world)).topics == (Topic("news", "The news", "Once a week."), Topic("events", "Events"))
    topics(world, ["events", "Events"], ["news", "The news"])
    await tick(world)
    assert [one.tag for one in (await face(world)).topics] == ["events", "news"]
    assert answers(world, console.TOPIC_RESULTS) == {"events": "In force.", "news": "In force."}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["no;tag", "Label"], "Choose another tag"),
        (["everyone", "Label"], "Choose another tag"),
        (["regulars", "Label"], "is a segment by a rule"),
        (["a", ""], "Say in Label"),
        (["a", "x" * 61], "Label has 61 characters, and 60 is the most"),
        (["a", "Label", "x" * 201], "About has 201 characters"),
        (["a", "=1+1"], "begins like a formula"),
        (["a", "News\u202e"], "signs that nobody sees"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[0] + "|" + value[1][:9]),
)
async def test_a_topic_that_cannot_be_used_is_told_and_the_others_count(
    world: World, folder: Folder, row: list[str], says: str
) -> None:
    await set_up(world)
    world.sheet.put("Segments!A2", [["Regulars", "tag is lisbon"]])
    topics(world, row, ["events", "Events"])
    world.sheet.tabs["Topics"][1][: len(row)] = row  # as it is shown
    await tick(world)
    assert (await face(world)).topics == (EVENTS,)
    assert says in answers(world, console.TOPIC_RESULTS)[row[0]]


async def test_a_wrong_row_leaves_its_topic_as_it_was(world: World, folder: Folder) -> None:
    await set_up(world, Face(topics=(NEWS, EVENTS)))
    topics(world, ["news", ""], ["eve;nts", "Events"])
    await tick(world)
    assert (await face(world)).topics == (NEWS, EVENTS)
    topics(world, ["news", "One"], ["news", "Two"])
    await tick(world)
    assert (await face(world)).topics == (NEWS,), "which of the two is meant nobody knows"


async def test_topics_that_people_take_away_are_gone_also_the_last(world: World, folder: Folder) -> None:
    await set_up(world, Face(topics=(NEWS, EVENTS)))
    await tick(world)
    topics(world, ["news", "News", "Once a week."])
    await tick(world)
    assert (await face(world)).topics == (NEWS,)
    topics(world)
    await tick(world, 2)
    assert (await face(world)).topics == () and world.sheet.rows("Topics!A2:C") == []


async def test_a_tab_of_topics_that_was_thrown_away_comes_back_with_them(world: World, folder: Folder) -> None:
    await set_up(world, Face(topics=(NEWS, EVENTS)))
    await tick(world)
    del world.sheet.tabs["Topics"]
    await tick(world, 2)
    assert (await face(world)).topics == (NEWS, EVENTS)
    assert world.sheet.rows("Topics!A2:A9") == [["news"], ["events"]]


async def test_a_row_without_a_tag_is_told_on_the_dashboard(world: World, folder: Folder) -> None:
    await set_up(world)
    topics(world, ["", "News"])
    await tick(world)
    assert ["Notice", "Topics: a row has no Tag, so readers do not see it."] in world.sheet.rows("Dashboard!A2:B")


async def test_no_more_topics_than_a_page_can_hold(world: World, folder: Folder) -> None:
    await set_up(world)
    world.sheet.put("Topics!A2", [[f"t{n}", f"Topic {n}"] for n in range(35)])
    await tick(world)
    assert len((await face(world)).topics) == 30
    assert "30 topics at most" in answers(world, console.TOPIC_RESULTS)["t34"]


# --- faults, and two at once ---


async def test_two_ticks_at_once_do_no_harm(world: World, folder: Folder) -> None:
    await set_up(world)
    say(world, "Accent colour", "#aa0000")
    await asyncio.gather(step(world).handle(), step(world).handle())
    assert (await face(world)).accent == "#aa0000"


async def test_a_tick_that_read_the_sheet_long_ago_writes_nothing_over_a_newer_one(world: World, folder: Folder) -> None:
    await set_up(world)
    say(world, "Accent colour", "#aa0000")

    class Slow(FakeDrive):
        """Somebody changes the cell, and another tick reads it, while this one is at its listing."""

        async def list(self, folder: str) -> list[File]:
            say(world, "Accent colour", "#00aa00")
            await tick(world)
            return []

    slow = SyncSheet(world.store, world.sheet, world.clock, world.paths, PEPPER, drive=Slow(), folder="folder")
    await slow.handle()
    assert (await face(world)).accent == "#00aa00"


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_write_that_is_lost_or_whose_answer_is_lost_is_made_good(world: World, folder: Folder, fault: Any) -> None:
    await set_up(world)
    say(world, "Accent colour", "#aa0000")
    await step(world, FaultyStore(world.store, nth(1, fault))).handle()
    await tick(world)
    assert (await face(world)).accent == "#aa0000"


async def test_without_a_tenant_nothing_is_written(world: World, folder: Folder) -> None:
    await tick(world, 2)
    assert await world.data(world.paths.tenant) == {} and world.sheet.rows("Settings!A2:B") == []


async def test_what_else_the_tenant_has_stays(world: World, folder: Folder) -> None:
    await set_up(world)
    await world.store.commit([Merge(world.paths.tenant, {"policy": {"limit": 3}})])
    say(world, "Accent colour", "#aa0000")
    await tick(world)
    data = await world.data(world.paths.tenant)
    assert data["policy"] == {"limit": 3} and data["name"] == TENANT.name


# --- what it costs, and on Google's own programs ---


async def test_both_tabs_come_with_the_read_that_is_made_anyway(
    world: World, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_up(world)
    reads: list[int] = []
    read = world.sheet.read

    async def counted(ranges: Sequence[str]) -> list[list[list[str]]]:
        reads.append(len(ranges))
        return await read(ranges)

    monkeypatch.setattr(world.sheet, "read", counted)
    world.sheet.changes.clear()
    say(world, "Accent colour", "#aa0000")
    say(world, "Fastest sign-up", "never")
    await tick(world)
    assert len(reads) == 1
    assert [place for verb, place in world.sheet.changes if verb != "append"] == ["'Setting results'!A2"]


@pytest.mark.network
async def test_on_the_emulated_workbook_and_folder(world: World, tmp_path: Path) -> None:
    with emulated(tmp_path / "google", tmp_path / "folder") as google:
        sheet, drive = Sheets("book", google.url), GoogleDrive(google.url)
        data = document(TENANT.name, TENANT.identity, "book", "templates") | {"face": Face(topics=(NEWS,)).document()}
        await world.store.commit([Create(world.paths.tenant, data)])
        for name, content in {"assets/Logo.svg": SVG, "pages/check.fr.md": b"# Merci\n"}.items():
            (google.google.drive.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (google.google.drive.folder / name).write_bytes(content)
        sync = SyncSheet(world.store, sheet, world.clock, world.paths, PEPPER, drive=drive, folder="templates")
        await sync.handle()
        [rows, listed] = await sheet.read(["Settings!A1:D", "Topics!A2:D"])
        assert [row[0] for row in rows[1:]] == NAMES and rows[1][3] == "In force." and rows[1][2].startswith("The colour of")
        assert listed == [["news", "News", "Once a week.", "In force."]]
        await sheet.write({f"Settings!B{NAMES.index('Logo') + 2}": [["logo.svg"]], "Settings!B2": [["red"]]})
        stores = world.store, world.bus, world.clock, world.objects, sheet, drive, world.links, world.paths
        launch = Launch(*stores, await Tenant.load(world.store, world.paths))
        for _ in range(2):
            await launch.handle()
        await sync.handle()
        [rows, told] = await sheet.read(["Settings!A2:D", "Templates!A2:H"])
        assert rows[0][3].endswith(f"Until then: {ACCENT}.") and rows[1][3] == "In force."
        assert told[-1][:4] == ["pages/check.fr.md", "Page", "fr", "Merci"] and told[-1][7] == "in use"
        assert (await face(world)).logo.startswith("data:image/svg+xml;base64,")


@given(st.sampled_from([one for one in SETTINGS if one.name != "Logo"]), st.text(max_size=60))
def test_no_text_gets_further_than_its_setting_allows(one: Any, text: str) -> None:
    try:
        value = one.read(text)
    except BadInput:
        return
    shown = one.shown(value)
    assert not any(sign in shown for sign in "\"'<>;{}\\\r\t\x00") and (one.read(shown) == value if value else True)
