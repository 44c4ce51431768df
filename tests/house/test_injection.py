"""Formulas through every way in, and what the workbook then holds: text, also for who opens a tab's export as CSV."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.inbox.handler import Inbox, Received
from functions.record.handler import Record
from functions.record.marks import Marks
from functions.report.handler import Report
from functions.sync_sheet import preflight, tabs
from functions.sync_sheet.workbook import FORMS, HEADERS
from shared.adapters.sheets import Sheets
from shared.http import Request
from shared.model import console
from shared.model.face import ANY
from shared.model.look import Look
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Merge, Rows, Write
from shared.providers.generic import sign
from tests.contract.emulated import Emulated, emulated
from tests.house.formulas import TEXTS
from tests.steps.fakes import DAY, NOW
from tests.steps.world import KEY, PROOF, World

pytestmark = pytest.mark.network
FORM = {"content-type": "application/x-www-form-urlencoded"}
SEPARATORS = ",;\t"  # with which programs open a CSV, by language and by choice
LEADS = "=+-@\u2212"


# --- what a spreadsheet takes for a formula ---------------------------------------------------------------------------


def seen(text: str) -> str:
    """A cell from its first character on that an import keeps."""
    for at, char in enumerate(text):
        if char not in '"\u3164' and unicodedata.category(char) not in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            return text[at:]
    return ""


def runs(text: str) -> bool:
    return text[:1] in ("\t", "\r", "\n") or unicodedata.normalize("NFKC", seen(text)[:1])[:1] in tuple(LEADS)


def exported(rows: Sequence[Sequence[str]]) -> str:
    """As Sheets exports a tab: RFC 4180."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()


def running(text: str) -> list[str]:
    """The cells of a CSV that a program would run, with one separator or another."""
    opened = (csv.reader(io.StringIO(text, newline=""), delimiter=separator) for separator in SEPARATORS)
    return [cell for rows in opened for row in rows for cell in row if runs(cell)]


def test_each_text_is_one_that_runs() -> None:
    assert len(set(TEXTS)) == len(TEXTS) == 500
    harmless = [text for text in TEXTS if not running(exported([["x", text, "y"]]))]
    assert all(text.startswith(("'", '",')) for text in harmless) and len(harmless) <= 40


# --- the ways in ------------------------------------------------------------------------------------------------------


async def signed_up(world: World) -> int:
    """By form and by JSON: names, tags, languages; how many were taken."""
    world.let_sign_ups_set(ANY)
    step, taken = world.subscribe(), 0
    for n, text in enumerate(TEXTS):
        tries: list[tuple[str, dict[str, str]]] = [
            ("form", {"name": text, "tags": text}),
            ("json", {"name": f"{text} x"}),
            ("json", {"language": text, "country": text}),
        ]
        for way, fields in tries:
            given = {"email": f"{way}{n}@example.com", **PROOF, **fields}
            headers = FORM if way == "form" else {"content-type": "application/json"}
            body = urlencode(given) if way == "form" else json.dumps(given)
            await step.handle(Request("POST", headers=headers, body=body.encode()))
    for message in world.bus.take("send-requests"):
        (sid, _, key), consent = message["batch"].partition("."), message["consent"]
        path = world.links.confirm(sid, consent, key, NOW + DAY).partition("/subscribe/")[2]
        taken += (await step.handle(Request("POST", path, headers=FORM))).status == 200
    return taken


async def called_back(world: World) -> None:
    """By a provider: codes, ids and kinds of events."""
    for kind in ("bounced", ""):
        told = [
            {"id": text, "event": kind or text, "message_id": mail(n).text, "at": NOW, "code": text, "hard": n % 2 == 0}
            for n, text in enumerate(TEXTS)
        ]
        body, at = json.dumps(told).encode(), NOW // 1000
        headers = {"webhook-timestamp": str(at), "webhook-signature": sign(body, KEY, at)}
        assert (await world.webhooks().handle(Request("POST", "generic", headers=headers, body=body))).status == 204


async def bounced(world: World) -> None:
    """By mail: what servers say."""

    class Box:
        async def waiting(self, most: int) -> list[str]:
            return [str(n) for n in range(len(TEXTS))]

        async def read(self, name: str) -> Received:
            text = TEXTS[int(name)].encode()
            to = world.links.return_path(mail(int(name)), "news.example").encode()
            return Received(
                b"From: MAILER-DAEMON@mx.example.org\nTo: <" + to + b">\nSubject: " + text + b"\nMIME-Version: 1.0\n"
                b'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\n\n--B\n'
                b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; " + text + b"\n"
                b"Action: failed\nStatus: 5.1.1" + text + b"\nDiagnostic-Code: smtp; 550 5.1.1 " + text + b"\n\n--B--\n",
                NOW,
            )

        async def mark_read(self, names: Sequence[str]) -> None: ...
        async def flag(self, names: Sequence[str]) -> None: ...

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield Box()

    await Inbox(world.bus, world.clock, world.links, opened).handle()


async def bought(world: World) -> None:
    """By the snippet on a site."""
    for n, text in enumerate(TEXTS):
        fields = {"sp": world.links.track_token(mail(n)), "value": "1", "currency": "EUR"}
        for name in ("currency", "order"):
            await world.track().handle(Request("GET", "c", query={**fields, name: text}))


async def kept(world: World) -> None:
    """Documents as another system would fill them: names, places, answers, sources, links, words of providers."""
    writes: list[Write] = []
    for n, text in enumerate(TEXTS):
        sid = mail(n).sid
        person = {"address": f"crm{n}@example.com", "name": text, "language": text, "country": text, "tags": [text]}
        writes.append(Merge(world.paths.subscriber(sid), {**person, "created_at": NOW}))
        writes += suppress(world.paths, f"ffff{n:028x}", "unsubscribed", text, NOW)
        campaign = {"state": "draft", "row": {"name": text}, "answer": text, "answered_at": NOW, "checked": looked(n, text)}
        writes.append(Create(world.paths.campaign(f"K-{n}"), campaign))
        way = {"kind": text, "rate": 0, "daily": 0, "warm_up": "", "down_until": NOW + DAY, "down_code": text, "goes_by": text}
        writes.append(Create(world.paths.provider(f"p{n}"), way))
    names = ("name", "kind", "language", "subject", "problem", "use")
    files = {text: {**dict.fromkeys(names, text), "modified": NOW, "variables": [text]} for text in TEXTS}
    writes.append(Merge(world.paths.templates, {"files": files, "more": 0}))
    plan = {"name": TEXTS[1]}
    links = {str(n): text for n, text in enumerate(TEXTS[:200])}
    data = {"frozen_at": NOW - DAY, "expected": 500, "state": "completed", "row": plan, "mail": {"links": links}}
    writes.append(Create(world.paths.campaign("C-0001"), data))
    writes.append(Merge(world.paths.campaign("confirm"), {"kind": "system", "state": "running", "answer": TEXTS[2]}))
    await world.store.write_many(writes)


def looked(n: int, text: str) -> dict[str, Any]:
    """What a preflight found."""
    found = {kind: [text] * (n % 3 == at) for at, kind in enumerate(("faults", "warnings", "notes"))}
    return {**found, "at": NOW + n}


def mail(n: int) -> MailRef:
    return MailRef("C-0001", f"{n * 131 % 256:02x}{n:030x}")


async def applied(world: World) -> int:
    """Every event that was published, recorded; then the report of it."""
    record = Record(world.store, world.paths, Marks(world.clock, world.paths))
    events = world.bus.take("engagement-events")
    events += [{"type": "clicked", "ref": mail(n).text, "at": NOW, "label": "human", "link": n} for n in range(200)]
    for message in events:
        await record.handle(message)
    world.clock.advance(DAY)
    await Report(world.store, world.clock, world.paths).handle()
    world.clock.advance(-DAY)
    return len(events)


# --- the workbook -----------------------------------------------------------------------------------------------------


class Plain(Sheets):
    """Puts no look on, which says nothing of a stranger's."""

    async def dress(self, looks: Mapping[str, Look], version: str) -> None: ...


class Naive(Plain):
    """Writes as a person would type."""

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        await super().write(updates, formulas=True)


class Unarmed(Plain):
    """Writes values as they are."""

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        if formulas:
            await super().write(updates, formulas=True)
            return
        data = [{"range": where, "values": [list(row) for row in rows]} for where, rows in updates.items()]
        await self._grow(updates)
        await self._batch_update({"valueInputOption": "RAW", "data": data})


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    folder = tmp_path_factory.mktemp("google")
    with emulated(folder, folder / "templates") as found:
        yield found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.on(tmp_path)
    yield world
    world.store.close()


def formulas(google: Emulated, book: str) -> list[tuple[str, int, str]]:
    """The cells that compute, other than our lookups: (tab, column, text)."""
    found = []
    for tab in google.google.sheets.tabs(book):
        for (_, column), cell in google.google.sheets.cells(book, tab.title).items():
            if cell.kind == "f" and not cell.text.startswith("=IF($A"):
                found.append((tab.title, column, cell.text))
    return found


async def shown(sheet: Sheets) -> dict[str, list[list[str]]]:
    """Each tab, of those that people fill in only the columns that are ours."""
    ours = [tab for tab in HEADERS if tab not in FORMS]
    found = dict(zip(ours, await sheet.read([f"'{tab}'!A1:Z" for tab in ours]), strict=True))
    looked_up = await sheet.read([f"{tab}!{chr(65 + len(form.typed))}1:Z" for tab, form in FORMS.items()])
    return found | dict(zip(FORMS, looked_up, strict=True))


def fill(google: Emulated, book: str) -> None:
    """Rows that people paste into Import, and type into Campaigns."""
    pasted = [[f"I-{n}", f"i{n}@example.com", text, "", text, text] for n, text in enumerate(TEXTS)]
    pasted += [[text, f"id{n}@example.com", "", text, "", "fair"] for n, text in enumerate(TEXTS)]
    typed = [[f"R-{n}", text, text, text, text, text, "Go"] for n, text in enumerate(TEXTS)]
    for tab, rows in ((console.IMPORT, pasted), (console.CAMPAIGNS, typed)):
        store = google.google.sheets
        there = store.tab(book, tab)
        store.update_tab(book, replace(there, rows=2000))
        store.write(book, [(store.area(book, f"{tab}!A2"), rows)], "RAW")


async def test_no_way_in_leads_to_a_formula(world: World, google: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabs, "SHOWN", 5_000)  # all of them
    monkeypatch.setattr(preflight, "MOST", 5_000)
    for tab, form in FORMS.items():
        monkeypatch.setitem(FORMS, tab, replace(form, rows=20))  # lookups are slow to evaluate
    world.sheet = sheet = Plain("book", google.url)  # type: ignore[assignment]
    step = world.sync_sheet()
    await step.handle()
    fill(google, "book")
    await world.launch().handle()
    assert await signed_up(world) >= 300
    for way in (kept, called_back, bounced, bought):
        await way(world)
    assert await applied(world) >= 1_500
    for _ in range(2):
        await step.handle()
    found = await shown(sheet)
    assert formulas(google, "book") == []
    assert {tab: running(exported(rows)) for tab, rows in found.items()} == {tab: [] for tab in found}
    told = ((console.RESULTS, 2), (console.PREFLIGHT, 3), (console.TEMPLATES, 0), (console.TEMPLATES, 6))
    for tab, column in ((console.SUBSCRIBERS, 2), (console.SUPPRESSIONS, 3), *told):
        cells = {row[column].replace("'", "") for row in found[tab] if len(row) > column}
        assert {text.replace("'", "") for text in TEXTS} <= cells, tab
    assert len(found[console.IMPORT_RESULTS]) > 800 and len(found[console.REPORTS]) > 300
    for most in ("SHOWN", "NEWEST"):
        monkeypatch.setattr(tabs, most, 200)
    for book, careless in (("naive", Naive), ("unarmed", Unarmed)):
        google.google.sheets.create_spreadsheet(book, book, "UTC")
        world.sheet = naive = careless(book, google.url)  # type: ignore[assignment]
        await world.sync_sheet().handle()
        computed, spoiled = formulas(google, book), running(exported((await shown(naive))[console.RESULTS]))
        assert (len(computed) > 100) == (careless is Naive), (book, len(computed))
        assert len(spoiled) > 100, (book, len(spoiled))
