"""What an import costs in instructions, on top of a bare hello. valgrind counts them, so they are the same on a busy machine: for
differences too small for `make bench`, and to weigh a library before a step takes it. Not counted: what the kernel does.

    python -m bench.weigh "import google.cloud.storage" "import gc; gc.disable(); import shared.adapters.firestore"
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .imports import HELLO

QUIET = 129  # ms of CPU that a bare hello takes on a quiet machine, to which instructions are scaled
_COUNTER = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
_TOTAL = re.compile(r"I +refs: +([\d,]+)")


def weigh(statements: str, cache: str) -> int:
    """Instructions of an interpreter that imports a bare hello and executes `statements`; raises RuntimeError when that fails."""
    code = f"import {HELLO}; {statements}"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, check=True)  # compiles
    done = subprocess.run([*_COUNTER, sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True)
    total = _TOTAL.search(done.stderr)
    if done.returncode or not total:
        raise RuntimeError(done.stderr[-2000:])
    return int(total[1].replace(",", ""))


def main(arguments: list[str]) -> None:
    with TemporaryDirectory(prefix="bench-") as cache:
        hello = weigh("pass", cache)
        print(f"{hello / 1e6:8,.0f} M instructions: a bare hello")
        for statements in arguments:
            found = weigh(statements, cache)
            more = QUIET * (found / hello - 1)
            print(
                f"{found / 1e6:8,.0f} M  {found / hello:.2f}x  {more:+.0f} ms where hello takes {QUIET}: {statements}", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
