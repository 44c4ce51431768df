"""Servers in processes of their own, as they run in production, and what CPU they take.

A step runs in the environment of its own lock, and so does what it is compared with: the event loop and the HTTP parser are those that a
deployment has, whatever else this machine has installed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import processes
from local.staging import ROOT, stage

_STARTING = 60.0  # seconds at most
_TICK = os.sysconf("SC_CLK_TCK")
_BIN = Path(sys.executable).parent
_SERVED = ("--host", "127.0.0.1", "--port")


@dataclass(frozen=True)
class Served:
    """A running server, alone in its process group; `group` is its id."""

    url: str
    group: int

    def cpu(self) -> float:
        """Seconds, of all its processes, since they started."""
        ticks = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()  # proc(5), from `state` on
                except (FileNotFoundError, ProcessLookupError):
                    continue  # has ended
                if int(fields[2]) == self.group:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICK


@contextmanager
def step(name: str, folder: Path, settings: Mapping[str, str]) -> Iterator[Served]:
    """A step as on Cloud Run: its staged folder, functions-framework, gunicorn and one uvicorn worker."""
    staged = folder / name
    stage(name, staged)
    command = [str(_bin(name) / "functions-framework"), "--target", name, "--source", "main.py", *_SERVED]
    with _running(command, staged, {"FUNCTION_USE_ASGI": "1", "LOG_EXECUTION_ID": "false", **settings}) as served:
        yield served


@contextmanager
def framework(file: Path, beside: str) -> Iterator[Served]:
    """An asynchronous function of the file's name, as functions-framework serves it in the environment of the step `beside`: like `step`,
    and nothing but the function."""
    command = [str(_bin(beside) / "functions-framework"), "--target", file.stem, "--source", str(file), *_SERVED]
    with _running(command, ROOT, {"FUNCTION_USE_ASGI": "1", "LOG_EXECUTION_ID": "false"}) as served:
        yield served


@contextmanager
def flask(file: Path, settings: Mapping[str, str]) -> Iterator[Served]:
    """A synchronous function of the file's name, as functions-framework serves it: gunicorn, one worker, four threads a core."""
    command = [str(_BIN / "functions-framework"), "--target", file.stem, "--source", str(file), *_SERVED]
    with _running(command, ROOT, settings) as served:
        yield served


@contextmanager
def bare(app: str, beside: str = "") -> Iterator[Served]:
    """An ASGI app ("module:name") under uvicorn alone, in the environment of the step `beside`, or in ours."""
    python = str((_bin(beside) if beside else _BIN) / "python")
    command = [python, "-m", "uvicorn", app, "--no-access-log", "--log-level", "error", "--lifespan", "off", "--port"]
    with _running(command, ROOT, {}) as served:
        yield served


def _bin(name: str) -> Path:
    """Of a step's environment, which is made when it is not there. Raises local.environments.Broken."""
    list(processes.install([name]))
    return processes.environment(name) / "bin"


@contextmanager
def _running(command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> Iterator[Served]:
    """Raises AssertionError, with what it wrote, for a server that does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **settings}
    process = subprocess.Popen(
        [*command, str(port)], cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        end = time.monotonic() + _STARTING
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                assert process.stderr is not None
                raise AssertionError(f"{command[0]} does not start: {process.stderr.read()[-2000:].decode()}")
            time.sleep(0.05)
        yield Served(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
