"""Freed memory stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WINDOWS = """
import resource, sys
from shared.heap import keep
if sys.argv[1] == "kept":
    keep()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def window():
    return [bytes(28_000) for _ in range(50)]
window()
before = faults()
for _ in range(50):
    window()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_a_window_needs_no_new_pages() -> None:
    spent = {
        how: int(subprocess.run([sys.executable, "-c", _WINDOWS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert spent["kept"] < 1_000 < 10_000 < spent["given back"], spent
