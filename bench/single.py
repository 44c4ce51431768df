"""From a trigger to the mail server's 250, for one message: a sign-up is posted to a warm twin, and its confirmation arrives in the
twin's mailbox. On the way: subscribe, its commit, the bus and a push, send_batch with its reads and writes, SMTP, the mailbox's disk.

The time counts from the moment at which the request leaves, so the sign-up's own work is in it, and ends when the mail is seen on the
mailbox's disk, where it is looked for every two milliseconds. The twin goes on ticking meanwhile, in the same process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from urllib.error import URLError

from . import stage
from .report import Goal, Row

ROUNDS = 3
SIGN_UPS = 30  # a round
WARM = 5
PATIENCE = 60.0  # seconds
LOOK = 0.002  # seconds
GOAL = Goal("≤", 500)


def run() -> list[Row]:
    """Raises AssertionError when a confirmation does not come."""
    with stage.folder() as state, _twin(state) as url:
        mailbox = sqlite3.connect(f"{(state / 'mailbox.db').as_uri()}?mode=ro", uri=True)
        with contextlib.closing(mailbox):
            for n in range(WARM):
                _sign_up(url, mailbox, f"warm{n}@example.com")
            rounds = [
                [1000 * _sign_up(url, mailbox, f"reader{turn}-{n}@example.com") for n in range(SIGN_UPS)]
                for turn in range(ROUNDS)
            ]
    everything = [milliseconds for turn in rounds for milliseconds in turn]
    middles, tails = [median(turn) for turn in rounds], [_p95(turn) for turn in rounds]
    name, detail = "a sign-up, until the mail server has its confirmation", f"{len(everything)} sign-ups, one by one"
    return [
        Row(f"{name}: median", "ms", median(everything), low=min(middles), high=max(middles), detail=detail),
        Row(f"{name}: p95", "ms", _p95(everything), low=min(tails), high=max(tails), goal=GOAL, detail=detail),
    ]


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def _sign_up(url: str, mailbox: sqlite3.Connection, address: str) -> float:
    """Seconds until the mail is there."""
    body = json.dumps({"email": address, "name": "Mira"}).encode()
    started = time.perf_counter()
    headers = {"user-agent": "Mozilla/5.0", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/subscribe", body, headers)) as answer:
        assert answer.status == 202
    while not mailbox.execute("SELECT 1 FROM mail WHERE rcpt = ?", (address,)).fetchone():
        if time.perf_counter() - started > PATIENCE:
            raise AssertionError(f"no confirmation in {PATIENCE:g} s")
        time.sleep(LOOK)
    return time.perf_counter() - started


@contextlib.contextmanager
def _twin(state: Path) -> Iterator[str]:
    """The embedded twin as a process; it ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "local", "run", "--state", str(state), "--port", str(port), "--until-eof"]
    environment = {name: value for name, value in os.environ.items() if name not in ("STACK", "PORT", "TWIN_SMTP_DELAY_MS")}
    twin = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert twin.stdin
    try:
        _answers(twin, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        twin.stdin.close()
        twin.wait()


def _answers(twin: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and twin.poll() is None:
        with contextlib.suppress(URLError, ConnectionError), urllib.request.urlopen(f"{url}/subscribe/health", timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("the twin does not start")
