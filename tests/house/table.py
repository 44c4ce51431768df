"""The documents' tables as cells, for whoever compares them with something."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def read(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose header begins with `first`."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])])
    return found


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def steps() -> dict[str, list[str]]:
    """README's function table: step -> its row."""
    return {row[0].strip("`"): row for row in rows(read("README.md"), "Step")}
