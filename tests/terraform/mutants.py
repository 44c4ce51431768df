"""Takes each piece of terraform/ out, one at a time, and asks whether anybody notices: `python -m tests.terraform.mutants` prints who.

Two ways, because a plan takes seconds. Each piece's effect on the plans that are at hand is made without terraform, exactly or not at
all (`Sweep`). `real` takes the piece out of the text and asks terraform itself; the tests do so for one of each kind, and
`python -m tests.terraform.mutants --terraform` for all, half an hour.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.terraform.changes import Pick, Way, changed, fewer, is_indexed, less, picked, without_label, without_variable, words
from tests.terraform.checks import faults
from tests.terraform.checks_text import text_faults
from tests.terraform.exempt import EXEMPT
from tests.terraform.facts import Facts, facts
from tests.terraform.hcl import Piece, pieces, without
from tests.terraform.provider import schemas
from tests.terraform.variants import REFUSED, VARIANTS, alone, bad, planned
from tests.terraform.workspace import UNKNOWN, Instance, Plan, Refused, Workspace, sources

Change = Callable[[Instance], Instance | None]  # None: the instance is not made
Mutant = tuple[str, Piece]  # file, what is taken out


REFERRED = "terraform: something refers to it"
REQUIRED = "terraform: it is required"
CHECKED = "the checks of the plan"
READ = "the checks of the text"
VALIDATED = "the bad values"
REFUSES = "terraform: it is refused"
SURVIVES = "nobody"


def mutants(files: Mapping[str, str]) -> list[Mutant]:
    """Every block, argument and element."""
    return [(file, piece) for file, text in files.items() for top in pieces(text) for piece in top.all()]


def exempt(piece: Piece) -> str | None:
    """The entry of EXEMPT that says why nobody has to notice."""
    return next((pattern for pattern in EXEMPT if re.fullmatch(pattern, piece.name)), None)


def mutated(files: Mapping[str, str], mutant: Mutant) -> dict[str, str]:
    file, piece = mutant
    return {**files, file: without(files[file], piece)}


class Sweep:
    """Who notices each mutant, told without terraform."""

    def __init__(self, files: Mapping[str, str], plans: Mapping[str, Plan], code: Facts) -> None:
        self._files, self._plans, self._code = files, plans, code

    @cached_property
    def _schemas(self) -> Mapping[str, Any]:
        google, beta, _ = schemas().values()
        found: Mapping[str, Any] = {**beta["resource_schemas"], **google["resource_schemas"]}
        return found

    def noticed(self, mutant: Mutant) -> str:
        """One of the constants above, or "" when only terraform can tell."""
        found = self._by_plan(mutant[1])
        if found in ("", SURVIVES) and text_faults(mutated(self._files, mutant), self._code):
            return READ
        return found

    def _by_plan(self, piece: Piece) -> str:
        match piece.path:
            case ("resource", kind, name, *inner):
                return self._resource(piece, kind, name, tuple(inner))
            case ("locals", name, *inner):
                return self._local(name, tuple(inner))
            case ("locals",):
                return REFERRED
            case ("variable", *_, "condition" | "error_message"):
                return REQUIRED
            case ("variable", name, "type", member):
                whole = f"jsonencode(var.{name})"  # every member is handed on, and the checks look at what arrives
                return REFERRED if self._referred(f"var.{name}.{member}") or self._referred(whole) else SURVIVES
            case ("variable", _, *inner) if inner:
                return ""
            case ("variable" | "data", *names) if len(names) == (1 if piece.path[0] == "variable" else 2):
                return REFERRED if self._referred(".".join(piece.path).replace("variable.", "var.")) else SURVIVES
            case ("ephemeral", kind, name, *inner):
                used = self._referred(f"ephemeral.{kind}.{name}" + ("[" if inner == ["for_each"] else ""))
                return REFERRED if used and inner in ([], ["for_each"]) else SURVIVES
            case ("output", name, *inner):
                if inner == ["description"]:
                    return SURVIVES
                return REQUIRED if inner == ["value"] else self._outputs(name, tuple(inner[1:]))
            case _:
                return SURVIVES

    # --- resources

    def _resource(self, piece: Piece, kind: str, name: str, inner: tuple[str, ...]) -> str:
        def ours(one: Instance) -> bool:
            return (one.type, one.name) == (kind, name)

        if not inner:
            found = self._checked(lambda one: None if ours(one) else one)
            return REFERRED if found == SURVIVES and self._referred(f"{kind}.{name}") else found
        if inner[0] in ("depends_on", "lifecycle", "provider"):
            return SURVIVES  # for a plan
        block = piece_of(self._files, piece.path[:3])
        if inner[0] in ("for_each", "count"):
            return self._each(block, ours, inner[1:])
        path = tuple(picked(block, inner))
        if "for_each" in path:
            return self._dynamic(ours, path[: path.index("for_each")], path[path.index("for_each") + 1 :])
        return self._argument(kind, ours, path)

    def _each(self, block: Piece, ours: Callable[[Instance], bool], inner: Sequence[str]) -> str:
        """Of a for_each, an element makes no instance, and the column of a row is asked for by name. Without all of it, or without
        a count, there is one instance where there was none."""
        if not inner:
            if "each." in block.value.partition("\n")[2].replace("for_each", ""):
                return REFERRED
            made = [one for one in self._plans["everything"].instances if ours(one)]
            plan = self._plans["minimal"]
            if made and not any(map(ours, plan.instances)):
                found = faults(replace(plan, instances=[*plan.instances, replace(made[0], key=None)]), self._code)
                return CHECKED if found else SURVIVES
            return REFERRED if self._referred(f"{block.path[1]}.{block.path[2]}[") else ""
        if f"each.value.{inner[-1]}" in block.value:
            return REFERRED
        return self._checked(lambda one: None if ours(one) and str(one.key) == inner[0] else one)

    def _dynamic(self, ours: Callable[[Instance], bool], path: Way, inner: Way) -> str:
        """A dynamic block's for_each is required; an element of it is one of the blocks, and what that consists of is asked for."""
        if len(inner) != 1:
            return REFERRED if inner else REQUIRED
        return self._gone(ours, path, None, inner)

    def _argument(self, kind: str, ours: Callable[[Instance], bool], path: Way) -> str:
        block = self._schemas[kind]["block"]
        for at, part in enumerate(path):
            if isinstance(part, Pick):
                continue
            if part in block["attributes"]:
                attribute = block["attributes"][part]
                if at < len(path) - 1:
                    return self._element(ours, path[: at + 1], path[at + 1 :])
                if attribute.get("required"):
                    return REQUIRED
                if part in ("project", "region"):
                    return ""  # the provider has one
                return self._gone(ours, path, UNKNOWN if attribute.get("computed") else None)
            nested = block["block_types"].get(part)
            if nested is None:
                return ""
            block = nested["block"]
        if nested.get("min_items") and not isinstance(path[-1], Pick):
            return REQUIRED
        return self._gone(ours, path, [])

    def _element(self, ours: Callable[[Instance], bool], path: Way, element: Way) -> str:
        """Of a value that is spelt out; a plan does not show what an expression is made of."""
        held = [one for plan in self._plans.values() for one in plan.instances if ours(one)]
        if all(changed(one, path, element, None).values == one.values for one in held):
            return ""
        return self._gone(ours, path, None, element)

    def _gone(self, ours: Callable[[Instance], bool], path: Way, value: Any, element: Way = ()) -> str:
        return self._checked(lambda one: changed(one, path, element, value) if ours(one) else one)

    # --- locals

    def _local(self, name: str, inner: tuple[str, ...]) -> str:
        """Of a map whose rows are instances, the row; of a list, what is made of an element. Columns are all asked for by name."""
        if not inner:
            return REFERRED
        match (name, *inner):
            case ("steps", step):
                return self._checked(lambda one: None if step in words(one.key) else one)
            case ("steps", step, ("store" | "objects") as kind, verb):
                return self._checked(lambda one: less(one, "google_project_iam_custom_role", kind, step, verb))
            case ("steps", step, ("publishes" | "secrets"), what):
                return self._checked(lambda one: None if one.key == f"{step} {what}" else one)
            case ("steps", step, "env", variable):
                return self._checked(lambda one: without_variable(one, variable) if step in words(one.key) else one)
            case ("steps", _, "wanted"):
                return ""
            case ("steps", _, _):
                return REFERRED
            case ("env", variable):
                return self._checked(lambda one: without_variable(one, variable))
            case ("indexes", collection):
                return self._checked(lambda one: None if is_indexed(one) and str(one.key).split(".")[0] == collection else one)
            case ("indexes", collection, field):
                return self._checked(lambda one: None if one.key == f"{collection}.{field}" else one)
            case ("expiring", collection):
                return self._checked(lambda one: None if one.name == "expiring" and one.key == collection else one)
            case ("apis", api):
                return self._checked(lambda one: None if one.type == "google_project_service" and one.key == api else one)
            case ("secrets", secret):
                return self._checked(lambda one: None if secret in words(one.key) else one)
            case ("metrics", metric):
                return self._checked(lambda one: None if one.type == "google_logging_metric" and one.key == metric else one)
            case ("metrics", metric, "labels", label):
                return self._checked(lambda one: without_label(one, label) if one.key == metric else one)
            case ("alerts", *_, last) if last.isdigit():
                return SURVIVES
            case ("alerts", alert) if alert not in ("title", "severity", "moving", "duration", "query", "text", "commands"):
                return self._checked(lambda one: None if one.name == "this" and one.key == alert else one)
            case ("front", "this"):
                return self._checked(lambda one: None if one.key == "this" else one)
            case ("deployer_roles", role):
                return self._checked(lambda one: None if one.name == "deployer" and one.key == role else one)
            case ("metrics" | "alerts" | "thresholds" | "buckets" | "functions", *_):
                return REFERRED
        return ""

    # --- who notices

    def _referred(self, address: str) -> bool:
        whole = r"(?!\w)" if address[-1].isalnum() else ""
        return any(re.search(rf"\b{re.escape(address)}{whole}", re.sub(r"(?m)#.*$", "", text)) for text in self._files.values())

    def _checked(self, change: Change) -> str:
        """Whether the checks notice in any variant."""
        for plan in self._plans.values():
            instances = [changed for one in plan.instances if (changed := change(one)) is not None]
            if len(instances) == len(plan.instances) and all(a is b for a, b in zip(instances, plan.instances, strict=True)):
                continue
            if faults(replace(plan, instances=instances), self._code):
                return CHECKED
        return SURVIVES

    def _outputs(self, name: str, inner: Way) -> str:
        plan = self._plans["minimal"]
        outputs = fewer(plan.outputs, (name, *inner))
        return CHECKED if faults(replace(plan, outputs=outputs), self._code) else SURVIVES


def piece_of(files: Mapping[str, str], path: Sequence[str]) -> Piece:
    return next(top for text in files.values() for top in pieces(text) if top.path == tuple(path))


# --- through terraform


RICHEST_FIRST = ("everything", "minimal", "three regions", "paused", "held")


def real(
    workspace: Workspace, files: Mapping[str, str], mutant: Mutant, code: Facts, variants: Sequence[str] = RICHEST_FIRST
) -> str:
    """Who notices when the text itself is changed. The workspace is left as it was."""
    changed = mutated(files, mutant)
    if text_faults(changed, code):
        return READ
    workspace.write({mutant[0]: changed[mutant[0]]})
    try:
        for variables in map(VARIANTS.__getitem__, variants):
            try:
                if faults(workspace.plan(**variables), code):
                    return CHECKED
            except Refused:
                return REFUSES
        return SURVIVES
    finally:
        workspace.write({mutant[0]: files[mutant[0]]})


def asked_alone(workspace: Workspace, files: Mapping[str, str], mutant: Mutant, steps: Collection[str]) -> str:
    """Who notices a variable's part that is gone: a bad value is taken, or a good one is not. `workspace` holds variables alone."""
    workspace.write(alone(mutated(files, mutant), steps))
    name = ".".join(part for part in mutant[1].path[1:4] if part != "validation")
    try:
        for number in range(len(REFUSED.get(name, []))):
            if _takes(workspace, bad(number, name)):
                return VALIDATED
        return SURVIVES if all(_takes(workspace, variables) for variables in VARIANTS.values()) else REFUSES
    finally:
        workspace.write(alone(files, steps))


def _takes(workspace: Workspace, variables: Mapping[str, Any]) -> bool:
    try:
        workspace.plan(**variables)
    except Refused:
        return False
    return True


def of_a_variable(mutant: Mutant) -> bool:
    return mutant[1].path[0] == "variable" and len(mutant[1].path) > 2


def side_by_side(
    mutants: Sequence[Mutant], files: Mapping[str, str], ask: Callable[[Workspace, Mutant], str]
) -> Iterator[tuple[Mutant, str]]:
    """Asks for each mutant in two workspaces of `files` at once."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:

        def asked(number: int) -> list[tuple[Mutant, str]]:
            with Workspace(Path(folder) / str(number), files) as workspace:
                return [(mutant, ask(workspace, mutant)) for mutant in mutants[number::2]]

        for found in pool.map(asked, range(2)):
            yield from found


def told(files: Mapping[str, str], code: Facts, everything: bool = False) -> dict[Mutant, str]:
    """Every mutant and who notices it; `everything`: not only what needs terraform is asked of terraform."""
    sweep = Sweep(files, planned(), code)
    found = {mutant: sweep.noticed(mutant) for mutant in mutants(files)}
    left = [mutant for mutant, who in found.items() if everything or (who == "" and exempt(mutant[1]) is None)]
    variables = [mutant for mutant in left if of_a_variable(mutant)]
    found |= side_by_side(
        variables, alone(files, code.triggers), lambda space, one: asked_alone(space, files, one, code.triggers)
    )
    others = [mutant for mutant in left if not of_a_variable(mutant)]
    found |= side_by_side(others, files, lambda space, one: real(space, files, one, code))
    return found


def main(everything: bool) -> None:
    """Print who notices what; exit status 1 when nobody notices something that is not exempt."""
    found = told(sources(), facts(), everything)
    counts = Counter(found.values())
    for (file, piece), who in found.items():
        print(f"{file:16} {piece.name:90} {who or SURVIVES}")
    for who, count in counts.most_common():
        print(f"{count:5} noticed by {who or 'nobody: exempt'}")
    sys.exit(any(who == SURVIVES and exempt(piece) is None for (_, piece), who in found.items()))


if __name__ == "__main__":
    main("--terraform" in sys.argv)
