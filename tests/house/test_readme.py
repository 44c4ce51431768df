"""What the documents say about the code is true: steps, triggers, topics, make targets, paths and links."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.steps import PUSHED, STEPS, TICKED
from shared.model.paths import TEST, MailTests, Paths
from tests.house.table import ROOT, read, rows, steps, words

TRIGGERS = {"served": "HTTP", "streamed": "HTTP", "pushed": "Pub/Sub", "ticked": "tick"}  # decorator -> word in the table
FOLDERS = ("docs", "functions", "shared", "local", "tests", "bench")
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *(found for folder in FOLDERS for found in (ROOT / folder).rglob("*.md") if not {"starter", "system"} & {*found.parts}),
    }
)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n+)+")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?([^\s>]+)", re.M)


TABLE = steps()


def _published(step: str) -> set[str]:
    """The topics of every `publish(x.TOPIC, …)` in a step's folder."""
    found: set[str] = set()
    for file in (ROOT / "functions" / step).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "publish":
                topic = node.args[0]
                assert isinstance(topic, ast.Attribute) and topic.attr == "TOPIC", (
                    f"{file}: publish takes a TOPIC of shared.model"
                )
                assert isinstance(topic.value, ast.Name)
                found.add(importlib.import_module(f"shared.model.{topic.value.id}").TOPIC)
    return found


def _trigger(step: str) -> str:
    """From the decorator of the step's function."""
    tree = ast.parse((ROOT / "functions" / step / "main.py").read_text("utf-8"))
    [function] = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == step]
    names = [n.func.id for n in function.decorator_list if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    [trigger] = [TRIGGERS[name] for name in names if name in TRIGGERS]
    return trigger


def test_the_function_table_names_every_step() -> None:
    folders = {found.parent.name for found in (ROOT / "functions").glob("*/main.py")}
    assert set(TABLE) == folders == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_steps_row_agrees_with_its_code(step: str) -> None:
    _, trigger, consumes, publishes, what = TABLE[step]
    served = "Pub/Sub" if step in PUSHED else "tick" if step in TICKED else "HTTP"
    assert trigger == _trigger(step) == served
    assert words(consumes) == ({PUSHED[step]} if step in PUSHED else set())
    assert words(publishes) == _published(step)
    assert what


def test_every_consumed_topic_is_published_and_the_other_way_round() -> None:
    assert set(PUSHED.values()) == {topic for step in STEPS for topic in _published(step)}


def _code(text: str) -> Iterator[str]:
    """What a document shows as code: inline, fenced and indented."""
    yield from re.findall(r"`([^`\n]+)`", text)
    yield from (match[0] for match in _FENCED.finditer(text))
    yield from re.findall(r"^ {4}(.*)$", text, re.M)


def _targets() -> dict[str, bool]:
    """Make target -> whether `make help` lists it."""
    found = re.findall(r"^([a-z-]+):([^=\n].*|)$", read("Makefile"), re.M)
    return {name: "##" in rest for name, rest in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_named_exists(document: Path) -> None:
    named = {name for code in _code(document.read_text("utf-8")) for name in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", code)}
    assert named <= set(_targets())


def test_contributing_lists_every_target() -> None:
    listed = {row[0].strip("`").removeprefix("make ") for row in rows(read("CONTRIBUTING.md"), "Target")}
    assert listed == {name for name, shown in _targets().items() if shown}


def test_contributing_lists_every_test_folder() -> None:
    listed = {row[0] for row in rows(read("CONTRIBUTING.md"), "Tier")}
    folders = {found.parent.name for found in (ROOT / "tests").glob("*/__init__.py")}
    assert listed == {f"`{name}`" for name in folders} | {"`slow` (a marker)"}


def test_what_the_readme_says_is_somewhere_is_there() -> None:
    tree = read("README.md").partition("## Where things are")[2].partition("\n## ")[0]
    named = re.findall(r"^ {4}(\S+)", tree, re.M)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_architecture_page_names_every_path() -> None:
    paths = Paths("{tenant}")
    wanted = {
        paths.tenant,
        paths.subscriber("{sid}"),
        paths.consent("{sid}", "{consent}"),
        paths.suppression("{sid}"),
        paths.lift("{sid}", "{lift}"),
        paths.callback("{digest}"),
        paths.erasure("{sid}"),
        paths.privacy,
        paths.campaign("{campaign}"),
        paths.batch("{campaign}", "{batch}"),
        paths.delivery("{campaign}", "{delivery}"),
        paths.summary("{campaign}", "{range}"),
        paths.mark("{campaign}"),
        paths.report("{campaign}"),
        paths.provider("{provider}"),
        paths.endpoint("{endpoint}"),
        paths.minute("{endpoint}", "{minute}"),
        paths.console,
        paths.segment("{name}"),
        paths.sweep,
        paths.imports,
        paths.templates,
        paths.pages,
        paths.archive,
        paths.archive_volume("{number}"),
        MailTests.of(paths).batch(TEST, "{batch}"),
    }
    assert {row[0].strip("`") for row in rows(read("docs/architecture.md"), "Path")} == wanted


@pytest.mark.parametrize("document", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_is_numbered_dated_and_says_what_would_change_it(document: Path) -> None:
    text = document.read_text("utf-8")
    assert text.startswith(f"# {document.stem[:4]}. ")
    assert re.search(r"^\d{4}-\d\d-\d\d$", text, re.M)
    assert re.findall(r"^## (.+)$", text, re.M) == ["Context", "Decision", "Consequences", "Revisiting this decision"]


def _anchors(document: Path) -> set[str]:
    """GitHub's anchors of a document's headings."""
    text = _FENCED.sub("", document.read_text("utf-8"))
    heads = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in re.findall(r"^#+ (.+?)\s*$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(document: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", _INDENTED.sub("", _FENCED.sub("", document.read_text("utf-8"))))
    broken = []
    for inline, reference in _LINK.findall(text):
        link = inline or reference
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []
