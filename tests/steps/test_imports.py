"""Imports of many rows: pasted and from CSV files, a part of them a tick. Whatever ends a tick where, each row has one answer."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.sync_sheet import answers as answers_tab
from functions.sync_sheet import csv_file, import_entries, import_files, imports
from functions.sync_sheet.answers import DROPPED, Answers
from functions.sync_sheet.csv_file import read
from functions.sync_sheet.handler import SyncSheet
from functions.sync_sheet.import_files import ImportFiles
from functions.sync_sheet.import_tab import ImportTab
from functions.sync_sheet.workbook import HEADERS
from shared.adapters.sheets import Sheets
from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.model import console
from shared.model.address import canonical_v1, parse
from shared.model.subscriber import suppress
from shared.ports import Document, Drive, File, Rows, Store, Write
from tests.contract.emulated import emulated

from .fakes import NOW, Died, FakeSheet, FaultyStore
from .world import PEPPER, World

FIELDS = list(console.IMPORT_FIELDS)
HEADER = "Email,Name,Consent source\n"
MINUTE = 60_000


class Folder:
    """The folder of templates with CSV files in `imports`. `calls`: (verb, file)."""

    def __init__(self, **files: bytes | str) -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.error: Exception | None = None
        for name, data in files.items():
            self.put(f"{name}.csv", data)

    def put(self, name: str, data: bytes | str) -> None:
        self.files[name] = data.encode() if isinstance(data, str) else data

    async def list(self, folder: str) -> list[File]:
        self.calls.append(("list", folder))
        if self.error:
            raise self.error
        return [
            *(self._file(name, data) for name, data in self.files.items()),
            File("id/of/letter", "letter.md", "text/markdown", "1", "2027", "x", 3),
            File("id/of/other", "contacts.csv", "text/csv", "1", "2027", "x", 3, "news"),
        ]

    def _file(self, name: str, data: bytes) -> File:
        md5 = "" if name.startswith("google") else hashlib.md5(data, usedforsecurity=False).hexdigest()
        return File(f"id/of.{name}", name, "text/csv", "1", "2027-01-01T00:00:00Z", md5, len(data), "imports")

    async def download(self, file: str) -> bytes:
        self.calls.append(("download", file))
        if self.error:
            raise self.error
        return self.files[file.removeprefix("id/of.")]

    async def edited(self, file: str) -> tuple[str, str]:
        raise NotFound(file)


class Counted(FaultyStore):
    """Counts what Firestore bills; `each`: ms that pass with a call."""

    def __init__(self, world: World, each: int = 0) -> None:
        super().__init__(world.store, lambda verb: "")
        self.world, self.each = world, each
        self.calls: Counter[str] = Counter()
        self.reads = self.writes = 0
        self.got: list[str] = []

    async def _call(self, verb: str, work: Any, path: str = "") -> Any:
        self.calls[verb] += 1
        self.world.clock.advance(self.each)
        return await super()._call(verb, work, path)

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        self.reads += 1
        self.got.append(path)
        return await super().get(path, fields)

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        self.reads += len(paths)
        return await super().get_many(paths, fields)

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        self.writes += len(writes)
        return await super().commit(writes)

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        self.writes += len(writes)
        return await super().write_many(writes)


def step(world: World, drive: Drive | None = None, store: Store | None = None) -> SyncSheet:
    return replace(world.sync_sheet(store), drive=drive, folder="folder")


async def pasted(world: World, rows: Sequence[Sequence[str]]) -> None:
    await world.sync_sheet().handle()
    world.sheet.tabs["Import"][1:] = [list(row) for row in rows]
    world.sheet.changes.clear()


def people(count: int) -> list[list[str]]:
    return [[f"I-{n:04d}", f"p{n}@example.com", "", "", "", "fair"] for n in range(1, count + 1)]


def shown(world: World, tab: str) -> list[list[str]]:
    return world.sheet.rows(f"'{tab}'!A2:Z")


def notices(world: World) -> list[str]:
    return [row[1] for row in shown(world, "Dashboard") if row[0] == "Notice"]


def told(world: World) -> list[str]:
    return [row[1] for row in shown(world, "Activity")]


# --- the Import tab, a part a tick ------------------------------------------------------------------------------------


async def test_a_long_paste_is_done_a_part_a_tick_and_tells_how_far_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHUNK": 25, "MOST": 200, "ANSWERS": 100}.items():
        monkeypatch.setattr(imports, name, value)
    rows = people(499)
    rows[3][5] = rows[350][5] = ""  # no consent source
    rows[450][1] = "P2@EXAMPLE.COM"
    await pasted(world, rows)
    store = Counted(world)
    sync = step(world, store=store)
    for done in (200, 400):
        store.reads = store.writes = 0
        world.sheet.changes.clear()
        await sync.handle()
        assert len(shown(world, "Import results")) == done
        assert notices(world) == [f"Import: {done} of 499 rows done."]
        assert store.writes <= 2 * 200 and store.reads <= 200 + 10
        assert [place for _, place in world.sheet.changes if "Import" in place] == [
            f"'Import results'!A{done - 98 - n}" for n in (100, 0)
        ]
    await sync.handle()
    assert notices(world) == []
    assert told(world)[-2:] == [
        "Import: 98 accepted, 1 rejected.",
        "Import: all 499 rows done: 496 imported, 0 updated, 3 rejected.",
    ]
    answers = {row[0]: row[1] for row in shown(world, "Import results")}
    assert list(answers) == [row[0] for row in rows], "the tab's order"
    assert answers["I-0451"] == "Rejected: The same address as row I-0002."
    before, store.reads, store.writes = world.versions(), 0, 0
    world.sheet.changes.clear()
    store.calls.clear()
    await sync.handle()
    assert world.sheet.changes == [] and world.versions() == before
    assert store.writes == 0 and store.calls["get_many"] == 1, "of templates and pages, of no row"


async def test_a_slow_store_ends_the_part_early_and_never_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 10)
    await pasted(world, people(60))
    await step(world, store=Counted(world, each=7_000)).handle()
    assert len(shown(world, "Import results")) == 20, "three calls for ten rows: six are over the budget"
    await step(world, store=Counted(world, each=imports.BUDGET)).handle()
    assert len(shown(world, "Import results")) == 30, "some in each tick, however slow"


class Cut(FakeSheet):
    """Ends the process at the n-th call that writes."""

    def __init__(self, at: int, after: bool) -> None:
        super().__init__()
        self.at, self.after = at, after

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        self.at -= 1
        if self.at == 0 and not self.after:
            raise Died
        await super().write(updates, formulas=formulas)
        if self.at == 0:
            raise Died


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
async def test_a_killed_tick_repeats_with_the_same_answers(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    for name, value in {"CHUNK": 2, "ANSWERS": 4}.items():
        monkeypatch.setattr(imports, name, value)
    world.sheet = sheet = Cut(0, after)
    await world.add("p2@example.com", consent="a sign-up's")
    await pasted(world, people(8))
    sheet.at = at
    with pytest.raises(Died):
        await step(world).handle()
    world.clock.advance(MINUTE)
    await step(world).handle()
    assert [row[1] for row in shown(world, "Import results")] == ["Imported.", "Updated.", *["Imported."] * 6]
    for n in range(1, 5):
        [consent] = await world.all(f"{world.paths.subscriber(world.sid(f'p{n}@example.com'))}/consents")
        assert consent.data["at"] == NOW, "when it was first taken in"


async def test_rows_without_an_id_are_told(world: World) -> None:
    rows = people(2)
    await pasted(world, [*rows, ["", "x@example.com", "", "", "", "fair"], ["", "", "", "", "", "fair"], ["", ""]])
    sync = step(world)
    for _ in range(2):
        await sync.handle()
        assert notices(world) == [
            "Import: rows without an ID are left out: 2. Type I-0003 into the first one's ID and drag that cell's corner down."
        ]
    assert await world.subscriber("x@example.com") == {}


@given(
    st.sampled_from(["a", "A.b", "a+c", "ä"]),
    st.sampled_from(["example.com", "EXAMPLE.com", "bücher.de", "xn--bcher-kva.de", "ｅ.com"]),
)
def test_a_spelling_is_that_of_the_canonical_address(local: str, domain: str) -> None:
    try:
        canonical = canonical_v1(parse(f"{local}@{domain}"))
    except BadInput:
        return
    assert imports.spelling(f" {local}@{domain} ") == canonical


# --- Import results ---------------------------------------------------------------------------------------------------


async def test_answers_that_belong_to_no_row_are_kept_up_to_a_limit_and_the_tab_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_tab, "KEPT", 3)
    monkeypatch.setattr(answers_tab, "SLICE", 4)
    sheet = FakeSheet()
    sheet.tabs["Import results"] = [["ID", "Answer", "Of"], *([f"I-{n}", "Imported.", "x"] for n in range(8))]
    answers = Answers(sheet.tabs["Import results"])
    answers.put("f.csv, line 2", "Rejected: no.", "file-1")
    answers.trim(["I-1", "I-2", "I-3", "I-4"])
    await answers.write(sheet)
    assert len(sheet.changes) == 1, "five loose ones: not yet twice the limit"
    answers.put("=1", "Rejected: no.", "file-1")
    answers.trim(["I-1", "I-2", "I-3", "I-4"])
    await answers.write(sheet)
    ids = ["I-1", "I-2", "I-3", "I-4", "I-7", "f.csv, line 2", "'=1"]
    assert [row[0] for row in sheet.rows("'Import results'!A2:Z")] == [*ids, DROPPED]
    read_back = Answers([["ID"], *sheet.rows("'Import results'!A2:Z")])
    sheet.changes.clear()
    await read_back.write(sheet)
    assert sheet.changes == []
    read_back.forget("file-1")
    await read_back.write(sheet)
    assert [row[0] for row in sheet.rows("'Import results'!A2:Z")] == [*ids[:5], DROPPED]


@pytest.mark.network
async def test_a_tab_of_ours_is_as_wide_as_its_header(tmp_path: Path) -> None:
    with emulated(tmp_path / "google", tmp_path / "templates") as twin:
        sheet = Sheets("book", twin.url)
        await sheet.add_tabs([console.IMPORT_RESULTS, "Mine"], {console.IMPORT_RESULTS: len(HEADERS[console.IMPORT_RESULTS])})
        wide = {tab.title: tab.columns for tab in twin.google.sheets.tabs("book")}
        assert (wide[console.IMPORT_RESULTS], wide["Mine"]) == (3, 26)


# --- CSV --------------------------------------------------------------------------------------------------------------

GOOD = 'Email;"Consent source";NAME;Ignored\nä@example.com;fair;"Zoë; A\nB";x\n\n;;;\nb@example.com;shop\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_the_encodings_of_spreadsheet_programs(encoding: str, ends: str) -> None:
    rows, note = read(GOOD.replace("\n", ends).encode(encoding))
    blank = {"Language": "", "Tags": ""}
    assert rows == [
        {"ID": "2", "Email": "ä@example.com", "Name": f"Zoë; A{ends}B", "Consent source": "fair", **blank},
        {"ID": "6", "Email": "b@example.com", "Name": "", "Consent source": "shop", **blank},
    ]
    assert note == (csv_file.UNSURE if encoding == "cp1252" else "")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_is_read_with_the_delimiter_of_its_header(delimiter: str) -> None:
    header = delimiter.join(['"email"', '" Consent  SOURCE "', '"What, or; who"'])
    [row], _ = read(f"{header}\na@example.com{delimiter}fair\n".encode())
    assert (row["Email"], row["Consent source"]) == ("a@example.com", "fair")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", csv_file.EMPTY),
        (b"\xef\xbb\xbf \r\n", csv_file.EMPTY),
        (b"Email,Consent source\n,\n", "The file has no contacts below its first line."),
        (b"a@example.com,Ann,fair\n", csv_file.NO_HEADER),
        (
            b"Name,Consent source\nAnn,fair\n",
            "No column is called Email. Call the one with the addresses so. The columns are: Name, Con",
        ),
        (b"Email,Name\na@example.com,Ann\n", "No column is called Consent source. Add one that says where each person agreed"),
        (b"Email,Consent source,EMAIL\na@example.com,x,b@example.com\n", "The column “Email” stands there more than once."),
        (b"PK\x03\x04\x00\x00rest", csv_file.NO_CSV),
        (b"%PDF-1.7\n\x01\x02", csv_file.NO_CSV),
        (b"\xff\xfeE", csv_file.NO_CSV),
        (b"Email,Consent source\n\x81\xff@example.com,fair\n", csv_file.NO_CSV),
        (b'Email,Consent source\na@example.com,"fair\nb@example.com,fair\n', "Line 2: its quotation marks do not match."),
        (b'Email,Consent source\na@example.com,fair\nb@example.com,"fa"ir\n', "Line 3: its quotation marks do not match."),
        (b"Email,Consent source" + b"," * 2_000_000, "Line 1 has more than a million characters. This is no CSV file."),
        (b"Email,Consent source\na@example.com,fair" + b"," * 2_000, "Line 2 has more than 1,000 columns. Delete those"),
    ],
)
def test_what_cannot_be_imported_is_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        read(data)
    assert str(raised.value).startswith(sentence)


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "MOST_ROWS", 3)
    four = "Email,Consent source\n" + "a@example.com,x\n" * 4
    with pytest.raises(BadInput, match="more than 3 rows"):
        read(four.encode())
    assert len(read(four[:-16].encode())[0]) == 3
    monkeypatch.setattr(csv_file, "MOST_LINES", 4)
    with pytest.raises(BadInput, match="more than 4 lines"):
        read(four.replace("a@example.com,x", ",").encode())
    monkeypatch.setattr(csv_file, "MOST_BYTES", 50)
    with pytest.raises(BadInput, match="larger than 20 MB"):
        read(four.encode())


# --- files of the folder ----------------------------------------------------------------------------------------------


async def test_a_file_is_imported_once_and_again_when_it_changed(world: World) -> None:
    await world.add("known@example.com")
    await world.store.commit(suppress(world.paths, world.sid("left@example.com"), "unsubscribed", "x", NOW))
    lines = ["a@example.com,Ann,fair", "known@example.com,,fair", "left@example.com,,fair", "ann@x,,fair", "A@example.com,,fair"]
    drive = Folder(people=HEADER + "\n".join([*lines, "b@example.com,,", "no address,,fair"]))
    sync = step(world, drive)
    await sync.handle()
    when = "2027-01-15 08:00"
    assert shown(world, "Imports") == [["people.csv", "7", "7", "1", "1", "5", "Done.", when]]
    refused = {row[0]: row[1] for row in shown(world, "Import results")}
    assert refused["people.csv, line 4"] == "Rejected: it has left, and stays off the list. (l***@example.com)"
    assert (
        refused["people.csv, line 5"].startswith("Rejected: This is not an e-mail address")
        and "(a***@x)" in refused["people.csv, line 5"]
    )
    assert refused["people.csv, line 6"] == "Rejected: The same address as line 2. (A***@example.com)"
    assert refused["people.csv, line 7"].startswith("Rejected: Say where this person agreed")
    assert refused["people.csv, line 8"].endswith(".") and len(refused) == 5
    assert told(world) == ["Import of people.csv: all 7 rows done: 1 imported, 1 updated, 5 rejected."]
    assert (await world.subscriber("left@example.com"))["segments"] == []
    [consent] = await world.all(f"{world.paths.subscriber(world.sid('a@example.com'))}/consents")
    assert consent.data == {"at": NOW, "source": "fair", "page": "imports/people.csv", "row": "2"}

    before = world.versions()
    world.sheet.changes.clear()
    drive.calls.clear()
    store = Counted(world)
    await replace(sync, store=store).handle()  # another process
    assert store.got.count(world.paths.imports) == 1 and drive.calls == [("list", "folder")]
    store = Counted(world)
    files = sync._import_files
    assert files
    files.store = store
    await sync.handle()
    assert store.calls == {}, "an unchanged folder costs its listing"
    assert world.versions() == before and world.sheet.changes == []

    world.clock.advance(MINUTE)
    drive.put("people.csv", HEADER + "\n".join([lines[4], "c@example.com,,fair", "d@example.com,,"]))
    await sync.handle()
    assert shown(world, "Imports") == [["people.csv", "3", "3", "1", "1", "1", "Done.", "2027-01-15 08:01"]]
    assert [row[0] for row in shown(world, "Import results")] == ["people.csv, line 4"], "those of the file as it was are gone"
    consents = await world.all(f"{world.paths.subscriber(world.sid('a@example.com'))}/consents")
    assert len(consents) == 2, "it said something else"


async def test_a_long_file_goes_on_from_tick_to_tick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHUNK": 50, "MOST": 400, "ANSWERS": 200}.items():
        monkeypatch.setattr(imports, name, value)
    await pasted(world, people(100))
    drive = Folder(long=HEADER + "".join(f"q{n}@example.com,,{'fair' if n % 100 else ''}\n" for n in range(800)))
    store = Counted(world)
    sync = step(world, drive, store)
    await sync.handle()
    assert shown(world, "Imports") == [["long.csv", "800", "300", "297", "0", "3", "Running."]], "the paste comes first"
    assert notices(world) == ["Import of long.csv: 300 of 800 rows done."]
    drive.calls.clear()
    store.reads, store.writes = 0, 0
    world.sheet.changes.clear()
    world.clock.advance(MINUTE)
    await sync.handle()
    assert drive.calls == [("list", "folder")], "it is not fetched again"
    assert store.reads <= 400 + 10 and store.writes <= 2 * 400 + 4
    assert len([place for _, place in world.sheet.changes if "Import results" in place]) == 2
    await step(world, drive).handle()
    assert shown(world, "Imports")[0][:7] == ["long.csv", "800", "800", "792", "0", "8", "Done."] and notices(world) == []
    assert told(world)[-1] == "Import of long.csv: all 800 rows done: 792 imported, 0 updated, 8 rejected."
    assert len(shown(world, "Import results")) == 108


async def test_files_that_cannot_be_imported_stop_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "MOST_BYTES", 60)
    drive = Folder(
        empty="",
        google="x",
        large=HEADER + "x" * 60,
        good=HEADER + "a@example.com,,fair\n",
        old="Email,Consent source\nb@example.com,\xe9".encode("cp1252"),
    )
    sync = step(world, drive)
    await sync.handle()
    states = {row[0]: row[-2] for row in shown(world, "Imports")}
    assert states == {
        "empty.csv": "Not imported. The file is empty.",
        "google.csv": f"Not imported. {import_files.GOOGLE}",
        "large.csv": f"Not imported. {csv_file.TOO_LARGE}",
        "good.csv": "Done.",
        "old.csv": f"Done. {csv_file.UNSURE}",
    }
    assert "Import of empty.csv: not imported. The file is empty." in told(world)
    assert ("download", "id/of.large.csv") not in drive.calls
    drive.calls.clear()
    await step(world, drive).handle()
    assert drive.calls == [("list", "folder")]


async def test_a_folder_that_cannot_be_read_stops_nothing_else(world: World) -> None:
    drive = Folder(people=HEADER + "a@example.com,,fair\n")
    drive.error = Unavailable("drive")
    await pasted(world, people(1))
    sync = step(world, drive)
    await sync.handle()
    assert len(shown(world, "Import results")) == 1 and notices(world) == []
    drive.error = NotFound("folder")
    await sync.handle()
    assert notices(world) == [import_files.UNREADABLE]
    drive.error = None
    await sync.handle()
    assert notices(world) == [] and shown(world, "Imports")[0][6] == "Done."


async def test_a_file_taken_out_of_the_folder_stops_and_goes_on_when_it_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST", 2)
    drive = Folder(people=HEADER + "".join(f"p{n}@example.com,,fair\n" for n in range(3)))
    await step(world, drive).handle()
    data = drive.files.pop("people.csv")
    await step(world, drive).handle()
    assert shown(world, "Imports")[0][1:7] == ["3", "2", "2", "0", "0", f"Stopped. {import_entries.GONE}"]
    drive.put("people.csv", data)
    await step(world, drive).handle()
    assert shown(world, "Imports")[0][1:7] == ["3", "3", "3", "0", "0", "Done."]


async def test_a_row_that_cannot_be_written_waits_with_those_after_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 1)
    drive = Folder(people=HEADER + "".join(f"p{n}@example.com,,fair\n" for n in range(4)))

    class Stubborn(FaultyStore):
        async def write_many(self, writes: Any) -> Any:
            if any(write.path == world.paths.subscriber(world.sid("p1@example.com")) for write in writes):
                return [Conflict("subscriber", "version")] * len(writes)
            return await super().write_many(writes)

    await step(world, drive, Stubborn(world.store, lambda verb: "")).handle()
    assert shown(world, "Imports")[0][1:7] == ["4", "1", "1", "0", "0", "Running."]
    await step(world, drive).handle()
    assert shown(world, "Imports")[0][1:7] == ["4", "4", "4", "0", "0", "Done."]


async def test_two_ticks_at_once_do_each_row_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 2)
    drive = Folder(people=HEADER + "".join(f"p{n}@example.com,,{'' if n % 3 == 0 else 'fair'}\n" for n in range(12)))
    await world.sync_sheet().handle()
    other: list[Counter[str]] = []

    class Meanwhile(FaultyStore):
        async def write_many(self, writes: Any) -> Any:
            if not other:
                store = Counted(world)
                other.append(store.calls)
                await step(world, drive, store).handle()
            return await super().write_many(writes)

    await step(world, drive, Meanwhile(world.store, lambda verb: "")).handle()
    assert other[0]["write_many"] == 0, "the other one saw the lease"
    assert shown(world, "Imports")[0][1:7] == ["12", "12", "8", "0", "4", "Done."]
    assert len(shown(world, "Import results")) == 4 and len(told(world)) == 1


# --- whatever happens -------------------------------------------------------------------------------------------------

ADDRESSES = ("a@example.com", "A@example.com", "b@bücher.example", "B@xn--bcher-kva.example", "c@example.com", "gone@example.com")
ROW = st.tuples(st.sampled_from([*ADDRESSES, "no address", "x@y", ""]), st.sampled_from(["fair", "shop", ""]))
FAULTS = ("died", "died after", "refused", "lost")


def model(rows: Sequence[tuple[str, str]]) -> tuple[list[str], set[str]]:
    """How each row's answer begins, and who is on the list, of rows that were not blank."""
    taken: dict[str, int] = {}
    found = []
    for n, (email, source) in enumerate(rows):
        try:
            address = canonical_v1(parse(email))
        except BadInput:
            found.append("Rejected: ")
            continue
        if not source:
            found.append("Rejected: Say where")
        elif taken.setdefault(address, n) != n:
            found.append("Rejected: The same address")
        elif address.startswith("gone"):
            found.append("Rejected: it has left")
        else:
            found.append("Updated." if address.startswith("c@") else "Imported.")
    return found, {address for address in taken if not address.startswith("gone")}


class Shaky(FakeSheet):
    """Fails some writes, before or after."""

    def __init__(self, fault: Callable[[], str]) -> None:
        super().__init__()
        self.fault = fault

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        fault = self.fault() if not formulas else ""
        if fault in ("died", "refused"):
            raise Died if fault == "died" else Unavailable("sheets")
        await super().write(updates, formulas=formulas)
        if fault:
            raise Died if fault == "died after" else Unavailable("sheets")


@settings(max_examples=int(os.environ.get("IMPORTS", "15")), suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(ROW.filter(any), min_size=1, max_size=14),
    faults=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(FAULTS)), max_size=5),
    file=st.booleans(),
    most=st.sampled_from([3, 5, 100]),
)
def test_whatever_ends_a_tick_each_row_has_one_answer(
    rows: list[tuple[str, str]], faults: list[tuple[int, str]], file: bool, most: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        for name, value in {"CHUNK": 2, "MOST": most, "ANSWERS": 4}.items():
            patch.setattr(imports, name, value)
        world = World.on(Path(place))
        with closing(world.store):
            asyncio.run(History(world, rows, file).run(faults))


class History:
    def __init__(self, world: World, rows: list[tuple[str, str]], file: bool) -> None:
        self.world, self.rows, self.file = world, rows, file
        self.left, self.kind = -1, ""  # calls that write, until a fault

    def fault(self, verb: str = "commit") -> Any:
        if verb not in ("commit", "write_many"):
            return ""
        self.left -= 1
        return self.kind if self.left == -1 else ""

    def begin(self) -> tuple[ImportTab, ImportFiles]:
        """A process."""
        world, store = self.world, FaultyStore(self.world.store, self.fault)
        given = store, world.sheet, world.clock, world.paths, PEPPER
        return ImportTab(*given), ImportFiles(*given, self.drive, "folder")

    async def tick(self, tab: ImportTab, files: ImportFiles) -> None:
        world = self.world
        answers, until = Answers(world.sheet.rows("'Import results'!A1:Z")), world.clock.now() + imports.BUDGET
        pasted = await tab.tick(world.sheet.rows("Import!A1:Z"), answers, until, False, tell_nobody)
        await files.tick(answers, until, imports.MOST - pasted.rows, tell_nobody)

    async def run(self, faults: list[tuple[int, str]]) -> None:
        world, rows, file = self.world, self.rows, self.file
        await world.add("c@example.com", consent="a sign-up's")
        await world.store.commit(suppress(world.paths, world.sid("gone@example.com"), "unsubscribed", "x", NOW))
        world.sheet = Shaky(self.fault)
        world.sheet.tabs = {"Import": [FIELDS], "Import results": [["ID", "Answer", "Of"]]}
        self.drive = Folder()
        if file:
            self.drive.put("f.csv", "Email,Consent source\n" + "".join(f"{email},{source}\n" for email, source in rows))
        else:
            world.sheet.tabs["Import"] += [[f"I-{n}", email, "", "", "", source] for n, (email, source) in enumerate(rows, 2)]
        tab, files = self.begin()
        for self.left, self.kind in [*faults, *[(-1, "")] * len(rows)]:
            try:
                await self.tick(tab, files)
            except (Died, Unavailable):
                tab, files = self.begin()
            world.clock.advance(import_files.LEASE)
        self.check_answers()
        await self.check_people()
        if file:
            kinds = Counter(imports.kind(start) for start in model(rows)[0])
            counts = [len(rows), len(rows), *(kinds[kind] for kind in imports.KINDS)]
            [row] = files.table("UTC") or []
            assert row[1:7] == [*counts, "Done."]

    def check_answers(self) -> None:
        answers = [row for row in shown(self.world, "Import results") if len(row) == 3]
        said = {int(row[0].rpartition(" ")[2] if self.file else row[0][2:]): row[1] for row in answers}
        assert len(said) == len(answers), "one answer a row"
        expected = enumerate(model(self.rows)[0], 2)
        wanted = {n: start for n, start in expected if not self.file or start.startswith("Rejected")}
        assert sorted(said) == sorted(wanted)
        assert [said[n] for n, start in wanted.items() if not said[n].startswith(start)] == []

    async def check_people(self) -> None:
        people = [found for found in await self.world.all(self.world.paths.subscribers) if found.data.get("segments")]
        listed = model(self.rows)[1]
        assert {canonical_v1(found.data["address"]) for found in people} == listed | {"c@example.com"}
        for found in people:
            consents = await self.world.all(f"{found.path}/consents")
            assert len(consents) == (canonical_v1(found.data["address"]) in listed), "one consent, or none"


async def tell_nobody(lines: Sequence[str]) -> None:
    return
