"""Whether a domain takes mail at all, as DNS has it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from shared.errors import Unavailable
from shared.logs import log
from shared.ports import Dns


@dataclass
class MailDomains:
    """Whether domains take mail, as DNS has it. One for a process: what was found is kept.

    `patience`: seconds for all look-ups of one domain; `clock`: seconds, on any scale.
    """

    dns: Dns
    patience: float = 1.5
    clock: Callable[[], float] = time.monotonic
    _kept: OrderedDict[str, tuple[float, bool]] = field(default_factory=OrderedDict, repr=False)  # domain -> (until, answer)
    _asking: dict[str, asyncio.Task[bool]] = field(default_factory=dict, repr=False)

    KEPT: ClassVar = 3600.0  # seconds for an answer
    SILENT: ClassVar = 60.0  # seconds for none
    MOST: ClassVar = 10_000  # domains kept
    AT_ONCE: ClassVar = 200  # domains asked about at a time; more pass unasked

    async def takes_mail(self, domain: str) -> bool:
        """False only when DNS has said so: neither an MX nor an address record, or a null MX (RFC 7505). No answer is no reason."""
        until, answer = self._kept.get(domain, (0.0, True))
        if domain in self._kept and self.clock() < until:
            return answer
        task = self._asking.get(domain)
        if task is None:
            if len(self._asking) >= self.AT_ONCE:
                return True
            task = self._asking[domain] = asyncio.create_task(self._ask(domain))
            task.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(task)

    async def _ask(self, domain: str) -> bool:
        try:
            async with asyncio.timeout(self.patience):
                answer, kept = await self._takes(domain), self.KEPT
        except (Unavailable, TimeoutError) as error:
            log("WARNING", "DNS was not heard about a domain, which passes", error=type(error).__name__)
            answer, kept = True, self.SILENT
        self._kept[domain] = (self.clock() + kept, answer)
        self._kept.move_to_end(domain)
        while len(self._kept) > self.MOST:
            self._kept.popitem(last=False)
        return answer

    async def _takes(self, domain: str) -> bool:
        if exchangers := await self.dns.records(domain, "MX"):
            return any(record.split()[-1:] != ["."] for record in exchangers)
        both = await asyncio.gather(self.dns.records(domain, "A"), self.dns.records(domain, "AAAA"))
        if any(both):
            return True
        return not await self.dns.records("com", "NS")  # a network of its own may answer, and know nothing
