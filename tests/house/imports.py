"""What a step imports, read from its source: every module it can reach, function-level and lazy imports included."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
IMPLIED = {"zoneinfo": "tzdata"}  # what an import needs at run time without naming it
_LAZY = re.compile(r"shared(\.[a-z_]+)+")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_NAMED = re.compile(r"^([A-Za-z0-9._-]+)", re.MULTILINE)


def distributions(step: str) -> set[str]:
    """The distributions that a step's modules import, directly."""
    found: set[str] = set()
    for module in foreign(step):
        if implied := IMPLIED.get(module):
            found.add(implied)
        elif module.partition(".")[0] not in sys.stdlib_module_names:
            found.add(_owner(module))
    return found


@cache
def foreign(step: str) -> set[str]:
    """The modules from elsewhere that a step reaches."""
    found: set[str] = set()
    seen: set[Path] = set()
    waiting = sorted((ROOT / "functions" / step).rglob("*.py"))
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for module in _imported(file):
            ours = _files(module)
            waiting += ours
            if not ours and module.partition(".")[0] not in ("shared", "functions"):
                found.add(module)
    return found


def pins(lock: Path) -> dict[str, str]:
    """Distribution -> version, in a lock."""
    return {_normal(name): version for name, version in _PINNED.findall(lock.read_text())}


def wanted(file: Path) -> set[str]:
    """The distributions a requirements.in names."""
    return {_normal(name) for name in _NAMED.findall(file.read_text())}


@cache
def _imported(file: Path) -> list[str]:
    return list(_read(file))


def _read(file: Path) -> Iterator[str]:
    package = file.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (name for alias in node.names if _files(name := f"{module}.{alias.name}"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _LAZY.fullmatch(node.value):
            yield node.value


def _files(module: str) -> list[Path]:
    """The files of ours that importing a module runs, its packages' included."""
    parts = module.split(".")
    if parts[0] not in ("shared", "functions"):
        return []
    path = ROOT.joinpath(*parts)
    own = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()]
    parents = [ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
    return own + [file for file in parents if file.exists()] if own else []


@cache
def _packages() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@cache
def _owner(module: str) -> str:
    names = sorted(set(_packages().get(module.partition(".")[0], [])))
    assert names, f"nothing installed provides {module}"
    path = module.replace(".", "/")
    holding = [name for name in names if _holds(name, path)] if len(names) > 1 else names
    assert len(holding) == 1, f"{module}: {holding or names}"
    return _normal(holding[0])


def _holds(distribution: str, path: str) -> bool:
    return not {f"{path}.py", f"{path}/__init__.py"}.isdisjoint(_contents(distribution))


@cache
def _contents(distribution: str) -> frozenset[str]:
    return frozenset(map(str, metadata.files(distribution) or ()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
