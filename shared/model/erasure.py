"""Erasing a person: one commit takes the address away before anybody is answered, the rest follows in the step privacy.

What stays, so that no import, no other system and no late event brings the person back:

    subscribers/{sid}   the tombstone: {suppressed: [reasons], segments: []}, and nothing else
    suppressions/{sid}  reasons, and of each when and what told us; erased_at is the latest erasure (ms)

What is left to do stands in a document of its own, which goes when it is done. It is apart from the suppression, because a person who
signs up again and confirms takes that away:

    erasures/{sid}      at      the latest erasure (ms): what is older than this goes
                        due     when privacy looks at it next (ms)
                        cursor  the campaign up to which deliveries are gone
                        files   names of imported files that hold the person
                        told    whether sync_sheet has taken the person out of the Sheet

Whoever has erased may publish an empty message to `privacy-requests`: each is a run of privacy, whatever it says. launch publishes one each
quarter of an hour, so none is missed.

An address that nobody knows is suppressed all the same: its owner asked to be left alone, and an import could bring it tomorrow. That makes
no garbage, since only a mail that we signed, or an operator, can ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.contention import outlast
from shared.model.paths import Paths
from shared.model.subscriber import REASONS
from shared.paging import every
from shared.ports import Create, Document, Filter, Replace, Store, Write

TOPIC: Final = "privacy-requests"
FILES: Final = "imports/"  # how the page of a consent begins that came in a file, see functions/sync_sheet/import_files.py
LINGER: Final = 3_600_000  # ms from the erasure to a second look, for what was under way: an export, a mail, an import
_IMPORTED: Final = Filter(below="import-~")  # the consents of imports alone: strangers can make any number of the others
_ASKING: Final = ("asked", "asked_at", "wanted", "created_at")  # of a sign-up, which may be one of after the erasure
_KEPT: Final = frozenset({"suppressed", "segments"})


async def erase(store: Store, paths: Paths, sid: str, source: str, at: int) -> None:
    """Take a person away, at `at` (ms); again is harmless. `source`: what told us, in ids and words ("mail of C-0001").

    When it returns no step can find the address any more. Raises Unavailable: then ask again.

    Of the subscriber no version is asked: strangers' sign-ups change it as often as they like, and none of it stays. Every reason that
    comes or goes meanwhile changes the suppression too; whoever else writes does so on a version that is now gone, or leaves what privacy
    takes away.
    """
    files = await _files(store, paths, sid)

    async def once() -> None:
        where = [paths.subscriber(sid), paths.suppression(sid), paths.erasure(sid)]
        person, bar, left = await store.get_many(where)
        if person and bar and _done(person.data, bar.data, at):
            return
        held = [*(person.data.get("suppressed") or () if person else ()), *(bar.data.get("reasons", ()) if bar else ())]
        kept = tombstone({"suppressed": held})
        noted = _noted(bar.data if bar else {}, kept["suppressed"], source, at)
        latest = max(at, int(left.data["at"]) if left else at)
        todo = {"at": latest, "due": at, "cursor": "", "files": sorted({*files, *_listed(left)}), "told": False}
        await store.commit([Replace(where[0], kept), _exactly(where[1], bar, noted), _exactly(where[2], left, todo)])

    await outlast(once)


def tombstone(subscriber: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a subscriber's document when all that it holds is erased. Too many soft bounces are no reason any more: what
    they were counted by is gone."""
    reasons = {*(subscriber.get("suppressed") or ()), "erased"} - {"soft_bounces"}
    return {"suppressed": [reason for reason in REASONS if reason in reasons], "segments": []}


def cleaned(subscriber: Mapping[str, Any], erased_at: int) -> dict[str, Any] | None:
    """What is to stay of the document of somebody who was erased, after late events have written to it: the tombstone, with what a later
    sign-up asked for. None when it is so already, or the person is back."""
    if "erased" not in (subscriber.get("suppressed") or ()):
        return None
    asked = subscriber.get("asked_at", -1) > erased_at
    stays = tombstone(subscriber) | {name: subscriber[name] for name in _ASKING if asked and name in subscriber}
    return None if stays == subscriber else stays


async def _files(store: Store, paths: Paths, sid: str) -> set[str]:
    """Of which files the person's consents tell; afterwards nothing does."""
    pages = [str(one.data.get("page", "")) async for one in every(store, paths.consents(sid), _IMPORTED, ["page"], "import-")]
    return {page.removeprefix(FILES) for page in pages if page.startswith(FILES)}


def _listed(found: Document | None) -> list[str]:
    return list(found.data.get("files", ())) if found else []


def _done(person: Mapping[str, Any], bar: Mapping[str, Any], at: int) -> bool:
    return person.keys() <= _KEPT and "erased" in person.get("suppressed", ()) and bar.get("erased_at", -1) >= at


def _noted(held: Mapping[str, Any], reasons: list[str], source: str, at: int) -> dict[str, Any]:
    """The suppression: reasons, dates and sources, no words."""
    names = [name for reason in reasons for name in (f"{reason}_at", f"{reason}_sources")]
    return {name: held[name] for name in names if name in held} | {
        "reasons": reasons,
        "erased_at": max(at, held.get("erased_at", at)),
        "erased_sources": list(dict.fromkeys([*held.get("erased_sources", ()), source])),
    }


def _exactly(path: str, found: Document | None, data: Mapping[str, Any]) -> Write:
    return Replace(path, data, if_version=found.version) if found else Create(path, data)
