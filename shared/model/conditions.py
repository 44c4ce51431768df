"""What a segment by rule is made of: conditions on a subscriber's document and a moment, and how they are written.

They say nothing of who may be mailed: that is `subscriber.mailable`. Days are 24 hours, dates are days in UTC. `rules.parse` reads them,
`str` writes them.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final, TypeAlias

from shared.model.subscriber import WEEK, country_of

DAY: Final = 86_400_000  # ms
TEXTS: Final = ("tag", "country", "city", "language", "name", "domain")
DATES: Final = ("joined", "confirmed", "agreed", "opened", "clicked", "engaged")
WORDS: Final[dict[str, tuple[str, ...]]] = {  # terminal -> its words, in the order in which a sentence names them
    "TEXT": TEXTS,
    "DATED": DATES,
    **{f"_{word.upper()}": (word,) for word in ("is", "in", "contains", "not", "never", "set", "unset", "the", "last")},
    **{f"_{word.upper()}": (word,) for word in ("campaign", "was", "sent")},
    "WHERE": ("before", "on", "after", "since"),
    "UNIT": ("days", "weeks", "day", "week"),
    "_AND": ("and",),
    "_OR": ("or",),
}
KINDS: Final = {word: kind for kind, words in WORDS.items() for word in words}
Leaf: TypeAlias = "Text | When | About"


class Rule(ABC):
    """A condition. `str()` gives the text whose parse is equal to it."""

    __slots__ = ()
    rank: ClassVar[int] = 0  # how loosely it binds: 0 a condition, 1 not, 2 and, 3 or

    @abstractmethod
    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        """Whether it holds for a subscriber's document at `now` (ms)."""

    @abstractmethod
    def leaves(self) -> Iterator[Leaf]:
        """The conditions that it is made of."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the document that it reads."""
        return frozenset(name for leaf in self.leaves() for name in leaf.reads)

    @property
    def facts(self) -> frozenset[Fact]:
        """What it asks of single campaigns."""
        return frozenset(fact for leaf in self.leaves() if isinstance(leaf, About) for fact in leaf.asks)

    def within(self, rank: int) -> str:
        """Its text as part of what binds as `rank` does."""
        return f"({self})" if self.rank >= rank else str(self)


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """What a person, or we, did with a campaign's mail: `what` is "opened", "clicked" or "sent". A subscriber's document does not say; the
    sweep of the segments notes it in the document's `segments` (`entry`, which no tag and no segment can be called) for those campaigns
    that rules name."""

    what: str
    campaign: str

    @property
    def entry(self) -> str:
        return f"{self.what}:{self.campaign}"


@dataclass(frozen=True, slots=True)
class About(Rule):
    """Something done with a `campaign`'s mail: `field` is "opened", "clicked", "engaged" (either) or "sent", as of the last sweep."""

    field: str
    campaign: str
    reads: ClassVar[tuple[str, ...]] = ("segments",)

    @property
    def asks(self) -> tuple[Fact, ...]:
        what = ("opened", "clicked") if self.field == "engaged" else (self.field,)
        return tuple(Fact(one, self.campaign) for one in what)

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        index = subscriber.get("segments") or ()
        return any(fact.entry in index for fact in self.asks)

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def __str__(self) -> str:
        return f"{'was sent' if self.field == 'sent' else self.field} campaign {_quoted(self.campaign)}"


@dataclass(frozen=True, slots=True)
class Text(Rule):
    """A field of words. `how`: "is" one of `values`, "contains" the one, or "set"."""

    field: str
    how: str
    values: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return _READS[self.field]

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        held = _HELD[self.field](subscriber)
        if self.how == "set":
            return any(held)
        if self.how == "contains":
            return any(self.values[0] in plain(word) for word in held)
        if self.field == "language":  # RFC 4647, basic filtering: pt also finds pt-BR
            return any(word == value or word.startswith(f"{value}-") for word in held for value in self.values)
        return any(word in self.values for word in held)

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def __str__(self) -> str:
        if self.how == "set":
            return f"{self.field} is set"
        if self.how == "contains" or len(self.values) == 1:
            return f"{self.field} {self.how} {_quoted(self.values[0])}"
        return f"{self.field} in {', '.join(map(_quoted, self.values))}"


@dataclass(frozen=True, slots=True)
class When(Rule):
    """A field of a date. `how`: "ever", "last" `days` ("in the last 30 days"), or "before", "on", "after", "since" the `day`."""

    field: str
    how: str
    days: int = 0
    day: date = date.min

    @property
    def reads(self) -> tuple[str, ...]:
        return _READS[self.field]

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        at = _AT[self.field](subscriber)
        if at is None:
            return False
        match self.how:
            case "ever":
                return True
            case "last":
                return now < at + self.days * DAY
            case "before":
                return at < self._start
            case "since":
                return at >= self._start
            case "after":
                return at >= self._start + DAY
        return self._start <= at < self._start + DAY

    @property
    def _start(self) -> int:
        return (self.day - _EPOCH).days * DAY

    def leaves(self) -> Iterator[Leaf]:
        yield self

    def __str__(self) -> str:
        if self.how == "ever":
            return self.field
        if self.how == "last":
            return f"{self.field} in the last {self.days} {'day' if self.days == 1 else 'days'}"
        return f"{self.field} {self.how} {self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class Not(Rule):
    rule: Rule
    rank: ClassVar[int] = 1

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        return not self.rule.holds(subscriber, now)

    def leaves(self) -> Iterator[Leaf]:
        return self.rule.leaves()

    def __str__(self) -> str:
        match self.rule:
            case Text(field, "set"):
                return f"{field} is unset"
            case Text(field, "is", (value,)):
                return f"{field} is not {_quoted(value)}"
            case Text(field, "is", values):
                return f"{field} not in {', '.join(map(_quoted, values))}"
            case When(field, "ever"):
                return f"never {field}"
            case About("sent", campaign):
                return f"was not sent campaign {_quoted(campaign)}"
        return f"not {self.rule.within(2)}"


@dataclass(frozen=True, slots=True)
class All(Rule):
    """Two or more, none of them an All: see `combined`."""

    rules: tuple[Rule, ...]
    rank: ClassVar[int] = 2

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        return all(rule.holds(subscriber, now) for rule in self.rules)

    def leaves(self) -> Iterator[Leaf]:
        return (leaf for rule in self.rules for leaf in rule.leaves())

    def __str__(self) -> str:
        return " and ".join(rule.within(2) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Either(Rule):
    """Two or more, none of them an Either: see `combined`."""

    rules: tuple[Rule, ...]
    rank: ClassVar[int] = 3

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        return any(rule.holds(subscriber, now) for rule in self.rules)

    def leaves(self) -> Iterator[Leaf]:
        return (leaf for rule in self.rules for leaf in rule.leaves())

    def __str__(self) -> str:
        return " or ".join(rule.within(3) for rule in self.rules)


def combined(kind: type[All] | type[Either], rules: Iterable[Rule]) -> Rule:
    """The rules as one, flat; one rule alone is itself."""
    flat: list[Rule] = []
    for rule in rules:
        flat += rule.rules if isinstance(rule, All | Either) and isinstance(rule, kind) else [rule]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _quoted(value: str) -> str:
    """A value as it is written in a rule."""
    if value not in KINDS and re.fullmatch(r'[^\s(),"“”]+', value):
        return value
    return f"“{value}”" if '"' in value else f'"{value}"'


# --- what a document says ---


def plain(text: str) -> str:
    """Words as they are compared: in any letters and spelling (Unicode, canonical caseless matching), one blank between them."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", " ".join(text.split())).casefold())


def _hit(subscriber: Mapping[str, Any], *names: str) -> int | None:
    """The last open or click by a person (ms). What a machine was found to have done takes along what came before it in its week."""
    machines: Mapping[str, int] = subscriber.get("machines") or {}
    found: int | None = None
    for name in names:
        for week, at in (subscriber.get(name) or {}).items():
            machine = machines.get(week, -1)
            if at > machine or at // WEEK != machine // WEEK:
                found = at if found is None else max(found, at)
    return found


_HELD: Final[dict[str, Callable[[Mapping[str, Any]], Collection[str]]]] = {
    "tag": lambda one: one.get("tags") or (),
    "country": lambda one: (country_of(one),),
    "city": lambda one: (plain((one.get("located") or {}).get("city") or ""),),
    "language": lambda one: ((one.get("language") or "").lower(),),
    "name": lambda one: (plain(one.get("name") or ""),),
    "domain": lambda one: ((one.get("address") or "").rpartition("@")[2].lower(),),
}
_AT: Final[dict[str, Callable[[Mapping[str, Any]], int | None]]] = {
    "joined": lambda one: one.get("created_at"),
    "confirmed": lambda one: one.get("confirmed_at"),
    "agreed": lambda one: one.get("consented_at"),
    "opened": lambda one: _hit(one, "opens"),
    "clicked": lambda one: _hit(one, "clicks"),
    "engaged": lambda one: _hit(one, "opens", "clicks"),
}
_READS: Final[dict[str, tuple[str, ...]]] = {
    "tag": ("tags",),
    "country": ("country", "located"),
    "city": ("located",),
    "language": ("language",),
    "name": ("name",),
    "domain": ("address",),
    "joined": ("created_at",),
    "confirmed": ("confirmed_at",),
    "agreed": ("consented_at",),
    "opened": ("opens", "machines"),
    "clicked": ("clicks", "machines"),
    "engaged": ("opens", "clicks", "machines"),
}
_EPOCH: Final = date(1970, 1, 1)
