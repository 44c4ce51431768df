"""What a cold instance pays before its first answer, against a fresh interpreter that imports a bare hello. Two figures a step:

    start   up to the end of importing its main.py, which is when the instance can take a request
    ready   with the Google adapters that the step opens at its first request, and what those put off until they are used

CPU of the whole process, nothing subtracted, so that other work on the machine is not counted. Modules are compiled beforehand, as
the buildpack does at deployment.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .report import Goal, Row, compared

ROUNDS = 3
TRIES = 3  # in a round, of which the best counts
HOT = ("subscribe", "unsubscribe", "track", "webhooks", "record", "send_batch")  # a reader or a mail waits for them
TICKS = ("launch", "sync_sheet")
HELLO = "bench.hello"
START = Goal("≤", 2.0)
_ROOT = Path(__file__).parents[1]
_PROBE = """
import resource, sys, time
def figures():
    spent = time.process_time()
    try:
        peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux it may be the parent's
    return [1000 * spent, peak / 1024]
__import__(sys.argv[1])
found = figures()
for name in sys.argv[2:]:
    __import__(name)
found += figures()
import json
print(json.dumps(found))
"""
_FIGURES = (("start", "ms CPU"), ("memory", "MB"), ("ready", "ms CPU"), ("memory when ready", "MB"))  # as the probe prints them


def run() -> list[Row]:
    """Rows for CPU and for peak memory of each step."""
    loads = {HELLO: [HELLO], **{step: [main(step), *on_google(step)] for step in (*HOT, *TICKS)}}
    found: dict[str, list[list[float]]] = {name: [] for name in loads}  # a list of figures for each round
    with TemporaryDirectory(prefix="bench-") as cache:
        for modules in loads.values():
            _probe(modules, cache)  # compiles
        for _ in range(ROUNDS):
            tries = [{name: _probe(modules, cache) for name, modules in loads.items()} for _ in range(TRIES)]
            for name in loads:
                found[name].append([min(figures) for figures in zip(*(one[name] for one in tries), strict=True)])
    return [_row(at, step, found) for at in range(len(_FIGURES)) for step in (*HOT, *TICKS)]


def _row(at: int, step: str, found: dict[str, list[list[float]]]) -> Row:
    what, unit = _FIGURES[at]
    ours, hello = ([figures[at] for figures in found[name]] for name in (step, HELLO))
    return compared(f"{what} of {step} / bare hello", unit, ours, hello, START if what == "start" and step in HOT else None)


def _probe(modules: list[str], cache: str) -> list[float]:
    """The figures of one interpreter."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _PROBE, *modules]
    done = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, check=True)
    figures: list[float] = json.loads(done.stdout)
    return figures


# --- what a step loads, read from the source --------------------------------------------------------------------------


def main(step: str) -> str:
    """The module that the framework imports."""
    return f"functions.{step}.main"


def on_google(step: str) -> list[str]:
    """What a step imports after its main.py, on Google: the adapters that the `shared.stack` modules it names choose there, and
    what those import within functions. Without repeats, in order."""
    ports = [module for module in _imports(_tree(main(step)).body) if module.startswith("shared.stack.")]
    adapters = [module for port in ports for body in _functions(port) for module in _imports(body)]
    put_off = [module for adapter in adapters for module in _within_functions(adapter)]
    return list(dict.fromkeys([*adapters, *put_off]))


def _tree(module: str) -> ast.Module:
    return ast.parse(_ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text())


def _functions(module: str) -> Iterator[list[ast.stmt]]:
    """The bodies of a module's functions. The embedded stack's imports stand deeper, below an `if`."""
    return (node.body for node in _tree(module).body if isinstance(node, ast.FunctionDef))


def _within_functions(module: str) -> Iterator[str]:
    functions = (node for node in ast.walk(_tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return (name for function in functions for name in _imports(ast.walk(function)))


def _imports(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """The modules named by those of the nodes that are imports, relative ones left out."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
