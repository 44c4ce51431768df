"""Each step as it is deployed, in a process of its own: a staged folder, an environment with its own lock and no more, the
framework's server.

What a step forgot to lock or to carry in its folder fails here instead of on Google.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from local import environments
from local.environments import Broken
from local.staging import ROOT, stage

TIED = Path(__file__).with_name("tied.py")
STARTING = 120.0  # seconds until a step must answer: eight start at once, on a laptop
GRACE = 10.0  # seconds for requests under way at the end
STEADY = 60.0  # seconds after which a step that dies is started again at once
PORTS = range(20_000, 30_000)
PAUSES = (0.5, 30.0)  # seconds before a step is started again: the first, doubling to the last


# --- what a process is made of


def environment(step: str) -> Path:
    """Where the virtual environment for a step's present lock and this Python is, or will be."""
    return environments.environment(step, _lock(step))


def missing(steps: Sequence[str]) -> list[str]:
    """The steps whose environment is still to be made."""
    return [step for step in steps if not environment(step).exists()]


def install(steps: Sequence[str]) -> Iterator[str]:
    """Make the environments of these steps, once per lock; yields each step that is done. Raises Broken."""
    return environments.install({step: _lock(step) for step in steps})


def _lock(step: str) -> Path:
    return ROOT / "functions" / step / "requirements.txt"


# --- the processes


class Processes:
    """One process a step, on a port of its own that it keeps; what dies is started again.

    A step's folder is `state/steps/<step>`, its output goes to `state/<step>.log`. None of them outlives this process.
    """

    def __init__(self, state: Path, steps: Sequence[str]) -> None:
        self._state = state
        self._ports = dict(zip(steps, _free(len(steps)), strict=True))
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []

    def url(self, step: str) -> str:
        """Where a step answers, without a slash at the end."""
        return f"http://127.0.0.1:{self._ports[step]}"

    def log(self, step: str) -> Path:
        return self._state / f"{step}.log"

    async def start(self, settings: Mapping[str, str]) -> None:
        """Start every step with these variables, whose environments are installed; returns when all answer. Raises Broken."""
        for step in self._ports:
            await asyncio.to_thread(stage, step, self._state / "steps" / step, ROOT)
            self._running[step] = await self._spawn(step, settings)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(*(self._answers(step, session) for step in self._ports))
        self._keepers = [asyncio.create_task(self._keep(step, settings)) for step in self._ports]

    async def stop(self) -> None:
        """End them all: requests under way have GRACE seconds."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.terminate()
        if self._running:
            await asyncio.wait([asyncio.create_task(process.wait()) for process in self._running.values()], timeout=GRACE)
        for process in self._running.values():
            await _reap(process)
        self._running.clear()

    async def _spawn(self, step: str, settings: Mapping[str, str]) -> asyncio.subprocess.Process:
        python = environment(step) / "bin" / "python"
        options = ["--target", step, "--source", "main.py", "--host", "127.0.0.1", "--port", str(self._ports[step])]
        with self.log(step).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                str(python),
                "-P",  # or the folder of tied.py, this one, could be imported from
                str(TIED),
                *options,
                cwd=self._state / "steps" / step,
                env={"PATH": os.environ.get("PATH", os.defpath), "FUNCTION_USE_ASGI": "1", **settings},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _answers(self, step: str, session: aiohttp.ClientSession) -> None:
        """Wait until a step answers anything but a fault of its own; being asked, an HTTP step also makes its clients."""
        until, status = time.monotonic() + STARTING, 0
        while status != 500 and self._running[step].returncode is None and time.monotonic() < until:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{self.url(step)}/") as answer:
                    await answer.read()
                    status = answer.status
                    if status < 500:
                        return
            await asyncio.sleep(0.1)
        raise Broken(f"The step {step} does not start: {self.log(step)} says why.")

    async def _keep(self, step: str, settings: Mapping[str, str]) -> None:
        pause = PAUSES[0]
        while True:
            began = time.monotonic()
            status = await self._running[step].wait()
            await _reap(self._running[step])  # a worker that is left behind holds the port
            if time.monotonic() - began > STEADY:
                pause = PAUSES[0]
            print(f"{step} ended (exit {status}), starts again in {pause:g} s; its log: {self.log(step)}", flush=True)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSES[1])
            self._running[step] = await self._spawn(step, settings)


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _free(count: int) -> list[int]:
    """Ports on which nobody listens, all different, and none of those that the system gives to connections going out: such a one could be
    taken before its step listens (ip(7), ip_local_port_range)."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)
