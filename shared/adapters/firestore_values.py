"""Firestore's values, transforms, conditions and field paths, as protobuf messages and back; and values from REST's JSON."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from shared.adapters.documents import names
from shared.ports import ArrayUnion, Expiry, Maximum, Minimum

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def put(target: Any, value: Any) -> None:
    """Fill a Value."""
    if value is None:
        target.null_value = 0
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.boolean_value = value
    elif isinstance(value, int):
        target.integer_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, Expiry):
        target.timestamp_value.FromMilliseconds(value.at)
    elif isinstance(value, dict):
        target.map_value.SetInParent()
        for name, item in value.items():
            put(target.map_value.fields[name], item)
    else:
        target.array_value.SetInParent()
        for item in value:
            put(target.array_value.values.add(), item)


def value_of(found: Any) -> Any:
    """What a Value holds."""
    match found.WhichOneof("value_type"):
        case "null_value":
            return None
        case "map_value":
            return {name: value_of(item) for name, item in found.map_value.fields.items()}
        case "array_value":
            return [value_of(item) for item in found.array_value.values]
        case "timestamp_value":
            return Expiry(found.timestamp_value.ToMilliseconds())
        case kind:
            return getattr(found, kind)


def fields_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a map of Values from REST holds, {"n": {"integerValue": "1"}} and the like: for each reader of a campaign, so in one go."""
    fields: dict[str, Any] = {}
    for name, value in found.items():
        for kind, held in value.items():  # one
            read = _OF_JSON.get(kind)
            fields[name] = read(held) if read else held
    return fields


def put_transform(target: Any, value: Minimum | Maximum | ArrayUnion) -> None:
    match value:
        case Minimum():
            put(target.minimum, value.value)
        case Maximum():
            put(target.maximum, value.value)
        case ArrayUnion():
            target.append_missing_elements.SetInParent()
            for item in value.values:
                put(target.append_missing_elements.values.add(), item)


def compare(conditions: Any, name: str, op: int, value: Any) -> None:
    test = conditions.filters.add().field_filter
    test.field.field_path, test.op = name, op
    put(test.value, value)


@lru_cache(maxsize=4096)
def quoted(path: str) -> str:
    """A field path as Firestore spells it: names other than plain identifiers stand in backticks."""
    return ".".join(
        name if _PLAIN.fullmatch(name) else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`" for name in names(path)
    )


def version(time: Any) -> str:
    return f"{time.seconds}.{time.nanos}"


def version_of(time: str) -> str:
    """As `version`, from REST's "2026-11-22T16:50:39.869796Z"."""
    return f"{_seconds(time[:19])}.{_nanos(time)}"


@lru_cache(maxsize=1024)
def _seconds(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp())


def _nanos(time: str) -> int:
    """RFC 3339 in UTC, as Google writes it: the fraction has as many digits as it needs, or is not there."""
    return int(time[20:-1].ljust(9, "0") or "0")


_OF_JSON: Mapping[str, Callable[[Any], Any]] = {
    "integerValue": int,
    "doubleValue": float,  # "NaN" and "Infinity" are strings
    "bytesValue": base64.b64decode,
    "timestampValue": lambda held: Expiry(_seconds(held[:19]) * 1000 + _nanos(held) // 1_000_000),
    "mapValue": lambda held: fields_of(held.get("fields", {})),
    "arrayValue": lambda held: [fields_of({"": item})[""] for item in held.get("values", ())],
}
