"""What came of a trial: the mail server's count against the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shared.model import batch
from shared.model.campaign import progress
from shared.model.paths import Paths
from shared.ports import Document, Store

MOST = 300  # documents of a page


@dataclass
class Figures:
    """Sums over campaigns. `recipients`: mails to be sent; `wrong`: sentences about a broken promise that no figure shows."""

    kills: int = 0
    recipients: int = 0
    lost: int = 0  # without their mail, and not listed as unknown
    repeated: int = 0  # mails beyond the first to somebody
    unknown: int = 0  # listed as such in the ledger
    worst: int = 0  # unknown through one kill
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.kills += other.kills
        self.recipients += other.recipients
        self.lost += other.lost
        self.repeated += other.repeated
        self.unknown += other.unknown
        self.worst = max(self.worst, other.worst)
        self.wrong += other.wrong


async def ledgers(store: Store, paths: Paths, campaign: str) -> list[Document]:
    """All batches of a campaign."""
    found: list[Document] = []
    while True:
        page = await store.page(paths.batches(campaign), after=found[-1].id if found else "", limit=MOST)
        found += page
        if len(page) < MOST:
            return found


def listed(document: Document, states: Collection[int]) -> set[str]:
    """The sids in one of these states."""
    sids = batch.sids(document.data["sids"])
    return {sid for sid, state in zip(sids, document.data["states"], strict=True) if state in states}


def counted(taken: Mapping[str, int], people: Collection[str]) -> Figures:
    """What the mail server's count says of these people, as long as nobody is listed as unknown."""
    strangers = len(set(taken) - set(people))
    found = Figures(recipients=len(people), lost=len(set(people) - set(taken)))
    found.repeated = sum(mails - 1 for mails in taken.values())
    found.wrong += [f"{strangers} mails went to nobody of the campaign"] * bool(strangers)
    return found


async def weighed(
    store: Store, paths: Paths, campaign: str, people: Mapping[str, str], taken: Mapping[str, int], windows: Sequence[set[str]]
) -> Figures:
    """Hold a campaign that ended against its mails. `people`: sid -> address; `windows`: the sids each kill left in doubt."""
    found = counted(taken, people.values())
    had = {sid for sid, address in people.items() if taken.get(address)}
    documents = await ledgers(store, paths, campaign)
    times = Counter(sid for document in documents for sid in batch.sids(document.data["sids"]))
    sent, unknown = (
        {sid for document in documents for sid in listed(document, [state])} for state in (batch.SENT, batch.UNKNOWN)
    )
    found.lost = len(set(people) - had - unknown)
    found.unknown = len(unknown)
    found.worst = max((len(window & unknown) for window in windows), default=0)
    totals = await progress(store, paths, campaign)
    plan = await store.get(paths.campaign(campaign))
    checks = {
        "was not completed": plan is not None and plan.data["state"] == "completed",
        "says other totals than its ledger": plan is not None and plan.data["totals"] == totals,
        "does not list everybody once": times == Counter(people.keys()),
        "has recipients whose mail is in no end state": totals["recipients"] == sum(totals[name] for name in batch.END_STATES),
        "calls mails sent that the server does not have": sent <= had,
        "calls mails unsent that the server has": had <= sent | unknown,
        "has unknown mails that no kill explains": unknown <= set().union(*windows),
    }
    found.wrong += [f"campaign {campaign} {sentence}" for sentence, sound in checks.items() if not sound]
    return found
