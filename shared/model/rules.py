"""Segments by rule: a small language that people read and write, such as `tag is press and not opened in the last 90 days`.

A rule is judged on a subscriber's document and a moment. It says nothing of who may be mailed: that is `subscriber.mailable`. Days are
24 hours, dates are days in UTC. docs/segments.md holds the language on one page.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, ClassVar, Final

import idna
from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from shared.errors import BadInput
from shared.model.cells import short
from shared.model.country import country_code
from shared.model.subscriber import WEEK, country_of, tag_form, usable_tag

MOST: Final = 2000  # characters of a rule
DEEPEST: Final = 20  # conditions within conditions
LONGEST: Final = 3650  # days of a window
DAY: Final = 86_400_000  # ms
TEXTS: Final = ("tag", "country", "city", "language", "name", "domain")
DATES: Final = ("joined", "confirmed", "opened", "clicked", "engaged")
EXAMPLE: Final = "tag is press and opened in the last 30 days"


class Rule(ABC):
    """A condition. `str()` gives the text whose parse is equal to it."""

    __slots__ = ()
    rank: ClassVar[int] = 0  # how loosely it binds: 0 a condition, 1 not, 2 and, 3 or

    @abstractmethod
    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        """Whether it holds for a subscriber's document at `now` (ms)."""

    @abstractmethod
    def leaves(self) -> Iterator[Text | When]:
        """The conditions that it is made of."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the document that it reads."""
        return frozenset(name for leaf in self.leaves() for name in _READS[leaf.field])

    def due(self, subscriber: Mapping[str, Any], now: int) -> int | None:
        """When time alone next changes the answer for this document (ms, after `now`), None for never."""
        ends = sorted({end for leaf in self.leaves() if (end := leaf.end(subscriber)) is not None and end > now})
        answer = self.holds(subscriber, now)
        return next((end for end in ends if self.holds(subscriber, end) != answer), None)

    def within(self, rank: int) -> str:
        """Its text as part of what binds as `rank` does."""
        return f"({self})" if self.rank >= rank else str(self)


@dataclass(frozen=True, slots=True)
class Text(Rule):
    """A field of words. `how`: "is" one of `values`, "contains" the one, or "set"."""

    field: str
    how: str
    values: tuple[str, ...] = ()

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        held = _HELD[self.field](subscriber)
        if self.how == "set":
            return any(held)
        if self.how == "contains":
            return any(self.values[0] in _plain(word) for word in held)
        if self.field == "language":  # RFC 4647, basic filtering: pt also finds pt-BR
            return any(word == value or word.startswith(f"{value}-") for word in held for value in self.values)
        return any(word in self.values for word in held)

    def leaves(self) -> Iterator[Text | When]:
        yield self

    def end(self, subscriber: Mapping[str, Any]) -> int | None:
        """Never: words do not pass."""
        return None

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

    def leaves(self) -> Iterator[Text | When]:
        yield self

    def end(self, subscriber: Mapping[str, Any]) -> int | None:
        """When the window ends for this document (ms); None where there is none."""
        at = _AT[self.field](subscriber) if self.how == "last" else None
        return None if at is None else at + self.days * DAY

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

    def leaves(self) -> Iterator[Text | When]:
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
        return f"not {self.rule.within(2)}"


@dataclass(frozen=True, slots=True)
class All(Rule):
    """Two or more, none of them an All: see `combined`."""

    rules: tuple[Rule, ...]
    rank: ClassVar[int] = 2

    def holds(self, subscriber: Mapping[str, Any], now: int) -> bool:
        return all(rule.holds(subscriber, now) for rule in self.rules)

    def leaves(self) -> Iterator[Text | When]:
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

    def leaves(self) -> Iterator[Text | When]:
        return (leaf for rule in self.rules for leaf in rule.leaves())

    def __str__(self) -> str:
        return " or ".join(rule.within(3) for rule in self.rules)


def combined(kind: type[All] | type[Either], rules: Iterable[Rule]) -> Rule:
    """The rules as one, flat; one rule alone is itself."""
    flat: list[Rule] = []
    for rule in rules:
        flat += rule.rules if isinstance(rule, All | Either) and isinstance(rule, kind) else [rule]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def parse(text: str) -> Rule:
    """The rule that a text says. Raises BadInput with one sentence: where it goes wrong, what was expected there, and the nearest word.

    Places are counted in characters, from 1.
    """
    if len(text) > MOST:
        raise BadInput(
            f"The rule is {len(text):,} characters long, and {MOST:,} are the most. Make two segments of it, or use a tag."
        )
    if not text.strip():
        raise BadInput(f"The rule is empty. Write one such as: {EXAMPLE}.")
    try:
        rule = _parser().parse(text)
    except UnexpectedToken as error:
        raise BadInput(_unexpected(error, text)) from None
    except UnexpectedCharacters as error:
        raise BadInput(
            f"The quote at character {(error.pos_in_stream or 0) + 1} does not end. Put a quote after the value."
        ) from None
    assert isinstance(rule, Rule)
    return rule


# --- what a subscriber's document says --------------------------------------------------------------------------------


def _plain(text: str) -> str:
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
    "city": lambda one: (_plain((one.get("located") or {}).get("city") or ""),),
    "language": lambda one: ((one.get("language") or "").lower(),),
    "name": lambda one: (_plain(one.get("name") or ""),),
    "domain": lambda one: ((one.get("address") or "").rpartition("@")[2].lower(),),
}
_AT: Final[dict[str, Callable[[Mapping[str, Any]], int | None]]] = {
    "joined": lambda one: one.get("created_at"),
    "confirmed": lambda one: one.get("confirmed_at"),
    "opened": lambda one: _hit(one, "opens"),
    "clicked": lambda one: _hit(one, "clicks"),
    "engaged": lambda one: _hit(one, "opens", "clicks"),
}
_READS: Final = {
    "tag": ("tags",),
    "country": ("country", "located"),
    "city": ("located",),
    "language": ("language",),
    "name": ("name",),
    "domain": ("address",),
    "joined": ("created_at",),
    "confirmed": ("confirmed_at",),
    "opened": ("opens", "machines"),
    "clicked": ("clicks", "machines"),
    "engaged": ("opens", "clicks", "machines"),
}
_EPOCH: Final = date(1970, 1, 1)

# --- the language -----------------------------------------------------------------------------------------------------

_GRAMMAR: Final = r"""
start: either
either: all (_OR all)*
all: one (_AND one)*
?one: _NOT one -> negated
    | "(" either ")"
    | TEXT _IS value -> has
    | TEXT _IS? _IN values -> has
    | TEXT _IS _NOT value -> lacks
    | TEXT _IS? _NOT _IN values -> lacks
    | TEXT _IS _SET -> given
    | TEXT _IS _UNSET -> missing
    | TEXT _IS _NOT _SET -> missing
    | TEXT _CONTAINS value -> contains
    | DATED -> ever
    | _NEVER DATED -> never
    | DATED _IN _THE? _LAST? NUMBER UNIT -> last
    | DATED WHERE DATE -> dated
values: value ("," value)*
!value: WORD | STRING | NUMBER | DATE | _IS | _IN

WORD: /[^\s(),"“”]+/
STRING: /"[^"]*"|“[^”]*”/
%declare TEXT DATED WHERE UNIT NUMBER DATE _AND _OR _NOT _NEVER _IS _IN _CONTAINS _SET _UNSET _THE _LAST
%ignore /\s+/
"""
_WORDS: Final[dict[str, tuple[str, ...]]] = {  # terminal -> its words, in the order in which a sentence names them
    "TEXT": TEXTS,
    "DATED": DATES,
    **{f"_{word.upper()}": (word,) for word in ("is", "in", "contains", "not", "never", "set", "unset", "the", "last")},
    "WHERE": ("before", "on", "after", "since"),
    "UNIT": ("days", "weeks", "day", "week"),
    "_AND": ("and",),
    "_OR": ("or",),
}
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words}
_OTHERS: Final = {"NUMBER": "a number", "DATE": "a date such as 2026-01-31", "COMMA": "a comma", "RPAR": "“)”", "$END": "the end"}


def _kind(token: Token) -> Token:
    """A word of the language is one in any letters; to mean it as a value, it is put in quotes."""
    if kind := _KINDS.get(token.lower()):
        return Token.new_borrow_pos(kind, token.lower(), token)
    shape = "DATE" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", token, re.ASCII) else "NUMBER" if re.fullmatch("[0-9]+", token) else ""
    return Token.new_borrow_pos(shape, str(token), token) if shape else token


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Made(), lexer_callbacks={"WORD": _kind})


class _Made(Transformer[Token, Rule]):
    """Makes the rule while it is read, from the inside out: nothing here recurses as deep as the text is long."""

    def start(self, found: list[Rule]) -> Rule:
        return found[0]

    def either(self, found: list[Rule]) -> Rule:
        return _bounded(combined(Either, found))

    def all(self, found: list[Rule]) -> Rule:
        return _bounded(combined(All, found))

    def negated(self, found: list[Rule]) -> Rule:
        return _bounded(Not(found[0]))

    def value(self, found: list[Token]) -> Token:
        return found[0]

    def values(self, found: list[Token]) -> list[Token]:
        return found

    def has(self, found: list[Any]) -> Rule:
        field, given = found
        values = given if isinstance(given, list) else [given]
        return Text(str(field), "is", tuple(dict.fromkeys(_value(str(field), token) for token in values)))

    def lacks(self, found: list[Any]) -> Rule:
        return Not(self.has(found))

    def contains(self, found: list[Token]) -> Rule:
        field, value = found
        if field in ("country", "language"):
            raise BadInput(f"At character {_place(value)}: a {field} is a code, so write “{field} is” and the code.")
        return Text(str(field), "contains", (_plain(_said(value)),))

    def given(self, found: list[Token]) -> Rule:
        return Text(str(found[0]), "set")

    def missing(self, found: list[Token]) -> Rule:
        return Not(self.given(found))

    def ever(self, found: list[Token]) -> Rule:
        return When(str(found[0]), "ever")

    def never(self, found: list[Token]) -> Rule:
        return Not(self.ever(found))

    def last(self, found: list[Token]) -> Rule:
        field, number, unit = found
        days = int(number[:9]) * (7 if unit.startswith("week") else 1)
        if not 0 < days <= LONGEST:
            raise BadInput(
                f"At character {_place(number)}: between 1 and {LONGEST:,} days are possible, not {short(number)} {unit}."
            )
        return When(str(field), "last", days)

    def dated(self, found: list[Token]) -> Rule:
        field, how, day = found
        try:
            return When(str(field), str(how), day=date.fromisoformat(day))
        except ValueError:
            raise BadInput(
                f"At character {_place(day)}: {day} is not in the calendar. Write a date such as 2026-01-31."
            ) from None


def _bounded(rule: Rule) -> Rule:
    if _depth(rule) > DEEPEST:
        raise BadInput(
            f"The rule holds brackets within brackets more than {DEEPEST} deep. Make two segments of it, or use a tag."
        )
    return rule


def _depth(rule: Rule) -> int:
    match rule:
        case All(rules) | Either(rules):
            return 1 + max(map(_depth, rules))
        case Not(inner):
            return 1 + _depth(inner)
    return 0


def _place(token: Token) -> int:
    return int(token.start_pos or 0) + 1


def _said(token: Token) -> str:
    """What a value says, without quotes. Raises BadInput for nothing."""
    text = str(token[1:-1] if token.type == "STRING" else token)
    if not text.strip():
        raise BadInput(
            f"At character {_place(token)}: there is nothing between the quotes. To find what is empty, write “is unset”."
        )
    return text


def _value(field: str, token: Token) -> str:
    """A value in the one form of its field. Raises BadInput for what can be no value of it."""
    said = _said(token)
    wrong = f"At character {_place(token)}, “{short(said)}”:"
    match field:
        case "tag":
            if not usable_tag(tag := tag_form(said)):
                raise BadInput(f"{wrong} a tag is up to 40 letters and numbers, with signs such as - or & in between.")
            return tag
        case "country":
            try:
                return country_code(said)
            except BadInput as error:
                raise BadInput(f"{wrong} {error}") from None
        case "language":
            if not re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", code := said.strip().lower()):
                raise BadInput(f"{wrong} a language is a code such as en or pt-BR.")
            return code
        case "domain":
            try:
                return idna.encode(said.strip().removeprefix("@"), uts46=True).decode("ascii")
            except UnicodeError:
                raise BadInput(f"{wrong} a domain is what follows the @, such as gmail.com.") from None
    return _plain(said)


def _quoted(value: str) -> str:
    """A value as it is written in a rule."""
    if value not in _KINDS and re.fullmatch(r'[^\s(),"“”]+', value):
        return value
    return f"“{value}”" if '"' in value else f'"{value}"'


def _unexpected(error: UnexpectedToken, text: str) -> str:
    """What stands in the wrong place, what belongs there, and the word that was probably meant."""
    expected = set(error.accepts or error.expected)
    if "WORD" in expected:
        expected -= {"_IS", "_IN", "NUMBER", "DATE"}  # which are values there
    token: Token = error.token
    words = [word for kind, those in _WORDS.items() if kind in expected for word in those]
    if {"TEXT", "DATED"} <= expected:
        said = ["a condition such as “tag is press” or “joined after 2026-01-31”"]
    else:
        said = (["a value"] if "WORD" in expected else []) + [f"“{word}”" for word in words]
        said += [what for kind, what in _OTHERS.items() if kind in expected]
    wanted = " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    if token.type == "$END":
        return f"The rule ends too soon, at character {len(text.rstrip())}: {wanted} is missing."
    near = difflib.get_close_matches(str(token).lower(), words, 1, 0.6)
    hint = f": did you mean “{near[0]}”?" if near else "."
    if "WORD" in expected and token.type in _WORDS:
        hint = ", and a word of this language is a value only in quotes."
    elif "_AND" in expected and token.type in ("WORD", "STRING", "NUMBER"):
        hint += " A value of several words needs quotes around it."
    elif "TEXT" in expected and token.type in ("WORD", "STRING") and not near:
        hint += " To list several values, write: country in DE, AT."
    return f"At character {_place(token)} stands “{short(str(token))}”, where {wanted} was expected{hint}"
