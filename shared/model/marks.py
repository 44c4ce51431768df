"""Which parts of a campaign's reports are out of date: noted by record with each event, read by report. Nothing can fall between.

`marks/{campaign}`:

    dirty   {first byte of a sid, in hex, or EVERY: the last window in which such a delivery was written}: maxima
    due     when report looks at the campaign next (ms), NEVER for not before there is a mark: record lowers it, report raises it
    done    {range: the last window that its summary is sure to cover}: maxima
    turn    the window that a recomputation under way is to reach, 0 for none; `last`: when the one before began (ms)

Time is cut into windows of WINDOW ms. A process of record marks the window in which it *makes* a delivery's write, by its own clock, in
the same commit; it leaves the mark out only when a commit of its own with the same mark has been answered. So each write has a mark of its
window that is there no later than itself. A write that was not answered within PROMPT is followed by another mark before its message
is acknowledged, and one that was never answered comes again with its message. So who reads the deliveries SLACK after a window
has ended sees all that the marks of this window speak of, as long as clocks differ by less than SLACK - PROMPT.

report reads at any time and claims (`done`) only the windows that were over then. A mark above `done` stays, whenever it was made: the
range is read once more later. `done` is written in one commit with the summary, on the version of the summary that was there before
the deliveries were read, so that of two workers the slower one, who may have read less, is refused.

A process marks single bytes until it has met FEW of them in a window, then EVERY one by one more mark. So a campaign costs FEW + 1 writes
in a window and process at most, however fast its events come, and a rare late event makes but its own range be read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.model.paths import Paths
from shared.ports import Maximum, Merge, Minimum

WINDOW: Final = 300_000  # ms
SLACK: Final = 60_000  # ms
PROMPT: Final = 30_000  # ms
FEW: Final = 2
EVERY: Final = "every"
NEVER: Final = 1 << 53


def window(at: int) -> int:
    """The number of the window that `at` (ms) lies in."""
    return at // WINDOW


def ended(number: int) -> int:
    """When a window is over for everybody (ms)."""
    return (number + 1) * WINDOW + SLACK


def over(now: int) -> int:
    """The last window that is over for everybody."""
    return (now - SLACK) // WINDOW - 1


def bucket(sid: str) -> str:
    """The name under which a delivery is marked: its sid's first byte."""
    return sid[:2]


def mark(paths: Paths, campaign: str, bucket: str, number: int) -> Merge:
    """The write that says that deliveries of a bucket, or of EVERY one, were written in a window: blind, order-free and idempotent."""
    return Merge(paths.mark(campaign), {f"dirty.{bucket}": Maximum(number), "due": Minimum(ended(number))})


def latest(marks: Mapping[str, Any], first: int, beyond: int) -> int:
    """The last window in which a delivery whose sid begins with a byte from `first` to below `beyond` was written, -1 for none."""
    dirty: Mapping[str, int] = marks.get("dirty") or {}
    return max(dirty.get(EVERY, -1), *(dirty.get(f"{byte:02x}", -1) for byte in range(first, beyond)))
