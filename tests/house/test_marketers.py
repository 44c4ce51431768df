"""What docs/marketers.md says of the product is true: what it quotes is said somewhere in the code, every column and every word of Wanted
is explained, each picture is there and small, and the tab Start here is its short form."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from functions.sync_sheet.look import GUIDE
from functions.sync_sheet.settings import SETTINGS
from shared.model import console
from tests.house.table import ROOT, read, rows

GUIDE_PAGE = "docs/marketers.md"
PAGE = read(GUIDE_PAGE)
LARGEST = 60_000  # bytes of a picture
MOST = 8  # pictures
_PROSE = re.sub(r"^ {4}.*$|`[^`\n]*`|\*\*.+?\*\*", " ", PAGE, flags=re.M)  # without code and what is bold
QUOTES = sorted(
    {" ".join(found.split()) for found in re.findall(r"\*(?!\s)([^*]+?)\*", _PROSE)} - {"template", "like this", "friend"}
)
VARIES = "…"


def _said() -> Iterator[str]:
    """Every text in the steps and in what they share, with VARIES where a value stands."""
    for folder in ("functions", "shared"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else VARIES for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.sub(r"\{[^{}]*\}", VARIES, node.value)


SAID = list(_said())


@pytest.mark.parametrize("quote", QUOTES)
def test_what_it_quotes_the_product_says(quote: str) -> None:
    parts = [re.escape(part.strip()) for part in quote.split(VARIES) if re.search(r"\w", part)]
    assert parts and any(re.search(".*".join(parts), said, re.S) for said in SAID)


def test_it_quotes() -> None:
    assert len(QUOTES) > 30


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        ("Column", {*console.ROW_FIELDS, *console.ROW_OPTIONS, *console.ROW_RESULTS}),
        ("Column", {*console.IMPORT_FIELDS, *console.IMPORT_ANSWERS}),
        ("Column", {*console.SEGMENT_FIELDS, *console.SEGMENT_ANSWERS}),
        ("Column", {*console.SETTING_FIELDS, *console.SETTING_ANSWERS}),
        ("Column", {*console.TOPIC_FIELDS, *console.TOPIC_ANSWERS}),
        ("Setting", {one.name for one in SETTINGS}),
    ],
    ids=["Campaigns", "Import", "Segments", "Settings", "Topics", "each setting"],
)
def test_every_column_is_explained(head: str, wanted: set[str]) -> None:
    explained = {name for table in _tables(head) for row in table for name in re.findall(r"`([^`]+)`", row[0])}
    assert wanted - explained == set()


def test_every_word_of_wanted_is_explained() -> None:
    assert {word for word in console.WANTED if f"`{word}`" not in PAGE} == set()


def test_its_pictures_are_there_and_small() -> None:
    shown = re.findall(r"!\[[^\]]+\]\((pictures/[^)]+)\)", PAGE)
    kept = {file.relative_to(ROOT / "docs").as_posix(): file.stat().st_size for file in (ROOT / "docs" / "pictures").iterdir()}
    assert sorted(shown) == sorted(kept) and len(kept) <= MOST
    assert {name: size for name, size in kept.items() if size > LARGEST} == {}


def test_start_here_is_its_short_form() -> None:
    *steps, stuck = GUIDE
    assert [line.partition(":")[0] for line in steps] == re.findall(r"^## (\d\. .+)$", PAGE, re.M)
    assert stuck.startswith("Stuck?")


def test_the_readme_links_it() -> None:
    assert f"]({GUIDE_PAGE})" in read("README.md")


def _tables(head: str) -> Iterator[list[list[str]]]:
    """The tables whose first column is called so."""
    for section in re.split(r"^(?=###? )", PAGE, flags=re.M):
        if f"| {head} |" in section:
            yield list(rows(section, head))
