"""`make bench`: every bench in turn, one table, one file. Exit status 1 when a goal is not met, a mail went astray, the two stores
differ or, under STRICT=1, something that is to be measured cannot be had; else 0."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console

from local.emulators import Emulators, emulators, missing

from . import connections, imports, operations, report, requests, sending, single, sink, stage
from .peers import sides
from .report import Row


def main() -> int:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)  # this stdout, also while it is redirected
    try:
        rows = _rows(console)
    except AssertionError as error:
        console.print(f"[bold red]The bench cannot be trusted:[/] {error}")
        return 1
    report.show(rows, console)
    report.save(rows)
    return 1 if any(row.met is False for row in rows) else 0


def _rows(console: Console) -> list[Row]:
    rows: list[Row] = []
    peers = sides.available(partial(report.left_out, console=console))
    with sink.running() as drain, _google(console) as google:
        parts: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
            ("campaigns into a sink, and the sending path beside its peers", lambda: sending.run(drain, google, peers)),
            ("many connections, and TLS", lambda: connections.run(drain)),
            ("one message, from trigger to acceptance", single.run),
            ("operations, counted", lambda: operations.run(drain, google)),
            ("CPU a request", lambda: requests.run(google)),
            ("cold starts", imports.run),
        )
        for name, part in parts:
            console.print(f"[dim]{name} …[/]", end="")
            started = time.monotonic()
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # the steps' own log
                rows += part()
            console.print(f" [dim]{time.monotonic() - started:.0f} s[/]")
    return rows


@contextlib.contextmanager
def _google(console: Console) -> Iterator[Emulators | None]:
    """Google's emulators; None, and a line that says so, where they are not installed."""
    if lacking := missing():
        report.left_out(f"Only the embedded stack is measured, nothing of Google's. {lacking}", console)
        yield None
        return
    with stage.folder() as folder, emulators(folder) as running:
        yield running


if __name__ == "__main__":
    sys.exit(main())
