"""What holds addresses outside of the subscribers: exported lists, callbacks kept for a look, and test mails.

Their owners are not looked for: an erasure takes all exports and all such callbacks, which are copies that an operator can make, or see
come, again; and each goes by its age besides. A test mail's document has its address until the mail is done and a day is over, or until the
first erasure after that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.model.paths import TEST, MailTests, Paths
from shared.ports import Objects, Store

from .gone import below, made

DAY: Final = 86_400_000  # ms
EXPORTS_KEPT: Final = 30 * DAY
TESTS_KEPT: Final = DAY
STUCK: Final = 7 * DAY  # a test mail that is not done by then never will be
CALLBACKS: Final = "callbacks/"  # see functions/webhooks/handler.py; the bucket's own rule takes them after 30 days
_TIME = re.compile(r"-(\d{8}T\d{6}Z)\.csv$")  # as ops/export.py names an export


@dataclass(frozen=True)
class Files:
    store: Store
    objects: Objects
    paths: Paths

    @property
    def _exports(self) -> str:
        return f"exports/{self.paths.tenant_id}/"

    async def run(self, now: int, late: Callable[[], bool]) -> Counter[str]:
        """What is too old. Raises Unavailable, ConfigError."""
        old = [name for name in await self.objects.list(self._exports) if exported(name) <= now - EXPORTS_KEPT]
        done = Counter[str]()
        for name in old:
            if late():
                return done
            await self.objects.delete(name)
            done["exports"] += 1
        done["test_mails"] += await self._tests(lambda data: made(data) <= now - (TESTS_KEPT if _over(data) else STUCK))
        return done

    async def with_addresses(self) -> Counter[str]:
        """All exports, callbacks, and test mails that are done: because one of them may hold who is erased. Raises Unavailable,
        ConfigError."""
        names = {kind: await self.objects.list(prefix) for kind, prefix in (("exports", self._exports), ("callbacks", CALLBACKS))}
        for name in (name for found in names.values() for name in found):
            await self.objects.delete(name)
        return Counter({kind: len(found) for kind, found in names.items()}) + Counter(test_mails=await self._tests(_over))

    async def _tests(self, old: Callable[[dict[str, Any]], bool]) -> int:
        return await below(self.store, MailTests.of(self.paths).batches(TEST), old)


def exported(name: str) -> int:
    """When an export was made (ms); 0, which is long ago, for a name that does not tell."""
    found = _TIME.search(name)
    return round(datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000) if found else 0


def _over(test: dict[str, Any]) -> bool:
    return test.get("state") == "done"
