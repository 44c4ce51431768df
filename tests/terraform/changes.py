"""What a plan would be like without a piece of terraform/, made from the plan with it: exactly what terraform would plan, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.terraform.hcl import Piece
from tests.terraform.workspace import Instance


@dataclass(frozen=True)
class Pick:
    """Which of several blocks of one name: those that hold these constants, and not those of the other texts."""

    constants: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]]

    def __call__(self, block: Mapping[str, Any]) -> bool:
        def holds(constants: Mapping[str, Any]) -> bool:
            return all(block.get(name) == value for name, value in constants.items())

        return holds(self.constants) and not any(holds(other) for other in self.others if len(other) > len(self.constants))


Way = tuple[str | Pick, ...]  # to an argument or block of an instance


def picked(block: Piece, inner: Sequence[str]) -> Iterator[str | Pick]:
    """A path in the text as one in a plan."""
    for at, part in enumerate(inner):
        if part == "content":
            continue
        path = (*block.path, *inner[: at + 1])
        same = [one for one in block.all() if one.kind == "block" and _base(one.path) == _base(path)]
        if not (part.isdigit() and len(same) > 1):
            yield part
        if len(same) > 1 and not (at + 1 < len(inner) and (*path, inner[at + 1]) in [one.path for one in same]):
            [this] = [one for one in same if one.path == path]
            yield Pick(_constants(this), [_constants(one) for one in same if one is not this])


def _base(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[:-1] if path[-1].isdigit() else path


def _constants(block: Piece) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for piece in block.inside:
        if re.fullmatch(r'"[^"$]*"|\["[^"$]*"\]', piece.value.strip()):
            found[piece.path[-1]] = json.loads(piece.value)
    return found


def words(key: str | int | None) -> list[str]:
    """What a key is made of: "send_batch send-requests", "track@us-east1", "tick_launch"."""
    return [*re.split(r"[ @]", str(key)), str(key).removeprefix("tick_")]


def is_indexed(one: Instance) -> bool:
    return one.type == "google_firestore_field" and one.name in ("none", "indexed")


def changed(one: Instance, path: Way, element: Way, gone: Any) -> Instance:
    """With the argument or block at `path` set to `gone`, or without one element of it: by its number, name or value."""
    name = ".".join(part for part in path if isinstance(part, str))
    kept = {other: given for other, given in one.references.items() if other != name}
    return replace(one, values=_gone(one.values, path, element, gone), references=kept)


def _gone(values: Any, path: Way, element: Way, gone: Any) -> Any:
    if not path:
        return fewer(values, element) if element else gone
    head, rest = path[0], path[1:]
    if isinstance(head, Pick):
        if not rest:
            return [block for block in values if not head(block)]
        return [_gone(block, rest, element, gone) if head(block) else block for block in values]
    if isinstance(values, list):
        return [_gone(block, path, element, gone) for block in values]
    if not isinstance(values, Mapping) or head not in values:
        return values
    return {**values, head: _gone(values[head], rest, element, gone)}


def fewer(held: Any, element: Way) -> Any:
    """A map, a list, the lines of a text, or JSON, without one of its parts."""
    name = str(element[0])
    if isinstance(held, str):
        if held.startswith("{"):
            return json.dumps(fewer(json.loads(held), element))
        return "\n".join(fewer(held.splitlines(), element))
    if isinstance(held, Mapping):
        if len(element) > 1 and name in held:
            return {**held, name: fewer(held[name], element[1:])}
        return {other: value for other, value in held.items() if other != name}
    if isinstance(held, list):
        if name.isdigit():
            return held[: int(name)] + held[int(name) + 1 :]
        return [one for one in held if name not in (one.values() if isinstance(one, Mapping) else [one])]
    return held


def less(one: Instance, kind: str, name: str, key: str, verb: str) -> Instance:
    if (one.type, one.name, one.key) != (kind, name, key):
        return one
    permissions = [permission for permission in one.values["permissions"] if not permission.endswith(f".{verb}")]
    return replace(one, values={**one.values, "permissions": permissions})


def without_variable(one: Instance, variable: str) -> Instance:
    if one.type != "google_cloudfunctions2_function":
        return one
    [given] = one.values["service_config"]
    if variable not in given["environment_variables"]:
        return one
    left = {name: value for name, value in given["environment_variables"].items() if name != variable}
    return replace(one, values={**one.values, "service_config": [{**given, "environment_variables": left}]})


def without_label(one: Instance, label: str) -> Instance:
    if one.type != "google_logging_metric":
        return one
    extractors = {name: value for name, value in one.values["label_extractors"].items() if name != label}
    return replace(one, values={**one.values, "label_extractors": extractors})
