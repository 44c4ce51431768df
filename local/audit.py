"""The demo's audit: reads the raw stores (documents, bus.db, mailbox.db) and checks the invariants of sending, one by one.

recipients = sids in windows = the sum of end states;  nobody twice in a campaign
sent       = what the mailbox holds, one to one; what it holds beyond that is among the unknown
expected   = recipients − joined + left
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import seed
from shared.adapters.embedded import FileClock
from shared.links import Links
from shared.model import batch
from shared.model.campaign import headlines
from shared.model.paths import CONFIRM, SYSTEM, WELCOME, Paths
from shared.ports import Document, Store
from shared.tokens import Tokens


@dataclass
class Findings:
    """`totals` and `campaigns` as demo.json holds them; `faults` are sentences, none when all is well."""

    totals: dict[str, Any] = field(default_factory=dict)
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)

    def check(self, sentence: str, holds: bool, detail: str = "") -> None:
        """Note a check; a failed one is a fault."""
        self.checks.append(f"{'ok  ' if holds else 'FAIL'} {sentence}{f' ({detail})' if detail else ''}")
        if not holds:
            self.faults.append(sentence)


@dataclass(frozen=True)
class Mailed:
    """A mail in the mailbox, by its own Message-ID."""

    campaign: str
    delivery: str
    sid: str
    source: bytes
    id: int  # in the mailbox


async def audit(store: Store, state: Path, stack: str, campaigns: Iterable[str], left: set[str], edit: str) -> Findings:
    """`left`: sids of those who unsubscribed; `edit`: the text that was put into the template before the last of `campaigns`."""
    found, paths = Findings(), Paths("local")
    mails = await mailed(state)
    names = list(campaigns)
    states: Counter[str] = Counter()
    sent_sids: dict[str, set[str]] = {}
    for name in names:
        ledger = await _campaign(store, paths, name, mails, found)
        states.update(ledger["end_states"])
        sent_sids[name] = {mail.sid for mail in mails if mail.campaign == name}
    singles = {name: await _singles(store, paths, name) for name in SYSTEM}
    held = Counter((mail.campaign, mail.delivery) for mail in mails)
    duplicates = sum(count - 1 for count in held.values())
    confirmations, welcomes = singles[CONFIRM]["sent"], singles[WELCOME]["sent"]
    others = sum(singles[name]["sent"] for name in SYSTEM) - confirmations - welcomes
    unknown = states["unknown"] + sum(singles[name]["unknown"] for name in SYSTEM)
    excess = len(mails) - states["sent"] - confirmations - welcomes - others
    recipients = sum(row["recipients"] for row in found.campaigns)
    found.check("nobody got a mail twice", duplicates == 0, f"{duplicates} repeated")
    found.check("recipients = sum of end states", recipients == sum(states.values()), f"{recipients} = {sum(states.values())}")
    found.check(
        "the mailbox holds sent + confirmations + welcomes + other single mails, the excess is among the unknown",
        0 <= excess <= unknown,
        f"{len(mails)} = {states['sent']} + {confirmations} + {welcomes} + {others} + {excess}, {unknown} unknown",
    )
    last = [mail for mail in mails if mail.campaign == names[-1]]
    first = [mail for mail in mails if mail.campaign == names[0]]
    changed = bool(last) and all(_says(mail, edit) for mail in last) and not any(_says(mail, edit) for mail in first)
    found.check("the edited template is in the second campaign and not in the first", changed)
    found.check(
        "who left was in the first campaign and not in the second",
        left <= sent_sids[names[0]] and not left & sent_sids[names[-1]],
    )
    dead, leaks = _bus(state)
    found.check("no dead letters", dead == 0, str(dead))
    found.check("no message on the bus holds an address", leaks == 0, f"{leaks} do")
    found.totals = {
        "stack": stack,
        "recipients": recipients,
        "end_states": {name: states[name] for name in batch.END_STATES},
        "mailbox_messages": len(mails),
        "confirmations": confirmations,
        "welcomes": welcomes,
        "duplicates": duplicates,
        "human_opens": sum(row["opened"] for row in found.campaigns),
        "human_clicks": sum(row["clicked"] for row in found.campaigns),
        "unsubscribed": sum(row["unsubscribed"] for row in found.campaigns),
        "template_changed": changed,
        "dead_letters": dead,
    }
    return found


async def _campaign(store: Store, paths: Paths, name: str, mails: list[Mailed], found: Findings) -> dict[str, Any]:
    """Check one campaign's ledger against the mailbox; its row for demo.json."""
    plan = await store.get(paths.campaign(name))
    batches = await every(store, paths.batches(name))
    pairs = [pair for one in batches for pair in zip(batch.sids(one.data["sids"]), one.data["states"], strict=True)]
    ends = Counter(batch.NAMES[state] for _, state in pairs)
    by_state: Callable[[int], set[str]] = lambda wanted: {sid for sid, state in pairs if state == wanted}  # noqa: E731
    sent, unknown = by_state(batch.SENT), by_state(batch.UNKNOWN)
    held = {mail.sid for mail in mails if mail.campaign == name}
    joined = len(by_state(batch.SKIPPED_JOINED))
    data = plan.data if plan else {}
    expected = int(data.get("expected", 0))
    row = {
        "id": name,
        "state": data.get("state", "missing"),
        "expected": expected,
        "recipients": len(pairs),
        "joined": joined,
        "left": expected - (len(pairs) - joined),
        "end_states": {state: ends[state] for state in batch.END_STATES},
        "mailbox": sum(mail.campaign == name for mail in mails),
        **await headlines(store, paths, name),
    }
    found.campaigns.append(row)
    found.check(
        f"{name} is completed, all its batches done",
        row["state"] == "completed" and all(b.data["state"] == "done" for b in batches),
    )
    found.check(f"{name}: nobody is in it twice", len({sid for sid, _ in pairs}) == len(pairs), f"{len(pairs)} recipients")
    found.check(f"{name}: every recipient has an end state", sum(row["end_states"].values()) == len(pairs), str(dict(ends)))
    found.check(f"{name}: whoever is sent has the mail, and whoever has it is sent or unknown", sent <= held <= sent | unknown)
    found.check(
        f"{name}: expected = recipients − joined + left",
        row["left"] >= 0,
        f"{expected} = {len(pairs)} − {joined} + {row['left']}",
    )
    return row


async def _singles(store: Store, paths: Paths, name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in await every(store, paths.batches(name)):
        total.update(batch.tally(one.data["states"]))
    return total


async def every(store: Store, collection: str) -> list[Document]:
    """The whole collection, in the order of its ids."""
    found: list[Document] = []
    while page := await store.page(collection, after=found[-1].id if found else ""):
        found += page
    return found


async def reader(state: Path) -> Links:
    """Who reads the tokens in the twin's mails."""
    return Links("", await Tokens.load(seed.secrets(state), FileClock(state / "clock")))


async def mailed(state: Path) -> list[Mailed]:
    """All that the mailbox holds."""
    links = await reader(state)
    with closing(sqlite3.connect(f"file:{state / 'mailbox.db'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT id, message_id, source FROM mail").fetchall()
    found = []
    for id, message_id, source in rows:
        ref = links.read_message_id(message_id)
        found.append(Mailed(ref.campaign, ref.delivery, ref.sid, source, id))
    return found


def sources(state: Path, campaign: str) -> list[bytes]:
    """The sources of a campaign's mails in the mailbox, ordered by Message-ID: the same after every crash."""
    with closing(sqlite3.connect(f"file:{state / 'mailbox.db'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT source FROM mail WHERE message_id LIKE ? ORDER BY message_id", (f"<{campaign}~%",))
        return [source for (source,) in rows]


def _says(mail: Mailed, edit: str) -> bool:
    """Whether the mail's text holds `edit`, which is a plain ASCII word."""
    return edit.encode() in mail.source.replace(b"=\r\n", b"")


def _bus(state: Path) -> tuple[int, int]:
    """(dead letters, messages that hold an @)."""
    with closing(sqlite3.connect(f"file:{state / 'bus.db'}?mode=ro", uri=True)) as db:
        [dead] = db.execute("SELECT count(*) FROM dead_letters").fetchone()
        tables = ("deliveries", "delivered", "dead_letters")
        leaks = sum(db.execute(f"SELECT count(*) FROM {table} WHERE data LIKE '%@%'").fetchone()[0] for table in tables)
    return dead, leaks


def write(found: Findings, file: Path) -> None:
    """demo.json."""
    file.write_text(json.dumps({**found.totals, "campaigns": found.campaigns}, indent=2, ensure_ascii=False) + "\n")
