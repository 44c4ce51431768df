"""Google's GridRange: rows and columns count from 0, ends are exclusive, what is absent is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def meet(one: Json, other: Json) -> bool:
    """Whether two ranges have a cell in common."""
    for axis in ("Row", "Column"):
        for first, second in ((one, other), (other, one)):
            end = first.get(f"end{axis}Index")
            if end is not None and end <= second.get(f"start{axis}Index", 0):
                return False
    return True


def holds(place: Json, row: int, column: int) -> bool:
    """Whether a range holds a cell (from 1)."""
    cell = {"startRowIndex": row - 1, "endRowIndex": row, "startColumnIndex": column - 1, "endColumnIndex": column}
    return meet(place, cell)


def barred(look: Json, place: Json, who: str) -> bool:
    """Whether a hard protection keeps somebody out of a cell of a range."""
    for one in look.get("protected", ()):
        open_to = [hole for hole in one.get("unprotectedRanges", ()) if _inside(place, hole)]
        hard = not one.get("warningOnly") and who not in one.get("editors", {}).get("users", ())
        if hard and not open_to and meet(one["range"], place):
            return True
    return False


def _inside(place: Json, hole: Json) -> bool:
    for axis in ("Row", "Column"):
        end = hole.get(f"end{axis}Index")
        if place.get(f"start{axis}Index", 0) < hole.get(f"start{axis}Index", 0):
            return False
        if end is not None and (place.get(f"end{axis}Index") is None or place[f"end{axis}Index"] > end):
            return False
    return True


def last(entries: Sequence[Json], row: int, column: int, name: str) -> Any:
    """The `name` of the last of the entries whose "range" holds a cell (from 1); None without one."""
    return next((one[name] for one in reversed(entries) if holds(one["range"], row, column)), None)


def moved(look: Json, row: int, by: int) -> Json:
    """A tab's look after `by` rows were put in above `row` (from 1), or that many taken out from it on when `by` is below 0."""

    def edge(index: int) -> int:
        return index if index < row else max(row - 1, index + by)

    def follow(place: Json) -> Json:
        start = place.get("startRowIndex")
        new = {"startRowIndex": start if start is None or start < row - 1 else max(row - 1, start + by)}
        end = place.get("endRowIndex")
        new |= {"endRowIndex": None if end is None else edge(end)}
        return {name: value for name, value in {**place, **new}.items() if value is not None}

    def empty(place: Json) -> bool:
        return bool("endRowIndex" in place and place["endRowIndex"] <= place.get("startRowIndex", 0))

    found = dict(look)
    for part in ("rules", "formats", "wraps", "protected", "bands"):
        ranged = [{**one, "range": follow(one["range"])} for one in look.get(part, ())]
        found[part] = [one for one in ranged if not empty(one["range"])]
    rules = [{**one, "ranges": [follow(place) for place in one["ranges"]]} for one in look.get("conditional", ())]
    found["conditional"] = [one for one in rules if not all(empty(place) for place in one["ranges"])]
    places = {name: [int(part) for part in name.split(",")] for name in look.get("notes", {})}
    kept = {name: place for name, place in places.items() if not row <= place[0] < row - by}
    notes = {f"{at + by if at >= row else at},{column}": look["notes"][name] for name, (at, column) in kept.items()}
    return {**found, "notes": notes}
