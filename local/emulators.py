"""Google's official emulators of Firestore and Pub/Sub, started through gcloud and ended for certain.

gcloud leaves its java child behind when it is ended, so each emulator gets a session of its own and its whole process group is
ended. A small watcher does that: it waits on a pipe that this process holds open, so a parent that is killed outright (kill -9)
takes its emulators along too. Both keep everything in memory: a new start is an empty one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_STARTING = 90.0  # seconds at most, until an emulator answers; 3 to 10 are usual
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "firestore": ("emulators", "firestore", "start"),
    "pubsub": ("beta", "emulators", "pubsub", "start", "--project=demo"),
}
_COMPONENTS = {"firestore": "cloud-firestore-emulator", "pubsub": "pubsub-emulator"}
# Waits for the end of its input; then the group $1 has three seconds, even one that SIGSTOP froze.
_WATCHER = """
read -r _
kill -s TERM -- -$1; kill -s CONT -- -$1
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do kill -s 0 -- -$1 || exit 0; sleep 0.2; done
kill -s KILL -- -$1
"""


@dataclass(frozen=True)
class Emulators:
    """Running emulators, as "127.0.0.1:port"; "" for one that was not asked for. `groups`: name -> process group id."""

    firestore: str = ""
    pubsub: str = ""
    groups: Mapping[str, int] = field(default_factory=dict)

    def freeze(self, name: str) -> None:
        """Stop an emulator without ending it: it keeps its connections and answers nothing."""
        os.killpg(self.groups[name], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen emulator go on."""
        os.killpg(self.groups[name], signal.SIGCONT)


@contextmanager
def emulators(folder: Path, names: Collection[str] = ("firestore", "pubsub")) -> Iterator[Emulators]:
    """Run the named emulators side by side on free ports; their logs ("pubsub.log") and data are in `folder`.

    Raises RuntimeError, with the end of the log, for one that is not installed or does not start.
    """
    if sentence := missing(names):
        raise RuntimeError(sentence)
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: _free_port() for name in names}
    started: dict[str, _Started] = {}
    try:
        for name in names:
            started[name] = _start(name, folder, ports[name])
        for name in names:
            _await(name, started[name].process, ports[name], folder)
        hosts = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        yield Emulators(**hosts, groups={name: one.process.pid for name, one in started.items()})
    finally:
        for one in started.values():
            assert one.watcher.stdin is not None
            one.watcher.stdin.close()
        for one in started.values():
            one.process.wait()
            one.watcher.wait()


def missing(names: Collection[str] = ("firestore", "pubsub")) -> str:
    """One sentence naming what has to be installed, or "". Looks at files only, since gcloud takes seconds."""
    gcloud = shutil.which("gcloud")
    lacking = [program for program in ("gcloud", "java") if shutil.which(program) is None]
    if gcloud is not None:
        platform = Path(gcloud).resolve().parents[1] / "platform"
        lacking += [_COMPONENTS[name] for name in names if not (platform / _COMPONENTS[name]).is_dir()]
    if not lacking:
        return ""
    return f"Google's emulators need {' and '.join(lacking)}: see https://cloud.google.com/sdk/docs/install."


class _Started(NamedTuple):
    process: subprocess.Popen[bytes]  # leads its group
    watcher: subprocess.Popen[bytes]


def _start(name: str, folder: Path, port: int) -> _Started:
    command = ["gcloud", *_COMMANDS[name], f"--host-port=127.0.0.1:{port}"]
    if name == "pubsub":
        data = folder / "pubsub"
        data.mkdir(exist_ok=True)  # gcloud refuses one that does not exist
        command.append(f"--data-dir={data}")
    environ = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),  # neither reads nor writes the developer's own
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
    }
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    watcher = subprocess.Popen(
        ["sh", "-c", _WATCHER, "watcher", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return _Started(process, watcher)


def _await(name: str, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + _STARTING
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            log = (folder / f"{name}.log").read_text(errors="replace")
            raise RuntimeError(f"The {name} emulator did not start:\n{log[-2000:]}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
