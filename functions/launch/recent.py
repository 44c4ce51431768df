"""Which other campaigns a campaign's readers may have had mail from, or are about to: what send_batch asks for the contact policy, and for
readers who want one mail a week or a month.

Each campaign holds the list. It grows when another one starts, or sends again, and never shrinks: what is too long ago
counts for nothing, and send_batch sees for itself which campaigns have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shared.model.paths import Paths
from shared.paging import every
from shared.ports import Document, Store

DAY: Final = 86_400_000
REACH: Final = 30  # days: of who wants one mail a month
_FIELDS: Final = ["kind", "answered_at", "segment", "rule", "frozen_at", "priority", "sends"]


def of(campaign: Document, others: Iterable[Document]) -> list[dict[str, Any]]:
    """The field `recent` of a campaign: what it holds, and those of `others` that were launched, as they are now. By id."""
    known = {item["id"]: item for item in campaign.data.get("recent", ())}
    for other in others:
        if other.id != campaign.id and other.data.get("sends") and other.data.get("kind") == "campaign":
            known[other.id] = {
                "id": other.id,
                "segment": other.data["segment"],
                "frozen_at": other.data["frozen_at"],
                "ahead": turn(other.id, other.data) < turn(campaign.id, campaign.data),
                "sends": [{key: send[key] for key in ("key", "kind", "expected", "parts", "at")} for send in other.data["sends"]],
                **({"rule": other.data["rule"]} if other.data.get("rule") else {}),
            }
    return sorted(known.values(), key=lambda item: str(item["id"]))


def turn(id: str, data: Mapping[str, Any]) -> tuple[int, int, str]:
    """Whose is smaller goes first: by priority, then by age."""
    return -data.get("priority", 0), data.get("frozen_at") or data.get("at", 0), id


async def first(store: Store, paths: Paths, campaign: Document, now: int) -> list[dict[str, Any]]:
    """The field `recent` of a campaign that begins to send at `now` (ms). One read for each campaign that there is."""
    policy = campaign.data.get("policy") or {}
    days = policy.get("days", 1) if policy.get("cap") else 0
    lately = await _lately(store, paths, max(days, REACH), now)
    far = {one.id for one in lately if days and one.data["answered_at"] < now - days * DAY}
    return [{**item, "far": True} if item["id"] in far else item for item in of(campaign, lately)]


async def _lately(store: Store, paths: Paths, days: int, now: int) -> Sequence[Document]:
    """The campaigns of which something was said at most `days` ago, their end for one."""
    since = now - days * DAY
    return [one async for one in every(store, paths.campaigns, fields=_FIELDS) if one.data.get("answered_at", 0) >= since]
