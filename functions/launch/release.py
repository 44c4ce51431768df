"""What of a campaign's due batches goes now: as much as its rate allows and providers grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.logs import log
from shared.paging import PAGE
from shared.ports import Document, Merge, Store, Write

from . import pace
from .allowance import Allowances

LATER: Final = 600_000  # ms


@dataclass
class Singles:
    """Lets single mails go: they need no provider's grant."""

    store: Store
    holds: bool = False

    def room(self) -> int:
        return PAGE

    async def let(self, found: Sequence[Document], due: int) -> list[Document]:
        writes = [Merge(one.path, {"due": due, "swept": one.data["swept"] + 1}, if_version=one.version) for one in found]
        results = await self.store.write_many(writes)
        return [one for one, result in zip(found, results, strict=True) if isinstance(result, str)]


@dataclass
class Release:
    """Lets a campaign's batches go. `campaign` follows what is written to it."""

    store: Store
    allowances: Allowances
    campaign: Document
    now: int
    holds: bool
    put_off: bool = False  # whether there were batches for which no provider had anything left

    def room(self) -> int:
        return pace.room(self.campaign.data, self.now)

    async def let(self, found: Sequence[Document], due: int) -> list[Document]:
        """The rate's share is taken before the batches are stamped: a tick that is cut off in between slows the campaign down a little,
        and never speeds it up. Raises Conflict when somebody else has written the campaign."""
        fitting, next_at = pace.fits(found, self.campaign.data, self.now)
        await self._advance(next_at)
        going = await self.allowances.stamp(fitting, due)
        if len(going) < len(fitting):
            gone = {one.path for one in going}
            left = [one for one in fitting if one.path not in gone]
            await self._advance(next_at - pace.taken(left, self.campaign.data))
            if self.allowances.limited:
                await self._put_off(left, {one.data["group"] for one in going})
        return going

    async def _advance(self, next_at: int) -> None:
        if next_at != self.campaign.data.get("next_at", 0):
            self.campaign = await save(self.store, self.campaign, {"next_at": next_at})

    async def _put_off(self, left: Sequence[Document], served: set[str]) -> None:
        """Batches for which no provider has anything left would stand in the way of others: they are tried again later. Not those of a
        mailbox provider that just got something: there it is a matter of a minute."""
        writes = [
            Merge(one.path, {"due": self.now + LATER}, if_version=one.version) for one in left if one.data["group"] not in served
        ]
        self.put_off = self.put_off or bool(writes)
        refused = [result for result in await self.store.write_many(writes) if not isinstance(result, str)]
        if refused:  # changed by somebody else meanwhile, or still due
            log("INFO", f"not put off: {refused[0]}", campaign=self.campaign.id, batches=len(refused))


async def save(store: Store, document: Document, changes: Mapping[str, Any], more: Sequence[Write] = ()) -> Document:
    """Write whole fields of a document if it is as read, and the document as it is then. `more`: in the same commit. Raises Conflict,
    Unavailable."""
    version, *_ = await store.commit([Merge(document.path, changes, if_version=document.version), *more])
    return Document(document.path, version, {**document.data, **changes})
