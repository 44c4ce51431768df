"""Firestore's values, transforms, conditions and field paths, as protobuf messages and back."""

from __future__ import annotations

import re
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
