"""Hostile templates are refused with a sentence or come out harmless, within the time and memory there is. `python -m tests.hostile`
tries all of them; here go the small ones, with a part of the time. Of the kernel's limits, each is reached once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import BadInput, BadTemplate
from shared.mail import confined
from shared.mail.source import Source
from tests.house.imports import ROOT

from .corpus import hostile
from .trial import IDENTITY, LINKS


def in_a_process_of_its_own(code: str) -> Any:
    """What `code` prints, as JSON: a process of one thread can fork."""
    names = "from shared.mail import confined, sandbox\nfrom tests.hostile.corpus import *\nfrom tests.hostile.trial import *"
    script = f"import json\n{names}\n{code}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcomes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = in_a_process_of_its_own(
        "sandbox.MAX_SECONDS /= 20\nconfined.warm()\n"
        "small = [one for n, one in enumerate(hostile()) if n % 14 < 5 and len(one.data) < 4_000]\n"
        "shown = [{'what': repr(o.hostile), 'fault': o.fault or o.ended, 'sentence': o.sentence} for o in tried(small, ours)]\n"
        "print(json.dumps(shown))"
    )
    return found


def test_none_is_there_twice() -> None:
    """The table counts them by what they are."""
    every = list(hostile())
    assert len({*every}) == len(every) > 1000


def test_no_hostile_template_does_harm(outcomes: list[dict[str, Any]]) -> None:
    assert len(outcomes) > 250
    assert [one for one in outcomes if one["fault"]] == []


def test_most_are_refused(outcomes: list[dict[str, Any]]) -> None:
    assert sum(bool(one["sentence"]) for one in outcomes) > len(outcomes) * 0.6


def test_a_process_without_the_limits_lets_them_through() -> None:
    templates = ["{{ ''.__class__ }}", "{{ '{0.__class__}'.format(1) }}", "{{ '%1000000000d' % 1 }}", "{{ 'a' * 10**9 }}"]
    faults = in_a_process_of_its_own(
        f"made = [Hostile('control', 'x.txt', one.encode()) for one in {templates!r}]\n"
        "print(json.dumps([one.fault or one.ended for one in tried(made, plain, cpu=1)]))"
    )
    assert ["a leak" in fault for fault in faults[:2]] == [True, True]
    assert faults[2:] == ["the template needs too much memory"] * 2


# --- the process of its own -------------------------------------------------------------------------------------------


def source(body: str, **changes: Any) -> Source:
    given: dict[str, Any] = {
        "name": "x.md",
        "data": body.encode(),
        "campaign": "C-0001",
        "identity": IDENTITY,
        "subject": "Hello",
    }
    return Source(**(given | changes))


def test_a_good_template_comes_back_with_its_links() -> None:
    made = confined.compile(source("{{ name }} [a](https://x.example/1) [b](https://x.example/2)"), LINKS, frozenset())
    assert made.links == [(0, "https://x.example/1"), (1, "https://x.example/2")]


def test_a_bad_template_comes_back_with_its_sentence() -> None:
    with pytest.raises(
        BadTemplate, match=r"^The template, line 2: no recipient has a value called “tag”; did you mean “tags”\.$"
    ):
        confined.compile(source("a\n{{ tag }}"), LINKS, frozenset({"tags"}))
    with pytest.raises(BadTemplate, match="no recipient has a value called “confirm_url”"):
        confined.compile(source("{{ confirm_url }}"), LINKS, frozenset(), frozenset())
    assert confined.compile(source("{{ confirm_url }}"), LINKS, frozenset())


def test_what_is_no_fault_of_the_template_is_told_apart() -> None:
    with pytest.raises(BadInput) as caught:
        confined.compile(source("a", identity=replace(IDENTITY, list_domain="not a domain")), LINKS)
    assert type(caught.value) is BadInput


ENDS = {
    "lambda: b'x' * 10**9": "the template needs too much memory",
    "os.abort": "the template needs too much memory",
    "lambda: sum(range(10**10))": "the template takes too long",
    "lambda: 1 / 0": "the template cannot be read by our program: simplify it, or ask your operator to look at the log",
    "lambda: b'done'": "",
}


def test_the_kernel_ends_what_the_meter_cannot_see() -> None:
    works = ", ".join(ENDS)
    died = in_a_process_of_its_own(
        f"import os, time\nended = [confined.confined(work, cpu=1).died for work in ({works})]\n"
        "ended.append(confined.confined(lambda: time.sleep(9), wall=1).died)\nprint(json.dumps(ended))"
    )
    assert died == [*ENDS.values(), "the template takes too long"]
