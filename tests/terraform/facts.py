"""What the code says about its deployment, for the checks of terraform/: read from the code itself, and from what the steps were seen
calling while the tests ran (calls.json). Nothing here is read from terraform/."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_type_hints

from local import stacks
from local.steps import PUSHED, STEPS, TICKED, subscriptions
from shared.logs import METRICS, Metric
from shared.model.event import Event
from shared.model.paths import Paths
from tests.house.table import steps, words

ROOT = Path(__file__).parents[2]
CALLS = Path(__file__).parent / "calls.json"
# file, field -> collection; by hand, because the path is given by whoever writes what the function makes
_EXPIRING = {
    ("shared/model/batch.py", "expires_at"): "batches",
    ("functions/webhooks/handler.py", "expires_at"): "callbacks",
    ("functions/send_batch/limits.py", "expires_at"): "limits",
    ("functions/notify/tally.py", "expires_at"): "minutes",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Calls:
    """What one step calls. `queries`: collection, field, and how it is asked for, as an index names it; `store`, `objects`: verbs as
    in Google's permissions."""

    store: frozenset[str]
    queries: frozenset[tuple[str, str, str]]
    objects: frozenset[str]
    secrets: frozenset[str]
    publishes: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """`triggers`: step -> HTTP, tick, or the topic it consumes; `configs`: step -> its settings' class; `expiring`: collection -> the
    field with an Expiry; `ack_deadline`: seconds; `rows`: README's table, step -> trigger, consumed and published topics; `columns`: of
    an event, each field as BigQuery names it, its type and its mode."""

    calls: Mapping[str, Calls]
    triggers: Mapping[str, str]
    configs: Mapping[str, type]
    topics: frozenset[str]
    collections: frozenset[str]
    expiring: Mapping[str, str]
    ack_deadline: float
    metrics: Mapping[str, Metric]
    rows: Mapping[str, tuple[str, set[str], set[str]]]
    columns: Sequence[tuple[str, str, str]]

    @property
    def public(self) -> list[str]:
        return [step for step, trigger in self.triggers.items() if trigger == "HTTP"]

    @property
    def ticked(self) -> list[str]:
        return [step for step, trigger in self.triggers.items() if trigger == "tick"]

    @property
    def pushed(self) -> dict[str, str]:
        return {step: trigger for step, trigger in self.triggers.items() if trigger not in ("HTTP", "tick")}

    def without(self, steps: Collection[str]) -> Facts:
        """Of a deployment that leaves these out."""

        def less(of_steps: Mapping[str, T]) -> dict[str, T]:
            return {step: fact for step, fact in of_steps.items() if step not in steps}

        return replace(
            self, calls=less(self.calls), triggers=less(self.triggers), configs=less(self.configs), rows=less(self.rows)
        )


def facts(calls: Path = CALLS) -> Facts:
    """Imports every step, which takes seconds."""
    return Facts(
        calls={step: _calls(seen) for step, seen in json.loads(calls.read_text()).items()},
        triggers={step: PUSHED.get(step, "tick" if step in TICKED else "HTTP") for step in STEPS},
        configs={step: _config(step) for step in STEPS},
        topics=frozenset(_topics()),
        collections=frozenset(_collections()),
        expiring=dict(_expiring()),
        ack_deadline=_ack_deadline(),
        metrics=METRICS,
        rows={step: (row[1], words(row[2]), words(row[3])) for step, row in steps().items()},
        columns=list(_columns()),
    )


def _calls(seen: Mapping[str, Sequence[str]]) -> Calls:
    queries = set()
    for query in seen["queries"]:
        asked: Mapping[str, str | None] = query  # type: ignore[assignment]
        for how, index in (("equals", "ASCENDING"), ("contains", "CONTAINS")):
            if name := asked.get(how):
                queries.add((str(asked["collection"]), name, index))
    return Calls(
        *(frozenset(seen["store"]), frozenset(queries)),
        *(frozenset(seen[kind]) for kind in ("objects", "secrets", "publishes")),
    )


def _config(step: str) -> type:
    """What `settings` of the step's main.py returns."""
    settings = importlib.import_module(f"functions.{step}.main").settings
    found: type = get_type_hints(settings.__wrapped__)["return"]
    return found


def _topics() -> Iterator[str]:
    for file in (ROOT / "shared" / "model").glob("*.py"):
        if topic := getattr(importlib.import_module(f"shared.model.{file.stem}"), "TOPIC", None):
            yield topic


def _collections() -> Iterator[str]:
    """Of every path that `Paths` knows."""
    paths = Paths("t")
    for name, member in inspect.getmembers(Paths):
        if name.startswith("_") or name == "tenant_id":
            continue
        if isinstance(member, property):
            path = getattr(paths, name)
        else:
            path = member(paths, *["x"] * (len(inspect.signature(member).parameters) - 1))
        yield from path.split("/")[::2]


def _expiring() -> Iterator[tuple[str, str]]:
    """Each `{"field": Expiry(…)}` of the product's code."""
    for file in sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else []:
                if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Expiry":
                    assert isinstance(key, ast.Constant)
                    yield _EXPIRING[str(file.relative_to(ROOT)), str(key.value)], str(key.value)


def _columns() -> Iterator[tuple[str, str, str]]:
    """What has a default is left out of a message, so its column may be empty."""
    kinds = {int: "INTEGER", bool: "BOOLEAN"}
    hints = get_type_hints(Event)
    for field in dataclasses.fields(Event):
        yield (
            field.name,
            kinds.get(hints[field.name], "STRING"),
            "REQUIRED" if field.default is dataclasses.MISSING else "NULLABLE",
        )


def _ack_deadline() -> float:
    plan = stacks.Plan(Path(), "", STEPS, subscriptions(""), lambda _: "")
    return min(subscription.ack_deadline for subscription in plan.subscriptions(lambda _: ""))
