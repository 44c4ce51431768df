"""The queries of docs/analytics.md, run on an emulator of BigQuery over events of our own, many of them twice.

The table is made from terraform/events.schema.json. bqemulator (GoogleSQL on DuckDB) asks for other versions than the product does, so
it has an environment of its own. What Google's service enforces and it does not: required columns, and a filter on the partition. Its
NUMERIC has 15 digits before the point, where Google's has 29, and its division is a double's.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_socket

from local.environments import environment, install
from shared.model.event import Event
from shared.model.ref import MailRef
from tests.emulated_google import left_out

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("bqemulator.txt")
FROM = 1_796_083_200_000  # 2026-12-01, which the queries say
HOUR = 3_600_000
TABLE = "/bigquery/v2/projects/p/datasets/engagement/tables"
# Its start without DuckDB's extension for geography, which it would download and no query of ours needs.
START = """
from bqemulator.cli import main
from bqemulator.storage.engine import DuckDBEngine
DuckDBEngine._load_spatial = lambda self: None
main()
"""

Row = tuple[str, ...]


def documented() -> dict[str, tuple[str, list[Row]]]:
    """Heading -> the query below it, and the result shown below that, as rows of texts under their names."""
    text = (ROOT / "docs" / "analytics.md").read_text("utf-8")
    found = {}
    for heading, query, shown in re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```sql\n(.*?)^```\n\n((?:\|[^\n]*\n)*)", text, re.M | re.S
    ):
        rows = [tuple(cell.strip() for cell in line.strip("|\n").split("|")) for line in shown.splitlines()]
        found[heading] = query, rows[:1] + rows[2:]
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    """An empty table of events in a data set."""
    if os.environ.get("STRICT") == "1":
        list(install({"bqemulator": LOCK}))
    python = environment("bqemulator", LOCK) / "bin" / "python"
    if not python.exists():
        sentence = "bqemulator is not installed; STRICT=1 installs it (430 MB)."
        left_out.add(f"Left out: the queries of docs/analytics.md. {sentence}")
        pytest.skip(sentence)
    pytest_socket.enable_socket()  # a module's fixture comes before the test's own rule
    command = [str(python), "-c", START, "start", "--rest-port", "0", "--grpc-port", "0", "--project", "p"]
    settings = {**os.environ, "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false"}  # they would be downloaded, too
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=settings) as process:
        assert process.stderr is not None
        try:
            base = next(url[0] for line in process.stderr if (url := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with httpx.Client(base_url=base, timeout=60) as client:
                made = client.post("/bigquery/v2/projects/p/datasets", json={"datasetReference": {"datasetId": "engagement"}})
                made.raise_for_status()
                yield client
        finally:
            process.terminate()
            process.stderr.close()


def answered(server: httpx.Client, query: str, events: Iterable[Event]) -> list[Row]:
    """The query's names and rows over these events in a table of their own, as texts."""
    server.delete(f"{TABLE}/events")
    schema = json.loads((ROOT / "terraform" / "events.schema.json").read_text())
    made = server.post(TABLE, json={"tableReference": {"tableId": "events"}, "schema": {"fields": schema}})
    made.raise_for_status()
    told = server.post(f"{TABLE}/events/insertAll", json={"rows": [{"json": event.to_message()} for event in events]})
    assert told.json()["insertErrors"] == []
    asked = server.post("/bigquery/v2/projects/p/queries", json={"query": query, "useLegacySql": False})
    assert asked.status_code == 200 and "errors" not in asked.json(), asked.text
    fields = asked.json()["schema"]["fields"]
    rows = [
        tuple(_text(field["type"], cell["v"]) for field, cell in zip(fields, row["f"], strict=True))
        for row in asked.json()["rows"]
    ]
    return [tuple(field["name"] for field in fields), *rows]


def _text(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind == "TIMESTAMP":
        return f"{datetime.fromtimestamp(int(value) / 1_000_000, UTC):%Y-%m-%d %H:%M}"
    return f"{Decimal(value).normalize():f}" if kind in ("NUMERIC", "FLOAT") else str(value)


# --- what the queries have to say, of the set of events


def clicks(events: Sequence[Event]) -> list[Row]:
    found: defaultdict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in {one for one in events if one.at >= FROM}:
        if event.type == "clicked" and event.label == "human" and event.mail.campaign == "C-0001":
            found[event.at // HOUR, event.link].append(event)
    rows: list[Row] = [("hour", "link", "clicks", "readers")]
    for (hour, link), those in sorted(found.items()):
        at = f"{datetime.fromtimestamp(hour * HOUR / 1000, UTC):%Y-%m-%d %H:%M}"
        rows.append((at, str(link), str(len(those)), str(len({event.mail.sid for event in those}))))
    return rows


def bounces(events: Sequence[Event]) -> list[Row]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.at >= FROM and event.type in ("delivered", "bounced"):
            found[event.provider].append(event)
    rated: list[tuple[Decimal, Row]] = []
    for provider, those in found.items():
        hard, soft = {one.ref for one in those if one.hard}, {one.ref for one in those if one.counts}
        other = {one.ref for one in those if one.type == "bounced" and not one.hard and not one.counts}
        mails = {one.ref for one in those}
        rate = (Decimal(100 * len(hard | soft)) / len(mails)).quantize(Decimal("0.1"), "ROUND_HALF_UP")
        counts = [str(len(refs)) for refs in (mails, hard, soft, other)]
        rated.append((-rate, (provider, *counts, f"{rate.normalize():f}")))
    return [("told_by", "mails", "hard", "soft", "other", "rate"), *(row for _, row in sorted(rated))]


def revenue(events: Sequence[Event]) -> list[Row]:
    orders: dict[tuple[str, str, str, str], int] = {}
    for event in events:
        if event.at >= FROM and event.type == "converted":
            key = event.mail.campaign, event.currency, event.ref, event.id or f"at {event.at}"
            orders[key] = max(event.value, orders.get(key, 0))
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for (campaign, currency, *_), value in orders.items():
        found[campaign, currency].append(value)
    rows: list[Row] = [("campaign", "currency_code", "orders", "revenue")]
    for (campaign, currency), those in sorted(found.items()):
        rows.append((campaign, currency, str(len(those)), f"{(Decimal(sum(those)) / 1_000_000).normalize():f}"))
    return rows


QUESTIONS: dict[str, Callable[[Sequence[Event]], list[Row]]] = {
    "People's clicks by hour and link": clicks,
    "Bounces by who told of them": bounces,
    "Revenue by campaign": revenue,
}


def ref(reader: int, campaign: str = "C-0001") -> str:
    return MailRef(campaign, f"{reader:02x}" * 16).text


def sample() -> list[Event]:
    """Three readers and two campaigns, each event twice: what the document shows the results of."""
    morning = FROM + 9 * HOUR
    human: dict[str, Any] = {"label": "human", "country": "PT"}
    found = [
        *(Event("delivered", ref(reader), morning + reader, provider="ses") for reader in range(1, 8)),
        Event("bounced", ref(8), morning, hard=True, code="550 5.1.1", provider="main"),
        Event("bounced", ref(9), morning, counts=True, code="452 4.2.2", provider="ses"),
        Event("bounced", ref(10), morning, code="550 5.7.1", provider="ses"),
        Event("clicked", ref(1), morning + 1000, link=1, **human),
        Event("clicked", ref(1), morning + 2000, link=1, **human),
        Event("clicked", ref(2), morning + 3000, link=1, **human),
        Event("clicked", ref(2), morning + HOUR, link=2, **human),
        Event("clicked", ref(3), morning, label="machine", reason="burst", link=1),
        Event("clicked", ref(1, "C-0002"), morning, link=1, **human),
        Event("clicked", ref(1), FROM - 1, link=1, **human),
        Event("converted", ref(1), morning + 5000, id="order 7", value=19_900_000, currency="EUR"),
        Event("converted", ref(1), morning + 9000, id="order 7", value=19_900_000, currency="EUR"),  # its page was loaded again
        Event("converted", ref(2), morning + 6000, id="order 8", value=5_050_000, currency="EUR"),
        Event("converted", ref(2), morning + 7000, value=8_000_000, currency="USD"),
        Event("converted", ref(3, "C-0002"), morning, id="trial"),
    ]
    return found * 2


def many(seed: int) -> list[Event]:
    """Events of every kind that the queries ask about, at random, a third of them repeated, shuffled."""
    chance = random.Random(seed)
    found = []
    for _ in range(600):
        mail = ref(chance.randrange(25), chance.choice(["C-0001", "C-0001", "C-0002", "C-00010"]))
        at = FROM + chance.randrange(-5, 40) * HOUR // 4
        match chance.randrange(5):
            case 0:
                who, place = chance.choice([("human", "PT"), ("human", ""), ("suspect", ""), ("machine", "")])
                found.append(Event("clicked", mail, at, label=who, country=place, link=chance.randrange(3)))  # type: ignore[arg-type]
            case 1:
                found.append(Event("delivered", mail, at, provider=chance.choice(["ses", "main", ""])))
            case 2:
                hard, counts = chance.choice([(True, False), (False, True), (False, False)])
                found.append(
                    Event("bounced", mail, at, hard=hard, counts=counts, provider=chance.choice(["ses", "main", "sendgrid"]))
                )
            case 3:
                order, value = chance.choice(["", "a", "b"]), chance.choice([1_500_000, 19_900_000, 10**9])
                found.append(Event("converted", mail, at, id=order, value=value, currency=chance.choice(["EUR", "USD"])))
            case _:
                found.append(Event(chance.choice(["opened", "deferred", "unsubscribed", "unknown"]), mail, at))
    found += chance.choices(found, k=200)
    chance.shuffle(found)
    assert all(Event.from_message(event.to_message()) == event for event in found)  # such as record takes
    return found


def test_each_question_has_its_query() -> None:
    assert documented().keys() == QUESTIONS.keys()


@pytest.mark.network
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_documented_query_answers_as_the_document_shows(server: httpx.Client, question: str) -> None:
    query, shown = documented()[question]
    assert answered(server, query, sample()) == shown == QUESTIONS[question](sample())


@pytest.mark.network
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_documented_query_counts_each_event_once(server: httpx.Client, question: str) -> None:
    query, _ = documented()[question]
    events = many(1)
    found = answered(server, query, events)
    assert found == QUESTIONS[question](events) and len(found) > 3


@pytest.mark.network
def test_the_documented_way_to_a_readers_id(server: httpx.Client) -> None:
    [way] = re.findall(r"`(TO_HEX\(.*)`", (ROOT / "docs" / "analytics.md").read_text("utf-8"))
    mail = MailRef("C-0001", "fb" * 8 + "ef" * 8)
    assert "-" in mail.text[7:] or "_" in mail.text  # which base64 writes otherwise
    query = f"SELECT {way} AS sid FROM engagement.events"
    assert answered(server, query, [Event("opened", mail.text, FROM)]) == [("sid",), (mail.sid,)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_documented_query_can_be_asked_of_a_table_that_wants_a_time(question: str) -> None:
    """Each place that reads the table says from when; the emulator would not mind."""
    query, _ = documented()[question]
    assert len(re.findall(r"engagement\.events\s+WHERE at >= UNIX_MILLIS\(", query)) == query.count("engagement.events") > 0
