"""The search terms of Drive's files.list (`q`), as far as we use them.

Follows "Search query terms and operators" of the Drive API v3.
"""

from __future__ import annotations

import re
from typing import Any

from local.google.rest import Refused

_PARENT = r"'(?:[^'\\]|\\.)*' in parents"
_PARENT_ID = re.compile(r"'((?:[^'\\]|\\.)*)' in parents")
_CLAUSE = re.compile(
    rf"\s*(?:(?P<parent>{_PARENT})|\((?P<parents>{_PARENT}(?: or {_PARENT})*)\)"
    r"|'(?P<owner>me)' in owners|trashed\s*=\s*(?P<trashed>true|false)"
    r"|properties\s+has\s*\{\s*key='(?P<key>[\w-]+)'\s+and\s+value='(?P<property>(?:[^'\\]|\\.)*)'\s*\}"
    r"|(?P<field>mimeType|name)\s*(?P<sign>!?=)\s*'(?P<value>(?:[^'\\]|\\.)*)')\s*(?:and(?=\s)|$)"
)


def parsed(text: str) -> list[tuple[str, str, Any]]:
    """The clauses of a `q`: (trashed | mimeType | name, "=" or "!=", value), ("properties", key, value) or ("parents", "", ids),
    all joined by "and"; only parents can be joined by "or", in brackets. Raises Refused for any other."""
    clauses: list[tuple[str, str, Any]] = []
    place = 0
    while place < len(text):
        found = _CLAUSE.match(text, place)
        if not found:
            raise Refused(400, "Invalid Value", "invalid", "q")
        kind = next(name for name in ("parent", "parents", "owner", "trashed", "property", "field") if found[name] is not None)
        value = re.sub(r"\\(.)", r"\1", found["value" if kind == "field" else kind])
        if kind in ("parent", "parents"):
            clauses.append(("parents", "", [re.sub(r"\\(.)", r"\1", one) for one in _PARENT_ID.findall(found[kind])]))
        elif kind == "property":
            clauses.append(("properties", found["key"], value))
        else:
            clauses.append((found["field"] or kind, found["sign"] or "=", value))
        place = found.end()
    return clauses


def matches(file: dict[str, Any], field: str, sign: str, value: Any) -> bool:
    """Whether a file, as files.get gives it, fits a clause."""
    if field == "parents":
        return not set(value).isdisjoint(file["parents"])
    if field == "owner":
        return bool(file["ownedByMe"])
    if field == "trashed":
        return bool(value == "false")
    if field == "properties":
        return bool(file["properties"].get(sign) == value)
    same: bool = file[field] == value
    return same == (sign == "=")
