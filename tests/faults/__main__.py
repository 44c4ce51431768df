"""`make faults`: 1,000 cut replies and ten freezes of ten seconds while campaigns run on the official Firestore emulator. Writes
.twin/faults.json; exit status 1 when a mail was lost or repeated, or when the naive control was not caught."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import sink
from local.emulators import Emulators, emulators, missing

from . import campaigns

OUT = Path(".twin/faults.json")


def freezer(running: Emulators, times: int, seconds: float) -> Callable[[Callable[[], bool]], Awaitable[int]]:
    """SIGSTOP the emulator `times` times for `seconds`, a moment apart, while there is work; how often it was done."""

    async def freeze(busy: Callable[[], bool]) -> int:
        done = 0
        while done < times and busy():
            await asyncio.sleep(random.uniform(0.5, 2.0))
            running.freeze("firestore")
            try:
                await asyncio.sleep(seconds)
            finally:
                running.thaw("firestore")
            done += 1
        return done

    return freeze


def measure(folder: Path, cuts: int, freezes: int, seconds: float, chance: float, seed: int) -> dict[str, Any]:
    """The figures of one run on an emulator of its own."""
    with emulators(folder, ("firestore",)) as running, sink.running() as drain:
        freeze = freezer(running, freezes, seconds)
        return asyncio.run(campaigns.run(running.firestore, folder, drain, cuts=cuts, chance=chance, freeze=freeze, seed=seed))


def holds(found: dict[str, Any]) -> bool:
    """Nothing lost, repeated or unknown, and the control caught: else the harness shows nothing."""
    sound = not (found["lost"] or found["repeated"] or found["unknown"])
    return sound and found["control_lost"] + found["control_repeated"] > 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the steps' own log."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--freezes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a freeze")
    parser.add_argument("--chance", type=float, default=0.15, help="that a reply is cut")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    if lacking := missing():
        print(lacking, file=sys.stderr)
        return 1
    print(f"Campaigns on the Firestore emulator: {given.cuts} cut replies, {given.freezes} freezes (seed {given.seed}); minutes.")
    with TemporaryDirectory(prefix="faults-") as folder, quiet():
        found = measure(Path(folder), given.cuts, given.freezes, given.seconds, given.chance, given.seed)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 0 if holds(found) and found["cut_replies"] >= given.cuts and found["freezes"] >= given.freezes else 1


if __name__ == "__main__":
    sys.exit(main())
