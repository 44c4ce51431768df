"""What a drive of the demo has seen, added to the audit's findings and shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from local.audit import Findings

# A terminal has 80 columns; the twin's grid shows all.
LEFT_OUT = frozenset({"Template", "Segment", "Wanted", "Preflight", "Expected", "Failed", "Unsubscribed"})


def finish(findings: Findings, found: Mapping[str, Any], started: float) -> None:
    """Add what only the drive knows: the import's answers against the file's own expectations, the forgeries, the time."""
    answers: dict[str, str] = found["answers"]
    good = {id for id, answer in answers.items() if answer.startswith(("Imported", "Updated"))}
    wanted = {f"I-{n:04d}" for n, contact in enumerate(found["contacts"], 1) if contact["Expect"] == "imported"}
    findings.totals |= {"imported": len(good), "rejected": len(answers) - len(good)}
    findings.totals["seconds"] = round(time.monotonic() - started, 1)
    findings.check(
        "each imported row has the answer that the file expects",
        good == wanted,
        f"{len(good)} in, {len(answers) - len(good)} out",
    )
    forged = found["forged"]
    findings.check("a forged click is refused", forged.get("click") == 404, str(forged.get("click")))
    findings.check("a forged push is refused", forged.get("push") in (401, 403), str(forged.get("push")))
    statuses, changed = found["trespasses"]
    findings.check(
        "a push straight at a step, without a token or with a forged one, is refused and changes nothing",
        statuses == [401, 401] and not changed,
        ", ".join(map(str, statuses)),
    )
    findings.check("five left", findings.totals["unsubscribed"] == 5, str(findings.totals["unsubscribed"]))


def show(findings: Findings, found: Mapping[str, Any], out: Console, last: str) -> None:
    """Print the Sheet's tabs, the checks and a last line."""
    for tab, rows in found["tabs"].items():
        filled = [row for row in rows[1:] if len(row) > 1 and any(row[1:])]
        out.print(_table(tab, rows[0], filled))
    out.print("[bold]Audit, from the raw stores[/]")
    for line in findings.checks:
        out.print(f"  [{'green' if line.startswith('ok') else 'red'}]{line}[/]", soft_wrap=True)
    out.print(last, soft_wrap=True)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    shown = [at for at, name in enumerate(header) if name not in LEFT_OUT]
    used = [at for at in shown if any(len(row) > at and row[at] for row in rows)]
    for at in used:
        table.add_column(header[at], overflow="fold")
    for row in rows:
        table.add_row(*[row[at] if at < len(row) else "" for at in used])
    return table
