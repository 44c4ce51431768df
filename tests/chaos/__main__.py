"""`make chaos`: workers are killed (-9) at twelve points, twenty times each, while campaigns run on the embedded store and on Google's
Firestore emulator, and so are two other ways of sending. Writes .twin/chaos.json; exit status 1 when a mail was lost or repeated, when
a kill left more than its window unknown, or when a control was not caught."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from local.emulators import emulators, missing

from . import summary
from .points import POINTS
from .trial import Trial
from .worker import Role

OUT = Path(".twin/chaos.json")
WIDTH = 120  # characters of the tables, where the output is no terminal
SENDERS: tuple[Role, ...] = ("ours", "checkpoint at fetch", "create() claim")


@contextlib.contextmanager
def stores(folder: Path) -> Iterator[list[str]]:
    """ "" for the embedded store, and the emulator's host:port where there is one. Ends the run under STRICT=1 where there is none."""
    if lacking := missing(["firestore"]):
        print(f"Left out: the trials on the Firestore emulator. {lacking}", file=sys.stderr)
        if os.environ.get("STRICT") == "1":
            sys.exit(1)
        yield [""]
        return
    with emulators(folder / "emulators", ["firestore"]) as running:
        yield ["", running.firestore]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at each point, on each store")
    parser.add_argument("--recipients", type=int, default=900, help="of each campaign")
    parser.add_argument("--at-once", type=int, default=4, help="trials side by side")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    OUT.unlink(missing_ok=True)
    console, started = Console(), time.monotonic()
    console.width = max(console.width, WIDTH)
    console.print(f"{len(POINTS)} points, {given.kills} kills at each, on each store (seed {given.seed}): some minutes.")
    with TemporaryDirectory(prefix="chaos-") as name, stores(Path(name)) as hosts:
        trials = [
            Trial(
                point=point,
                firestore=host,
                role=role,
                kills=given.kills,
                recipients=given.recipients,
                seed=given.seed + number,
            )
            for role in SENDERS
            for number, point in enumerate(POINTS)
            for host in hosts
        ]
        results = asyncio.run(summary.run_all(trials, Path(name), given.at_once))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(summary.as_json(results), indent=2) + "\n")
    summary.show(results, console)
    faults = summary.broken(results)
    for sentence in faults:
        console.print(sentence, style="red")
    console.print(f"{'Broken' if faults else 'Nothing lost, nothing repeated'}; {time.monotonic() - started:.0f} s; {OUT}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
