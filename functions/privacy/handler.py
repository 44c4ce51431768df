"""What is kept no longer than promised: the rest of erasures, and everything that goes by its age. Consumes privacy-requests.

A person is taken away before anybody is answered (shared/model/erasure.py); here goes what else speaks of them. A run takes the parts in
turn, each a page at a time, until its time is up, and the next one goes on: every part finds its work by a query or by a cursor in the
store, and deletes, so that order, repeats and two runs at once change nothing. Logs tell counts only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.errors import ConfigError, Conflict, Unavailable
from shared.logs import log
from shared.model.paths import Paths
from shared.ports import Clock, Objects, Store

from .deliveries import Deliveries
from .erasures import Erasures
from .files import Files
from .late import Late
from .sign_ups import SignUps

BUDGET = 100_000  # ms of a run, after which nothing is begun: at most 80% of what its push may take
DAY = 86_400_000  # ms


@dataclass(frozen=True)
class Privacy:
    """The step's dependencies. `retention`: days that deliveries are kept after their campaign has ended, those of the system's
    own mails after they were first heard of; 0 for ever."""

    store: Store
    objects: Objects
    clock: Clock
    paths: Paths
    retention: int = 730
    budget: int = BUDGET

    async def handle(self) -> None:
        """One run. What one part cannot do stops no other; raises Unavailable or ConfigError at the end when a service did not let us."""
        began, done = self.clock.now(), Counter[str]()
        files = Files(self.store, self.objects, self.paths)
        parts: tuple[Callable[[int, Callable[[], bool]], Awaitable[Counter[str]]], ...] = (
            Erasures(self.store, self.paths, files).run,
            SignUps(self.store, self.paths).run,
            files.run,
            Late(self.store, self.paths).run,
            Deliveries(self.store, self.paths, self.retention * DAY).run,
        )
        failed: Unavailable | ConfigError | None = None
        for part in parts:
            if self._late(began):
                log("INFO", "goes on in the next run")
                break
            try:
                done += await part(began, lambda: self._late(began))
            except Conflict as error:
                log("INFO", f"left to the next run, somebody else wrote ({error.why})")
            except (Unavailable, ConfigError) as error:
                log("WARNING", f"left to the next run: {error}")
                failed = failed or error
        if done:
            log("INFO", "taken away", **done)
        if failed:
            raise failed

    def _late(self, began: int) -> bool:
        return self.clock.now() - began >= self.budget
