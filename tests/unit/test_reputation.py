"""What is known of the ways out for mail, limited by a warm-up or not: from the ledger and the deliveries, counted when asked."""

from __future__ import annotations

import random
import struct
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from functions.launch import warmup
from functions.record.handler import Record
from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch
from shared.model.event import Event
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.ports import Create

NOW = 1_800_000_000_000
DAY = 86_400_000
PATHS = Paths("t")
TODAY = warmup.day_of(NOW)
MAILS = 60  # of a batch


async def _mailed(store: SqliteStore, batches: int) -> list[MailRef]:
    """A campaign cut into ranges, of no mailbox provider in particular, that went out yesterday: two mails in three by ses."""
    await store.commit([Create(PATHS.campaign("C-0001"), {"active": True, "frozen_at": NOW - DAY, "answered_at": NOW - DAY})])
    mails: list[MailRef] = []
    for n, source in enumerate(batch.ranges(batches * batch.BATCH_SIZE)):
        sids = [f"{random.getrandbits(128):032x}" for _ in range(MAILS)]
        done = {
            "providers": ["ses", "own"],
            "via": bytes(int(i % 3 == 2) for i in range(MAILS)),
            "times": struct.pack(f">{MAILS}I", *[(NOW - DAY) // 1000] * MAILS),
            "states": b"s" * MAILS,
            "sids": bytes.fromhex("".join(sids)),
        }
        await store.commit([Create(PATHS.batch("C-0001", f"{n:06d}"), batch.new(source, batch.NEVER) | done)])
        mails += [MailRef("C-0001", sid) for sid in sids]
    return mails


async def test_each_way_has_its_window_of_bounces_and_complaints(tmp_path: Path) -> None:
    with closing(SqliteStore.open(tmp_path / "store.db")) as store:
        mails = [mail.text for mail in await _mailed(store, 2)]
        yesterday = NOW - DAY
        told = [Event("delivered", mail, yesterday) for mail in mails[6:]]
        told += [Event("bounced", mails[0], yesterday, hard=True), Event("bounced", mails[1], yesterday, counts=True)]
        told += [
            Event("bounced", mails[2], yesterday),
            Event("complained", mails[9], yesterday),
            Event("deferred", mails[4], NOW),
        ]
        again = told + told
        random.shuffle(again)
        for event in again:
            await Record(store, PATHS).handle(event.to_message())
        before = replace(store.operations)
        found = await warmup.figures(store, PATHS, {"ses", "own"}, [*warmup.ALL, ""], TODAY)
        reads = store.operations.reads - before.reads
    assert found == {
        ("ses", ""): {TODAY - timedelta(1): (80, 2, 1)},
        ("own", ""): {TODAY - timedelta(1): (40, 1, 0)},
    }
    # the campaign, its batches (an empty page for each mailbox provider), who bounced, who complained; of those delivered nobody
    assert reads == 1 + 2 + len(warmup.ALL) + 3 + 1
