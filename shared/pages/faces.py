"""What the public pages are drawn with, as it was a minute ago at most: so a change in the Settings tab or in the folder `pages` needs no
deploy, and a page costs no read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.errors import Unavailable
from shared.logs import log
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.ports import Clock, Store

AGE: Final = 60_000  # ms
DEFAULT: Final = "default"  # stands for the language of a text that is for everybody else: a field of the store has a name


@dataclass(frozen=True, slots=True)
class Shown:
    """The tenant, and what its files say instead of our texts: name of the page -> language in lower case, or
    DEFAULT -> {title, html}."""

    tenant: Tenant
    pages: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)


@dataclass
class Faces:
    """Reads two documents a minute and process."""

    store: Store
    paths: Paths
    clock: Clock
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _held: tuple[int, Shown] | None = field(default=None, repr=False)

    async def get(self) -> Shown:
        """Raises Unavailable before anything could be read, also while the tenant is not set up: a visitor is asked to try again."""
        if self._fresh:
            return self._held[1]  # type: ignore[index]
        async with self._asking:
            if not self._fresh:
                try:
                    self._held = self.clock.now(), await self._read()
                except Unavailable as error:
                    if self._held is None:
                        raise
                    log("WARNING", f"pages stay as they were: {error}")
                    self._held = self.clock.now(), self._held[1]
            assert self._held
            return self._held[1]

    @property
    def _fresh(self) -> bool:
        return self._held is not None and 0 <= self.clock.now() - self._held[0] < AGE

    async def _read(self) -> Shown:
        tenant, pages = await self.store.get_many([self.paths.tenant, self.paths.pages])
        if tenant is None:
            raise Unavailable("this list", "not set up yet")
        return Shown(Tenant.of(tenant.data), pages.data.get("pages", {}) if pages else {})
