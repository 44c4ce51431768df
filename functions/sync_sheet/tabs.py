"""What the system's own tabs show, as rows of cells. Addresses are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.model import console
from shared.model.address import masked
from shared.model.campaign import ARCHIVED, ENDED, headlines, progress, usable_id
from shared.model.cells import short
from shared.model.moments import moment
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.model.subscriber import EVERYONE, REASONS, country_of, strongest
from shared.paging import PAGE, every
from shared.ports import Document, Filter, Store

SHOWN = 300  # rows of Subscribers and Suppressions
MOST_WORDS = 120  # characters of what somebody wrote on leaving
DAY = 86_400_000
WATCHED = 7 * DAY  # after its launch a campaign's opens and clicks are counted no more
HEARD = 0.9  # of the mails sent, whose delivery or bounce we were told: then rates are of those delivered
NEWEST = 1_000  # campaigns in Results
CHEAP = 300  # reads that a campaign's counts may cost at every tick; those that cost more are made every `refresh` ms
FEW = 30  # reads, the same of the counts of subscribers, which are made for ever
BATCH = 400  # recipients or so whose mails are one read
FIELDS = (  # of a campaign's document
    *(
        "state",
        "active",
        "answer",
        "answered_at",
        "expected",
        "totals",
        "frozen_at",
        "row",
        "sends",
        "archived",
        "checked",
        "templates",
        "headlines",
    ),
)
Cell = str | int | float
COUNTED = (  # of campaign.LABELS, in the order of Results' last columns
    "delivered",
    "opened",
    "opened_machine",
    "clicked",
    "bounced",
    "complained",
    "unsubscribed",
    "opened_all",
    "clicked_machine",
    "clicked_all",
    "bounced_hard",
    "bounced_soft",
    "converted",
)


@dataclass
class Tally:
    """How often things are counted anew. What costs few reads: at every tick; else every `refresh` ms. The opens, clicks … of a campaign
    that has ended: every `refresh` ms on its first day, then six times as seldom. What was counted is kept in this process only."""

    refresh: int
    known: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)  # of what -> (when, counts)

    async def headlines(self, store: Store, paths: Paths, campaign: Document, now: int, ended: bool) -> dict[str, int]:
        key = campaign.id if ended else paths.deliveries(campaign.id)
        at, seen = self.known.get(key, (0, {}))
        answered = campaign.data.get("answered_at", 0)
        if ended:
            due = now - at >= self.refresh * (1 if now - answered < DAY else 6) or at < answered
        else:
            due = now - at >= self.refresh or _reads(seen) <= CHEAP
        if not seen or due:
            seen = await headlines(store, paths, campaign.id)
            self.known[key] = now, seen
        return seen

    async def progress(self, store: Store, paths: Paths, campaign: Document, now: int) -> dict[str, int]:
        key = paths.batches(campaign.id)
        at, seen = self.known.get(key, (0, {}))
        if not seen or campaign.data["expected"] <= CHEAP * BATCH or now - at >= self.refresh:
            seen = await progress(store, paths, campaign.id, campaign.data.get("sends", ()))
            self.known[key] = now, seen
        return seen

    async def people(self, store: Store, paths: Paths, now: int, changed: bool) -> dict[str, int]:
        """See `counts`. `changed`: more of them are known to have come."""
        at, seen = self.known.get(paths.subscribers, (0, {}))
        if not seen or changed or now - at >= self.refresh or _reads(seen) <= FEW:
            seen = await counts(store, paths)
            self.known[paths.subscribers] = now, seen
        return seen


def _reads(counts: Mapping[str, int]) -> int:
    """What it cost to count so many: a read for each thousand, one at least."""
    return sum(max(1, -(-count // 1000)) for count in counts.values())


@dataclass
class Campaigns:
    """The campaigns' documents. Up to PAGE of them are read at each tick. Of more, those on their way and the system's are; all of them
    only when launch has taken up something from the Campaigns tab, and every `refresh` ms. They are kept in this process only."""

    _found: dict[str, Document] = field(default_factory=dict)
    _at: int = 0
    _seen: str = ""  # the version of what launch saw of the tab, from before the documents were read

    async def read(self, store: Store, paths: Paths, refresh: int, now: int) -> list[Document]:
        """In the order of their ids."""
        seen = await store.get(paths.console, ["outage"]) if len(self._found) > PAGE else None
        version = seen.version if seen else ""
        if len(self._found) <= PAGE or version != self._seen or now - self._at >= refresh:
            self._found = {one.id: one async for one in every(store, paths.campaigns, fields=FIELDS)}
            self._at, self._seen = now, version
        else:
            active = every(store, paths.campaigns, Filter(equals=("active", True)), FIELDS)
            fresh = {one.id: one async for one in active}
            over = [one.id for one in self._found.values() if one.data.get("active") and one.id not in fresh]
            others = await store.get_many([paths.campaign(id) for id in (CONFIRM, WELCOME, *over)], FIELDS)
            self._found |= fresh | {one.id: one for one in others if one}
        return self.held

    @property
    def held(self) -> list[Document]:
        """As they were last read."""
        return [self._found[id] for id in sorted(self._found)]


def newest(campaigns: Sequence[Document]) -> tuple[list[Document], str]:
    """The NEWEST of them, those on their way first, in the order of their ids; and a sentence when some are left out, else ""."""
    if len(campaigns) <= NEWEST:
        return list(campaigns), ""

    def age(one: Document) -> tuple[bool, int]:
        return bool(one.data.get("active")), max(one.data.get("frozen_at", 0), one.data.get("answered_at", 0))

    kept = sorted(sorted(campaigns, key=age, reverse=True)[:NEWEST], key=lambda one: one.id)
    return kept, f"the newest {NEWEST:,} of {len(campaigns):,} campaigns are shown"


async def result(
    store: Store, paths: Paths, tally: Tally, campaign: Document, zone: str, shown: Sequence[str], now: int
) -> list[Cell]:
    """One row of Results, in the order of console.RESULT_FIELDS. `shown` is the row as it stands in the tab."""
    data = campaign.data
    head: list[Cell] = [campaign.id, data["state"], data.get("answer", ""), moment(data.get("answered_at", 0), zone)]
    if archived := data.get("archived"):  # neither shown nor counted
        head[1:3] = ["archived", ARCHIVED]
    if "expected" not in data or archived:
        return [*head, *[""] * (len(console.RESULT_FIELDS) - len(head))]
    settled = data["state"] in ENDED and "totals" in data
    counts = data["totals"] if settled else await tally.progress(store, paths, campaign, now)
    names = ("recipients", "sent", "failed", "suppressed", "skipped", "cancelled", "unknown", "deferred")
    row = [*head, data["expected"], *(counts[name] for name in names)]
    if last := data.get("headlines"):  # counted when its deliveries went
        return [*row, *(last[name] for name in COUNTED)]
    kept, whole = shown[len(row) :], len(shown) == len(console.RESULT_FIELDS)
    if settled and now - data["frozen_at"] > WATCHED and whole and all(cell.isdecimal() for cell in kept):
        return [*row, *map(int, kept)]  # a chart leaves text out
    seen = await tally.headlines(store, paths, campaign, now, settled)
    return [*row, *(seen[name] for name in COUNTED)]


_SUPPRESSED = {
    "unsubscribed": "Unsubscribed",
    "soft_bounces": "Bounced too often",
    "hard_bounce": "Bounced for good",
    "erased": "Erased",
    "complaint": "Complained",
}


async def counts(store: Store, paths: Paths) -> dict[str, int]:
    """How many subscribers there are of each kind: count() queries only."""
    everyone = await store.count(paths.subscribers, Filter(contains=("segments", EVERYONE)))
    confirmed = await store.count(paths.subscribers, Filter(equals=("status", "confirmed")))
    known = await store.count(paths.subscribers)
    found = {"Mailable subscribers": everyone, "Waiting for confirmation": known - confirmed}
    for reason in reversed(REASONS):
        found[_SUPPRESSED[reason]] = await store.count(paths.suppressions, Filter(contains=("reasons", reason)))
    return found


def dashboard(people: Mapping[str, int], results: Sequence[Sequence[Cell]], notices: Sequence[str]) -> list[list[Cell]]:
    """The Dashboard's rows: people, campaigns, mails, what became of them, notices.

    Opens and clicks stand there twice: what people did, and what all did, with the robots and those of whom nobody can say.
    A mail that was opened twice counts once. Rates are of the mails delivered where we were told of nearly all, else of those sent;
    deliveries and bounces always of those sent.
    """

    def total(name: str) -> int:
        at = console.RESULT_FIELDS.index(name)
        return sum(int(row[at]) for row in results if row[at] != "")

    sent, delivered, bounced = total("Sent"), total("Delivered"), total("Bounced")
    hard, soft, converted = total("Bounced for good"), total("Bounced softly"), total("Converted")
    told = delivered > 0 and delivered + bounced >= HEARD * sent
    base, of = (delivered, "delivered") if told else (sent, "sent")
    opened, opened_all = total("Opened"), total("Opened, robots included")
    clicked, clicked_all = total("Clicked"), total("Clicked, robots included")

    rows: list[list[Cell]] = [[name, count] for name, count in people.items()]
    for state in ("scheduled", "running", "paused", "completed", "cancelled"):
        rows.append([f"Campaigns {state}", sum(row[1] == state for row in results)])
    rows += [
        ["Mails sent", sent],
        ["Mails failed", total("Failed")],
        ["Mails unknown", total("Unknown")],
        ["Mails delivered", _share(delivered, sent, "sent") if told else delivered],
        ["Opened", "", _share(opened, base, of), _share(opened_all, base, of)],
        ["Clicked", "", _share(clicked, base, of), _share(clicked_all, base, of)],
        ["Clicks to opens", "", _percent(clicked, opened), _percent(clicked_all, opened_all)],
        ["Hard bounces", _share(hard, sent, "sent")],
        ["Soft bounces", _share(soft, sent, "sent")],
        ["Other bounces", _share(max(0, bounced - hard - soft), sent, "sent")],  # a mail that bounced twice may count as both
        ["Spam complaints", _share(total("Complained"), base, of)],
        ["Left after a mail", _share(total("Unsubscribed"), base, of)],
    ]
    rows += [["Converted", _share(converted, base, of)]] if converted else []
    return rows + [["Notice", notice] for notice in notices]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "–"


def _share(part: int, whole: int, of: str) -> Cell:
    return f"{part} ({_percent(part, whole)} of {of})" if whole else part


def unusable(campaigns: Sequence[Sequence[str]]) -> list[str]:
    """A notice of the rows that are ignored because of their ids; raises BadInput when the header cannot be trusted."""
    table = console.table(campaigns, console.CAMPAIGNS, console.ROW_FIELDS, console.ROW_OPTIONS)
    filled = [row for row in table if row["ID"] and any(text for name, text in row.items() if name != "ID")]
    ids = list(dict.fromkeys(row["ID"] for row in filled if not usable_id(row["ID"])))
    if not ids:
        return []
    named = ", ".join(f"“{short(id)}”" for id in ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    return [
        f"Campaigns: a row is ignored while its id cannot be used: {named}. Take letters, digits and hyphens, such as C-0001."
    ]


async def subscribers(store: Store, paths: Paths, zone: str) -> list[list[Cell]]:
    """The first SHOWN subscribers by id: no time of theirs has an index, which every sign-up would have to write at its end."""
    fields = ["address", "name", "language", "country", "located", "status", "suppressed", "tags", "created_at"]
    page = await store.page(paths.subscribers, limit=SHOWN, fields=fields)
    rows: list[list[Cell]] = []
    for found in page:
        data = found.data
        status = strongest(data.get("suppressed") or ()) or data.get("status", "waiting for confirmation")
        rows.append(
            [
                found.id[:8],
                masked(data.get("address", "")) if data.get("address") else "",
                data.get("name", ""),
                data.get("language", ""),
                country_of(data),
                status.replace("_", " "),
                ", ".join(data.get("tags", [])),
                moment(data.get("created_at", 0), zone),
            ]
        )
    return rows + _more(len(page))


_WHY = {  # the reasons that the page of the step unsubscribe offers
    "many": "Too many mails",
    "irrelevant": "Not interesting",
    "never": "Never signed up",
    "other": "Something else",
}
_ADDRESS = re.compile(r"\S*[@＠﹫]\S*")


async def suppressions(store: Store, paths: Paths, zone: str) -> list[list[Cell]]:
    """The first SHOWN suppressions by id."""
    page = await store.page(paths.suppressions, limit=SHOWN)
    rows: list[list[Cell]] = []
    for found in page:
        reason = strongest(found.data.get("reasons", ()))
        if reason:
            since = moment(found.data.get(f"{reason}_at", 0), zone)
            sources = ", ".join(sorted(found.data.get(f"{reason}_sources", ())))
            rows.append([found.id[:8], reason.replace("_", " "), since, sources, _said(found.data.get("why") or {})])
    return rows + _more(len(page))


def _said(why: Mapping[str, Any]) -> str:
    """Why a reader left, as they told: the reason, and their own words without what could be an address."""
    words = short(_ADDRESS.sub("(address)", str(why.get("words", ""))), MOST_WORDS)
    return ": ".join(part for part in (_WHY.get(str(why.get("code")), ""), words) if part)


async def providers(store: Store, paths: Paths, zone: str, now: int) -> list[list[Cell]]:
    """The ways out for mail, in the order of their names, as launch and send_batch keep them. One page."""
    today = datetime.fromtimestamp(now / 1000, UTC).date().isoformat()
    rows: list[list[Cell]] = []
    for found in await store.page(paths.providers):
        data = found.data
        if data.get("gone") or "kind" not in data:
            continue
        used = data.get("used", 0) if data.get("day") == today else 0
        rows.append(
            [
                found.id,
                data["kind"],
                _state(data, zone, today, now),
                used if data["rate"] or data["daily"] or data["warm_up"] else "",
                data["daily"] or "",
                f"{data['rate']:g} a second" if data["rate"] else "",
                data.get("waiting", 0) or "",
                data.get("goes_by", ""),
            ]
        )
    return rows


def _state(data: Mapping[str, Any], zone: str, today: str, now: int) -> str:
    """What a provider does just now: "ready", "down until 14:05: 421", "warming up, day 4: gmail 76, yahoo 38 (halved)" …"""
    if data.get("down_until", 0) > now:
        code = f": {data['down_code']}" if data.get("down_code") else ""
        return f"down until {moment(data['down_until'], zone)[-5:]}{code}"
    groups = data.get("groups", {}) if data["warm_up"] else {}
    warming = {name: group for name, group in sorted(groups.items()) if group["state"] != "established"}
    if not warming:
        return "ready"
    if data["warm_up"] > today:
        return f"warm-up begins {data['warm_up']}"
    if all(group["paused_until"] > now for group in warming.values()):
        return f"warm-up paused until {moment(min(group['paused_until'] for group in warming.values()), zone)}"
    levels = sorted({max(1, group["level"]) for group in warming.values()})
    day = str(levels[0]) if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"
    return f"warming up, day {day}: {', '.join(f'{name} {_volume(group, zone, now)}' for name, group in warming.items())}"


def _volume(group: Mapping[str, Any], zone: str, now: int) -> str:
    if group["paused_until"] > now:
        return f"paused until {moment(group['paused_until'], zone)}"
    return f"{group['allowed']:,}{' (halved)' if group['state'] == 'cut' else ''}"


def _more(shown: int) -> list[list[Cell]]:
    return [[f"… the first {SHOWN} are shown. Ask who runs this system for an export of all."]] if shown == SHOWN else []
