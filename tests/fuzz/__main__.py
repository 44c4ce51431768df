"""`make fuzz`: 5,000 forgeries of every proof that a caller gives, 12,000 replays of callbacks, 100,000 odd requests to the steps.
Writes .twin/fuzz.json; exit status 1 when a forgery or a replay counted, a step answered with 5xx or did not answer.

FUZZ_SEED chooses others, FUZZ_SCALE=0.1 makes a tenth."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from .callbacks import Broken
from .run import Plan, holds, quiet, run, telling

OUT = Path(".twin/fuzz.json")
SEED = 20_270_115


def main() -> int:
    plan = Plan(seed=int(os.environ.get("FUZZ_SEED") or SEED), scale=float(os.environ.get("FUZZ_SCALE") or 1))
    out = Path(os.environ.get("FUZZ_OUT") or OUT)
    out.unlink(missing_ok=True)
    console, started = sys.stdout, time.monotonic()

    def write(line: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {line}", file=console, flush=True)

    write(f"FUZZ_SEED={plan.seed} FUZZ_SCALE={plan.scale:g}: {len(plan.providers)} providers, {len(plan.steps)} steps")
    try:
        with quiet(), telling(write) as tell:
            found = asyncio.run(run(plan, tell))
    except Broken as error:
        write(str(error))
        return 1
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"seconds": round(time.monotonic() - started), **found}, indent=2) + "\n")
    for line in found["faults"]:
        write(line)
    figures = ("forged", "accepted", "replays", "requests", "server_errors", "hangs")
    write(", ".join(f"{name} {found[name]:,}" for name in figures) + f"; {out}")
    return 0 if holds(found) else 1


if __name__ == "__main__":
    sys.exit(main())
