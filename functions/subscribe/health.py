"""Whether every dependency answers. Anybody may ask, so nobody's asking costs more than one check in HEALTH_AGE."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from shared import http
from shared.errors import PipelineError
from shared.http import Response
from shared.logs import log
from shared.model.paths import Paths
from shared.ports import Bus, Clock, Store

HEALTH_AGE: Final = 5000  # ms for which an answer is kept


@dataclass
class Health:
    store: Store
    bus: Bus
    clock: Clock
    paths: Paths
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _held: tuple[int, Response] | None = field(default=None, repr=False)  # when the latest answer was had

    async def answer(self) -> Response:
        """200 when every dependency answers, else 503 with the names of those that do not."""
        async with self._asking:
            if self._held is None or not 0 <= self.clock.now() - self._held[0] < HEALTH_AGE:
                answer = await self._checked()
                self._held = self.clock.now(), answer
            return self._held[1]

    async def _checked(self) -> Response:
        checks: dict[str, str] = {}
        for name, work in (("store", self.store.get(self.paths.tenant, ["name"])), ("bus", self.bus.check())):
            try:
                await work
                checks[name] = "ok"
            except PipelineError as error:
                log("ERROR", f"health: {name}: {error}")
                checks[name] = "failing"
        return http.json(checks, 200 if set(checks.values()) == {"ok"} else 503)
