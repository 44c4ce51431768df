"""What a month costs: `python -m bench.costs` prints the tables of docs/operations.md, from operations that it counts as `make bench`
does, the dated prices of bench/prices.py, and the assumptions below, which are printed with them.

Where it is not known, the dearer is taken: no request of a quiet hour shares an instance with another, all of send_batch's instances
are busy while a campaign lasts, and every kept version counts as one more copy of the database. Nothing here has been compared with a
bill.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import astuple, dataclass, field
from functools import cache
from unittest.mock import patch

from functions.send_batch import turn
from functions.sync_sheet import tabs
from shared.adapters.embedded import FileSecrets
from shared.model import batch, campaign
from shared.model.paths import SYSTEM
from shared.model.subscriber import REASONS

from . import operations, prices, sending, sink, stage
from .prices import Database, Meter, Spent

GIB, MIB = 2**30, 2**20
DAYS, TICKS = 30, 1440  # in a month; of launch and of sync_sheet in a day

# --- assumptions ------------------------------------------------------------------------------------------------------

MONTHS = 12  # that the product has run: campaigns and deliveries are kept
OPENS, CLICKS, LEAVES = 0.40, 0.05, 0.003  # a mail
REPORTED, REPORT_TICKS = 10.6, 288  # reads of a campaign's reports for each recipient (python -m bench.reports); ticks in a day
PRIVACY_RUNS, PRIVACY = 96, 5  # runs of privacy in a day, each asked for by a message, and reads of one that finds nothing to do
DELIVERED = 1.0  # callbacks of the provider a mail
SIGN_UPS = 0.02  # a month and subscriber
RATE = 100  # mails a second that the provider takes
SENDERS = 10  # instances of send_batch: max in terraform/functions.tf
TICK = 1.5  # seconds of a tick, with 1 GiB: nearly all of it waiting for Sheets and Drive
REQUEST = 0.1  # seconds of any other request, with 512 MiB: the least that Cloud Run bills
MAIL = 28_000  # bytes of the bench's letter
SUBSCRIBER, DELIVERY = 2_000, 1_000  # bytes in Firestore, with consents and indexes
PUSH, CALL = 2_500, 1_500  # bytes of log: of a push, ours and Cloud Run's; of a tick
IMAGE_SETS, SET = 3, 1.0  # how many sets terraform/storage.tf keeps, and GiB of the eight images
DEPLOYS, BUILD = 4, 31  # a month; minutes of one: eight functions and the checks before
STARTS = 100  # of instances in a day, each of which reads two secrets
SERIES, POINT = 40, 80  # of our metrics, and bytes of a point, one a minute each
ALERTS = 11  # conditions in terraform/monitoring.tf, each returning one point a minute
PROBES = 3 * 96  # executions of the uptime check in a day: three places, every 15 minutes
KEPT_BACKUPS = 14  # one a day


def assumptions() -> list[str]:
    return [
        f"a month of {DAYS} days; the product has run for {MONTHS} months, nothing was deleted; no mail is retried",
        f"a campaign goes to everybody; of its mails {OPENS:.0%} are opened, {CLICKS:.0%} clicked, {LEAVES:.1%} unsubscribed by, and "
        f"{DELIVERED:.0%} reported as delivered, each in a request of its own; opens and clicks come in a day",
        f"a campaign's reports read {REPORTED} documents for each recipient ([reports](reports.md#what-it-costs))",
        f"a month's sign-ups are {SIGN_UPS:.0%} of the list, each confirmed and welcomed",
        f"the provider takes {RATE} mails a second; {SENDERS} instances of `send_batch` are busy for so long",
        f"a tick, or a run of `privacy`, takes {TICK} s (1 vCPU, 1 GiB), any other request {REQUEST} s (1 vCPU, 512 MiB)",
        f"a mail is {MAIL:,} bytes; a subscriber is {SUBSCRIBER:,} and a delivery {DELIVERY:,} bytes in Firestore",
        f"earlier versions (7 days) count as one more copy of the data, backups as {KEPT_BACKUPS}",
        f"log: {PUSH:,} bytes a push, {CALL:,} a tick; public requests are excluded from it; {SERIES} time series of our metrics",
        f"images: {IMAGE_SETS} sets of {SET:g} GiB kept; {DEPLOYS} deployments a month of {BUILD} build minutes",
        f"{ALERTS} alert conditions, asked every minute; one uptime check from three places every 15 minutes",
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """A list, and how often a month it is written to."""

    name: str
    subscribers: int
    campaigns: int

    @property
    def mails(self) -> int:
        return self.subscribers * self.campaigns

    @property
    def kept(self) -> int:
        """Campaigns that there have been."""
        return self.campaigns * MONTHS


CASES = (
    Case("idle", 0, 0),
    Case("5,000 × 4", 5_000, 4),
    Case("100,000 × 8", 100_000, 8),
    Case("1,000,000 × 8", 1_000_000, 8),
)


# --- what was counted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """`pieces`: what one of each costs, by the bench's name for it. Of a campaign to sending.OURS: `campaign`, all of it, and `tick`,
    one of launch while every batch is open."""

    pieces: Mapping[str, Spent]
    campaign: Spent
    tick: Spent


@cache
def counts() -> Counts:
    """Counted now, with the bench's own steps on the embedded store, in a few seconds. The same each time: its secrets are fixed, so
    everybody falls into the same range, and a busy machine reads nobody again. Opens a socket on 127.0.0.1."""
    one = sending.Campaigns()
    with ExitStack() as kept:
        kept.enter_context(redirect_stdout(kept.enter_context(open(os.devnull, "w"))))  # the steps' own log
        kept.enter_context(patch.object(turn, "STALE", 3600.0))
        drain = kept.enter_context(sink.running())
        folders = [kept.enter_context(stage.folder()) for _ in range(2)]
        for folder in folders:
            for name in ("pepper", "signing-key", "webhook-generic"):
                FileSecrets(folder / "secrets").add(name, name.encode().ljust(32, b"."))
        found = asyncio.run(operations._operations(drain, folders[0], None)).spent
        asyncio.run(sending._campaign(drain, folders[1], None, one))
    return Counts(found, one.spent, one.tick)


def counted(name: str) -> Spent:
    """What one piece of work costs; raises KeyError for a name that the bench does not know."""
    return counts().pieces[name]


def _times(spent: Spent, count: float) -> Spent:
    return Spent(*(math.ceil(part * count) for part in astuple(spent)))


SIGN_UP = (
    "a sign-up (subscribe)",
    "its confirmation mail (send_batch)",
    "opening the confirmation page (subscribe)",
    "confirming (subscribe)",
    "its welcome mail (send_batch)",
)
LEAVE = ("a one-click unsubscribe (unsubscribe)", "an unsubscribe, applied (record)")
OPEN = ("an open (track)", "a person's open, applied (record)")
CLICK = ("a click (track)", "a person's click and its country, applied (record)")
DELIVERY_TOLD = ("a delivered webhook (webhooks)", "a delivery, applied (record)")


def _sum(names: Sequence[str]) -> Spent:
    return sum((counted(name) for name in names), Spent())


def mailed(recipients: int) -> Spent:
    """One campaign, from the tick that launches it to the one that ends it."""
    return _times(counts().campaign, recipients / sending.OURS)


def answered(recipients: int) -> Spent:
    """What readers and the provider do with a campaign."""
    parts = (OPEN, OPENS), (CLICK, CLICKS), (LEAVE, LEAVES), (DELIVERY_TOLD, DELIVERED)
    return sum((_times(_sum(names), share * recipients) for names, share in parts), Spent())


# --- what the ticks read ----------------------------------------------------------------------------------------------


def thousands(documents: float) -> int:
    """What a count() of so many is billed as."""
    return max(1, math.ceil(documents / 1000))


def launch_tick(open_batches: float = 0) -> float:
    """Reads of a tick of launch. One with open batches reads each, as the bench has counted."""
    quiet = counted("a tick with nothing to do (launch)").reads
    return quiet + open_batches * (counts().tick.reads - quiet) / len(batch.ranges(sending.OURS))


def sync_tick(subscribers: int, campaigns: int, left: int = 0) -> float:
    """Reads of a tick of sync_sheet while nothing happens: each campaign and the four system mails, the providers, here one at most,
    the newest report, the segments by rule, of which there are none, what launch has told of the templates and of the pages, the
    tenant, the notes of erasures, three counts of subscribers, and one of suppressions for each reason, here all of one.
    tests/house/test_costs.py compares it with the step."""
    return campaigns + len(SYSTEM) + looked(3 * thousands(subscribers) + thousands(left) + len(REASONS) - 1, tabs.FEW) + 2 + 5


def looked(reads: float, cheap: int) -> float:
    """Reads a tick of something that sync_sheet counts at each, or every ten minutes when it is not `cheap`."""
    return reads if reads <= cheap else reads / 10


def headlines(recipients: float) -> int:
    """Reads of one look at the figures of a campaign."""
    shares = {"delivered": DELIVERED, "opened": OPENS, "clicked": CLICKS, "unsubscribed": LEAVES}
    shares |= {"opened_all": OPENS, "clicked_all": CLICKS}
    return sum(thousands(shares.get(name, 0) * recipients) for name in campaign.LABELS)


def looks() -> float:
    """How often a campaign's figures are counted after its end: every ten minutes for a day, then hourly until it is a week old."""
    return tabs.DAY / 600_000 + (tabs.WATCHED - tabs.DAY) / 3_600_000


def lasting(recipients: int) -> float:
    """Seconds until the provider has taken a campaign."""
    return recipients / RATE


def ticks_of(recipients: int) -> float:
    """Reads that a campaign adds to the ticks of its life: half of its batches are open on average, and sync_sheet reads them all."""
    batches = len(batch.ranges(recipients))
    minutes = math.ceil(lasting(recipients) / 60)
    each = launch_tick(batches / 2) - launch_tick() + looked(batches, tabs.CHEAP) + looked(headlines(recipients / 2), tabs.CHEAP)
    return minutes * each + looks() * headlines(recipients)


# --- a month ----------------------------------------------------------------------------------------------------------


@dataclass
class Month:
    """What a case uses. `every`: of the store on each day; `bursts`: what each campaign adds to its day."""

    case: Case
    database: Database = prices.EUR3
    every: Spent = field(init=False)
    bursts: list[Spent] = field(init=False)

    def __post_init__(self) -> None:
        case, people = self.case, self.case.subscribers
        tenant = 2  # each of the two asks first whose mail it is
        ticks = TICKS * (tenant + launch_tick() + sync_tick(people, case.kept, math.ceil(LEAVES * case.mails * MONTHS)))
        sign_ups = _times(_sum(SIGN_UP), SIGN_UPS * people / DAYS)
        self.every = Spent(
            reads=math.ceil(ticks) + REPORT_TICKS + PRIVACY * PRIVACY_RUNS + case.kept + PROBES, messages=PRIVACY_RUNS
        )
        self.every += sign_ups
        reading = Spent(reads=math.ceil(ticks_of(people) + REPORTED * people))  # the reports' all in one day: the dearer
        burst = mailed(people) + answered(people) + reading if people else Spent()
        self.bursts = [burst] * case.campaigns

    def days(self) -> list[Spent]:
        """The store's operations day by day, each campaign on a day of its own."""
        return [self.every + burst for burst in self.bursts] + [self.every] * (DAYS - len(self.bursts))

    def operations(self) -> float:
        """$ beyond what is free each day; messages are in `lines`."""
        free, total = prices.FREE_A_DAY, 0.0
        for day in self.days():
            over = Spent(max(0, day.reads - free.reads), max(0, day.writes - free.writes), max(0, day.deletes - free.deletes))
            total += self.database.operations.of(over)
        return total + 2 * SIGN_UPS * self.case.subscribers * self.database.operations.delete  # the TTL's, which are never free

    def messages(self) -> int:
        return sum(day.messages for day in self.days())

    def data(self) -> float:
        """GiB in Firestore."""
        return (SUBSCRIBER * self.case.subscribers + DELIVERY * self.case.mails * MONTHS) / GIB

    def seconds(self) -> tuple[float, float]:
        """Of vCPU and of GiB that Cloud Run bills."""
        case, sent = self.case, lasting(self.case.subscribers)
        ticking = (2 * TICKS + REPORT_TICKS + PRIVACY_RUNS) * DAYS * TICK
        sending = SENDERS * sent * case.campaigns
        opens = (OPENS + CLICKS + 2 * LEAVES) * case.subscribers
        day = tabs.DAY / 1000
        # track with unsubscribe, and record with it, over a day; webhooks, and record again, while the campaign goes out
        told = 2 * _busy(opens, day) + 2 * _busy(DELIVERED * case.subscribers, max(sent, 1.0))
        others = told * case.campaigns + REQUEST * (PROBES * DAYS + 6 * SIGN_UPS * case.subscribers)
        return ticking + sending + others, ticking + (sending + others) / 2

    def requests(self) -> float:
        case = self.case
        events = OPENS + CLICKS + 2 * LEAVES + DELIVERED  # the unsubscribe's page is a request, too
        return (
            (2 * TICKS + REPORT_TICKS + PROBES) * DAYS + 6 * SIGN_UPS * case.subscribers + self.messages() + events * case.mails
        )

    def lines(self) -> dict[str, list[tuple[Meter, float]]]:
        """What the bill says -> meters, and how much of each is used; Firestore's operations are apart."""
        seconds, memory = self.seconds()
        data, database = self.data(), self.database
        log = PUSH * self.messages() + CALL * (2 * TICKS + REPORT_TICKS) * DAYS
        return {
            "Firestore: data": [(database.data, data)],
            "Firestore: earlier versions and backups": [(database.versions, data), (database.backups, KEPT_BACKUPS * data)],
            "Pub/Sub": [(prices.MESSAGES, 2_000 * self.messages() / GIB)],
            "Cloud Run: CPU": [(prices.CPU, seconds)],
            "Cloud Run: memory": [(prices.MEMORY, memory)],
            "Cloud Run: requests": [(prices.REQUESTS, self.requests())],
            "Mails sent to the provider": [(prices.SENT, MAIL * self.case.mails / GIB)],
            "Scheduler": [(prices.JOBS, 3)],
            "Secret Manager": [(prices.VERSIONS, 4), (prices.SECRETS_READ, 2 * STARTS * DAYS)],
            "Cloud Storage": [(prices.FILES, 0.2)],
            "Artifact Registry and builds": [(prices.IMAGES, IMAGE_SETS * SET), (prices.BUILDS, DEPLOYS * BUILD)],
            "Logs and metrics": [(prices.LOGS, log / GIB), (prices.METRICS, SERIES * POINT * 60 * 24 * DAYS / MIB)],
            "Uptime check and alerts": [
                (prices.UPTIME, PROBES * DAYS),
                (prices.CONDITIONS, ALERTS),
                (prices.POINTS, ALERTS * 60 * 24 * DAYS),
            ],
        }

    def bill(self) -> dict[str, float]:
        """$ a month, line by line."""
        rest = {name: sum(meter.of(used) for meter, used in parts) for name, parts in self.lines().items()}
        return {"Firestore: reads, writes, deletes": self.operations(), **rest}

    def total(self) -> float:
        return sum(self.bill().values())


def _busy(requests: float, over: float) -> float:
    """Seconds in which an instance has at least one of `requests` that come at random in `over` seconds."""
    return over * -math.expm1(-requests * REQUEST / over)


# --- as text ----------------------------------------------------------------------------------------------------------


def _dollars(sum: float) -> str:
    return f"{sum:,.2f}" if sum < 100 else f"{sum:,.0f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table() -> list[str]:
    """$ a month of each case."""
    months = [Month(case) for case in CASES]
    bills = [month.bill() for month in months]
    lines = [_line(["$ a month", *(case.name for case in CASES)]), _line(["---", *["---:"] * len(CASES)])]
    lines += [_line([name, *(_dollars(bill[name]) for bill in bills)]) for name in bills[0]]
    lines.append(_line(["**Sum**", *(f"**{_dollars(month.total())}**" for month in months)]))
    apart = [Month(case, prices.EUROPE_WEST1).total() for case in CASES]
    lines.append(_line([f"Sum with Firestore in {prices.EUROPE_WEST1.operations.region}", *map(_dollars, apart)]))
    extra = _dollars(prices.BALANCER.of(730))
    return [*lines, _line(["A domain of your own adds at least", *[extra] * len(CASES)])]


def allowances() -> list[str]:
    """What an idle product uses of what is free."""
    month = Month(CASES[0])
    free, day = prices.FREE_A_DAY, month.every
    rows: list[tuple[str, float, float]] = [("Firestore reads a day", day.reads, free.reads)]
    rows.append(("Firestore writes a day", day.writes, free.writes))
    rows += [(meter.unit, used, meter.free) for parts in month.lines().values() for meter, used in parts if meter.free]
    lines = [_line(["An idle product uses", "in a month", "free"]), _line(["---", "---:", "---:"])]
    return lines + [
        _line([name, f"{used:,.3g}" if used < 1000 else f"{used:,.0f}", f"{given:,.10g}"]) for name, used, given in rows
    ]


def text() -> str:
    """What is printed, and stands in docs/operations.md."""
    dated = f"List prices of {prices.DATE}; Firestore in {prices.EUR3.operations.region}, all else in europe-west1. Assumed:"
    return "\n".join([*table(), "", *allowances(), "", dated, "", *(f"- {line}" for line in assumptions())])


if __name__ == "__main__":
    print(text())
