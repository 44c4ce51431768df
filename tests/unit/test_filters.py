"""Dates, numbers and sums of money are written as the mail's language does, for each reader as for all, or a sentence says why not."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from shared.errors import BadTemplate
from shared.mail import filters
from shared.mail.compile import Recipient, compile
from shared.mail.program import Unworkable
from shared.mail.sandbox import Meter

from .test_splice_property import DATE, LINKS, contents, parsed, recipient, source

NARROW, HARD = "\u202f", "\xa0"  # the spaces that CLDR uses


def shown(body: str, name: str = "x.txt", to: Recipient | None = None, **changes: Any) -> tuple[str, str, str]:
    """(subject, text, HTML) as a reader sees them."""
    mail = compile(source(body, name, **({"subject": "Subject", "bulk": False} | changes)), LINKS)
    return contents(parsed(mail.splice(to or recipient({}), DATE)))


@pytest.mark.parametrize(
    ("language", "expression", "expected"),
    [
        ("en", "'2027-01-15' | date", "Jan 15, 2027"),
        ("de", "'2027-01-15' | date('long')", "15. Januar 2027"),
        ("fr", "'2027-01-15T23:30:00Z' | date('full')", "vendredi 15 janvier 2027"),
        ("en-GB", "' 2027-01-15 ' | date('short')", "15/01/2027"),
        ("en", "1234.5 | number", "1,234.5"),
        ("fr", "'1234567.5' | number", f"1{NARROW}234{NARROW}567,5"),
        ("pt-BR", "-1234 | number", "-1.234"),
        ("de", "(0.1 + 0.2) | number", "0,3"),
        ("en", '9.9 | currency("EUR")', "€9.90"),
        ("de-AT", '"1234.5" | currency("EUR")', f"€{HARD}1.234,50"),
        ("fr-CA", '9.9 | currency("CAD")', f"9,90{HARD}$"),
        ("ja", '1200 | currency("JPY")', "\uffe51,200"),
        ("zh-Hant-TW", "'2027-01-15' | date", "2027年1月15日"),
        ("tlh", "1234.5 | number", "1,234.5"),
        ("de-XX", "1234.5 | number", "1.234,5"),
    ],
)
def test_each_language_writes_its_own_way(language: str, expression: str, expected: str) -> None:
    _, text, _ = shown(f"Start {{{{ {expression} }}}}.", f"x.{language}.txt")
    assert text.strip() == f"Start {expected}."


@pytest.mark.parametrize("name", ["x.fr.html", "x.fr.md", "x.fr.txt"])
def test_a_value_of_each_reader_is_written_as_in_a_mail_of_their_own(name: str) -> None:
    src = source(
        "Start {{ day | date('long') }}, {{ points | number }}, {{ points | currency('EUR') }}"
        "{% for tag in tags %} {{ tag | number }}{% endfor %}{% if points | number == '5' %} five{% endif %}",
        name,
        subject="{{ points | currency('EUR') }} until {{ day | date }}",
    )
    mail = compile(src, LINKS)
    people = [
        recipient({"day": "2027-01-15", "points": 1234.5, "tags": ["1.5", "2000"]}, 1),
        recipient({"day": "2028-02-29T10:00", "points": "5", "tags": []}, 2),
        recipient({"points": None, "day": ""}, 3),
    ]
    found = [mail.splice(to, DATE) for to in people]
    assert found == [compile(src, LINKS).splice(to, DATE) for to in people]
    subjects, texts, _ = zip(*(contents(parsed(data)) for data in found), strict=True)
    assert subjects == ("1 234,50 € until 15 janv. 2027", "5,00 € until 29 févr. 2028", "until")
    assert f"15 janvier 2027, 1{NARROW}234,5, 1{NARROW}234,50{HARD}€ 1,5 2{NARROW}000" in texts[0]
    assert f"29 février 2028, 5, 5,00{HARD}€ five" in texts[1]
    assert "Start , ," in texts[2]


def test_dates_and_numbers_themselves_are_taken() -> None:
    meter = Meter()
    made = filters.of_language("en", meter)
    assert made["date"](date(2027, 1, 15)) == "Jan 15, 2027"
    assert made["number"](Decimal("2.50")) == "2.5"
    assert made["currency"](1, "USD") == "$1.00"
    assert meter.work == 3, "loops over them end"


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("'15.1.2027' | date", "“15.1.2027” is not a date such as 2027-01-15"),
        ("20270115 | date", "this is not a date such as 2027-01-15"),
        ("'2027-01-15' | date('tiny')", "a date is short, medium, long or full"),
        ("'1,5' | number", "“1,5” is not a number such as 1234.5"),
        ("'٣' | number", "“٣” is not a number such as 1234.5"),
        ("true | number", "this is not a number such as 1234.5"),
        ("[1] | number", "this is not a number such as 1234.5"),
        ("1e15 | number", "this is not a number such as 1234.5"),
        ("9.9 | currency('Euro')", "“Euro” is not a currency such as EUR"),
        ("9.9 | currency(978)", "this is not a currency such as EUR"),
    ],
)
def test_what_is_no_date_or_number_gets_a_sentence(expression: str, sentence: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        shown(f"Start\n{{{{ {expression} }}}}")
    assert str(caught.value) == f"The template, line 2: this cannot be worked out ({sentence})."


def test_a_readers_own_value_that_is_none_stops_their_mail_only() -> None:
    mail = compile(source("Start {{ day | date }}"), LINKS)
    with pytest.raises(Unworkable, match="“soon” is not a date such as 2027-01-15"):
        mail.splice(recipient({"day": "soon"}), DATE)
    assert "Jan 15, 2027" in contents(parsed(mail.splice(recipient({"day": "2027-01-15"}), DATE)))[1]


def test_who_uses_none_of_them_does_not_load_babel() -> None:
    asked = "import sys, shared.mail.compile; sys.exit('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], timeout=60).returncode == 0
