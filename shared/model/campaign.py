"""A campaign's document and life.

    draft → scheduled → running ⇄ paused → completed | cancelled

    row         what launch saw in the Campaigns tab: name, template, subject, segment, schedule, wanted
    state       as above; `active` while the tick still has work with it
    answer      the plain sentence shown beside the row, with `answered_at`
    mail        frozen at launch: {object, hash, file, version, name, subject, identity}; `templates`: the ids of its files. `view`, also of
                each language: {object, subject, about} of its public version, absent where it has none
    public      "" for a campaign that began as a private one, "shown" in the archive, "hidden" again
    rule, rule_version   of a segment by rule, frozen at launch (shared/model/rules.py); absent for everyone and tags
    segment, frozen_at, expected, cut (all batches of the newest send exist), totals (when it ended)
    at, wall, zone   when it starts (ms), what the Schedule cell says, and the workbook's zone then
    cut_by      until when a tick may be looking at readers for a send's rosters (ms): another one leaves it alone
    preparing   how far that has come, see functions/launch/prepare.py; {} when it is through. A later send is one of `sends` only then
    waiting, waiting_at, outlook   mails that wait for providers by mailbox provider, when they were counted, the sentence told
    purged_at   when its deliveries began to go for their age (ms), see functions/privacy; `headlines`: the figures as counted last
    ended       how many sends the totals cover
    archived    whether it was put away: it has ended, and the Sheet shows and counts it no more
    review      where campaigns need approval: {stamp, code, before, expected, found}, see functions/launch/approval.py
    approval    {code, at (ms), editor, revision (of the Sheet then, as Drive says: kept, never believed)}; {} for none
    preflight   {faults, warnings, notes} found at launch
    checked     {faults, warnings, notes, at} of the latest look at the row, also by a preview or a launch that came to nothing
    sends       what was cut, oldest first: {key, kind, expected, parts, at}. `key` is each mail's in MailRef ("" of the first, "r1" …);
                `kind` "all", "retry" (those that failed, so they count once) or "non-openers"; `parts` ranges, 0 for rosters, whose
                `plan` is in Objects. Batches are called {n:06d}, those of a later send {key}-{n:06d}
    rate        mails an hour at most, 0 for no limit; `next_at`: when the tick may release its next batch
    hours       {from, to (minutes of the day), days (0 = Monday), zone}: when it may send; {} for always
    until       no mail is begun from then on (ms), until the tick says otherwise; 0 for no end
    when        "" at once, "local" at the schedule's time of day where the reader is, "best" at each reader's best hour
    priority    higher goes first where the contact policy lets only one through; 0 by default
    policy      {cap, days, quiet: [from, to] minutes, zone}, of the tenant: at most `cap` mails in `days` days (0 = no limit), none in
                quiet hours where the reader is
    recent      [{id, segment, frozen_at, ahead, sends}] of the campaigns whose mails count for the cap and for readers who want mails
                seldom; `ahead`: it goes first, so whoever will get its mail counts already; `far`: too long ago for the cap

The system campaigns `confirm` and `welcome` have only `kind: "system"`, `state: "running"` and `mail`; each of their
batches is a single mail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from shared.model.batch import END_STATES
from shared.model.paths import SYSTEM, TEST, Paths
from shared.model.ref import CAMPAIGN_ID
from shared.ports import Filter, Store

State = Literal["draft", "scheduled", "running", "paused", "completed", "cancelled"]
ENDED: Final = ("completed", "cancelled")
ARCHIVED: Final = "Archived. Choose Draft to bring it back."  # the answer of what is
LABELS: Final[Mapping[str, str]] = {  # result -> the label counted in `deliveries`
    "delivered": "delivered",
    "opened": "opened.human",
    "clicked": "clicked.human",
    "opened_machine": "opened.machine",
    "bounced": "bounced",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "opened_all": "opened",
    "clicked_machine": "clicked.machine",
    "clicked_all": "clicked",
    "bounced_hard": "bounced.hard",
    "bounced_soft": "bounced.soft",
    "converted": "converted",
}


def usable_id(id: str) -> bool:
    """Whether a row of the Campaigns tab may be called so."""
    return bool(CAMPAIGN_ID.fullmatch(id)) and id not in (*SYSTEM, TEST)


async def progress(store: Store, paths: Paths, campaign: str, sends: Sequence[Mapping[str, Any]] = ()) -> dict[str, int]:
    """The sum of a campaign's batches: each end state, `deferred`, `handed`, and `recipients`. One read per batch.

    `sends`: the campaign's. A mail that failed and was sent once more counts once, as what became of it in the end.
    """
    total: Counter[str] = Counter(dict.fromkeys((*END_STATES, "deferred", "handed"), 0))
    after = ""
    while True:
        page = await store.page(paths.batches(campaign), after=after, fields=["tally"])
        for batch in page:
            total.update(batch.data.get("tally", {}))
        if len(page) < 300:
            break
        after = page[-1].id
    total["failed"] -= sum(send["expected"] for send in sends if send["kind"] == "retry")
    total["recipients"] = sum(total.values())
    return dict(total)


async def headlines(store: Store, paths: Paths, campaign: str) -> dict[str, int]:
    """How many mails of a campaign were delivered, opened, clicked … : count() queries, never counters."""
    found: dict[str, int] = {}
    for name, label in LABELS.items():
        found[name] = await store.count(paths.deliveries(campaign), Filter(contains=("labels", label)))
    return found


def answered(sentence: str, now: int) -> dict[str, Any]:
    """The fields that show `sentence` beside the row."""
    return {"answer": sentence, "answered_at": now}
