"""Runs the functions framework tied to whoever started it: when standard input closes, and be it by kill -9, the server ends.

A file of its own and the standard library alone, because it runs in a step's environment, where nothing of ours but the staged
folder can be imported.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
import time

GRACE = 1.0  # seconds for requests under way; what they need is gone as well


def tie(pipe: int) -> None:
    """End this process when the other end of `pipe` is closed."""

    def wait() -> None:
        while os.read(pipe, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    pipe = os.dup(0)  # what a library later does to standard input is its own affair
    tie(pipe)
    os.register_at_fork(after_in_child=lambda: tie(pipe))  # gunicorn's worker does not notice when its master is gone
    runpy.run_module("functions_framework", run_name="__main__", alter_sys=True)
