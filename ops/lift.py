"""An operator takes a suppression back: who, why and when is kept beside it for good (shared/model/suppression.py)."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import BadInput, Conflict, Unavailable
from shared.model import suppression
from shared.model.paths import Paths
from shared.model.subscriber import mailable
from shared.ports import Document, Store

ATTEMPTS: Final = 5
_SID = re.compile(r"[0-9a-f]{32}")


def is_sid(reader: str) -> bool:
    """Whether a reader is named by id rather than by address."""
    return _SID.fullmatch(reader) is not None


async def lift(store: Store, paths: Paths, sid: str, reason: str, by: str, why: str, now: int) -> str:
    """What was done, in a sentence without an address; `now` in ms. Again is harmless: it says that nothing is there to lift.

    Raises BadInput for a complaint, a reason that is not there, a reader nobody knows, and without a name or a reason why; Unavailable
    when the reader changes all the time.
    """
    trail = paths.lift(sid, f"{now}-{reason}")
    for _ in range(ATTEMPTS):
        found = await _reader(store, paths, sid)
        try:
            await store.commit(suppression.lift(paths, found, reason, by, why, now))
        except Conflict:
            if not await store.get(trail):
                continue  # somebody else wrote: look again
        return _told(await _reader(store, paths, sid), reason)
    raise Unavailable("the store", "contended")


async def _reader(store: Store, paths: Paths, sid: str) -> Document:
    found = await store.get(paths.subscriber(sid))
    if found is None:
        raise BadInput("There is no such reader.")
    return found


def _told(reader: Document, reason: str) -> str:
    done, held = f"{reason} of {reader.id} is lifted.", reader.data.get("suppressed")
    if held:
        return f"{done} The reader stays suppressed: {', '.join(held)}."
    if not mailable(reader.data):
        return f"{done} The reader is not mailed all the same: {reader.data.get('status')}."
    return f"{done} The reader is mailed again."
