"""`make load`: hits, callbacks and sign-ups at a rate, over sockets, against steps that run as in production, on Google's emulators.

Every server is a process of its own on 127.0.0.1. Each side of a ratio gets the same requests at the same rate in the same round, and
its CPU is what its processes took. All are served by uvicorn, in the environment that the step has on Google, but for the naive way: Flask
on gunicorn. Nothing counts as done that is not found in the topic afterwards.

Exit status 1 when a goal is not met. `python -m bench.load sign-ups` measures one part only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sqlite3
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop
from rich.console import Console

from local.emulators import Emulators, emulators, missing
from local.google.secret_manager import secret_manager
from local.staging import ROOT
from shared.adapters.firestore import Firestore
from shared.model import batch, event
from shared.model.ref import MailRef

from . import callbacks, report, requests, served, signups, stage
from .callbacks import Callback
from .drive import Driven, at_once, at_rate
from .report import Goal, Row, compared, counted, measured
from .requests import Call
from .served import Served

RESULTS = ROOT / ".twin" / "load.json"
PARTS = ("hits", "webhooks", "sign-ups")
ROUNDS = 3
RATE, SECONDS = 300.0, 60.0  # hits a second, and for how long, of the step that is judged; the others have a third of it
CONNECTIONS = 32  # of a closed loop
WARMING = 1_500  # hits before the first round: the emulators are Java
EVENTS = 50_000  # of webhooks
CALLBACKS = 80.0  # a second
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
_TARGET = "https://lumen-coffee.example/shop/lot-1"
_SENT = 1_767_225_600_000  # ms: when the mails were handed over
Found = Callable[[], Counter[str]]  # what has arrived since it was last asked: how often each id


# --- what arrived -----------------------------------------------------------------------------------------------------


def lost(sent: Iterable[str], found: Counter[str]) -> int:
    """How many of the ids that were sent are nowhere."""
    return len(set(sent) - found.keys())


@dataclass(frozen=True)
class Subscription:
    """All that is published to a topic of the Pub/Sub emulator from now on; to be asked from a thread."""

    url: str
    field: str  # of a message, that tells one from every other

    @classmethod
    def made(cls, host: str, project: str, topic: str, field: str) -> Subscription:
        name = f"projects/{project}/subscriptions/{field}-{secrets.token_hex(4)}"
        one = cls(f"http://{host}/v1/{name}", field)
        one._asked("", {"topic": f"projects/{project}/topics/{topic}", "ackDeadlineSeconds": 600}, "PUT")
        return one

    def found(self) -> Counter[str]:
        ids: Counter[str] = Counter()
        while taken := self._asked(":pull", {"maxMessages": 1000, "returnImmediately": True}).get("receivedMessages"):
            ids.update(json.loads(base64.b64decode(one["message"]["data"]))[self.field] for one in taken)
            self._asked(":acknowledge", {"ackIds": [one["ackId"] for one in taken]})
        return ids

    def _asked(self, verb: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        asked = urllib.request.Request(self.url + verb, json.dumps(body).encode(), headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            said: dict[str, Any] = json.load(answer)
        return said


def rows_of(bus: Path, field: str = "ref") -> Found:
    """All that is published to a topic of the embedded bus from now on."""

    def found() -> Counter[str]:
        with closing(sqlite3.connect(bus)) as connection:
            rows = connection.execute("SELECT data FROM deliveries").fetchall()
            connection.execute("DELETE FROM deliveries")
            connection.commit()
        return Counter(json.loads(data)[field] for (data,) in rows)

    return found


def sids_of(found: Found) -> Found:
    """Of the batches of single mails, whose they are."""
    return lambda: Counter({name.partition(".")[0]: count for name, count in found().items()})


def nothing() -> Counter[str]:
    return Counter()


# --- hits -------------------------------------------------------------------------------------------------------------


@dataclass
class Side:
    """One server of hits. `status`: of its answer to everything, where it is not track. `found`: None where nothing is published."""

    name: str
    server: Served
    found: Found | None = None
    status: int = 0
    seconds: float = 0.0

    async def hit(self, hits: Sequence[Call], rate: float) -> tuple[Driven, float, int]:
        """What came of the hits, at a rate or, with 0, as fast as they are answered; µs of CPU a hit; how many are lost."""
        calls = [replace(each, status=self.status or each.status) for each in hits]
        before = self.server.cpu()
        done = await (at_rate(self.server.url, calls, rate) if rate else at_once(self.server.url, calls, CONNECTIONS))
        cost = 1e6 * (self.server.cpu() - before) / len(calls)
        if self.found is None:
            return done, cost, len(done.failed)
        return done, cost, lost(map(_mail, calls), await asyncio.to_thread(self.found))


class Hits:
    """Opens and clicks in turn, each of another mail, with the headers that Google's front end adds."""

    def __init__(self, given: stage.Stage) -> None:
        self._links, self._made = given.links, 0
        self._target = given.links.signed_target(stage.CAMPAIGN, 0, _TARGET)

    def more(self, count: int) -> list[Call]:
        self._made += count
        return [self._one(n) for n in range(self._made - count, self._made)]

    def _one(self, n: int) -> Call:
        token = self._links.track_token(MailRef(stage.CAMPAIGN, f"{n:032x}"), _SENT)
        headers = {
            "user-agent": _AGENTS[n % len(_AGENTS)],
            "accept": "*/*",
            "x-forwarded-for": f"81.2.{n // 250 % 250}.{n % 250}",
            "x-forwarded-proto": "https",
            "traceparent": f"00-{n + 1:032x}-{n + 1:016x}-01",
        }
        return Call("GET", f"/o/{token}", 200, headers) if n % 2 else Call("GET", f"/k/{token}/{self._target}", 302, headers)


def _mail(hit: Call) -> str:
    """The mail that a hit is of, as its event says it."""
    return hit.path.split("/")[2].rpartition(".")[0].rpartition("~")[0]


async def hits_rows(given: stage.Stage, sides: Sequence[Side]) -> list[Row]:
    """Goal: p99 < 250 ms at RATE; CPU a hit ≤ 2.5 x the bare hello's and ≤ a fifteenth of the naive way's. `sides` begins with track
    on Google, and has "hello" and "naive"."""
    hits = Hits(given)
    cpu: dict[str, list[float]] = {side.name: [] for side in sides}
    full: dict[str, list[float]] = {side.name: [] for side in sides}
    slowest: list[float] = []
    gone = 0
    for side in sides:
        await side.hit(hits.more(WARMING), RATE / 2)
    for _ in range(ROUNDS):
        for side in sides:
            done, cost, missed = await side.hit(hits.more(round(RATE * side.seconds)), RATE)
            cpu[side.name].append(cost)
            _, cost, also = await side.hit(hits.more(round(RATE * side.seconds / 3)), 0)
            full[side.name].append(cost)
            gone += (missed + also) * (side.found is not None)
            if side is sides[0]:
                slowest.append(1000 * done.quantile(0.99))
    ours = sides[0].name
    detail = f"{RATE:g} hits a second for {sides[0].seconds:g} s"
    rows = [
        measured(f"a hit, p99, {ours}", "ms", slowest, Goal("≤", 250), detail),
        compared(f"CPU of a hit, {ours} / bare ASGI hello", "µs", cpu[ours], cpu["hello"], Goal("≤", 2.5), detail),
        compared(f"CPU of a hit, {ours} / naive", "µs", cpu[ours], cpu["naive"], Goal("≤", 1 / 15), "Flask, a write a hit"),
        counted("hits lost", "hits", gone, Goal("≤", 0), "answered or not, and not in the topic"),
    ]
    rows += [
        compared(f"CPU of a hit, {name} / bare ASGI hello", "µs", cpu[name], cpu["hello"])
        for name in cpu
        if name not in (ours, "hello")
    ]
    flat_out = f"as fast as answered, {CONNECTIONS} connections"
    return rows + [
        compared(f"CPU of a hit, {name} / bare ASGI hello", "µs", full[name], full["hello"], detail=flat_out)
        for name in full
        if name != "hello"
    ]


# --- callbacks --------------------------------------------------------------------------------------------------------


async def callback_rows(server: Served, coming: Sequence[Callback], found: Found) -> list[Row]:
    """Goal: p99 < 1 s over the events, each with its callback's latency, and none lost."""
    before, began = server.cpu(), monotonic()
    done = await at_rate(server.url, [each.call for each in coming], CALLBACKS)
    took, spent = monotonic() - began, server.cpu() - before
    arrived = await asyncio.to_thread(found)
    sent = [id for each in coming for id in each.ids]
    failed = sum(len(coming[n].ids) for n in done.failed)
    repeated = sum(len(each.ids) for each in coming if each.again)
    told = f"{len(coming):,} callbacks, {len(coming) / took:.0f} a second, {1e6 * spent / len(sent):.0f} µs of CPU an event"
    return [
        measured(
            "webhook events, p99", "ms", [1000 * done.quantile(0.99, [len(each.ids) for each in coming])], Goal("≤", 1000), told
        ),
        counted("webhook events lost", "events", lost(sent, arrived), Goal("≤", 0), f"of {len(sent):,}, {failed} not accepted"),
        counted("webhook events published again", "events", arrived.total() - len(arrived), detail=f"of {repeated:,} repeated"),
    ]


# --- all of it --------------------------------------------------------------------------------------------------------


async def _hits(
    given: stage.Stage, folder: Path, on_google: Mapping[str, str], embedded: Mapping[str, str], google: Emulators, kept: Found
) -> list[Row]:
    events = Subscription.made(google.pubsub, on_google["GOOGLE_CLOUD_PROJECT"], event.TOPIC, "ref")
    with ExitStack() as up:
        sides = [
            Side("track on Google", up.enter_context(served.step("track", folder / "google", on_google)), events.found),
            Side("track embedded", up.enter_context(served.step("track", folder / "embedded", embedded)), kept),
            Side("hello", up.enter_context(served.bare("bench.bare:hello", "track")), status=200),
            Side("naive", up.enter_context(served.flask(ROOT / "bench" / "naive.py", on_google))),
        ]
        for side in sides:
            side.seconds = SECONDS if side is sides[0] else SECONDS / 3
        return await hits_rows(given, sides)


async def measure(google: Emulators, folder: Path, say: Callable[[str], None], parts: Sequence[str] = PARTS) -> list[Row]:
    """Raises AssertionError for a server that does not start."""
    given, project = await stage.Stage.open(folder / "state"), f"bench-{secrets.token_hex(4)}"
    callbacks.prepare(given)
    await asyncio.to_thread(requests.google_topics, google.pubsub, project)
    await requests.embedded_topics(folder / "state")
    async with secret_manager(given.secrets) as double:
        common = {"TENANT": stage.TENANT, "PUBLIC_URL": stage.BASE, "TRUSTED_HOPS": "1"}
        embedded = {**common, "STACK": "embedded", "STATE_DIR": str(folder / "state")}
        on_google = {
            **common,
            "STACK": "google",
            "GOOGLE_CLOUD_PROJECT": project,
            "PUBSUB_EMULATOR_HOST": google.pubsub,
            "FIRESTORE_EMULATOR_HOST": google.firestore,
            "SECRET_MANAGER_EMULATOR_HOST": double.address,
            "STORAGE_EMULATOR_HOST": "127.0.0.1:1",  # only what is unknown is kept
            "BUCKET": "bench",
        }
        state = folder / "state"
        rows: list[Row] = []
        if "hits" in parts:
            say("hits")
            rows += await _hits(given, folder, on_google, embedded, google, rows_of(state / "bus.db"))
        if "webhooks" in parts:
            say("webhooks")
            with ExitStack() as up:
                events = Subscription.made(google.pubsub, project, event.TOPIC, "id")
                server = up.enter_context(served.step("webhooks", folder / "google", on_google))
                await at_rate(server.url, [Call("HEAD", "/generic", 405)] * 50, CALLBACKS)  # builds it
                rows += await callback_rows(server, await callbacks.coming(given, EVENTS), events.found)
        if "sign-ups" in parts:
            say("sign-ups")
            firestore = Firestore.connect(project, emulator_host=google.firestore)
            requested = Subscription.made(google.pubsub, project, batch.TOPIC, "batch")
            stacks = {
                "sqlite": (embedded, given.store, sids_of(rows_of(state / "bus.db", "batch"))),
                "Firestore": (on_google, firestore, sids_of(requested.found)),
            }
            rows += await signups.rows(given, folder, stacks, google)
            await firestore.close()
        await given.close()
    return rows


def main() -> int:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)
    if lacking := missing():
        report.left_out(f"Nothing is measured: {lacking}", console)
        return 0
    with stage.folder() as folder, emulators(folder) as google:
        parts = sys.argv[1:] or PARTS
        rows = uvloop.run(measure(google, folder, lambda part: console.print(f"[dim]{part} …[/]"), parts))
    report.show(rows, console)
    RESULTS.parent.mkdir(exist_ok=True)
    report.save(rows, "load", RESULTS)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
