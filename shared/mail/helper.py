"""A helper process that answers lines: it imports the compiler once, and works on each question in a fork, see `confined`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH")  # and what begins with PYTHON


class Helper:
    """Runs `serve()` of `module`, which answers each line of its input with one. Started when first needed and again when it has ended;
    one question at a time. It sees no more of the environment than Python itself needs: no key, for one."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, line: bytes) -> bytes:
        """The answer, b"" when the process ended. `line` has no end. Blocks; for any thread. Raises OSError when none can be started."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = self._started()
            asked, answers = self._process.stdin, self._process.stdout
            assert asked and answers
            with contextlib.suppress(OSError):
                asked.write(line + b"\n")
                asked.flush()
                return answers.readline()
            return b""

    def _started(self) -> subprocess.Popen[bytes]:
        passed = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("PYTHON")}
        path = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
        command = [sys.executable, "-c", f"from {self._module} import serve; serve()"]
        return subprocess.Popen(  # noqa: S603 — constants only
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=passed | {"PYTHONPATH": path}
        )
