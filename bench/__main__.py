"""`make bench`: every bench in turn, one table, one file. Exit status 1 when a goal is not met or a mail went astray, else 0."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from rich.console import Console

from . import imports, operations, report, requests, sending, sink
from .report import Row


def main() -> int:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)  # this stdout, also while it is redirected
    rows: list[Row] = []
    with sink.running() as drain:
        parts: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
            ("campaigns into a sink, and their peer", lambda: sending.run(drain)),
            ("operations, counted", lambda: operations.run(drain)),
            ("CPU a request", requests.run),
            ("cold starts", imports.run),
        )
        for name, part in parts:
            console.print(f"[dim]{name} …[/]")
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # the steps' own log
                try:
                    rows += part()
                except AssertionError as error:
                    console.print(f"[bold red]The bench cannot be trusted:[/] {error}")
                    return 1
    report.show(rows, console)
    report.save(rows)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
