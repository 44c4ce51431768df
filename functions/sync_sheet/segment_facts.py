"""What rules ask of single campaigns (`opened campaign C-0012`), looked up for a stretch of subscribers while they are swept: what people
did with a mail is in its delivery, to whom it went is in the ledger, and a subscriber's document says neither.

What is found is noted in the index of who it holds for (`Fact.entry`), so that whoever judges a rule later has it in the document just
read. Reads: one for each delivery found, and for `was sent` one for each batch of the campaign, every tick of a sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from shared.errors import BadInput
from shared.model import batch
from shared.model.conditions import Fact, Rule
from shared.model.paths import Paths
from shared.model.rules import parse, place_of
from shared.paging import every
from shared.ports import Filter, Store

LABELS: Final = {"opened": "opened.human", "clicked": "clicked.human"}  # by people, as everywhere
SID: Final = 16  # bytes


async def unknown(store: Store, paths: Paths, rule: Rule, text: str) -> str:
    """What is wrong with the campaigns that a rule names, "" when all of them are there; `text`: as it was typed. One read each, none for a
    rule that names none."""
    named = sorted({fact.campaign for fact in rule.facts})
    for campaign, found in zip(named, await store.get_many([paths.campaign(one) for one in named], ["kind"]), strict=True):
        if found is None or found.data.get("kind") != "campaign":
            return f"At character {place_of(text, campaign)}: there is no campaign “{campaign}” yet. Write the ID of one in Campaigns."
    return ""


async def asked(store: Store, paths: Paths, rules: Mapping[str, Rule]) -> set[Fact]:
    """What has to be known of a subscriber: for these rules, and for those that campaigns on their way were launched with."""
    found = {fact for rule in rules.values() for fact in rule.facts}
    async for campaign in every(store, paths.campaigns, Filter(equals=("active", True)), ["rule"]):
        try:
            found |= parse(campaign.data["rule"]).facts if campaign.data.get("rule") else frozenset()
        except BadInput:
            continue  # of a language that was another one then
    return found


async def noted(store: Store, paths: Paths, facts: Collection[Fact], after: str, last: str) -> dict[str, list[str]]:
    """Sid -> the entries of what holds, of the subscribers behind `after` up to `last`. Raises Unavailable."""
    found: dict[str, list[str]] = {}
    for fact in sorted(facts):
        whose = await (_sent if fact.what == "sent" else _did)(store, paths, fact, after, last)
        for sid in whose:
            found.setdefault(sid, []).append(fact.entry)
    return found


async def _did(store: Store, paths: Paths, fact: Fact, after: str, last: str) -> set[str]:
    """Those whose delivery has the label: `sid`, and `sid.key` of a later send, which comes before `sid.~`."""
    within = Filter(contains=("labels", LABELS[fact.what]), below=f"{last}.~")
    deliveries = every(store, paths.deliveries(fact.campaign), within, ["key"], after)
    return {sid async for one in deliveries if after < (sid := one.id.partition(".")[0]) <= last}


async def _sent(store: Store, paths: Paths, fact: Fact, after: str, last: str) -> set[str]:
    """Those to whom one of its sends went."""
    found = set()
    low, high = bytes.fromhex(after), bytes.fromhex(last)
    async for one in every(store, paths.batches(fact.campaign), Filter(), ["sids", "states"]):
        sids = one.data["sids"]
        for n, state in enumerate(one.data["states"]):
            if state == batch.SENT and low < (sid := sids[SID * n : SID * n + SID]) <= high:
                found.add(sid.hex())
    return found
