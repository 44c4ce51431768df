"""A worker's process as its parent sees it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from typing import Any

from . import worker
from .worker import LIMIT, Task, say

PATIENCE = 10.0  # seconds that a process has to end by itself
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload([worker.__name__])


class Process:
    """`point`: where it is to die, or ""."""

    def __init__(
        self, process: ForkServerProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, point: str
    ) -> None:
        self._process, self._reader, self._writer, self.point = process, reader, writer, point
        self.pid = process.pid or 0

    @classmethod
    async def start(cls, task: Task) -> Process:
        """Fork a worker."""
        mine, theirs = socket.socketpair()
        with theirs:
            process = _fork.Process(target=worker.main, args=(theirs, task), daemon=True)
            process.start()
        return cls(process, *await asyncio.open_connection(sock=mine, limit=LIMIT), task.point)

    async def work(self, job: Mapping[str, Any], publish: Callable[[str, Sequence[Mapping[str, Any]]], None]) -> str | None:
        """Hand it a job: "" once that is done, else the failure's text; None when the process is no more."""
        try:
            say(self._writer, job)
            while text := await self._reader.readline():
                answer = json.loads(text)
                if "publish" not in answer:
                    return str(answer.get("failed", ""))
                publish(answer["publish"], answer["messages"])
                say(self._writer, {"kept": True})
        except (ConnectionError, ValueError):  # in the middle of a line
            pass
        return None

    async def end(self) -> int:
        """Hang up, and wait for its end: its exit status, or minus the number of the signal that ended it."""
        self._writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._over()
        except TimeoutError:
            self._process.kill()
            await self._over()
        self._process.join()  # at once; in this thread, since multiprocessing asks after its children at every start
        status = self._process.exitcode or 0
        self._process.close()
        return status

    async def _over(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
