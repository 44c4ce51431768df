"""The segment of a campaign that is about to start: one by rule is frozen with the campaign, when its readers are known as of now."""

from __future__ import annotations

from typing import Final

from shared.errors import BadInput
from shared.model.paths import Paths
from shared.model.subscriber import EVERYONE, usable_tag
from shared.ports import Maximum, Merge, Store

WAITING: Final = "It starts as soon as the readers of its segment are counted, in a few minutes."


async def rule_of(store: Store, paths: Paths, segment: str, at: int) -> dict[str, str] | None:
    """What a campaign due at `at` (ms) keeps of its segment: {rule, rule_version}, or {} for everyone and tags. None until sync_sheet has
    looked at all subscribers since then, which is asked of it here. Raises BadInput when the rule cannot be used.

    One read, and none for everyone.
    """
    if segment == EVERYONE or not usable_tag(segment):
        return {}
    found = await store.get(paths.segment(segment))
    if found is None or not (found.data.get("version") or found.data.get("answer")):
        return {}
    if not found.data.get("version"):
        raise BadInput(
            f"The segment “{segment}” cannot be used. Its row in the tab Segments says: {found.data.get('answer', '')}"
        )
    if found.data.get("swept_at", 0) < at:
        if found.data.get("asked", 0) < at:
            await store.commit([Merge(found.path, {"asked": Maximum(at)})])
        return None
    return {"rule": found.data["rule"], "rule_version": found.data["version"]}
