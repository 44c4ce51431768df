"""Two ways of sending that are in wide use, as controls: each handles the same message as send_batch, on the same store and mail
server, and each loses mail, or repeats it, when its process is killed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import letter
from shared.errors import Conflict
from shared.model.paths import Paths
from shared.model.subscriber import EVERYONE
from shared.ports import Create, Document, Filter, Merge, Outgoing, Sender, Store

_CONTENT = b"Subject: A new roast\r\n\r\nHello\r\n"


@dataclass(frozen=True)
class Control:
    """What both have in common: the range of a batch, page by page."""

    store: Store
    sender: Sender
    paths: Paths

    async def _range(self, campaign: str, batch: str) -> tuple[str, str]:
        found = await self.store.get(self.paths.batch(campaign, batch), ["source"])
        assert found is not None
        return found.data["source"]["low"], found.data["source"]["high"]

    async def _page(self, high: str, cursor: str) -> list[Document]:
        within = Filter(contains=("segments", EVERYONE), below=high or None)
        return await self.store.page(self.paths.subscribers, within, cursor, self.sender.window, ["address"])

    async def _send(self, people: Sequence[Document]) -> None:
        if people:
            mails = [Outgoing(found.data["address"], _CONTENT) for found in people]
            await self.sender.send(letter.IDENTITY.from_address, mails)


class Checkpoint(Control):
    """Saves the cursor when a page of recipients is fetched, then sends the page. The cursor moves from the version read only, so that
    two workers never fetch the same page: its one fault is when it saves."""

    async def handle(self, message: Mapping[str, Any]) -> None:
        campaign, batch = message["campaign"], message["batch"]
        low, high = await self._range(campaign, batch)
        path = f"{self.paths.campaign(campaign)}/cursors/{batch}"
        while True:
            saved = await self.store.get(path)
            if saved and saved.data.get("done"):
                return
            page = await self._page(high, saved.data["cursor"] if saved else low)
            change = {"cursor": page[-1].id} if page else {"done": True}
            try:
                await self.store.commit([Merge(path, change, saved.version) if saved else Create(path, change)])
            except Conflict:
                continue
            await self._send(page)


class Claim(Control):
    """Claims each mail by create(), then sends those it could claim. What exists already is somebody else's."""

    async def handle(self, message: Mapping[str, Any]) -> None:
        campaign, batch = message["campaign"], message["batch"]
        cursor, high = await self._range(campaign, batch)
        claims = f"{self.paths.campaign(campaign)}/claims"
        while page := await self._page(high, cursor):
            results = await self.store.write_many([Create(f"{claims}/{found.id}", {"at": time.time_ns()}) for found in page])
            await self._send([found for found, result in zip(page, results, strict=True) if isinstance(result, str)])
            cursor = page[-1].id
        await self.store.commit([Merge(f"{self.paths.campaign(campaign)}/cursors/{batch}", {"done": True})])
