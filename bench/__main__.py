"""`make bench`: every bench in turn, one table, one file. Exit status 1 when a goal is not met, a mail went astray or the two stores
differ, else 0."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from rich.console import Console

from local.emulators import Emulators, emulators, missing

from . import imports, operations, report, requests, sending, sink, stage
from .report import Row


def main() -> int:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)  # this stdout, also while it is redirected
    rows: list[Row] = []
    with sink.running() as drain, _google(console) as google:
        parts: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
            ("campaigns into a sink, and their peer", lambda: sending.run(drain, google)),
            ("operations, counted", lambda: operations.run(drain, google)),
            ("CPU a request", lambda: requests.run(google)),
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


@contextlib.contextmanager
def _google(console: Console) -> Iterator[Emulators | None]:
    """Google's emulators; None, and a line that says so, where they are not installed."""
    if lacking := missing():
        console.print(f"[yellow]Only the embedded stack is measured, nothing of Google's.[/] {lacking}")
        yield None
        return
    with stage.folder() as folder, emulators(folder) as running:
        yield running


if __name__ == "__main__":
    sys.exit(main())
