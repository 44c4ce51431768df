"""Segments by rule: what a rule means, against a straightforward model; that its text is its own; and what a wrong one is told."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.model.conditions import DATES, TEXTS, All, Either, Not, Rule, Text, When, combined
from shared.model.rules import parse
from shared.model.subscriber import WEEK

DAY = 86_400_000
NOW = 1_800_000_000_000  # 2027-01-15 08:00 UTC
Model = Callable[[dict[str, Any], int], bool]

# --- the model: text of a condition, and what it means ----------------------------------------------------------------


def week(at: int) -> str:
    return f"{at // WEEK % 26:02d}"


def hits(subscriber: dict[str, Any], *names: str) -> list[int]:
    machines = subscriber.get("machines", {})
    every = [at for name in names for at in subscriber.get(name, {}).values()]
    return [
        at for at in every if not (week(at) in machines and machines[week(at)] // WEEK == at // WEEK and machines[week(at)] >= at)
    ]


def last_of(field: str) -> Callable[[dict[str, Any]], list[int]]:
    """The moments that decide, for a condition of that field."""
    names = {"opened": ("opens",), "clicked": ("clicks",), "engaged": ("opens", "clicks")}.get(field)
    stored = {"joined": "created_at", "confirmed": "confirmed_at", "agreed": "consented_at"}.get(field, "")
    return lambda one: hits(one, *names) if names else [one[stored]] if stored in one else []


def windows(field: str, days: int) -> tuple[str, Model]:
    return f"{field} in the last {days} days", lambda one, now: any(at + days * DAY > now for at in last_of(field)(one))


def dated(field: str, how: str, day: datetime) -> tuple[str, Model]:
    at, morning = last_of(field), int(day.timestamp() * 1000)
    night = morning + DAY
    meaning: dict[str, Model] = {
        "before": lambda one, now: bool(at(one)) and max(at(one)) < morning,
        "since": lambda one, now: any(moment >= morning for moment in at(one)),
        "after": lambda one, now: any(moment >= night for moment in at(one)),
        "on": lambda one, now: bool(at(one)) and morning <= max(at(one)) < night,
    }
    return f"{field} {how} {day:%Y-%m-%d}", meaning[how]


TAGS, COUNTRIES, LANGUAGES, CITIES = (
    ("press", "vip", "r&d", "in", "new york"),
    ("DE", "IN", "BR"),
    ("fr", "pt", "pt-br"),
    ("Köln", "São Paulo"),
)
FACTS = ("everyone", "opened:C-0012", "clicked:C-0012", "sent:C-0012", "opened:C-0001")
DATED = ("joined", "confirmed", "agreed", "opened", "clicked", "engaged")
MODELS: list[tuple[str, Model]] = [
    *((f'tag is "{tag}"', lambda one, now, tag=tag: tag in one.get("tags", [])) for tag in TAGS),
    ("tag in press, VIP", lambda one, now: bool({"press", "vip"} & set(one.get("tags", [])))),
    ("tag is set", lambda one, now: bool(one.get("tags"))),
    ("tag contains YORK", lambda one, now: "new york" in one.get("tags", [])),
    *((f"country is {code}", lambda one, now, code=code: code in one.get("country", one.get("seen", ""))) for code in COUNTRIES),
    ("country is in de, br", lambda one, now: one.get("country", one.get("seen")) in ("DE", "BR")),
    ("language is pt", lambda one, now: one.get("language", "") in ("pt", "pt-BR")),
    ("opened campaign C-0012", lambda one, now: "opened:C-0012" in one.get("segments", [])),
    ("engaged campaign c-0012", lambda one, now: bool({"opened:C-0012", "clicked:C-0012"} & set(one.get("segments", [])))),
    ("was not sent campaign C-0012", lambda one, now: "sent:C-0012" not in one.get("segments", [])),
    ("language is pt-BR", lambda one, now: one.get("language", "") == "pt-BR"),
    ("language is unset", lambda one, now: not one.get("language")),
    ("city is KÖLN", lambda one, now: one.get("city") == "Köln"),
    ("city contains “o paulo”", lambda one, now: one.get("city") == "São Paulo"),
    ("name is set", lambda one, now: bool(one.get("name"))),
    ('name is "ada lovelace"', lambda one, now: one.get("name") == "Ada Lovelace"),
    ("domain is @Gmail.com", lambda one, now: one.get("address", "").endswith("@gmail.com")),
    ("domain contains mail", lambda one, now: "mail" in one.get("address", "").split("@")[-1]),
    *((f"never {field}", lambda one, now, field=field: not last_of(field)(one)) for field in DATED),
    *((field, lambda one, now, field=field: bool(last_of(field)(one))) for field in DATED),
    *(windows(field, days) for field in DATED for days in (1, 30, 90)),
    *(
        dated(field, how, datetime(2027, 1, 15, tzinfo=UTC) - timedelta(ago))
        for field in DATED
        for how in ("before", "on", "since", "after")
        for ago in (0, 29, 30)
    ),
]

moments = st.one_of(
    st.integers(0, 200 * DAY).map(lambda ago: NOW - ago),
    st.sampled_from([NOW - days * DAY + by for days in (0, 1, 30, 90) for by in (-1, 0, 1)]),
    st.sampled_from([NOW - NOW % DAY - days * DAY + by for days in (0, 29, 30) for by in (-1, 0)]),
)
weeks = st.lists(moments, max_size=3).map(lambda found: {week(at): at for at in sorted(found)})


@st.composite
def subscribers(draw: st.DrawFn) -> dict[str, Any]:
    """Documents, with the located country and city beside where the model looks for them."""
    found: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "tags": st.lists(st.sampled_from(TAGS), max_size=2, unique=True),
                "country": st.sampled_from(COUNTRIES),
                "language": st.sampled_from(["", "fr", "pt", "pt-BR"]),
                "name": st.sampled_from(["", "Ada Lovelace", "Bob"]),
                "address": st.sampled_from(["ada@gmail.com", "ada@example.com", "ada@mail.example"]),
                "created_at": moments,
                "confirmed_at": moments,
                "consented_at": moments,
                "segments": st.lists(st.sampled_from(FACTS), max_size=3, unique=True),
                "opens": weeks,
                "clicks": weeks,
                "machines": weeks,
            },
        )
    )
    if draw(st.booleans()):
        found |= {"seen": draw(st.sampled_from(COUNTRIES)), "city": draw(st.sampled_from(CITIES))}
        found["located"] = {"seen": {found["seen"]: NOW}, "city": found["city"]}
    return found


def rules(depth: int = 3) -> st.SearchStrategy[tuple[str, Model]]:
    """(text, meaning), with brackets around every part."""
    if not depth:
        return st.sampled_from(MODELS)
    inner = rules(depth - 1)

    def both(pair: tuple[tuple[str, Model], tuple[str, Model]], word: str) -> tuple[str, Model]:
        (left, one), (right, other) = pair
        if word == "and":
            return f"({left}) AND ({right})", lambda found, now: one(found, now) and other(found, now)
        return f"({left}) Or ({right})", lambda found, now: one(found, now) or other(found, now)

    return st.one_of(
        st.sampled_from(MODELS),
        inner.map(lambda rule: (f"not ({rule[0]})", lambda found, now: not rule[1](found, now))),
        st.tuples(inner, inner).map(lambda pair: both(pair, "and")),
        st.tuples(inner, inner).map(lambda pair: both(pair, "or")),
    )


@given(rules(), st.lists(subscribers(), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_rule_means_what_the_model_says_now_and_whenever_a_window_ends(
    pair: tuple[str, Model], people: list[dict[str, Any]]
) -> None:
    text, model = pair
    rule = parse(text)
    assert parse(str(rule)) == rule
    for one in people:
        read = {name: value for name, value in one.items() if name in rule.fields}
        ends = [NOW] + [
            at + days * DAY
            for at in (
                *hits(one | {"machines": {}}, "opens", "clicks"),
                *(one.get(name, 0) for name in ("created_at", "confirmed_at", "consented_at")),
            )
            for days in (1, 30, 90)
        ]
        for at in (at for end in ends for at in (end - 1, end) if at >= NOW - 1):
            assert rule.holds(read, at) == model(one, at), (text, one, at)


values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters='"”'), min_size=1, max_size=12),
    st.sampled_from(["and", "IS", "never", "12", "2026-01-31", "a,b", "O'Brien", "ﬁn", "İzmir", "x(y)", "Ὦ\u0345"]),
).filter(lambda text: bool(text.strip()))


@given(st.sampled_from(["name", "city"]), st.sampled_from(["is", "is not", "contains"]), values, values)
@settings(max_examples=60, deadline=None)
def test_whatever_stands_in_quotes_is_printed_so_that_it_is_read_again(field: str, how: str, one: str, other: str) -> None:
    for text in (f'{field} {how} "{one}"', f'{field} not in “{one}”, "{other}"'):
        rule = parse(text)
        assert parse(str(rule)) == rule
    assert parse(f'name is "{one}"').holds({"name": one}, NOW)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "tag is press and country in DE, AT, CH",
            All((Text("tag", "is", ("press",)), Text("country", "is", ("DE", "AT", "CH")))),
        ),
        ("LANGUAGE IS FR OR Language is unset", Either((Text("language", "is", ("fr",)), Not(Text("language", "set"))))),
        ("not opened in 90 days", Not(When("opened", "last", 90))),
        ("clicked in last 2 weeks and not tag is vip", All((When("clicked", "last", 14), Not(Text("tag", "is", ("vip",)))))),
        (
            "tag is not a or tag is b and tag is c",
            Either((Not(Text("tag", "is", ("a",))), All((Text("tag", "is", ("b",)), Text("tag", "is", ("c",)))))),
        ),
        ("tag is a and (tag is b and tag is c)", All(tuple(Text("tag", "is", (tag,)) for tag in "abc"))),
        ("country is in IN, IS", Text("country", "is", ("IN", "IS"))),
        ("country is in", Text("country", "is", ("IN",))),
        ("domain is @Bücher.example", Text("domain", "is", ("xn--bcher-kva.example",))),
        ("tag is Straße", Text("tag", "is", ("straße",))),
    ],
)
def test_rules_are_read_as_people_mean_them(text: str, rule: Rule) -> None:
    assert parse(text) == rule and parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "tag is press and (language is unset or country not in DE, AT)",
        'name contains "de la" or never opened',
        "not (opened in the last 1 day or joined since 2026-01-31)",
        "not not confirmed on 2026-01-31",
        "was not sent campaign C-0012 or not opened campaign C-0012 and was sent campaign C-0001",
        'tag in "campaign", "sent", "was"',
    ],
)
def test_a_rule_is_shown_as_it_would_be_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "contry is DE",
            "At character 1 stands “contry”, where a condition such as “tag is press” or “joined after 2026-01-31” was expected: did",
        ),
        ("tag is a nd tag is b", "At character 10 stands “nd”, where “and”, “or” or the end was expected: did you mean “and”?"),
        ("tag iss x", "At character 5 stands “iss”, where “is”, “in”, “contains” or “not” was expected: did you mean “is”?"),
        (
            "opened in 3 dys",
            "At character 13 stands “dys”, where “days”, “weeks”, “day” or “week” was expected: did you mean “days”?",
        ),
        ("city is Cape Town", "A value of several words needs quotes around it."),
        ("country is DE or AT", "To list several values, write: country in DE, AT."),
        ("tag is and", "a word of this language is a value only in quotes."),
        ("tag is", "The rule ends too soon, at character 6: a value, “not”, “set” or “unset” is missing."),
        ("(tag is x", "The rule ends too soon, at character 9: “)” is missing."),
        ('tag is "x', "The quote at character 8 does not end."),
        ('name is " "', "At character 9: there is nothing between the quotes."),
        ("country is Germany", "At character 12, “Germany”: The country must be a code of two letters"),
        ("country is ß", "At character 12, “ß”: The country must be"),
        ("country contains D", "At character 18: a country is a code"),
        ("language is french", "At character 13, “french”: a language is a code"),
        ("tag is a/b", "At character 8, “a/b”: a tag is up to 40"),
        ("domain is ada@example.com", "At character 11, “ada@example.com”: a domain is what follows the @"),
        ("joined on 2026-02-31", "At character 11: 2026-02-31 is not in the calendar."),
        ("opened in 99999999999 days", "At character 11: between 1 and 3,650 days are possible, not 99999999999 days."),
        ("opened campaign", "The rule ends too soon, at character 15: a value is missing."),
        ("was opened", "At character 5 stands “opened”, where “not” or “sent” was expected."),
        ("confirmed campaign C-1", "At character 1: of a campaign write opened, clicked, engaged or was sent."),
        ("opened campaign a_b", "At character 17, “a_b”: write a campaign's ID, such as C-0012."),
        (
            " and ".join(f"clicked campaign C-{n}" for n in range(4)),
            "At character 93: the rule names 4 campaigns, and 3 are the most.",
        ),
        ("opened in 0 days", "between 1 and 3,650 days"),
        (" ", "The rule is empty."),
        ("tag is x" + " " * 2000, "The rule is 2,008 characters long, and 2,000 are the most."),
        ("not " * 21 + "opened", "more than 20 deep"),
        ("(tag is a or tag is b and " * 11 + "tag is c" + ")" * 11, "more than 20 deep"),
    ],
)
def test_a_wrong_rule_is_told_where_it_is_wrong_and_what_belongs_there(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(text)
    assert sentence in str(error.value)


def test_a_window_ends_to_the_millisecond_and_a_machine_hides_only_its_own_week() -> None:
    rule, at = parse("clicked in 1 day"), NOW - DAY
    seen = {"clicks": {week(at): at}}
    assert rule.holds(seen, NOW - 1) and not rule.holds(seen, NOW)
    ever = parse("clicked")
    assert not ever.holds(seen | {"machines": {week(at): at}}, NOW)
    assert ever.holds(seen | {"machines": {week(at): at - 1}}, NOW)
    assert ever.holds(seen | {"machines": {week(at): at + 26 * WEEK}}, NOW)


def test_a_date_is_a_whole_day_in_utc() -> None:
    morning = NOW - NOW % DAY  # 2027-01-15
    around = [{"created_at": at} for at in (morning - 1, morning, morning + DAY - 1, morning + DAY)]
    found = {
        how: [parse(f"joined {how} 2027-01-15").holds(one, NOW) for one in around] for how in ("before", "on", "since", "after")
    }
    assert found["before"] == [True, False, False, False] and found["on"] == [False, True, True, False]
    assert found["since"] == [False, True, True, True] and found["after"] == [False, False, False, True]


def test_a_value_may_hold_a_quote() -> None:
    rule = parse('name is “the "boss"”')
    assert rule.holds({"name": 'The "Boss"'}, NOW) and parse(str(rule)) == rule


def test_the_page_of_the_language_shows_rules_that_can_be_written() -> None:
    _, _, page = (Path(__file__).parents[2] / "docs" / "segments.md").read_text().partition("## What a rule can say")
    table = [line.split("|")[1:4] for line in page.partition("## What it means")[0].splitlines() if line.startswith("| ")][1:]
    examples = [rule for *_, cell in table for rule in re.findall("`([^`]+)`", cell)]
    assert len(examples) >= 14 and len({parse(rule) for rule in examples}) == len(examples)
    named = {field for _, cell, _ in table for field in re.findall("`([^`]+)`", cell)}
    assert named == {*TEXTS, *DATES, "was sent"}


def test_nothing_hostile_gets_further_than_a_sentence() -> None:
    chance = random.Random(1)
    words = [
        "tag",
        "is",
        "not",
        "in",
        "(",
        ")",
        ",",
        '"',
        "“",
        "”",
        "and",
        "or",
        "never",
        "opened",
        "last",
        "3",
        "days",
        "x",
        "\x00",
        "\ud800",
    ]
    said: list[str] = []
    for _ in range(1500):
        try:
            parse(" ".join(chance.choices(words, k=chance.randint(1, 12))))
        except BadInput as error:
            said.append(str(error))
    assert len(said) > 1400 and max(map(len, said)) < 400
    deep = "(" * 990 + "tag is x" + ")" * 990
    assert str(parse(deep)) == "tag is x"
    assert combined(All, [parse("tag is a"), parse("tag is b and tag is c")]) == parse("tag is a and tag is b and tag is c")
