"""Leaving at a window edge when the process is told to end (SIGTERM: Cloud Run gives 10 seconds).

https://cloud.google.com/run/docs/container-contract#instance-shutdown
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.ports import Stop


class Ending:
    """The word that the process ends, for every run under way in it and every later one."""

    def __init__(self) -> None:
        self.come = False
        self._stops: set[Stop] = set()

    def now(self) -> None:
        self.come = True
        for stop in list(self._stops):
            stop.now()

    @contextmanager
    def stop(self, at: float) -> Iterator[Stop]:
        """A run's Stop, which comes at `at` (monotonic seconds) at the latest."""
        stop = Stop(0.0 if self.come else at)
        self._stops.add(stop)
        try:
            yield stop
        finally:
            self._stops.discard(stop)

    def listen(self) -> None:
        """Hear SIGTERM before the server does, which goes on to end in its own way. In the main thread only: nowhere else may one."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)

        def end(number: int, frame: FrameType | None) -> None:
            self.now()
            if callable(before):
                before(number, frame)
            elif before == signal.SIG_DFL:
                raise SystemExit(128 + number)

        signal.signal(signal.SIGTERM, end)
