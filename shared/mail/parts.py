"""Layouts and partials: a mail is put together from its template and the files of two folders beside it, before anything else is
looked at. What `{% include %}`, `{% extends %}` and `{% import %}` name is put into the template's own syntax tree, so that the limits and
the rules of one file hold for all of them, and the sandbox needs no loader. Names are constants, so a mail's files are known before it is
compiled, and can be frozen with it.

As Jinja does it, but: a file sees the names where it stands, and so do the macros of a file that is imported; all that is outside of a
block of a file that extends another has to be a `set`, a macro or an import; and what is imported cannot be given another value.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes

from shared.errors import BadTemplate
from shared.mail.sandbox import MAX_NODES
from shared.mail.source import MAX_SOURCE, Kind, decode, kind_of, layout_of
from shared.mail.trees import Blocks, Content, Includes, Renamed, defined, stop

FOLDERS: Final = ("layouts", "partials")
MAX_DEPTH: Final = 8  # files inside files
LINES: Final = 1_000_000  # a line's number in the tree is that in its file, plus this times the file's place in `Linker.files`
_NAME = re.compile(rf"(?:{'|'.join(FOLDERS)})/[^/\\]{{1,200}}")
_LOADS = re.compile(r"""\{%[-+]?\s*(?:include|extends|import|from)\s+(["'])([^"'\n]{1,220})\1""")
_DEFINITIONS = (nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.Import, nodes.FromImport)
_SUITS: Final[dict[Kind, tuple[Kind, ...]]] = {
    "markdown": ("markdown", "text"),
    "html": ("html",),
    "mjml": ("mjml", "html"),
    "text": ("text",),
}
_CALLED: Final[dict[Kind, str]] = {"markdown": "Markdown", "html": "HTML", "mjml": "MJML", "text": "plain text"}


def reached(name: str, data: bytes) -> list[str]:
    """The files, as "partials/footer.html", that a template or a part names. What is wrong with them is said when the mail is compiled."""
    try:
        text = decode(data)
        layout = "" if _NAME.fullmatch(name) else layout_of(name, text)
    except BadTemplate:
        return []
    found = dict.fromkeys([layout, *(match[2] for match in _LOADS.finditer(text))])
    return [name for name in found if _NAME.fullmatch(name)]


class Linker:
    """Puts one mail together. `parts`: names to their bytes. `content`: what to put around the text of a template that a layout goes
    around. Used once."""

    def __init__(self, parts: Mapping[str, bytes], content: tuple[str, str] = ("", "")) -> None:
        self._parts, self._content = parts, content
        self.files = [""]  # by place: names of files; the template's own first
        self._characters = self._nodes = self._imports = 0

    def link(self, parse: Callable[[str], nodes.Template], text: str, kind: Kind, layout: str = "") -> nodes.Template:
        """The tree of the whole mail. `parse`: from a text to its tree, checked. Raises TemplateSyntaxError (with a line's number as
        LINES says) and BadTemplate."""
        self._parse = parse
        body = self._assembled(self._tree("", text), kind, ("",))
        if layout:
            if layout not in self._parts:
                raise BadTemplate(f"The template asks for the layout “{layout}”, and there is no such file.")
            frame = Content(body, self._content)
            body = frame.all(self._assembled(self._read(layout, "html", 1, ("",)), "html", ("", layout)))
            if frame.found != 1:
                raise BadTemplate(f"“{layout}” must have {{{{ content }}}} once, by itself: it has it {frame.found} times.")
        return nodes.Template(body, lineno=1)

    # --- files ---

    def _tree(self, name: str, text: str) -> nodes.Template:
        if name not in self.files:
            self.files.append(name)
        offset = LINES * self.files.index(name)
        try:
            self._spend(len(text), 0, 1)
            tree = self._parse(text)
        except TemplateSyntaxError as error:
            error.lineno += offset
            raise
        self._environment = tree.environment
        for node in tree.find_all(nodes.Node):
            node.lineno = (node.lineno or 1) + offset
            self._spend(0, 1, node.lineno)
        return tree

    def _read(self, name: str, into: Kind, line: int, path: Sequence[str]) -> nodes.Template:
        """The tree of a file that one of `into` kind asks for, at `line`; `path`: the names of those around it."""
        if not _NAME.fullmatch(name):
            stop(line, f"“{name[:60]}” is not a file of the folders {' and '.join(FOLDERS)}, as in “partials/footer.html”")
        if name in path:
            stop(line, f"“{name}” would contain itself")
        if len(path) > MAX_DEPTH:
            stop(line, f"more than {MAX_DEPTH} files are inside each other")
        kind = kind_of(name)
        if kind not in _SUITS[into]:
            fits = " or ".join(_CALLED[one] for one in _SUITS[into])
            hint = ": put “layout: …” at the top instead" if into == "markdown" and name.startswith("layouts/") else ""
            stop(line, f"“{name}” cannot stand in {_CALLED[into]}; a file of {fits} can{hint}")
        if name not in self._parts:
            folder, _, file = name.partition("/")
            stop(line, f"there is no file “{file}” in the folder {folder}")
        try:
            text = decode(self._parts[name])
        except BadTemplate as error:
            raise BadTemplate(f"“{name}”: {error}") from None
        return self._tree(name, text)

    def _spend(self, characters: int, count: int, line: int) -> None:
        self._characters += characters
        self._nodes += count
        if self._characters > MAX_SOURCE:
            stop(line, f"all files of the mail together come to more than {MAX_SOURCE // 1024} KB")
        if self._nodes > MAX_NODES:
            stop(line, "there is too much inside {{ }} and {% %}")

    def _copied(self, found: Sequence[nodes.Node]) -> list[Any]:
        """A copy of a block's body, which is written more than once."""
        for node in found:
            for one in (node, *node.find_all(nodes.Node)):
                self._spend(len(one.data) if isinstance(one, nodes.TemplateData) else 0, 1, node.lineno)
        return copy.deepcopy(list(found), {id(self._environment): self._environment})

    # --- putting together ---

    def _assembled(self, tree: nodes.Template, kind: Kind, path: Sequence[str]) -> list[nodes.Node]:
        """A file's body, with the files in it, in those that it extends."""
        blocks: dict[str, list[nodes.Block]] = {}
        definitions: list[nodes.Node] = []
        while True:
            parents = list(tree.find_all(nodes.Extends))
            if len(parents) > 1 or any(parent not in tree.body for parent in parents):
                stop(parents[-1].lineno, "{% extends %} stands once, at the top of a file")
            self._imported(tree, kind, path)
            tree = Includes(lambda node, path=path: self._included(node, kind, path)).visit(tree)  # type: ignore[misc]
            own: set[str] = set()
            for block in tree.find_all(nodes.Block):
                if block.name in own:
                    stop(block.lineno, f"two blocks are called “{block.name}”")
                own.add(block.name)
                blocks.setdefault(block.name, []).append(block)
            if not parents:
                return [*definitions, *Blocks(self._copied, blocks).all(tree.body)]
            definitions += [node for node in tree.body if _kept(node)]
            name = _constant(parents[0].template)
            tree = self._read(name, kind, parents[0].lineno, path)
            path = (*path, name)

    def _included(self, node: nodes.Include, kind: Kind, path: Sequence[str]) -> nodes.Node:
        if node.ignore_missing or not node.with_context:
            stop(node.lineno, 'write no more than {% include "partials/…" %}')
        name = _constant(node.template)
        tree = self._read(name, kind, node.lineno, path)
        return nodes.Scope(self._assembled(tree, kind_of(name) or kind, (*path, name)), lineno=node.lineno)

    def _imported(self, tree: nodes.Template, kind: Kind, path: Sequence[str]) -> None:
        """Put the definitions of the files that a tree imports into its body, under names that no template can use."""
        names: dict[str, str] = {}  # as written here -> as put in
        modules: dict[str, dict[str, str]] = {}
        taken = defined(tree.find_all(nodes.Node))
        put: dict[int, list[nodes.Node]] = {}
        loads = [node for node in tree.body if isinstance(node, nodes.Import | nodes.FromImport)]
        for node in loads:
            file = _constant(node.template)
            body = self._assembled(self._read(file, kind, node.lineno, path), kind_of(file) or kind, (*path, file))
            module = [found for found in body if isinstance(found, nodes.Assign | nodes.AssignBlock | nodes.Macro)]
            self._imports += 1
            new = {name: f"_{self._imports}_{name}" for name in defined(module)}
            put[id(node)] = Renamed(new).all(module)
            if isinstance(node, nodes.Import):
                here = {node.target: ""}
                modules[node.target] = new
            else:
                here = dict((item, item) if isinstance(item, str) else (item[1], item[0]) for item in node.names)
            for alias, name in here.items():
                if name and name not in new:
                    stop(node.lineno, f"“{file}” has no macro called “{name[:60]}”")
                if alias in taken or alias.startswith("_"):
                    stop(node.lineno, f"“{alias[:60]}” has a meaning already: import it under another name, with “as”")
                taken.add(alias)
            names |= {alias: new[name] for alias, name in here.items() if name}
        if left := next((node for node in tree.find_all((nodes.Import, nodes.FromImport)) if node not in loads), None):
            stop(left.lineno, "{% import %} and {% from %} stand at the top of a file, in no block")
        renamed = Renamed(names, modules)
        tree.body = [one for node in tree.body for one in put.get(id(node)) or renamed.all([node])]


def _constant(node: nodes.Expr) -> str:
    if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
        stop(node.lineno, "the name of one file has to stand here, in quotes, as in “partials/footer.html”")
    return node.value


def _kept(node: nodes.Node) -> bool:
    """Whether a node outside of all blocks counts in a file that extends another; raises TemplateSyntaxError for one that shows something,
    since nobody would see it."""
    if isinstance(node, _DEFINITIONS):
        return True
    lost: list[nodes.Node] = [] if isinstance(node, nodes.Block | nodes.Extends) else [node]
    if isinstance(node, nodes.Output):
        lost = [one for one in node.nodes if not isinstance(one, nodes.TemplateData) or one.data.strip()]
    for one in lost[:1]:
        blank = one.data[: -len(one.data.lstrip())] if isinstance(one, nodes.TemplateData) else ""
        sentence = "this file extends a layout, and what stands here is in no {% block %}, so nobody would see it"
        stop(one.lineno + blank.count("\n"), sentence)
    return False
