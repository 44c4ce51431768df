"""An operator erases a person who asked for it by letter or by telephone (shared/model/erasure.py)."""

from __future__ import annotations

from shared.errors import BadInput
from shared.model.erasure import erase
from shared.model.paths import Paths
from shared.ports import Store

SOURCE = "an operator"
LEFT = """The Sheet follows within minutes. Consents, what was noted of mails, and all exports go within a quarter of an hour.
Files in Drive, backups and Google's own copies are not reached: docs/privacy.md says what to do."""


async def run(store: Store, paths: Paths, sid: str, by: str, now: int) -> str:
    """Erase, at `now` (ms); what was done, in sentences without an address. Again is harmless.

    Raises BadInput without a name, Unavailable.
    """
    if not by.strip():
        raise BadInput("Say who you are: --by.")
    known = await store.get(paths.subscriber(sid), ["suppressed", "address", "asked"])
    await erase(store, paths, sid, f"{SOURCE}, {by.strip()[:200]}", now)
    data = known.data if known else {}
    if data.get("address") or data.get("asked"):
        did = f"{sid} is erased: the address, the name and all that was known of the reader are gone."
    elif "erased" in (data.get("suppressed") or ()):
        did = f"{sid} was erased before; all that came since is gone."
    else:
        did = f"Nobody is known by that address. It is noted as {sid}, so that no import brings it."
    return f"{did}\n{LEFT}"
