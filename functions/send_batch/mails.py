"""Frozen mails, compiled once per process and signing key, and kept by what they were compiled from."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from shared.links import Links
from shared.mail.compile import CompiledMail, compile
from shared.mail.source import in_language, thawed
from shared.ports import Objects

KEPT = 32


class Mails:
    """Loads frozen bytes from Objects and compiles them."""

    def __init__(self, objects: Objects, links: Links) -> None:
        self._objects, self._links = objects, links
        self._kept: OrderedDict[str, tuple[int, CompiledMail]] = OrderedDict()  # with the signing key's generation
        self._lock = asyncio.Lock()  # the batches of one campaign arrive together: one of them compiles

    async def get(self, campaign: str, mail: Mapping[str, Any], language: str = "") -> CompiledMail:
        """The compiled mail of a campaign's `mail` field, in one of its languages or, "", for everybody else. Raises NotFound,
        BadTemplate, Unavailable."""
        key = repr((campaign, language, sorted(mail.items())))
        async with self._lock:
            generation = self._links.tokens.generation
            kept = self._kept.get(key)
            if kept and kept[0] == generation:
                return kept[1]
            mail = in_language(mail, language)
            found = compile(thawed(mail, await self._objects.get(mail["object"]), campaign), self._links)
            self._kept[key] = generation, found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found
