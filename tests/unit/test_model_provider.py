"""The setting PROVIDERS: what it says, and what it cannot say."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from shared.errors import ConfigError
from shared.model.provider import GROUPS, Provider, parse

ONE = {"name": "ses-main", "kind": "ses"}


def test_a_provider_has_defaults() -> None:
    [found] = parse(json.dumps([ONE]))
    assert found == Provider("ses-main", "ses") and not found.limited
    assert found.takes("anything.example", True) and found.takes("anything.example", False)


def test_everything_can_be_said() -> None:
    given = {
        **ONE,
        "options": {"region": "eu-west-1"},
        "weight": 2.5,
        "rate": 14,
        "daily": 50000,
        "domains": ["gmail.com", "*.fr"],
        "engaged": "lapsed",
        "warm_up": "2026-12-01",
    }
    [found] = parse(json.dumps([given]))
    assert found == Provider(
        "ses-main", "ses", {"region": "eu-west-1"}, 2.5, 14, 50000, ("gmail.com", "*.fr"), "lapsed", date(2026, 12, 1)
    )
    assert found.limited
    assert [found.takes(domain, False) for domain in ("gmail.com", "a.fr", "b.a.fr", "fr", "xfr", "mail.gmail.com")] == [
        *(True, True, True, False, False, False)
    ]
    assert not found.takes("gmail.com", True)


@pytest.mark.parametrize("limit", [{"rate": 1}, {"daily": 1}, {"warm_up": "2026-12-01"}])
def test_a_limit_makes_it_limited(limit: dict[str, Any]) -> None:
    assert parse(json.dumps([{**ONE, **limit}]))[0].limited
    assert not parse(json.dumps([{**ONE, "warm_up": None, "rate": 0}]))[0].limited


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("{", "PROVIDERS is not JSON"),
        ("{}", "a list of at least one"),
        ("[]", "a list of at least one"),
        ('["ses"]', "must be an object with name and kind"),
        ([{"kind": "ses"}], "a name is lower-case"),
        ([{"name": "Ses", "kind": "ses"}], "a name is lower-case"),
        ([{"name": "ses"}], "ses: kind is missing"),
        ([ONE, ONE], "a name of its own"),
        ([{**ONE, "wieght": 1}], "there is no setting 'wieght'"),
        ([{**ONE, "options": {"port": 25}}], "options must be texts by name"),
        ([{**ONE, "options": []}], "options must be texts by name"),
        *(
            ([{**ONE, name: value}], f"{name} must be a number")
            for name in ("weight", "rate", "daily")
            for value in (-1, "1", True)
        ),
        ([{**ONE, "domains": ["Gmail.com"]}], "lower-case domains"),
        ([{**ONE, "domains": "gmail.com"}], "lower-case domains"),
        ([{**ONE, "engaged": "all"}], "engaged must be one of any, engaged, lapsed"),
        ([{**ONE, "warm_up": "soon"}], "warm_up must be its first day"),
        ([{**ONE, "warm_up": 5}], "warm_up must be its first day"),
    ],
)
def test_what_is_wrong_is_said(given: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(given if isinstance(given, str) else json.dumps(given))


def test_a_domain_is_in_one_group() -> None:
    domains = [domain for group in GROUPS.values() for domain in group]
    assert len(domains) == len(set(domains)) and all(domain == domain.lower() for domain in domains)
