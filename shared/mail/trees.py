"""What is done to the syntax trees of layouts and partials, so that those of several files become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer


def defined(found: Iterable[nodes.Node]) -> set[str]:
    """The names that are given a meaning, by macros, `set`s, loops and the like."""
    names: set[str] = set()
    for node in found:
        if isinstance(node, nodes.Macro) or (isinstance(node, nodes.Name) and node.ctx != "load"):
            names.add(node.name)
        elif isinstance(node, nodes.Assign | nodes.AssignBlock):
            names |= {one.name for one in [node.target, *node.target.find_all(nodes.Name)] if isinstance(one, nodes.Name)}
    return names


def stop(line: int, sentence: str) -> NoReturn:
    """Raises TemplateSyntaxError. `line`: as nodes have it, which says the file, too."""
    raise TemplateSyntaxError(sentence, line)


class Includes(NodeTransformer):
    """Puts what `included` makes of it where a file is included."""

    def __init__(self, included: Callable[[nodes.Include], nodes.Node]) -> None:
        self.visit_Include = included


class _Bodies(NodeTransformer):
    def all(self, body: Iterable[nodes.Node]) -> list[nodes.Node]:
        """What a list of statements becomes."""
        found: list[nodes.Node] = []
        for node in body:
            made = self.visit(node)
            found += made if isinstance(made, list) else [made]
        return found


class Blocks(_Bodies):
    """Puts what is in blocks in their places. `copied`: what copies a body, which may be written more than once. `blocks`: of each name,
    that of the file which extends all others first. `inside`: those around, (name, which of them)."""

    def __init__(
        self,
        copied: Callable[[Sequence[nodes.Node]], list[Any]],
        blocks: Mapping[str, Sequence[nodes.Block]],
        inside: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.copied, self.blocks, self.inside = copied, blocks, inside

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        if node.name in (name for name, _ in self.inside):
            stop(node.lineno, f"the block “{node.name}” would contain itself")
        return self._body(node.name, 0, node.lineno)

    def visit_Output(self, node: nodes.Output) -> nodes.Output | list[nodes.Node]:
        if not any(map(_is_super, node.nodes)):
            return node
        return [self._super(one) if _is_super(one) else nodes.Output([one], lineno=one.lineno) for one in node.nodes]

    def _super(self, node: nodes.Expr) -> nodes.Node:
        if not self.inside:
            stop(node.lineno, "super() belongs inside a {% block %}")
        name, version = self.inside[-1]
        return self._body(name, version + 1, node.lineno)

    def _body(self, name: str, version: int, line: int) -> nodes.Node:
        if version == len(self.blocks[name]):
            stop(line, f"there is no other block “{name}” that super() could stand for")
        block = self.blocks[name][version]
        if block.required:
            stop(block.lineno, f"the block “{name}” has to be filled")
        inner = Blocks(self.copied, self.blocks, (*self.inside, (name, version)))
        return nodes.Scope(inner.all(self.copied(block.body)), lineno=line)


def _is_super(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "super"


class Renamed(_Bodies):
    """Gives names other names: `names` by themselves, and what stands behind the dot of the `modules`."""

    def __init__(self, names: Mapping[str, str], modules: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.names, self.modules = dict(names), modules or {}

    def visit_Name(self, node: nodes.Name) -> nodes.Name:
        if node.name in self.modules:
            stop(
                node.lineno, f"“{node.name}” is a file: write the name of one of its macros behind it, as in {node.name}.button()"
            )
        node.name = self.names.get(node.name, node.name)
        return node

    def visit_NSRef(self, node: nodes.NSRef) -> nodes.NSRef:
        node.name = self.names.get(node.name, node.name)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        if isinstance(node.node, nodes.Name) and (module := self.modules.get(node.node.name)) is not None:
            if node.attr not in module:
                stop(node.lineno, f"“{node.node.name}” has no macro called “{node.attr[:60]}”")
            return nodes.Name(module[node.attr], "load", lineno=node.lineno)
        return self.generic_visit(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        node.name = self.names.get(node.name, node.name)
        self._with_own(node)
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        node.call = self.visit(node.call)
        self._with_own(node)
        return node

    def _with_own(self, node: nodes.Macro | nodes.CallBlock) -> None:
        """What takes arguments, whose names are its own."""
        before, own = self.names, {argument.name for argument in node.args}
        self.names = {name: new for name, new in before.items() if name not in own}
        self.generic_visit(node)
        self.names = before


class Content(_Bodies):
    """Puts a body where {{ content }} stands, `around` it two marks."""

    def __init__(self, body: list[nodes.Node], around: tuple[str, str]) -> None:
        self.body, self.around, self.found = body, around, 0

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:
        return [made for one in node.nodes for made in self._shown(one)]

    def _shown(self, node: nodes.Expr) -> list[nodes.Node]:
        if not isinstance(node, nodes.Name) or node.name != "content":
            return [nodes.Output([node], lineno=node.lineno)]
        self.found += 1
        begin, end = (nodes.Output([nodes.TemplateData(mark, lineno=node.lineno)], lineno=node.lineno) for mark in self.around)
        return [begin, nodes.Scope(self.body, lineno=node.lineno), end]

    def _left(self, node: nodes.Node) -> nodes.Node:
        return node

    visit_Macro = visit_CallBlock = visit_FilterBlock = visit_AssignBlock = _left
