"""What a campaign's deliveries say, broken down: a pure function of the documents, added up over ranges of them.

A campaign's deliveries are cut into equal ranges of sids, about RANGE_SIZE recipients each, by what was expected at its launch, which
never changes. Each range has a summary, made anew from its deliveries whenever one of them may have changed (shared/model/marks.py): never
counted up, so it cannot drift. The report is their sum.

`summaries/{range}` and `reports/{campaign}` hold `rows`: [{by, value, and the metrics that are not 0}]; `at`: when it was read (ms).
A report also has `began` (launch, ms), `name`, `links` {number: target, where the mail knows it} and `newest`, which is -`at`: who asks
for at most so much gets the newest first.

    by          value                                           of which mails
    total       ""                                              all
    link        its number                                      those clicked; a conversion counts for the last link before it
    segment     a tag the reader has now                        those with a sign of a person: open, click, conversion, complaint, leaving
    country     declared, else where the last click was, else located, else "unknown"       as above
    language    the reader's, else "unknown"                    as above
    device      see Event, "unknown" behind a proxy             those opened or clicked
    hour        "00" to "23" where the reader is, as far as known, else in the campaign's zone: of the first open, click; of a conversion
    day         2027-01-15, in the campaign's zone: the same, and of bounces, complaints and leaving
    provider    the way out, its kind where several ways have it, "" where nobody told
    bounce      class and code, "hard 550 5.1.1"

Metrics count mails: sent (of provider and total only), opened, clicked (by people), opened_machine, bounced, complained, unsubscribed;
`conversions` counts these, and revenue_EUR … is their value in millionths of that unit. A conversion counts when a person had clicked in
that same mail before it, at most `within` ms; of several clicks the last one before it gets it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from shared.model import batch
from shared.model.hits import COUNTED, KINDS, Hit, people
from shared.model.moments import moment, zone_of
from shared.model.subscriber import country_of

RANGE_SIZE: Final = 4000  # recipients
MOST: Final = 300  # values of one breakdown that are kept; what is left over is one more, OTHERS
OTHERS: Final = "(others)"
UNKNOWN: Final = "unknown"
WITHIN: Final = 30 * 86_400_000  # ms from a click to a conversion
FIELDS: Final = (  # of a delivery
    *("labels", "hits", "codes", "providers", "conversions", "opened_human_at", "clicked_human_at"),
    *("bounced_at", "complained_at", "unsubscribed_at"),
)
READER: Final = ("tags", "language", "country", "located")  # of a subscriber
BREAKDOWNS: Final = ("total", "link", "segment", "country", "language", "device", "hour", "day", "provider", "bounce")
REVENUE: Final = "revenue_"


@dataclass(frozen=True, slots=True)
class Range:
    """Deliveries whose sids begin with a byte from `first` to below `beyond`."""

    first: int
    beyond: int

    @property
    def id(self) -> str:
        return f"{self.first:02x}-{self.beyond - 1:02x}"

    @property
    def after(self) -> str:
        """Before every sid of the range; it is shorter, so that "after it" leaves nobody out."""
        return f"{self.first:02x}" if self.first else ""

    @property
    def below(self) -> str | None:
        return f"{self.beyond:02x}" if self.beyond < 256 else None


def ranges(expected: int) -> list[Range]:
    """The ranges of a campaign to so many: 1, 2, 4 … 256 of them."""
    wide = 256
    while wide > 1 and expected * wide > RANGE_SIZE * 256:
        wide //= 2
    return [Range(first, first + wide) for first in range(0, 256, wide)]


@dataclass(frozen=True)
class Summary:
    """(by, value) -> metric -> how many."""

    counts: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        found: dict[tuple[str, str], Counter[str]] = {place: Counter(numbers) for place, numbers in self.counts.items()}
        for place, numbers in other.counts.items():
            found.setdefault(place, Counter()).update(numbers)
        return Summary(found)

    def rows(self) -> list[dict[str, Any]]:
        """As it is stored: of each breakdown the MOST largest values, and one for the rest."""
        found: list[dict[str, Any]] = []
        for by in BREAKDOWNS:
            mine = [(value, numbers) for (one, value), numbers in self.counts.items() if one == by and value != OTHERS]
            mine.sort(key=lambda pair: (-_weight(pair[1]), pair[0]))
            rest = Counter(self.counts.get((by, OTHERS), {}))
            for _, numbers in mine[MOST:]:
                rest.update(numbers)
            kept = sorted(mine[:MOST], key=lambda pair: pair[0]) + ([(OTHERS, rest)] if rest else [])
            for value, numbers in kept:
                found.append({"by": by, "value": value, **{name: number for name, number in numbers.items() if number}})
        return found

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Summary:
        """The inverse of `rows`, for what it kept."""
        return cls(
            {
                (row["by"], row["value"]): {name: number for name, number in row.items() if name not in ("by", "value")}
                for row in rows
            }
        )


def _weight(numbers: Mapping[str, int]) -> int:
    return sum(number for name, number in numbers.items() if not name.startswith(REVENUE))


def of_a_person(delivery: Mapping[str, Any]) -> bool:
    """Whether there is a sign of a person, so that it matters who that is."""
    signs = {"opened.human", "clicked.human", "converted", "complained", "unsubscribed"}
    return not signs.isdisjoint(delivery.get("labels") or ())


@dataclass(frozen=True)
class Reading:
    """How a campaign's deliveries are read. `zone`: IANA; `within`: ms from a click to a conversion; `ways`: what a provider is
    called in events -> in the report; `only`: the provider that has mailed all, "" for several."""

    zone: str = "UTC"
    within: int = WITHIN
    ways: Mapping[str, str] = field(default_factory=dict)
    only: str = ""

    def summarize(
        self, deliveries: Iterable[tuple[str, Mapping[str, Any]]], subscribers: Mapping[str, Mapping[str, Any]]
    ) -> Summary:
        """The summary of deliveries, as (id, fields). `subscribers`: sid -> fields, of those `of_a_person` has asked for."""
        found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for id, data in deliveries:
            self._add(found, data, subscribers.get(id[:32], {}))
        return Summary(dict(found))

    def _add(self, found: dict[tuple[str, str], Counter[str]], data: Mapping[str, Any], reader: Mapping[str, Any]) -> None:
        labels = set(data.get("labels") or ())
        if COUNTED not in labels:
            return
        hits: dict[str, list[Hit]] = {kind: people(data, kind) for kind in KINDS}
        firsts: dict[str, int | None] = {kind: _first(kind, hits[kind], data) for kind in KINDS}
        numbers = Counter[str]({kind: 1 for kind, at in firsts.items() if at is not None})
        numbers.update({name: 1 for name in ("bounced", "complained", "unsubscribed") if name in labels})
        if "opened.machine" in labels:
            numbers["opened_machine"] = 1
        sales = sold(data, hits["clicked"], self.within)
        for sale in sales:
            numbers.update(sale.numbers)
        places = [("total", ""), *(("provider", name) for name in self._providers(data))]
        if of_a_person(data):
            places += [("segment", tag) for tag in reader.get("tags") or ()]
            places += [("country", _country(reader, hits["clicked"])), ("language", reader.get("language") or UNKNOWN)]
        if "bounced" in labels:
            places.append(("bounce", _reason(labels, data.get("codes") or ())))
        for place in places:
            found[place].update(numbers)
        self._hits(found, hits, sales)
        self._times(found, data, reader, firsts, sales)

    def _providers(self, data: Mapping[str, Any]) -> list[str]:
        told = {self.ways.get(name, name) for name in data.get("providers") or ()}
        return sorted(told) or [self.only]

    def _hits(self, found: dict[tuple[str, str], Counter[str]], hits: Mapping[str, Sequence[Hit]], sales: Sequence[Sale]) -> None:
        for kind, those in hits.items():
            for device in {device for hit in those for device in hit.devices or {UNKNOWN: 0}}:
                found["device", device][kind] += 1
        for link in {hit.link for hit in hits["clicked"]}:
            found["link", _number(link)]["clicked"] += 1
        for sale in sales:
            found["link", _number(sale.click.link)].update(sale.numbers)
            devices = sale.click.devices or {UNKNOWN: 0}
            found["device", max(devices, key=lambda name: (devices[name], name))].update(sale.numbers)

    def _times(
        self,
        found: dict[tuple[str, str], Counter[str]],
        data: Mapping[str, Any],
        reader: Mapping[str, Any],
        firsts: Mapping[str, int | None],
        sales: Sequence[Sale],
    ) -> None:
        ours = zone_of(self.zone) or UTC
        theirs = zone_of((reader.get("located") or {}).get("zone") or self.zone) or UTC
        numbers: list[tuple[int, Mapping[str, int]]] = [(at, {kind: 1}) for kind, at in firsts.items() if at is not None]
        numbers += [(sale.at, sale.numbers) for sale in sales]
        for at, what in numbers:
            found["hour", moment(at, theirs, "%H") or UNKNOWN].update(what)
        numbers += [(data[f"{name}_at"], {name: 1}) for name in ("bounced", "complained", "unsubscribed") if f"{name}_at" in data]
        for at, what in numbers:
            found["day", moment(at, ours, "%Y-%m-%d") or UNKNOWN].update(what)


@dataclass(frozen=True, slots=True)
class Sale:
    """A conversion that counts. `click`: the one that it counts for; `numbers`: its metrics."""

    at: int
    click: Hit
    numbers: Mapping[str, int]


def sold(delivery: Mapping[str, Any], clicks: Sequence[Hit], within: int) -> list[Sale]:
    """The conversions of a mail that a person's click came before, at most `within` ms."""
    found = []
    for told in (delivery.get("conversions") or {}).values():
        at = told["at"]
        before = [(hit.last if hit.last <= at else hit.first, hit) for hit in clicks if hit.first <= at]
        moment, click = max(before, key=lambda pair: (pair[0], pair[1].link), default=(-1, None))
        if click is not None and at - moment <= within:
            values = {f"{REVENUE}{name}": value for name, value in told.items() if name != "at"}
            found.append(Sale(at, click, {"conversions": 1, **values}))
    return found


def ledger(batches: Iterable[Mapping[str, Any]]) -> Summary:
    """Who mailed how many: the mails sent, of all and by provider, from the campaign's batches (`providers`, `via`, `states`)."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for data in batches:
        names = data.get("providers") or ()
        for (state, number), many in Counter(zip(data["states"], data["via"], strict=True)).items():
            if state == batch.SENT:
                found["total", ""]["sent"] += many
                if number < len(names):
                    found["provider", names[number]]["sent"] += many
    return Summary(dict(found))


def _first(kind: str, hits: Sequence[Hit], data: Mapping[str, Any]) -> int | None:
    """When a person first did so; None for nobody."""
    if hits:
        return hits[0].first
    known = any(key[0] == kind[0] for key in data.get("hits") or ())
    if known or f"{kind}.human" not in (data.get("labels") or ()):
        return None
    return int(data.get(f"{kind}_human_at", 0))


def _number(link: int) -> str:
    return str(link) if link >= 0 else UNKNOWN


def _country(reader: Mapping[str, Any], clicks: Sequence[Hit]) -> str:
    """A declared country counts first."""
    seen: dict[str, int] = {}
    for hit in clicks:
        for code, at in hit.countries.items():
            seen[code] = max(at, seen.get(code, 0))
    last = max(seen, key=lambda code: (seen[code], code), default="")
    return str(reader.get("country") or last or country_of(reader) or UNKNOWN)


def _reason(labels: set[str], codes: Iterable[str]) -> str:
    """The class of a bounce, and its code: of several one that is for good, if any."""
    kind = next((kind for kind in ("hard", "soft", "other") if f"bounced.{kind}" in labels), "other")
    return f"{kind} {max(codes, default='')}".strip()
