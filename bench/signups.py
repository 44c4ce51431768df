"""Sign-ups over real connections: 1,000 at once at the whole twin, on both stacks, until every confirmation has arrived; then 100 a second
for a minute at the step alone, beside a bare hello.

Nothing counts as done that is not found afterwards: at the twin a confirmation in the mailbox, one for each address; at the step the
subscriber in the store and the request on the bus.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from time import monotonic

from local import browser
from local.emulators import Emulators
from local.staging import ROOT
from shared.model import tenant as tenants
from shared.model.address import sid_of
from shared.ports import Merge, Store

from . import letter, served, stage
from .drive import Driven, at_once, at_rate, crowd
from .report import Goal, Row, compared, counted, measured
from .requests import Call

CROWD = 1_000  # at once
TICK = 60  # seconds, as Cloud Scheduler's
RATE, SECONDS = 100.0, 60.0
ROUNDS = 3
PATIENCE = 300.0  # seconds until all mails have come


def calls(kind: str, count: int, path: str) -> list[Call]:
    """Sign-ups of different people, of many networks and domains, as Google's front end hands them on."""
    return [
        Call(
            "POST",
            path,
            202,
            {
                "content-type": "application/json",
                "x-forwarded-for": f"81.{n // 200 % 200}.{n % 200}.7",
                "x-forwarded-proto": "https",
            },
            json.dumps({"email": address(kind, n), "name": f"Reader {n}"}).encode(),
        )
        for n in range(count)
    ]


def address(kind: str, n: int) -> str:
    return f"{kind}{n}@d{n % 97}.example"


# --- the twin ---------------------------------------------------------------------------------------------------------


async def twin_rows(name: str, folder: Path, **environ: str) -> list[Row]:
    """Goal: no error, nobody without a confirmation, nobody with two; on sqlite p99 < 500 ms."""
    rounds = [f"crowd{number}x" for number in range(ROUNDS)]
    typical, slowest, failed, lost, twice = [], [], 0, 0, 0
    with browser.twin(folder, TICK, TRUSTED_HOPS="1", **environ) as url:
        await at_once(url, calls("first", 20, "/subscribe"), 4)  # builds the steps
        await _arrived(folder / "mailbox.db", "first", 20)
        for kind in rounds:
            done = await crowd(url, calls(kind, CROWD, "/subscribe"))
            typical.append(1000 * done.quantile(0.5))
            slowest.append(1000 * done.quantile(0.99))
            failed += len(done.failed)
            arrived = await _arrived(folder / "mailbox.db", kind, CROWD)
            lost += CROWD - len(arrived)
            twice += sum(count > 1 for count in arrived.values())
    goal = Goal("≤", 500) if name == "sqlite" else None
    detail = f"{CROWD:,} connections at once, at rest before"
    people = f"of {ROUNDS * CROWD:,}"
    return [
        measured(f"a sign-up, p50, twin on {name}", "ms", typical, None, detail),
        measured(f"a sign-up, p99, twin on {name}", "ms", slowest, goal, detail),
        counted(f"sign-ups refused, twin on {name}", "sign-ups", failed, Goal("≤", 0), people),
        counted(f"sign-ups without a confirmation, twin on {name}", "people", lost, Goal("≤", 0), people),
        counted(f"people confirmed twice, twin on {name}", "people", twice, Goal("≤", 0), people),
    ]


async def _arrived(mailbox: Path, kind: str, wanted: int) -> Counter[str]:
    """Mails by address, once all have come, and a moment later."""
    end = monotonic() + PATIENCE
    while len(_mails(mailbox, kind)) < wanted and monotonic() < end:
        await asyncio.sleep(1)
    await asyncio.sleep(5)  # for one too many
    return _mails(mailbox, kind)


def _mails(mailbox: Path, kind: str) -> Counter[str]:
    with closing(sqlite3.connect(f"file:{mailbox}?mode=ro", uri=True, timeout=30)) as db:
        found = db.execute("SELECT rcpt FROM mail WHERE rcpt GLOB ?", (f"{kind}*",))
        return Counter(address for (address,) in found)


# --- the step ---------------------------------------------------------------------------------------------------------


async def prepare(store: Store, given: stage.Stage) -> None:
    """The tenant whose list it is."""
    await store.commit([Merge(given.paths.tenant, tenants.document("Lumen Coffee", letter.IDENTITY, "sheet", "folder"))])


async def step_rows(
    given: stage.Stage, store: Store, sides: Mapping[str, served.Served], found: Callable[[], Counter[str]], name: str
) -> list[Row]:
    """Goal: CPU of a sign-up ≤ 4 × the bare hello's at the same rate; on sqlite p99 < 500 ms; none lost. `sides`: the step ("subscribe"),
    and what answers only: "hello", "framework". `found`: sids on the bus."""
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    slowest, typical, gone, failed = [], [], 0, 0
    await at_once(sides["subscribe"].url, calls("warm", 200, "/"), 8)
    await asyncio.to_thread(found)
    for number in range(ROUNDS):
        sent = calls(f"r{number}x", round(RATE * SECONDS / ROUNDS), "/")
        for side, server in sides.items():
            ours = side == "subscribe"
            done, spent = await _driven(server, sent if ours else [replace(one, status=200) for one in sent])
            cpu[side].append(spent)
            failed += len(done.failed)
            if ours:
                slowest.append(1000 * done.quantile(0.99))
                typical.append(1000 * done.quantile(0.5))
                gone += await _lost(given, store, f"r{number}x", len(sent), await asyncio.to_thread(found))
    detail = f"{RATE:g} a second for {SECONDS:g} s"
    goal = Goal("≤", 500) if name == "sqlite" else None
    return [
        measured(f"a sign-up, p50, {name}", "ms", typical, None, detail),
        measured(f"a sign-up, p99, {name}", "ms", slowest, goal, detail),
        compared(f"CPU of a sign-up, {name} / bare ASGI hello", "µs", cpu["subscribe"], cpu["hello"], Goal("≤", 4), detail),
        compared(f"CPU of the framework's hello beside it, {name} / bare", "µs", cpu["framework"], cpu["hello"], None, detail),
        counted(f"sign-ups refused or lost, {name}", "sign-ups", failed + gone, Goal("≤", 0), f"of {RATE * SECONDS:,.0f}"),
    ]


async def _driven(server: served.Served, sent: Sequence[Call]) -> tuple[Driven, float]:
    before = server.cpu()
    done = await at_rate(server.url, sent, RATE)
    return done, 1e6 * (server.cpu() - before) / len(sent)


async def _lost(given: stage.Stage, store: Store, kind: str, count: int, published: Mapping[str, int]) -> int:
    """How many are not in the store, or not on the bus."""
    sids = [sid_of(given.pepper, stage.TENANT, address(kind, n)) for n in range(count)]
    kept = await store.get_many([given.paths.subscriber(sid) for sid in sids], ["asked"])
    return sum(document is None or sid not in published for sid, document in zip(sids, kept, strict=True))


async def rows(
    given: stage.Stage,
    folder: Path,
    stacks: Mapping[str, tuple[Mapping[str, str], Store, Callable[[], Counter[str]]]],
    google: Emulators | None,
) -> list[Row]:
    """`stacks`: name -> (the step's settings, its store, the sids on its bus)."""
    made = await twin_rows("sqlite", folder / "twin")
    if google:
        made += await twin_rows("emulators", folder / "twin-emulators", STACK="emulators")
    with ExitStack() as up:
        hello = up.enter_context(served.bare("bench.bare:hello", "subscribe"))
        framework = up.enter_context(served.framework(ROOT / "bench" / "hello.py", "subscribe"))
        for name, (settings, store, found) in stacks.items():
            await prepare(store, given)
            server = up.enter_context(served.step("subscribe", folder / f"signups-{name}", settings))
            sides = {"subscribe": server, "hello": hello, "framework": framework}
            made += await step_rows(given, store, sides, found, name)
    return made
