"""What the C library does with memory that was freed."""

from __future__ import annotations

import contextlib
import ctypes

KEPT = 32 << 20  # bytes: far more than the mails of all windows under way
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>


def keep() -> None:
    """Let glibc keep up to KEPT freed bytes (mallopt(3)) for who needs as much again, as each window does for its mails: to give
    them back and ask for them anew is a page fault for each 4 KB of a mail, a fifth of what making it costs. Elsewhere: nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT)
        libc.mallopt(_M_MMAP_THRESHOLD, KEPT)
