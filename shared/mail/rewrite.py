"""Jinja's syntax tree of one part of a mail, rewritten before it is compiled:

- an output that depends on the recipient (`{{ name or "friend" }}`) becomes a mark, its expression a *slot* evaluated per recipient;
- the test of an `{% if %}` that depends on the recipient becomes a *test* evaluated per recipient: the tests' answers choose a variant;
- where a recipient's value is used in any other way (loops, set, macros, filter and call blocks), the value itself is part of the
  variant's key (`keys`), and what it prints becomes a mark of that variant, so no value ever passes through Markdown or HTML parsing;
- every call, loop round and piece of text is metered (see `sandbox`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from shared.mail.sandbox import LOOP_NAMES

if TYPE_CHECKING:
    from shared.mail.program import Program, Where


def names_in(node: nodes.Node) -> set[str]:
    """All names in an expression, itself included."""
    found = {n.name for n in node.find_all(nodes.Name)}
    return found | {node.name} if isinstance(node, nodes.Name) else found


def _call(name: str, args: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), args, [], None, None, lineno=line)


class Rewrite(NodeTransformer):
    """Rewrites one part's tree in place, as the module says. `numbered`: each line of text is to begin with its number, see `mjml`."""

    def __init__(self, program: Program, tree: nodes.Template, where: Where, numbered: bool = False) -> None:
        self.program = program
        self.where = where
        self.numbered = numbered
        self.keys: set[str] = set()
        self.opaque = False  # inside a block whose text is worked on before it is shown
        named = {n.name for n in tree.find_all(nodes.Name) if n.ctx != "load"}
        self.local = named | {m.name for m in tree.find_all(nodes.Macro)} | LOOP_NAMES

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        node.nodes = [self._text(child) if isinstance(child, nodes.TemplateData) else self._shown(child) for child in node.nodes]
        return node

    def _text(self, node: nodes.TemplateData) -> nodes.TemplateData:
        if self.numbered and not self.opaque:
            lines = enumerate(node.data.split("\n"), node.lineno)
            node.data = "\n".join(f"\x01{number}\x02{line}" for number, line in lines)
        return node

    def _shown(self, node: nodes.Expr) -> nodes.Expr:
        node, slotted = self._per_recipient(node)
        if slotted:
            return nodes.TemplateData(self.program.marks.slot(self.program.slot(node, self.where)), lineno=node.lineno)
        return _call("_work" if self.opaque else "_show", [node], node.lineno)

    def _per_recipient(self, node: Any) -> tuple[Any, bool]:
        """The rewritten expression, and whether it can be evaluated apart from the rest; if not, its names become keys."""
        names, before = names_in(node), set(self.keys)
        node = self.visit(node)
        if self.opaque or names & self.local or not names - self.program.shared:
            return node, False
        self.keys = before
        return node, True

    def visit_If(self, node: nodes.If) -> nodes.If:
        node.test, slotted = self._per_recipient(node.test)
        if slotted:
            self.program.tests.append(self.program.expression(node.test, self.where))
            index = nodes.Const(len(self.program.tests) - 1, lineno=node.lineno)
            node.test = _call("_test", [index], node.lineno)
        for branch in (node.body, node.elif_, node.else_):
            self._visit_all(branch)
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        before, self.opaque = self.opaque, self.opaque or node.recursive
        size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        self._visit_all(node.body)
        self._visit_all(node.else_)
        self.opaque = before
        node.iter = self.visit(node.iter)
        node.test = self._spending(self.visit(node.test)) if node.test else None
        count = nodes.Const(size + 1, lineno=node.lineno)
        node.body.insert(0, nodes.If(_call("_spend", [count], node.lineno), [], [], [], lineno=node.lineno))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        self.generic_visit(node)
        return self._spending(node)

    def _spending(self, node: nodes.Expr) -> nodes.Expr:
        """The same value, metered: long lists take long to compare."""
        return nodes.Or(_call("_spend", [], node.lineno), node, lineno=node.lineno)  # spending gives None

    def visit_Name(self, node: nodes.Name) -> nodes.Name:
        if node.ctx == "load":
            self.keys |= {node.name} - self.program.shared
        return node

    def _worked(self, node: nodes.Node) -> nodes.Node:
        before, self.opaque = self.opaque, True
        self.generic_visit(node)
        self.opaque = before
        return node

    visit_Macro = visit_CallBlock = visit_FilterBlock = visit_AssignBlock = _worked

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("_bounded", [_call("_concat", node.nodes, node.lineno)], node.lineno)

    def _built(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _call("_bounded", [node], node.lineno)

    visit_List = visit_Tuple = visit_Dict = _built

    def _visit_all(self, children: list[Any]) -> None:
        children[:] = [self.visit(child) for child in children]


class Flatten(NodeTransformer):
    """Takes all branches of the `{% if %}`s that ask about the recipient."""

    def visit_If(self, node: nodes.If) -> list[nodes.Node] | nodes.If:
        self.generic_visit(node)
        node.else_, node.elif_ = [*node.elif_, *node.else_], []
        test = node.test
        if isinstance(test, nodes.Call) and isinstance(test.node, nodes.Name) and test.node.name == "_test":
            return [*node.body, *node.else_]
        return node
