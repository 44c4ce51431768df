"""The Clock of a stack."""

from __future__ import annotations

from pathlib import Path

from shared.config import Base
from shared.ports import Clock


def open_clock(config: Base) -> Clock:
    """The twin's clock can be advanced; Google's is the real one."""
    if config.stack == "embedded":
        from shared.adapters.embedded import FileClock

        return FileClock(Path(config.state_dir) / "clock")
    from shared.adapters.system_clock import SystemClock

    return SystemClock()
