"""The language of segments by rule, which people read and write, such as `tag is press and not opened in the last 90 days`.

What a rule is made of is in `conditions`. docs/segments.md holds the language on one page.
"""

from __future__ import annotations

import difflib
import re
from datetime import date
from functools import cache
from typing import Any, Final

import idna
from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from shared.errors import BadInput
from shared.model.cells import short
from shared.model.conditions import KINDS, WORDS, About, All, Either, Not, Rule, Text, When, combined, plain
from shared.model.country import country_code
from shared.model.ref import CAMPAIGN_ID
from shared.model.subscriber import tag_form, usable_tag

MOST: Final = 2000  # characters of a rule
DEEPEST: Final = 20  # conditions within conditions
LONGEST: Final = 3650  # days of a window
CAMPAIGNS: Final = 3  # that a rule may name
EXAMPLE: Final = "tag is press and opened in the last 30 days"


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
    named = list(dict.fromkeys(leaf.campaign for leaf in rule.leaves() if isinstance(leaf, About)))
    if len(named) > CAMPAIGNS:
        raise BadInput(
            f"At character {place_of(text, named[CAMPAIGNS])}: the rule names {len(named)} campaigns, and {CAMPAIGNS} are the most."
        )
    return rule


def place_of(text: str, campaign: str) -> int:
    """Where a rule's text names a campaign first, in characters from 1."""
    found = re.search(rf"(?<![\w-]){re.escape(campaign)}(?![\w-])", text, re.IGNORECASE)
    return found.start() + 1 if found else 1


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
    | DATED _CAMPAIGN named -> about
    | _NEVER DATED _CAMPAIGN named -> not_about
    | _WAS _SENT _CAMPAIGN named -> sent
    | _WAS _NOT _SENT _CAMPAIGN named -> not_sent
named: WORD | STRING
values: value ("," value)*
!value: WORD | STRING | NUMBER | DATE | _IS | _IN | _CAMPAIGN | _WAS | _SENT

WORD: /[^\s(),"“”]+/
STRING: /"[^"]*"|“[^”]*”/
%declare TEXT DATED WHERE UNIT NUMBER DATE _AND _OR _NOT _NEVER _IS _IN _CONTAINS _SET _UNSET _THE _LAST _CAMPAIGN _WAS _SENT
%ignore /\s+/
"""
_OTHERS: Final = {"NUMBER": "a number", "DATE": "a date such as 2026-01-31", "COMMA": "a comma", "RPAR": "“)”", "$END": "the end"}


def _kind(token: Token) -> Token:
    """A word of the language is one in any letters; to mean it as a value, it is put in quotes."""
    if kind := KINDS.get(token.lower()):
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
        return Text(str(field), "contains", (plain(_said(value)),))

    def given(self, found: list[Token]) -> Rule:
        return Text(str(found[0]), "set")

    def missing(self, found: list[Token]) -> Rule:
        return Not(self.given(found))

    def ever(self, found: list[Token]) -> Rule:
        return When(str(found[0]), "ever")

    def never(self, found: list[Token]) -> Rule:
        return Not(self.ever(found))

    def named(self, found: list[Token]) -> str:
        text = _said(found[0]).strip()
        if not CAMPAIGN_ID.fullmatch(text):
            raise BadInput(f"At character {_place(found[0])}, “{short(text)}”: write a campaign's ID, such as C-0012.")
        return text.upper() if re.fullmatch(r"c-\d+", text, re.ASCII) else text

    def about(self, found: list[Any]) -> Rule:
        field, campaign = found
        if field not in ("opened", "clicked", "engaged"):
            raise BadInput(f"At character {_place(field)}: of a campaign write opened, clicked, engaged or was sent.")
        return About(str(field), campaign)

    def not_about(self, found: list[Any]) -> Rule:
        return Not(self.about(found))

    def sent(self, found: list[str]) -> Rule:
        return About("sent", found[0])

    def not_sent(self, found: list[str]) -> Rule:
        return Not(self.sent(found))

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
    return plain(said)


def _unexpected(error: UnexpectedToken, text: str) -> str:
    """What stands in the wrong place, what belongs there, and the word that was probably meant."""
    expected = set(error.accepts or error.expected)
    if "WORD" in expected:
        expected -= {"_IS", "_IN", "_CAMPAIGN", "_WAS", "_SENT", "NUMBER", "DATE"}  # which are values there
    token: Token = error.token
    words = [word for kind, those in WORDS.items() if kind in expected for word in those]
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
    if "WORD" in expected and token.type in WORDS:
        hint = ", and a word of this language is a value only in quotes."
    elif "_AND" in expected and token.type in ("WORD", "STRING", "NUMBER"):
        hint += " A value of several words needs quotes around it."
    elif "TEXT" in expected and token.type in ("WORD", "STRING") and not near:
        hint += " To list several values, write: country in DE, AT."
    return f"At character {_place(token)} stands “{short(str(token))}”, where {wanted} was expected{hint}"
