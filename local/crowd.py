"""Who comes first where one process does what many instances do on Google: a crowd at the public pages, then what it caused.

A thousand people who sign up at once would else wait for each other's confirmations.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from local.stacks import App

MANY: Final = 50  # requests under way that are a crowd
PATIENCE: Final = 2.0  # seconds that what waits for it waits at most


class Crowd:
    """Counts the requests under way in the apps that it is told of."""

    def __init__(self) -> None:
        self._size = 0
        self._calm = asyncio.Event()
        self._calm.set()

    def counted(self, app: App) -> App:
        """The app, with its requests among those that are counted."""

        async def called(scope: dict[str, Any], receive: Any, send: Any) -> None:
            self._size += 1
            if self._size >= MANY:
                self._calm.clear()
            try:
                await app(scope, receive, send)
            finally:
                self._size -= 1
                if self._size < MANY:
                    self._calm.set()

        return called

    async def gone(self) -> None:
        """Return once there is none, or after PATIENCE."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._calm.wait()
