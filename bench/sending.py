"""A whole campaign through launch and send_batch into the sink, against EmailMessage and smtplib: CPU a mail, and operations a mail.

CPU is this process's, all threads counted (the embedded store's are part of a mail's price); the sink has a process of its own, and
so has Firestore's emulator, which leaves the client's price. The rounds of all sides alternate, so that they meet the same noise.
Both stores stand in one folder with the same secrets: subscribers fall into the same ranges, and the counts have to be equal.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from dataclasses import dataclass, field
from pathlib import Path

from local.emulators import Emulators
from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import Source
from shared.model import batch
from shared.model.ref import MailRef
from shared.tokens import Tokens

from . import letter, prices, stage
from .prices import Spent
from .report import Goal, Row, compared, counted
from .sink import Sink

ROUNDS = 3
OURS = 2_000  # mails a round and store
THEIRS = 400


@dataclass
class Campaigns:
    """One store's, a round each. `seconds` of CPU in the batches; `spent` on whole campaigns; `tick`: one while every batch is open."""

    seconds: list[float] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    tick: Spent = field(default_factory=Spent)

    def rows(self, store: str, theirs: list[float]) -> list[Row]:
        mails = OURS * len(self.seconds)
        ours = [OURS / seconds for seconds in self.seconds]
        each = f"{1e6 * sorted(self.seconds)[len(ours) // 2] / OURS:.0f} µs a mail"
        bus = f"{self.spent.messages / mails:.4f} bus messages"
        reads, writes = self.spent.reads / mails, self.spent.writes / mails
        open_batches = f"{self.tick}, {len(batch.ranges(OURS))} batches open"
        return [
            compared(f"send_batch, {store} / EmailMessage + smtplib", "mails/core-s", ours, theirs, _GOALS.get(store), each),
            counted(f"store reads of a whole campaign, {store}", "per mail", reads, Goal("≤", 1.05), bus),
            counted(f"store writes of a whole campaign, {store}", "per mail", writes, Goal("≤", 0.05)),
            counted(f"a tick in mid-campaign (launch), {store}", "operations", self.tick.total, None, open_batches),
        ]


_GOALS = {"sqlite": Goal("≥", 10)}


def run(sink: Sink, google: Emulators | None) -> list[Row]:
    """Raises AssertionError when a mail is lost, sent twice, when the two sides' mails differ, or the two stores' operations."""
    stores = {"sqlite": Campaigns()} | ({"firestore": Campaigns()} if google else {})
    theirs: list[float] = []
    splices: list[float] = []
    builds: list[float] = []
    for _ in range(ROUNDS):
        with stage.folder() as state:
            asyncio.run(_campaign(sink, state, None, stores["sqlite"]))
            if google:
                asyncio.run(_campaign(sink, state, google, stores["firestore"]))
                stage.same("a campaign", *(one.spent for one in stores.values()))
                stage.same("a tick in mid-campaign", *(one.tick for one in stores.values()))
        mail, peer = _letters()
        theirs.append(_smtplib(sink, peer))
        splices.append(_splice(mail))
        builds.append(_build(peer))
    rows = [row for store, campaigns in stores.items() for row in campaigns.rows(store, theirs)]
    thousand = prices.thousand("mails of a campaign", stores["sqlite"].spent, OURS * ROUNDS)
    return [*rows, thousand, compared("splicing a mail / EmailMessage", "µs", splices, builds)]


async def _campaign(sink: Sink, state: Path, google: Emulators | None, campaigns: Campaigns) -> None:
    """One campaign: a tick that launches it, its batches, a tick that ends it."""
    given = await stage.Stage.open(state, stage.firestore(google) if google else None)
    await given.seed(OURS)
    launch, sender = given.launch(), stage.sender(sink)
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


def _letters() -> tuple[CompiledMail, letter.Peer]:
    links = Links(stage.BASE, Tokens([b"a key of the bench, 32 bytes long"]))
    source = Source(name="news.html", data=letter.template(), campaign=stage.CAMPAIGN, identity=letter.IDENTITY)
    mail = compile(source, links)
    peer = letter.Peer.of(mail, links, stage.CAMPAIGN)
    for recipient in _recipients(len(letter.NAMES)):
        letter.same(mail, peer, recipient)
    return mail, peer


def _recipients(count: int) -> list[Recipient]:
    return [
        Recipient(
            MailRef(stage.CAMPAIGN, f"{n:032x}"),
            stage.ADDRESS.format(n),
            {"name": letter.NAMES[n % len(letter.NAMES)], "language": "en"},
        )
        for n in range(count)
    ]


def _smtplib(sink: Sink, peer: letter.Peer) -> float:
    """Mails per second of CPU over one kept connection."""
    recipients = _recipients(THEIRS)
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        started = time.process_time()
        for recipient in recipients:
            client.send_message(peer.build(recipient))
        seconds = time.process_time() - started
    sink.expect(THEIRS)
    return THEIRS / seconds


def _splice(mail: CompiledMail) -> float:
    """µs a mail."""
    recipients = _recipients(OURS)
    started = time.process_time()
    for recipient in recipients:
        mail.splice(recipient, letter.DATE)
    return 1e6 * (time.process_time() - started) / OURS


def _build(peer: letter.Peer) -> float:
    """µs a mail, as bytes."""
    recipients = _recipients(THEIRS)
    started = time.process_time()
    for recipient in recipients:
        peer.build(recipient).as_bytes()
    return 1e6 * (time.process_time() - started) / THEIRS
