"""A step that a reader or a mail waits for starts quickly: what is heavy, and not its trade, is not imported, on Google either.

Each step's `main.py` and the adapters it opens on Google are imported in an interpreter of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from bench.imports import HOT, TICKS, main, on_google

from .imports import ROOT, STEPS

# What a module adds to a bare hello, in ms where that hello takes 129 (docs/benchmarks.md: "What was tried"), and whose trade it is.
READERS = {"subscribe", "track"}  # they locate addresses
STORED = {"subscribe", "unsubscribe", "record", "send_batch"}
PUBLISHING = {"subscribe", "unsubscribe", "track", "webhooks", "send_batch"}
FORBIDDEN: dict[str, set[str]] = {
    "googleapiclient": set(),
}
OFFICIAL = ("google.api_core", "google.auth", "google.protobuf", "grpc", "requests", "cryptography")
_LOADED = """
import json, sys
before = __import__(sys.argv[1]) and list(sys.modules)
for name in sys.argv[2:]:
    __import__(name)
print(json.dumps([before, list(sys.modules)]))
"""


@cache
def _loaded(step: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules after importing main.py, and once its Google adapters are imported as well."""
    command = [sys.executable, "-c", _LOADED, main(step), *on_google(step)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    start, ready = json.loads(done.stdout)
    return frozenset(start), frozenset(ready)


def test_every_step_is_either_hot_or_a_tick() -> None:
    assert sorted([*HOT, *TICKS]) == STEPS


def test_adapters_are_those_of_the_ports_that_a_step_opens() -> None:
    assert on_google("record") == ["shared.adapters.firestore"]
    assert {"shared.adapters.pubsub", "shared.adapters.secret_manager"} <= set(on_google("track"))
    assert "shared.adapters.firestore" not in on_google("track")
    assert {"shared.adapters.cloud_storage", "google.cloud.storage"} <= {*on_google("send_batch"), *_loaded("send_batch")[1]}


@pytest.mark.parametrize("step", HOT)
def test_a_hot_step_imports_nothing_heavy_that_is_not_its_trade(step: str) -> None:
    _, ready = _loaded(step)
    assert sorted(module for module, trade in FORBIDDEN.items() if module in ready and step not in trade) == []


@pytest.mark.parametrize("step", HOT)
def test_a_hot_step_can_take_a_request_before_any_client_of_google_is_imported(step: str) -> None:
    start, ready = _loaded(step)
    assert sorted(module for module in OFFICIAL if module in start) == []
    assert set(OFFICIAL) & ready, "its adapters are imported afterwards"


def test_nothing_is_allowed_to_a_step_that_does_not_use_it() -> None:
    unused = {(module, step) for module, trade in FORBIDDEN.items() for step in trade if module not in _loaded(step)[1]}
    assert unused == set()
