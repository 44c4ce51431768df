"""Which of a template's placeholders come out empty: those shown without a default, counted over some of the audience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import nodes

from shared.mail.program import plain
from shared.mail.sandbox import Sandbox
from shared.mail.source import Template

from .preflight_report import Report

_NEVER_EMPTY = ("default", "d", "length", "count", "wordcount", "int", "float")


def check(template: Template, variables: frozenset[str], people: Sequence[Mapping[str, Any]]) -> Report:
    """`variables`: the recipient's values that the compiled template uses; `people`: the values of some recipients."""
    report, places = Report(), bare(template)
    for name in [name for name in places if name in variables and people and name in people[0]]:
        lacking = sum(not plain(values.get(name)) for values in people)
        if lacking:
            who = f"{lacking:,} of the {len(people):,}" if lacking < len(people) else f"all {len(people):,}"
            share = f" ({max(1, round(100 * lacking / len(people)))}%)" if lacking < len(people) else ""
            report.warnings.append(
                f"“{{{{ {name} }}}}” ({places[name]}) is empty for {who} subscribers looked at{share}: "
                f'give it a default, as in {{{{ {name} or "friend" }}}}.'
            )
    return report


def bare(template: Template) -> dict[str, str]:
    """Each name that is shown bare, and where first: not in a test of it, with no default and no other branch."""
    places: dict[str, str] = {}
    for where, text in (("subject", template.subject), ("preheader", template.preheader), ("line", template.body)):
        lines: dict[str, int] = {}
        _statement(Sandbox().parse(text), frozenset(), lines)
        for name, line in lines.items():
            places.setdefault(name, f"line {line}" if where == "line" else f"in the {where}")
    return places


def _statement(node: nodes.Node, safe: frozenset[str], found: dict[str, int]) -> None:
    """Collect from a block; `safe`: names that a test around it asks for."""
    if isinstance(node, nodes.Output):
        for shown in node.nodes:
            _expression(shown, safe, found)
        return
    if isinstance(node, nodes.If):
        safe |= _names(node.test)
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Stmt):
            _statement(child, safe, found)


def _expression(node: nodes.Node, safe: frozenset[str], found: dict[str, int]) -> None:
    match node:
        case nodes.Name():
            if node.name not in safe:
                found.setdefault(node.name, node.lineno)
        case nodes.Or() | nodes.And() | nodes.Not() | nodes.Compare() | nodes.Test():
            return
        case nodes.Filter() if node.name in _NEVER_EMPTY:
            return
        case nodes.CondExpr():
            for branch in node.iter_child_nodes():
                _expression(branch, safe | _names(node.test), found)
        case _:
            for child in node.iter_child_nodes():
                _expression(child, safe, found)


def _names(node: nodes.Node) -> set[str]:
    found = {name.name for name in node.find_all(nodes.Name)}
    return found | {node.name} if isinstance(node, nodes.Name) else found
