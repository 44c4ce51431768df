"""`python -m local run` serves the twin until Ctrl-C; `python -m local demo` drives one to the end and audits it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Chosen = Annotated[
    Literal["embedded", "emulators"], typer.Option(envvar="STACK", help="What the twin stands on; see local/stacks.py.")
]
COLLECTED = 50_000, 20, 100  # more objects than the requests of a thousand people make
TURN = 0.0005  # seconds until a thread of the store gets its turn; ten times as long by default, for each statement
KEPT = {"embedded": "nothing is lost", "emulators": "the emulators keep nothing, the next start is from scratch"}


@app.command()
def run(
    state: Annotated[Path, typer.Option(help="The folder that holds everything the twin knows.")] = Path(".twin/run"),
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535)] = 8080,
    tick: Annotated[float, typer.Option(help="Seconds between ticks.")] = 3.0,
    smtp_delay: Annotated[
        int, typer.Option(envvar="TWIN_SMTP_DELAY_MS", help="How long the mailbox takes to accept a mail.")
    ] = 0,
    until_eof: Annotated[bool, typer.Option(help="End when standard input closes.")] = False,
    stack: Chosen = "embedded",
) -> None:
    """Serve the whole product on http://127.0.0.1:PORT until Ctrl-C."""
    from rich.console import Console

    from local import stacks
    from local.environments import Broken
    from local.server import Busy, Twin
    from local.steps import STEPS

    console = os.fdopen(os.dup(1), "w", buffering=1)
    try:
        stacks.prepare(stack, STEPS, Console(file=console, highlight=False))
        twin = Twin(state, port, tick, smtp_delay, stack)
    except (Broken, Busy) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    errors = os.fdopen(os.dup(2), "w", buffering=1)
    log = (state / "twin.log").open("ab", buffering=0)
    os.dup2(log.fileno(), 1)  # the steps log to standard output, as on Cloud Run
    os.dup2(log.fileno(), 2)

    def ready() -> None:
        gc.freeze()  # else a crowd of a thousand is half as fast: all that is imported is looked through again and again
        gc.set_threshold(*COLLECTED)
        sys.setswitchinterval(TURN)
        print(f"Subscriber Pipeline, local twin: {twin.url}", file=console)
        print(f"State and log: {state}. Ctrl-C ends it; {KEPT[stack]}.", file=console)

    async def main() -> None:
        if until_eof:
            loop = asyncio.get_running_loop()
            threading.Thread(target=_at_eof, args=(lambda: loop.call_soon_threadsafe(twin.stop),), daemon=True).start()
        await twin.run(ready)

    try:
        uvloop.run(main())
    except Broken as error:
        print(error, file=errors)
        raise typer.Exit(1) from None


def _at_eof(act: Callable[[], object]) -> None:
    """Wait for the end of standard input, past Python's own buffers: their lock would abort an interpreter that is shutting down."""
    while os.read(0, 1024):
        continue
    act()


@app.command()
def demo(
    state: Annotated[Path, typer.Option(help="The demo's own folder; made anew unless RESUME=1.")] = Path(".twin/demo"),
    resume: Annotated[bool, typer.Option(envvar="RESUME", help="Continue where an interrupted demo stopped.")] = False,
    smtp_delay: Annotated[int, typer.Option(envvar="TWIN_SMTP_DELAY_MS")] = 0,
    stack: Chosen = "embedded",
) -> None:
    """Run the product's main job end to end, and audit it from the raw stores."""
    from local.demo import main

    raise typer.Exit(asyncio.run(main(state, resume, smtp_delay, stack)))


if __name__ == "__main__":
    app()
