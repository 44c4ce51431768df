"""A whole campaign through launch and send_batch into the sink, against EmailMessage and smtplib: CPU a mail, and operations a mail.

CPU is this process's, all threads counted (the store's are part of a mail's price); the sink has a process of its own. The rounds
of the two sides alternate, so that both meet the same noise.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from dataclasses import dataclass, field
from pathlib import Path

from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import Source
from shared.model import batch
from shared.model.ref import MailRef
from shared.tokens import Tokens

from . import letter, stage
from .report import Goal, Row, compared, counted
from .sink import Sink

ROUNDS = 3
OURS = 4_000  # mails a round
THEIRS = 400


@dataclass
class Tallies:
    """Of all rounds of ours: CPU seconds a round, and what the whole campaigns cost in operations."""

    seconds: list[float] = field(default_factory=list)
    reads: int = 0
    writes: int = 0
    messages: int = 0
    tick: int = 0  # reads of one tick while every batch is open


def run(sink: Sink) -> list[Row]:
    """Raises AssertionError when a mail is lost, sent twice, or when the two sides' mails differ."""
    tallies, theirs, splices, builds = Tallies(), [], [], []
    for _ in range(ROUNDS):
        with stage.folder() as state:
            asyncio.run(_campaign(sink, state, tallies))
        mail, peer = _letters()
        theirs.append(_smtplib(sink, peer))
        splices.append(_splice(mail))
        builds.append(_build(peer))
    ours = [OURS / seconds for seconds in tallies.seconds]
    mails = OURS * ROUNDS
    each = 1e6 * sorted(tallies.seconds)[ROUNDS // 2] / OURS
    reads, writes = tallies.reads / mails, tallies.writes / mails
    parts = len(batch.ranges(OURS))
    where = f"{tallies.messages / mails:.4f} bus messages"
    return [
        compared("send_batch / EmailMessage + smtplib", "mails/core-s", ours, theirs, Goal("≥", 10), f"{each:.0f} µs a mail"),
        compared("splicing a mail / EmailMessage", "µs", splices, builds),
        counted("store reads of a whole campaign", "per mail", reads, Goal("≤", 1.05), where),
        counted("store writes of a whole campaign", "per mail", writes, Goal("≤", 0.05)),
        counted("a tick in mid-campaign (launch)", "operations", tallies.tick, None, f"reads, {parts} batches open"),
    ]


async def _campaign(sink: Sink, state: Path, tallies: Tallies) -> None:
    """One campaign: a tick that launches it, its batches, a tick that ends it."""
    given = await stage.Stage.open(state)
    await given.seed(OURS)
    store, launch, sender = given.store, given.launch(), stage.sender(sink)
    before = store.operations.reads, store.operations.writes
    await launch.handle()
    worker, messages = given.send_batch(sender), given.bus.take(batch.TOPIC)
    launched = store.operations.reads
    await launch.handle()
    tallies.tick = store.operations.reads - launched
    started = time.process_time()
    for message in messages:
        await worker.handle(message)
    tallies.seconds.append(time.process_time() - started)
    await launch.handle()
    tallies.reads += store.operations.reads - before[0] - tallies.tick
    tallies.writes += store.operations.writes - before[1]
    tallies.messages += given.bus.published
    found = await store.get(given.paths.campaign(stage.CAMPAIGN), ["state", "totals"])
    if found is None or (found.data["state"], found.data["totals"]["sent"]) != ("completed", OURS):
        raise AssertionError(f"the campaign did not end well: {found and found.data}")
    await sender.close()
    store.close()
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
