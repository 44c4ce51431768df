"""What the counted operations cost, at list price, and what everything else costs that a deployed product uses.

The prices are written down from Google's public lists of DATE. Nobody has compared them with a bill: an operator checks them against
the page that each names, and for another region, before trusting a sum. `Prices` knows no free allowances, a `Meter` does. The mail
provider is not in here.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from .report import Row, counted

_NAMES = ("read", "write", "delete", "message")


@dataclass(frozen=True, slots=True)
class Spent:
    """Operations as Firestore and Pub/Sub meter them: documents (a count() is one read per thousand), and messages published."""

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    messages: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int:
        return sum(astuple(self))

    def __str__(self) -> str:
        parts = zip(_NAMES, astuple(self), strict=True)
        return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in parts if count) or "nothing"


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars. `message`: one that is published and pushed once, each way billed as at least 1,000 bytes, which ours stay below."""

    date: str
    region: str
    read: float
    write: float
    delete: float
    message: float

    def of(self, spent: Spent) -> float:
        return spent.reads * self.read + spent.writes * self.write + spent.deletes * self.delete + spent.messages * self.message


_MESSAGE = 40 / 2**40 * 2 * 1000  # $40 a TiB, published and delivered
DATE = "2026-11-22"
US_CENTRAL = Prices(DATE, "us-central1", 0.03e-5, 0.09e-5, 0.01e-5, _MESSAGE)
NAM5 = Prices(DATE, "nam5", 0.06e-5, 0.18e-5, 0.02e-5, _MESSAGE)  # multi-region


@dataclass(frozen=True, slots=True)
class Meter:
    """One thing that Google bills by the month: US dollars for each unit beyond `free`. `page`: under https://cloud.google.com/."""

    unit: str
    price: float
    free: float
    page: str

    def of(self, used: float) -> float:
        return max(0.0, used - self.free) * self.price


@dataclass(frozen=True, slots=True)
class Database:
    """Firestore in one place: the operations, and a GiB-month of data, of earlier versions (PITR) and of backups."""

    operations: Prices
    data: Meter
    versions: Meter
    backups: Meter


def _database(place: str, read: float, write: float, delete: float, data: float, backup: float) -> Database:
    page = "firestore/pricing"
    return Database(
        Prices(DATE, place, read, write, delete, _MESSAGE),
        Meter("GiB of data", data, 1, page),
        Meter("GiB of earlier versions", data, 0, page),
        Meter("GiB of backups", backup, 0, page),
    )


EUR3 = _database("eur3", 0.06e-5, 0.18e-5, 0.02e-5, 0.18, 0.03)  # multi-region: what Terraform makes unless told otherwise
EUROPE_WEST1 = _database("europe-west1", 0.03e-5, 0.09e-5, 0.01e-5, 0.15, 0.02)
FREE_A_DAY = Spent(reads=50_000, writes=20_000, deletes=20_000)  # of one database in a project; not for what a TTL deletes

# In europe-west1, which is in Cloud Run's cheaper tier. The free parts of Cloud Run, Scheduler, Secret Manager, Cloud Build and Pub/Sub
# are per billing account, so other projects may have used them up.
CPU = Meter("vCPU-seconds", 0.000024, 180_000, "run/pricing")
MEMORY = Meter("GiB-seconds", 0.0000025, 360_000, "run/pricing")
REQUESTS = Meter("requests", 0.40e-6, 2_000_000, "run/pricing")
SENT = Meter("GiB sent to the internet", 0.12, 0, "vpc/network-pricing")
MESSAGES = Meter("GiB of messages", 40 / 1024, 10, "pubsub/pricing")
JOBS = Meter("jobs", 0.10, 3, "scheduler/pricing")
VERSIONS = Meter("secret versions", 0.06, 6, "secret-manager/pricing")
SECRETS_READ = Meter("secrets read", 0.03e-4, 10_000, "secret-manager/pricing")
FILES = Meter("GiB of files", 0.026, 0, "storage/pricing")
IMAGES = Meter("GiB of images", 0.10, 0.5, "artifact-registry/pricing")
BUILDS = Meter("build minutes", 0.006, 2_500, "build/pricing")
LOGS = Meter("GiB of logs", 0.50, 50, "stackdriver/pricing")
METRICS = Meter("MiB of metrics", 0.258, 150, "stackdriver/pricing")
UPTIME = Meter("uptime checks", 0.30e-3, 1_000_000, "stackdriver/pricing")
# Announced, put off and changed several times since 2024: the least certain lines here.
CONDITIONS = Meter("alert conditions", 0.10, 0, "stackdriver/pricing")
POINTS = Meter("points returned to alerts", 0.35e-6, 0, "stackdriver/pricing")
BALANCER = Meter("hours of a load balancer", 0.025, 0, "vpc/network-pricing")  # up to five forwarding rules


def thousand(what: str, spent: Spent, count: int = 1) -> Row:
    """A row of what 1,000 of something cost, from the operations of `count` of them."""
    here, wide = (1000 * prices.of(spent) / count for prices in (US_CENTRAL, NAM5))
    detail = f"{US_CENTRAL.region}, {NAM5.region} ${wide:.2g}; list prices of {US_CENTRAL.date}"
    return counted(f"1,000 {what}, Firestore and Pub/Sub", "$", here, None, detail)
