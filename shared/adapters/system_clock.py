"""Real time."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `shared.ports.Clock`."""

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000
