"""The public archive: which campaigns are in it, back to the first of them.

A campaign is put there (see `volumes`) in one commit with the document that says so: when it begins, and later when the cell of its row
changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.errors import BadInput
from shared.links import NO_LANGUAGE
from shared.model.campaign import answered
from shared.model.moments import moment
from shared.model.paths import Paths
from shared.ports import Document, Store, Write

from .rows import Row, is_public
from .volumes import placed

SHOWN: Final = "shown"
HIDDEN: Final = "hidden"
LISTED: Final = "It is in the public archive now."
UNLISTED: Final = "It is in the public archive no more. The link in its mails goes on working."
UNSEEN: Final = "It is not in the public archive: its template says nothing without a reader."
UNAPPROVED: Final = "It was not public when it was approved, so it stays out of the public archive."


async def shown(store: Store, paths: Paths, id: str, data: Mapping[str, Any], now: int) -> list[Write]:
    """Puts a campaign with this document into the archive; [] when it has no public version. Raises Unavailable."""
    listed = _entry(data)
    return await placed(store, paths, id, data["frozen_at"], listed, now) if listed else []


async def changed(
    store: Store, paths: Paths, row: Row, document: Document | None, now: int, approval: bool
) -> tuple[dict[str, Any], list[Write]]:
    """What becomes of a campaign that has begun when its row says something else of the archive: its fields, and the archive. `approval`:
    campaigns need it, and who approved this one saw whether it was to be public. Raises Unavailable."""
    if document is None or row.problem or "frozen_at" not in document.data:
        return {}, []
    data = document.data
    try:
        wanted = is_public(row.public)
    except BadInput as error:
        return answered(f"Nothing was changed in the public archive. {error}", now), []
    before = data.get("public", "")
    if wanted == (before == SHOWN):
        return {}, []
    if not wanted:
        return {"public": HIDDEN, **answered(UNLISTED, now)}, await placed(store, paths, row.id, data["frozen_at"], {}, now)
    if approval and not before:
        return answered(UNAPPROVED, now), []
    writes = await shown(store, paths, row.id, data, now)
    return ({"public": SHOWN, **answered(LISTED, now)} if writes else answered(UNSEEN, now)), writes


def joined(row: Row, document: Document | None, changes: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What a row changes, with what it changes of the archive: that alone is answered when nothing else in the row is new."""
    before = (document.data.get("row") or {}) if document else {}
    same = {**before, "public": ""} == {**row.fields, "public": ""}
    found = {**changes, **more}
    if more and changes.get("answer") and not same:
        found["answer"] = f"{changes['answer']} {more['answer']}"
    return found


def _entry(data: Mapping[str, Any]) -> dict[str, Any]:
    mail = data["mail"]
    views = {NO_LANGUAGE: mail.get("view"), **{language: one.get("view") for language, one in mail.get("languages", {}).items()}}
    if not views[NO_LANGUAGE]:
        return {}
    languages = {language: [view["subject"], view["about"]] for language, view in views.items() if view}
    return {"at": data["frozen_at"], "day": moment(data["frozen_at"], data.get("zone", ""))[:10], "languages": languages}
