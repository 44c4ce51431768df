"""A whole campaign through launch and send_batch into the sink, and the sending path alone beside its peers (bench/peers): CPU a mail,
and operations a mail.

CPU of a campaign is this process's, all threads counted (the embedded store's are part of a mail's price); the sink has a process of
its own, and so have Firestore's emulator, which leaves the client's price, and every side of the comparison. The rounds of all
alternate, so that they meet the same noise. Both stores stand in one folder with the same secrets: subscribers fall into the same
ranges, and the counts have to be equal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from local.emulators import Emulators
from shared.model import batch

from . import letter, prices, stage
from .peers import given, plain_smtplib
from .peers.sides import GO, MAILS, NODEMAILER, PATH, SMTPLIB, SOURCE, Side
from .prices import Spent
from .report import Goal, Row, compared, counted, measured
from .sink import Sink

ROUNDS = 3
OURS = 5_000  # mails of a campaign, a round and store
BUILT = 400  # mails a round, of those that are only made
_CPU = {"firestore": (Goal("≤", 150), "; to reach: 100")}
_PEER = {"sqlite": Goal("≥", 10)}
_FASTER = {SMTPLIB: Goal("≥", 40), NODEMAILER: Goal("≥", 20), GO: Goal("≥", 4)}
_BARE = Goal("≤", 1.2)


@dataclass(frozen=True)
class Way:
    """How a campaign is cut: what its row's Schedule says, and how many reads a mail may cost."""

    name: str
    schedule: str
    reads: Goal


RANGES = Way("a whole campaign", "", Goal("≤", 1.05))
ROSTERS = Way("a whole campaign in rosters", "best", Goal("≤", 2.1))


@dataclass
class Campaigns:
    """One store's, a round each. `seconds` of CPU in the batches; `spent` on whole campaigns; `tick`: one while every batch is open."""

    way: Way = RANGES
    seconds: list[float] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    tick: Spent = field(default_factory=Spent)

    def rows(self, store: str, theirs: list[float]) -> list[Row]:
        """What it costs beside the peer's µs of CPU a mail, by round."""
        ours = [1e6 * seconds / OURS for seconds in self.seconds]
        goal, aim = _CPU.get(store, (None, ""))
        open_batches = f"{self.tick}, {len(batch.ranges(OURS))} batches open"
        return [
            measured(f"CPU of a mail, from store to sink, {store}", "µs", ours, goal, f"compile of {OURS:,} mails included{aim}"),
            compared(f"send_batch, {store} / {SMTPLIB}", "mails/core-s", _rate(ours), _rate(theirs), _PEER.get(store)),
            *self.counts(store),
            counted(f"a tick in mid-campaign (launch), {store}", "operations", self.tick.total, None, open_batches),
        ]

    def counts(self, store: str) -> list[Row]:
        """Operations a mail."""
        mails, name = OURS * len(self.seconds), f"{self.way.name}, {store}"
        bus = f"{self.spent.messages / mails:.4f} bus messages"
        return [
            counted(f"store reads of {name}", "per mail", self.spent.reads / mails, self.way.reads, bus),
            counted(f"store writes of {name}", "per mail", self.spent.writes / mails, Goal("≤", 0.05)),
        ]


def run(sink: Sink, google: Emulators | None, sides: Mapping[str, Side]) -> list[Row]:
    """Raises AssertionError when a mail is lost, sent twice, when the sides' mails differ, or the two stores' operations."""
    stores = {"sqlite": Campaigns()} | ({"firestore": Campaigns()} if google else {})
    rosters = {name: Campaigns(ROSTERS) for name in stores}
    costs: dict[str, list[float]] = {name: [] for name in sides}
    splices: list[float] = []
    builds: list[float] = []
    with stage.folder() as work:
        given.write(work, max(MAILS.values()) + given.WARM)
        for side in sides.values():
            side.check(work)
        for turn in range(ROUNDS):
            _both(sink, google, stores)
            order = list(sides)
            for name in order[turn % len(order) :] + order[: turn % len(order)]:
                costs[name].append(sides[name].run(work, sink))
            splices.append(_splice())
            builds.append(_build())
    _both(sink, google, rosters)  # once: it is counted, not timed
    rows = [row for store, campaigns in stores.items() for row in campaigns.rows(store, costs[SMTPLIB])]
    rows += [row for store, campaigns in rosters.items() for row in campaigns.counts(store)]
    thousand = prices.thousand("mails of a campaign", stores["sqlite"].spent, OURS * ROUNDS)
    return [*rows, thousand, *_path(costs), compared("splicing a mail / EmailMessage", "µs", splices, builds)]


def _path(costs: Mapping[str, list[float]]) -> list[Row]:
    """The rows of the sending path, from µs of CPU a mail by round."""
    ours, name = costs[PATH], "compile, splice, SMTP"
    each = f"{sorted(ours)[len(ours) // 2]:.0f} µs a mail, compile of {MAILS[PATH]:,} included"
    rows = [
        compared(f"{name} / {peer}", "mails/core-s", _rate(ours), _rate(costs[peer]), goal, each)
        for peer, goal in _FASTER.items()
        if peer in costs
    ]
    if SOURCE in costs:
        rows.append(compared(f"{name} / {SOURCE}", "µs", ours, costs[SOURCE], _BARE, "one mail, again and again; to reach: 1.0"))
    return rows


def _rate(costs: list[float]) -> list[float]:
    """Mails per second of one core."""
    return [1e6 / cost for cost in costs]


def _both(sink: Sink, google: Emulators | None, stores: Mapping[str, Campaigns]) -> None:
    """A campaign on each store. Raises AssertionError when one costs more operations than the other."""
    with stage.folder() as state:
        uvloop.run(_campaign(sink, state, None, stores["sqlite"]))
        if google:
            uvloop.run(_campaign(sink, state, google, stores["firestore"]))
            spare = len(batch.ranges(OURS)) * ROUNDS
            stage.same("a campaign", stores["sqlite"].spent, stores["firestore"].spent, spare)
            stage.same("a tick in mid-campaign", stores["sqlite"].tick, stores["firestore"].tick)


async def _campaign(sink: Sink, state: Path, google: Emulators | None, campaigns: Campaigns) -> None:
    """One campaign: a tick that launches it, its batches, a tick that ends it."""
    given = await stage.Stage.open(state, stage.firestore(google) if google else None)
    await given.seed(OURS)
    launch, sender = given.launch(schedule=campaigns.way.schedule), stage.sender(sink)
    seeded = given.spent
    await launch.handle()
    worker, messages = given.send_batch(sender), given.bus.take(batch.TOPIC)
    launched = given.spent
    await launch.handle()
    campaigns.tick = given.spent - launched
    started = time.process_time()
    for message in messages:
        await worker.handle(message)
    campaigns.seconds.append(time.process_time() - started)
    await launch.handle()
    campaigns.spent += given.spent - seeded - campaigns.tick
    found = await given.store.get(given.paths.campaign(stage.CAMPAIGN), ["state", "totals"])
    if found is None or (found.data["state"], found.data["totals"]["sent"]) != ("completed", OURS):
        raise AssertionError(f"the campaign did not end well: {found and found.data}")
    await sender.close()
    await given.close()
    sink.expect(OURS)


def _splice() -> float:
    """µs a mail."""
    mail, recipients = given.compiled(given.links()), given.recipients(OURS)
    started = time.process_time()
    for recipient in recipients:
        mail.splice(recipient, letter.DATE)
    return 1e6 * (time.process_time() - started) / OURS


def _build() -> float:
    """µs a mail, as bytes."""
    peer, recipients = plain_smtplib.build(), given.recipients(BUILT)
    started = time.process_time()
    for recipient in recipients:
        peer.build(recipient).as_bytes()
    return 1e6 * (time.process_time() - started) / BUILT
