"""Has the step privacy run once each quarter of an hour, which would cost a Scheduler job of its own: three are free, and in use."""

from __future__ import annotations

from typing import Final

from shared.errors import Unavailable
from shared.logs import log
from shared.model import erasure
from shared.ports import Bus

QUARTER: Final = 900_000  # ms


class Regular:
    """What this process has asked for; another one asks too, which is harmless."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._asked = -1  # the quarter of an hour since the epoch that was asked for last

    async def ask(self, now: int) -> None:
        """Publish to privacy-requests at the first tick in a quarter of an hour. What cannot be published is logged, and asked for again
        at the next tick."""
        quarter = now // QUARTER
        if quarter == self._asked:
            return
        try:
            await self._bus.publish(erasure.TOPIC, [{}])
        except Unavailable as error:
            log("ERROR", f"privacy was not asked to run, left to the next tick: {error}")
        else:
            self._asked = quarter
