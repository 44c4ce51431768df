"""The metrics that are documented, declared and written are the same ones."""

from __future__ import annotations

import pytest

from shared.logs import METRICS

from .table import ROOT, read, rows, words


def test_the_page_lists_every_metric() -> None:
    listed = rows(read("docs/observability.md"), "Metric")
    shown = {name.strip("`"): (unit, words(labels), what) for name, unit, labels, what in listed}
    assert shown == {name: (metric.unit, set(metric.labels), metric.description) for name, metric in METRICS.items()}


@pytest.mark.parametrize(
    "name", [name for name in METRICS if not name.startswith("mails_")]
)  # those are made of the ledger's states
def test_every_metric_is_written_by_somebody(name: str) -> None:
    files = [file for folder in ("functions", "shared") for file in (ROOT / folder).rglob("*.py") if file.name != "logs.py"]
    assert any(f'"{name}"' in file.read_text("utf-8") for file in files)
