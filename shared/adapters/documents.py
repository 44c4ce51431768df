"""What every Store has in common, whatever keeps its documents: Firestore's rules for paths, field names and values, its equality,
and what it bills for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.ports import ArrayUnion, Create, Delete, Expiry, Maximum, Minimum, Replace, Write

_END = 253_402_300_800_000  # the year 10000, in ms: Firestore's timestamps end before


@dataclass(slots=True)
class Operations:
    """What Firestore would bill for the calls that succeeded.

    `reads`: documents read, present or not, at least 1 a page, and 1 per 1000 documents (at least 1) a count. `writes` and
    `deletes`: by document. `counts`: calls of `count`.
    """

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    counts: int = 0


@lru_cache(maxsize=4096)
def check_collection(path: str) -> None:
    if path.count("/") % 2 or not all(path.split("/")):
        raise ValueError(f"not a collection: {path!r}")


def split(path: str) -> tuple[str, str]:
    collection, _, id = path.rpartition("/")
    if not id:
        raise ValueError(f"not a document: {path!r}")
    check_collection(collection)
    return collection, id


def check_writes(writes: Sequence[Write]) -> None:
    """Raises ValueError for a malformed write, and for a path that is written twice."""
    if len({write.path for write in writes}) < len(writes):
        raise ValueError("a path may be written only once in a call")
    for write in writes:
        split(write.path)
        if isinstance(write, Delete):
            continue
        for key, value in write.data.items():
            parts = names(key)
            if len(parts) > 1:
                if isinstance(write, Create | Replace):
                    raise ValueError(f"only Merge takes field paths: {key!r}")
                if any(".".join(parts[:depth]) in write.data for depth in range(1, len(parts))):
                    raise ValueError(f"{key!r} lies inside another field of the same write")
            if type(value) is not str or not value.isascii():  # most fields hold ids and words
                _check_change(value)


@lru_cache(maxsize=4096)
def names(key: str) -> tuple[str, ...]:
    """The names in a field path."""
    names = tuple(key.split("."))
    for name in names:
        _check_name(name)
    return names


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or (name.startswith("__") and name.endswith("__")):
        raise ValueError(f"not a field name: {name!r}")


def _check_change(value: object) -> None:
    if isinstance(value, ArrayUnion):
        _check(list(value.values))
    elif not isinstance(value, Minimum | Maximum):
        _check(value)
    elif not is_number(value.value):
        raise ValueError("Minimum and Maximum take numbers")


def _check(value: object, in_array: bool = False) -> None:
    """Raise ValueError for what Firestore would not store."""
    if isinstance(value, str):
        value.isascii() or value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("a whole number must fit 64 bits")
    elif isinstance(value, Expiry):
        if not 0 <= value.at < _END:
            raise ValueError("an expiry lies between the years 1970 and 9999")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_name(name)
            if type(item) is not str or not item.isascii():
                _check(item)
    elif isinstance(value, list | tuple) and not in_array:
        for item in value:
            if type(item) is not str or not item.isascii():  # most arrays hold ids
                _check(item, in_array=True)
    elif not (value is None or isinstance(value, float | bytes)):
        raise ValueError(f"cannot be stored{' in an array' * in_array}: {type(value).__name__}")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Firestore's equality: 1 is 1.0 but not true, NaN is NaN."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other or (one != one and other != other))


def field(data: dict[str, Any], path: str) -> tuple[bool, Any]:
    value: Any = data
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value
