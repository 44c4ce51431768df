"""The threat model names what stands against each threat and the test that shows it: all of these tests exist."""

from __future__ import annotations

import ast
import re
from functools import cache

from .table import ROOT, read, rows

TESTS = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
DOCUMENT = "docs/threats.md"


@cache
def functions(file: str) -> set[str]:
    """The tests of a file; contract classes' methods included."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def threats() -> list[list[str]]:
    return [
        row
        for part in re.split(r"^## ", read(DOCUMENT), flags=re.MULTILINE)
        if "| Threat |" in part
        for row in rows(part, "Threat")
    ]


def test_every_threat_has_a_defence_and_a_test() -> None:
    found = threats()
    assert len(found) >= 40
    assert len({threat for threat, _, _ in found}) == len(found)
    bare = [
        threat for threat, defence, shown in found if not defence or not (TESTS.search(shown) or shown.startswith("Not shown:"))
    ]
    assert bare == []


def test_every_test_that_is_named_is_there() -> None:
    missing = []
    for document in (DOCUMENT, "SECURITY.md"):
        for file, name in TESTS.findall(read(document)):
            if not (ROOT / file).is_file() or (name and name not in functions(file)):
                missing.append(f"{document}: {file}::{name}")
    assert missing == []
    assert len(TESTS.findall(read(DOCUMENT))) > 60


def test_every_public_step_is_an_entry_point() -> None:
    public = set(
        re.findall(
            r"^    (\w+) = \{\n(?:      #.*\n)*(?:      wanted.*\n)?      trigger +", read("terraform/functions.tf"), re.MULTILINE
        )
    )
    assert {"subscribe", "webhooks", "launch"} <= public
    listed = set(re.findall(r"`(\w+)`", "".join(row[0] for row in rows(read(DOCUMENT), "Entry point"))))
    assert public <= listed, public - listed


def test_every_pin_has_a_hash() -> None:
    locks = [ROOT / "requirements.txt", *sorted(ROOT.glob("functions/*/requirements.txt"))]
    for lock in locks:
        pins = re.findall(r"^[A-Za-z0-9].*(?:\n +.*)*", lock.read_text("utf-8"), re.MULTILINE)
        assert pins and [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == [], lock.parent.name
