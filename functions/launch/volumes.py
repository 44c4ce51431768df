"""Where the list of public campaigns is kept, back to the first of them: the newest in one document, all older ones in volumes, each as
large as a document can well be.

console/archive
    campaigns   id -> {at (ms), day ("2026-12-31", where the workbook is), languages: {language, "-" for everybody else: [subject, about]}}
    changed_at  when anything in the list last changed (ms)
    volumes     [{number, at, id, years, weight}], the newest first: `at` and `id` of a volume's newest campaign, the years that its
                campaigns are of, and its weight. Only of volumes that hold something
    made        the number of the latest volume
console/archive-{number}
    campaigns   as above

A campaign stands where its place, when it began and its id, lies between the first places of two volumes; so it is found again in one
read whatever became of it. Whatever is written is one commit that holds the first document's version: nothing is lost on the way or
listed twice. A volume that changes is written under a new number and the old one emptied, so that a reader may keep what a number holds,
and one who comes with an old list of volumes finds nothing rather than something else.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from shared.model.paths import Paths
from shared.ports import Create, Merge, Store, Write

SIZE: Final = 500_000  # bytes of campaigns in a document, about: Firestore takes 1 MiB, and the first one lists the volumes, too
MOST: Final = 200  # campaigns in a document
Campaigns: TypeAlias = Mapping[str, Mapping[str, Any]]


async def placed(store: Store, paths: Paths, id: str, at: int, entry: Mapping[str, Any], now: int) -> list[Write]:
    """What makes the list hold this campaign, which began `at` (ms), as `entry`, {} for not at all; [] where it is not in there anyway.
    One read, and one of each volume concerned. Raises Unavailable."""
    found = await store.get(paths.archive)
    head: Mapping[str, Any] = found.data if found else {}
    newest: Campaigns = head.get("campaigns", {})
    volumes: list[dict[str, Any]] = head.get("volumes", [])
    weights = [weight(newest), *(volume["weight"] for volume in volumes)]  # the first is the head's
    low = bisect_right([(-one["at"], one["id"]) for one in volumes], (-at, id))

    async def read(node: int) -> Campaigns:
        if not node:
            return newest
        volume = await store.get(paths.archive_volume(volumes[node - 1]["number"]))
        return volume.data["campaigns"] if volume else {}

    before = await read(low)
    if not entry and id not in before:
        return []
    campaigns = {key: one for key, one in {**before, id: entry}.items() if one}
    high = low + 1
    if high < len(weights) and weight(campaigns) + weights[high] <= SIZE // 2:  # few pages are to need many volumes
        campaigns |= await read(high)
        high += 1
    if low and weight(campaigns) + weights[low - 1] <= SIZE // 2:
        low -= 1
        campaigns |= await read(low)
    parts, made = parted(campaigns), head.get("made", 0)
    first = (parts.pop(0) if parts else {}) if not low else newest
    added = [_volume(made + n, part) for n, part in enumerate(parts, 1)]
    data = {
        "campaigns": first,
        "changed_at": now,
        "volumes": [*volumes[: max(low - 1, 0)], *added, *volumes[high - 1 :]],
        "made": made + len(parts),
    }
    return [
        Merge(paths.archive, data, if_version=found.version) if found else Create(paths.archive, data),
        *(Create(paths.archive_volume(made + n), {"campaigns": part}) for n, part in enumerate(parts, 1)),
        *(Merge(paths.archive_volume(one["number"]), {"campaigns": {}}) for one in volumes[max(low - 1, 0) : high - 1]),
    ]


def parted(campaigns: Campaigns) -> list[Campaigns]:
    """What fits in one document, or the newer half of it and the rest; [] for nothing."""
    ordered = sorted(campaigns.items(), key=lambda item: (-item[1]["at"], item[0]))
    total = weight(campaigns)
    if total <= SIZE:
        return [dict(ordered)] if ordered else []
    size, cut = 0, 0
    while cut < len(ordered) and (size := size + _weight(*ordered[cut])) <= total // 2:
        cut += 1
    cut = max(cut, 1)
    return [dict(ordered[:cut]), dict(ordered[cut:])]


def weight(campaigns: Campaigns) -> int:
    """At most SIZE when they fit in one document: their bytes, about, or as many as there are in a full one for each."""
    return sum(_weight(id, one) for id, one in campaigns.items())


def _weight(id: str, one: Mapping[str, Any]) -> int:
    return max(SIZE // MOST, len(id) + len(json.dumps(one, ensure_ascii=False).encode()))


def _volume(number: int, campaigns: Campaigns) -> dict[str, Any]:
    newest = min(campaigns, key=lambda id: (-campaigns[id]["at"], id))
    years: Sequence[str] = sorted({one["day"][:4] for one in campaigns.values()}, reverse=True)
    named = {"number": number, "at": campaigns[newest]["at"], "id": newest}
    return {**named, "years": list(years), "weight": weight(campaigns)}
