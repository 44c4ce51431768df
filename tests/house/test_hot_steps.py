"""A step that a reader or a mail waits for starts quickly: what is heavy, and not its trade, is not imported, on Google either.

Each step's `main.py` and the adapters it opens on Google are imported in an interpreter of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from bench.imports import BEHIND, HOT, at_start, on_google

from .imports import ROOT, STEPS

LOCATING = {"subscribe", "track"}
STORING = {"subscribe", "unsubscribe", "live", "archive", "record", "notify", "send_batch", "webhooks"}
TELLING = {"subscribe", "unsubscribe", "track", "webhooks", "send_batch"}  # they publish, and read secrets
SENDING = {"send_batch"}
# Module -> the steps whose trade it is. Beside it: ms that it adds to a bare hello, where that takes 129, counted by `python -m
# bench.weigh "import …"` (what two of them share is in both); those in brackets are not installed, and from CPU time.
FORBIDDEN: dict[str, set[str]] = {
    "google.cloud.firestore_admin_v1": set(),  # 252
    "google.cloud.pubsub_v1": set(),  # 147: the batching client, with a thread and a timer
    "google.cloud.firestore_v1": STORING,  # 143
    "google.pubsub_v1": TELLING,  # 136
    "google.cloud.secretmanager_v1": {*TELLING, "live", "archive", "notify"},  # 117
    "google.cloud.storage": {*SENDING, "webhooks", "archive"},  # 109
    "googleapiclient": set(),  # 72
    "google.cloud.logging": set(),  # (431)
    "babel": set(),  # 25, and up to 25 more for each language: with the first filter that wants it
    "numpy": set(),  # (with scipy 577)
    "aiohttp": set(),  # 122
    "httpx": set(),  # 37
    "pydantic": set(),  # 17, and 60 to 160 with models
    "opentelemetry.sdk": set(),  # 11
    "email_validator": {"subscribe"},  # 41
    "markdown_it": SENDING,  # 15
    "aiosmtplib": set(),  # 6: with the first connection of a provider that speaks it
    "css_inline": SENDING,  # 1, and 4 MB of image
    "crawleruseragents": {"track"},  # 5
    "maxminddb": LOCATING,  # 5
    "sqlite3": set(),  # 1: the embedded stack
    "shared.adapters.embedded": set(),
    "hypothesis": set(),  # 56
    "pytest": set(),  # 45
    "rich": set(),  # 13
    "typer": set(),  # 11
    "local": set(),  # the twin
    "bench": set(),
}
OFFICIAL = ("google.api_core", "google.auth", "google.protobuf", "grpc", "requests", "cryptography")
_LOADED = """
import json, sys
exec(sys.argv[1])
start = list(sys.modules)
for statement in sys.argv[2:]:
    exec(statement)
print(json.dumps([start, list(sys.modules)]))
"""


@cache
def _loaded(step: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules after importing main.py, and once its Google adapters are imported as well."""
    command = [sys.executable, "-c", _LOADED, at_start(step), *on_google(step)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    start, ready = json.loads(done.stdout)
    return frozenset(start), frozenset(ready)


def test_every_step_is_either_hot_or_a_tick() -> None:
    assert sorted([*HOT, *BEHIND]) == STEPS


def test_adapters_are_those_of_the_ports_that_a_step_opens() -> None:
    clock, store = "from shared.adapters.system_clock import SystemClock", "from shared.adapters.firestore import Firestore"
    assert on_google("record") == [clock, store]
    assert {"shared.adapters.pubsub", "shared.adapters.secret_manager"} <= _loaded("track")[1]
    assert "shared.adapters.firestore" not in _loaded("track")[1]
    assert {"shared.adapters.cloud_storage", "google.cloud.storage"} <= _loaded("send_batch")[1]


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
