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
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from .report import Goal, Row, compared

ROUNDS = 3
TRIES = 3  # in a round, of which the best counts
HOT = (
    "subscribe",
    "unsubscribe",
    "track",
    "live",
    "archive",
    "webhooks",
    "record",
    "notify",
    "send_batch",
)  # a reader or a mail waits for them
BEHIND = ("launch", "inbox", "report", "privacy", "sync_sheet")  # nobody does
HELLO = "bench.hello"
START = Goal("≤", 2.0)
_ROOT = Path(__file__).parents[1]
_Import: TypeAlias = "ast.Import | ast.ImportFrom"
_PROBE = """
import resource, sys, time
def figures():
    spent = time.process_time()
    try:
        peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux it may be the parent's
    return [1000 * spent, peak / 1024]
exec(sys.argv[1])
found = figures()
for statement in sys.argv[2:]:
    exec(statement)
found += figures()
import json
print(json.dumps(found))
"""
_FIGURES = (("start", "ms CPU"), ("memory", "MB"), ("ready", "ms CPU"), ("memory when ready", "MB"))  # as the probe prints them


def run() -> list[Row]:
    """Rows for CPU and for peak memory of each step."""
    loads = {HELLO: [f"import {HELLO}"], **{step: [at_start(step), *on_google(step)] for step in (*HOT, *BEHIND)}}
    found: dict[str, list[list[float]]] = {name: [] for name in loads}  # a list of figures for each round
    with TemporaryDirectory(prefix="bench-") as cache:
        for statements in loads.values():
            _probe(statements, cache)  # compiles
        for _ in range(ROUNDS):
            tries = [{name: _probe(statements, cache) for name, statements in loads.items()} for _ in range(TRIES)]
            for name in loads:
                found[name].append([min(figures) for figures in zip(*(one[name] for one in tries), strict=True)])
    return [_row(at, step, found) for at in range(len(_FIGURES)) for step in (*HOT, *BEHIND)]


def _row(at: int, step: str, found: dict[str, list[list[float]]]) -> Row:
    what, unit = _FIGURES[at]
    ours, hello = ([figures[at] for figures in found[name]] for name in (step, HELLO))
    return compared(f"{what} of {step} / bare hello", unit, ours, hello, START if what == "start" and step in HOT else None)


def _probe(statements: list[str], cache: str) -> list[float]:
    """The figures of one interpreter."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _PROBE, *statements]
    done = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, check=True)
    figures: list[float] = json.loads(done.stdout)
    return figures


# --- what a step imports, read from the source ------------------------------------------------------------------------


def at_start(step: str) -> str:
    """What the framework imports, as a statement."""
    return f"import functions.{step}.main"


def on_google(step: str) -> list[str]:
    """What a step imports after that, on Google: the adapters that the `shared.stack` modules it names choose there, and what those
    import within functions. Statements, without repeats, in order."""
    ports = [
        module for node in _imports(_tree(f"functions.{step}.main").body) if (module := _module(node)).startswith("shared.stack.")
    ]
    adapters = [node for port in ports for body in _functions(port) for node in _imports(body)]
    put_off = [node for adapter in adapters for node in _within_functions(_module(adapter))]
    return list(dict.fromkeys(map(ast.unparse, [*adapters, *put_off])))


def _tree(module: str) -> ast.Module:
    return ast.parse(_ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text())


def _functions(module: str) -> Iterator[list[ast.stmt]]:
    """The bodies of a module's functions. The embedded stack's imports stand deeper, below an `if`."""
    return (node.body for node in _tree(module).body if isinstance(node, ast.FunctionDef))


def _within_functions(module: str) -> Iterator[_Import]:
    functions = (node for node in ast.walk(_tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return (node for function in functions for node in _imports(ast.walk(function)))


def _imports(nodes: Iterable[ast.AST]) -> Iterator[_Import]:
    return (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def _module(node: _Import) -> str:
    return node.names[0].name if isinstance(node, ast.Import) else node.module or ""
