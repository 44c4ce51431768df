"""What the counted operations cost, at list price. The prices are written down from Google's public lists, without the free
allowances; an operator checks them against https://cloud.google.com/firestore/pricing and https://cloud.google.com/pubsub/pricing,
and for another region, before trusting a sum. Cloud Run, Cloud Storage, logs and the mail provider are not in here."""

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
US_CENTRAL = Prices("2026-11-22", "us-central1", 0.03e-5, 0.09e-5, 0.01e-5, _MESSAGE)
NAM5 = Prices("2026-11-22", "nam5", 0.06e-5, 0.18e-5, 0.02e-5, _MESSAGE)  # multi-region


def thousand(what: str, spent: Spent, count: int = 1) -> Row:
    """A row of what 1,000 of something cost, from the operations of `count` of them."""
    here, wide = (1000 * prices.of(spent) / count for prices in (US_CENTRAL, NAM5))
    detail = f"{US_CENTRAL.region}, {NAM5.region} ${wide:.2g}; list prices of {US_CENTRAL.date}"
    return counted(f"1,000 {what}, Firestore and Pub/Sub", "$", here, None, detail)
