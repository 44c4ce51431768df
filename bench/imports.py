"""What a cold instance pays before its first request: a fresh interpreter up to the end of importing a step's main.py, against
one that imports a bare hello. CPU of the whole process, nothing subtracted, so that other work on the machine is not counted.

Modules are compiled beforehand, as the buildpack does at deployment. What a step loads later, with its first request, is not in
here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .report import Row, compared

ROUNDS = 3
TRIES = 3  # in a round, of which the best counts
STEPS = ("subscribe", "unsubscribe", "track", "webhooks", "launch", "send_batch", "record", "sync_sheet")
HELLO = "bench.hello"
_PROBE = """
import sys, time
__import__(sys.argv[1])
spent = time.process_time()
import json, pathlib, resource
status = pathlib.Path("/proc/self/status")  # what getrusage says is the parent's, when that was larger
peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
print(json.dumps([1000 * spent, int(peaks[0]) / 1024 if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def run() -> list[Row]:
    """Rows for CPU and for peak memory of each step."""
    modules = [HELLO, *(f"functions.{step}.main" for step in STEPS)]
    spent: dict[str, list[float]] = {module: [] for module in modules}
    peaks: dict[str, list[float]] = {module: [] for module in modules}
    with TemporaryDirectory(prefix="bench-") as cache:
        for module in modules:
            _probe(module, cache)  # compiles
        for _ in range(ROUNDS):
            tries = [{module: _probe(module, cache) for module in modules} for _ in range(TRIES)]
            for module in modules:
                spent[module].append(min(found[module][0] for found in tries))
                peaks[module].append(min(found[module][1] for found in tries))
    times = [_row(step, "start", "ms CPU", spent) for step in STEPS]
    return times + [_row(step, "memory", "MB", peaks) for step in STEPS]


def _row(step: str, what: str, unit: str, found: dict[str, list[float]]) -> Row:
    return compared(f"{what} of {step} / bare hello", unit, found[f"functions.{step}.main"], found[HELLO])


def _probe(module: str, cache: str) -> tuple[float, float]:
    """(ms, MB) of one interpreter."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    root = Path(__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", _PROBE, module], env=environment, cwd=root, capture_output=True, check=True)
    milliseconds, megabytes = json.loads(found.stdout)
    return milliseconds, megabytes
