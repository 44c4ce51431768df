"""A template taken apart into what is the same for everybody and what is not.

A variant is a rendering in which only slots are open (see `rewrite`). A second tree with all branches of the `{% if %}`s that ask
about the recipient, taken one after the other, shows at compile time everything that could ever be in the mail.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

from jinja2 import Template as Compiled
from jinja2 import TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from shared.errors import BadTemplate
from shared.mail.marks import Marks
from shared.mail.mime import clean
from shared.mail.parts import LINES
from shared.mail.rewrite import Flatten, Rewrite, names_in
from shared.mail.sandbox import LOOP_NAMES, MAX_OUTPUT, MAX_VALUE, Sandbox, check, check_names, refuse, weigh

MAX_TAGS = 1_000  # {{ }} and {% %} in one part
MAX_CODE = 16_000  # characters inside them
MAX_HEAD = 2_000  # characters of a subject or preheader
Values: TypeAlias = Mapping[str, Any]
Escape: TypeAlias = Callable[[str], str]
Link: TypeAlias = Callable[[Callable[[str], nodes.Template]], nodes.Template]  # from a parser to a part's tree

_ERRORS = (
    TemplateError,
    ArithmeticError,
    TypeError,
    ValueError,
    LookupError,
    NameError,  # 1e999 is written as Python's inf
    AttributeError,
    AssertionError,
    RecursionError,
    MemoryError,
)


class Unworkable(BadTemplate):
    """An expression fails with these values; with others it may not."""


@dataclass(frozen=True, slots=True)
class Where:
    """What sentences call a part of a mail. `files`: what its lines are lines of, see `parts`; () where they say nothing."""

    name: str
    files: Sequence[str] = ()

    def at(self, line: int | None) -> str:
        """A place, for the beginning of a sentence."""
        if not line or not self.files:
            return self.name
        file, number = divmod(line, LINES)
        return f"“{self.files[file]}”, line {number}" if file else f"{self.name}, line {number}"


@dataclass(frozen=True, slots=True)
class Expression:
    """A slot or a test: `names` are the recipient's values it reads. A plain name has no template, nor has a name with a
    constant in its absence (`name or "friend"`, `name|default("friend")`), which is the `otherwise`."""

    names: tuple[str, ...]
    template: Compiled | None
    where: Where
    otherwise: Any = None
    falsy: bool = False  # `or`: also instead of 0 and False
    most: int = MAX_VALUE  # characters it may have

    @property
    def plain_name(self) -> str:
        """The name when it is nothing but a name, else ""."""
        return self.names[0] if self.template is None and self.otherwise is None and not self.falsy else ""

    def __call__(self, values: Values) -> Any:
        """Its value for a recipient; None when a plain name has none. Raises BadTemplate when it cannot be worked out."""
        if self.template is None:
            value = values.get(self.names[0])
            return self.otherwise if value is None or value == "" or (self.falsy and not value) else value
        context = self.template.new_context(pick(values, self.names))
        try:
            for _ in self.template.root_render_func(context):
                pass
            if weigh(value := context.vars["_result"]) > self.most:
                refuse(f"the result is longer than {self.most:,} characters")
        except _ERRORS as e:
            fail(e, self.where, self.template)
        return value


@dataclass(frozen=True, slots=True)
class Part:
    """One rendered text of a mail: subject, preheader, body or text."""

    where: Where
    escape: Escape  # for values that a filter or macro works on
    template: Compiled
    everything: Compiled
    most: int  # characters it may have


@dataclass(slots=True)
class Rendering:
    """The texts of one variant, with marks, and the values its `v` marks stand for."""

    texts: dict[str, str] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)


class Program:
    """All parts of one mail, sharing slots, tests and keys. `constants` are the names every recipient shares."""

    def __init__(self, marks: Marks, constants: Mapping[str, Any]) -> None:
        self.marks = marks
        self.env = Sandbox()
        self.env.globals |= constants
        self.shared = frozenset(self.env.globals) | LOOP_NAMES
        self.parts: dict[str, Part] = {}
        self.slots: list[Expression] = []
        self.tests: list[Expression] = []
        self.keys: tuple[str, ...] = ()
        self.variables: frozenset[str] = frozenset()
        self._plain: dict[str, int] = {}

    @property
    def constant(self) -> bool:
        """Whether all recipients get the same variant."""
        return not self.tests and not self.keys

    @property
    def plain(self) -> bool:
        """Whether nothing is worked out for a recipient: there is nothing to meter."""
        return self.constant and all(slot.template is None for slot in self.slots)

    def add(
        self, name: str, where: Where, link: Link, escape: Escape, known: frozenset[str] | None, numbered: bool = False
    ) -> None:
        """Parse one part; raises BadTemplate. `known`: the names recipients can have, None when any may occur. `numbered`: see Rewrite."""
        self.env.meter.start()
        most = MAX_OUTPUT if name == "body" else MAX_HEAD
        used = [0, 0]

        def parse(text: str) -> nodes.Template:
            self._measure(text, used)
            if used[0] > MAX_TAGS or used[1] > MAX_CODE:
                raise BadTemplate(f"{where.name} has more than {MAX_TAGS:,} placeholders, or too much inside them.")
            tree = self.env.parse(text)
            check_names(tree)
            return tree

        try:
            tree = link(parse)
            tree.set_environment(self.env)
            check(tree)
            free = {n for n in meta.find_undeclared_variables(tree) if n not in self.env.globals}
            if known is not None:
                _check_known(tree, free, known)
            rewrite = Rewrite(self, tree, where, numbered)
            rewrite.visit(tree)
            tree.set_environment(self.env)
            everything = Flatten().visit(copy.deepcopy(tree, {id(self.env): self.env}))
            part = Part(where, escape, self.env.from_string(tree), self.env.from_string(everything), most)
        except (*_ERRORS, SyntaxError) as e:
            fail(e, where, None)
        self.parts[name] = part
        self.keys = tuple(sorted({*self.keys, *(rewrite.keys & free)}))  # a loop's own name is nobody's value
        self.variables |= free

    def _measure(self, source: str, used: list[int]) -> None:
        """Count placeholders, and characters inside them, before they are parsed, which takes far longer than finding their ends."""
        for _, kind, text in self.env.lex(source):
            used[0] += kind.endswith("_begin")
            used[1] += 0 if kind in ("data", "comment") else len(text)
            if used[0] > MAX_TAGS or used[1] > MAX_CODE:
                return

    def slot(self, node: nodes.Expr, where: Where) -> int:
        if isinstance(node, nodes.Name) and node.name in self._plain:
            return self._plain[node.name]
        self.slots.append(self.expression(node, where))
        if isinstance(node, nodes.Name):
            self._plain[node.name] = len(self.slots) - 1
        return len(self.slots) - 1

    def plain_slot(self, name: str) -> int:
        return self.slot(nodes.Name(name, "load", lineno=1), Where(""))

    def expression(self, node: Any, where: Where) -> Expression:
        names = tuple(sorted(names_in(node) - self.shared))
        match node:
            case nodes.Name():
                return Expression(names, None, where)
            case nodes.Or(left=nodes.Name(), right=nodes.Const(value=constant)):
                return Expression(names, None, where, constant, falsy=True)
            case nodes.Filter(node=nodes.Name(), name="default" | "d", args=[nodes.Const(value=constant)], kwargs=[]):
                return Expression(names, None, where, constant)
        tree = nodes.Template([nodes.Assign(nodes.Name("_result", "store"), node, lineno=node.lineno)], lineno=1)
        tree.set_environment(self.env)
        most = MAX_VALUE if where.files else MAX_HEAD
        return Expression(names, self.env.from_string(tree), where, most=most)

    def signature(self, values: Values) -> tuple[Any, ...]:
        """What chooses the variant: each test's answer, or the sentence of its failure, which matters only where it is reached."""
        self.env.meter.start()
        answers: list[bool | str] = []
        for test in self.tests:
            try:
                answers.append(bool(test(values)))
            except BadTemplate as e:
                answers.append(str(e))
        return (*answers, repr(pick(values, self.keys))) if self.keys else tuple(answers)

    def render(self, values: Values, signature: Sequence[Any]) -> Rendering:
        """The variant of `signature` with slots left open; raises BadTemplate."""

        def test(index: int) -> bool:
            if isinstance(answer := signature[index], str):
                raise BadTemplate(answer)
            return bool(answer)

        return self._render(lambda part: part.template, values, test)

    def render_everything(self) -> Rendering:
        """All branches of recipient-dependent `{% if %}`s, without any value."""
        return self._render(lambda part: part.everything, {}, lambda index: True)

    def _render(self, which: Callable[[Part], Compiled], values: Values, test: Callable[[int], bool]) -> Rendering:
        rendering = Rendering()
        self.env.meter.start()

        for name, part in self.parts.items():
            size = [0]

            def show(value: Any, size: list[int] = size, most: int = part.most) -> Markup:
                if isinstance(value, Markup):  # a block of this template
                    return value
                text = plain(value)
                size[0] += len(text)
                if size[0] > most:
                    refuse(f"the result is longer than {most:,} characters")
                rendering.values.append(text)
                return Markup(self.marks.value(len(rendering.values) - 1))  # noqa: S704

            def work(value: Any, escape: Escape = part.escape) -> Markup:
                if isinstance(value, Markup):
                    return value
                return Markup(escape(clean(plain(value))))  # noqa: S704

            given = {"_show": show, "_work": work, "_test": test}
            rendering.texts[name] = self._run(which(part), part, {**pick(values, self.keys), **given})
        return rendering

    def _run(self, template: Compiled, part: Part, context: Values) -> str:
        chunks, size = [], 0
        try:
            for chunk in template.root_render_func(template.new_context(dict(context))):
                self.env.meter.spend(0)
                size += len(chunk)
                if size > part.most:
                    refuse(f"the result is longer than {part.most:,} characters")
                chunks.append(chunk)
        except _ERRORS as e:
            fail(e, part.where, template)
        return "".join(chunks)


def pick(values: Values, names: Sequence[str]) -> dict[str, Any]:
    """The named values a recipient has: None and empty text count as absent, so that `|default` works for both."""
    return {name: value for name in names if (value := values.get(name)) is not None and value != ""}


def plain(value: Any) -> str:
    """A value as text: nothing for an absent one, items with commas between them. Raises Unworkable for anything else."""
    if value is None or isinstance(value, Undefined):
        return ""
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, str | int | float | date | Decimal):
        return str(value)
    raise Unworkable("A {{ value }} of the template is not a text, a number or a list of them.")


def fail(error: Exception, where: Where, template: Compiled | None) -> NoReturn:
    """Raise `error` as a BadTemplate sentence that says where."""
    line = error.lineno if isinstance(error, TemplateSyntaxError | SyntaxError) else None
    trace = error.__traceback__
    while template is not None and trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    kind: type[BadTemplate] = BadTemplate
    if isinstance(error, MemoryError) and template is not None:
        said, line = "the template needs too much memory", None
    elif isinstance(error, RecursionError | MemoryError) or type(error) is SyntaxError:
        said, line = "the template is nested too deeply or calls itself without end", None
    elif isinstance(error, SecurityError | TemplateSyntaxError):
        said = error.message or "this is not allowed in a template"
    else:
        kind, said = Unworkable, f"this cannot be worked out ({str(error)[:120]})"
    raise kind(f"{where.at(line)}: {said.rstrip('.')}.") from None


def _check_known(tree: nodes.Template, free: set[str], known: frozenset[str]) -> None:
    lines = {n.name: n.lineno for n in reversed(list(tree.find_all(nodes.Name)))}
    for name in sorted(free - known, key=lambda n: lines.get(n, 0)):
        close = difflib.get_close_matches(name, sorted(known), 1)
        hint = f"; did you mean “{close[0]}”" if close else ""
        raise TemplateSyntaxError(f"no recipient has a value called “{name[:60]}”{hint}", lines.get(name, 1))
