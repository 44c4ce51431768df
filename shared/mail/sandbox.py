"""Templates come from a folder many people can write to, so they run in a sandbox with limits.

On top of Jinja's immutable sandbox: no loader, an allow-list of filters and of methods on plain data, and caps on what an
expression may hold, on all text produced, and on time. Time is checked at every call, filter, loop round and chunk of output,
which cuts whatever is written in the template; a single built-in running long is kept short by the size caps instead. What all
expressions make together is capped as well, and that caps memory. The limits hold within the process; `confined` adds the kernel's.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn

from jinja2 import ChainableUndefined, Environment, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, markup_join
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SECONDS = 1.0
MAX_OUTPUT = 1_000_000  # characters of one rendered part
MAX_VALUE = 100_000  # characters and items one value in an expression may hold
MAX_WORK = 4_000_000  # characters and items all expressions of one rendering may make together
MAX_WIDTH = 1_000  # of |center, |indent, %100s and the like
MAX_BITS = 4_096  # of whole numbers
MAX_NODES = 10_000  # of the syntax tree
MAX_DEPTH = 40  # of nested blocks


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILTERS = words(
    "abs batch capitalize center count d default dictsort filesizeformat first float format groupby indent int items join last "
    "length list lower map max min reject rejectattr replace reverse round select selectattr slice sort string striptags sum "
    "title trim truncate unique upper urlencode wordcount wordwrap"
)
GLOBALS = words("range dict cycler joiner namespace")
_WIDE = words("batch center indent round slice truncate wordwrap")
_FORMAT_WIDTH = re.compile(r"%(?:\([^()]*\))?[^a-zA-Z%]*(?:\d{4}|\*)|%\([^()]*\(")  # %1000s, %*s, %(key)1000s, %(a(b)c)…
_VIEWS = (KeysView, ValuesView, ItemsView)
_DATA = (str, bytes, int, float, Decimal, date, type(None), Undefined, list, tuple, dict, set, frozenset, range)
_OURS = (Environment, EvalContext, Context)  # what Jinja puts in front of a filter's arguments
_TEXT = words("upper lower title capitalize swapcase strip lstrip rstrip startswith endswith split find count isdigit")
_METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT),
    (dict, words("get items keys values")),
    ((list, tuple), words("index count")),
    ((int, float, bytes, type(None), range), frozenset()),
)


_FORBIDDEN: dict[type[nodes.Node], str] = {
    nodes.Include: "{% include %}",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from … import %}",
    nodes.Extends: "{% extends %}",
    nodes.Block: "{% block %}",
    nodes.ScopedEvalContextModifier: "{% autoescape %}",
}
LOOP_NAMES = frozenset({"loop", "caller", "varargs", "kwargs"})


class Limit(SecurityError):
    """A cap was reached; the message is a sentence."""


class Meter:
    """What one rendering has used."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.deadline = time.monotonic() + MAX_SECONDS
        self.work = 0

    def spend(self, work: int = 1) -> None:
        """Raises Limit when all there was is spent."""
        self.work += work
        if self.work > MAX_WORK or time.monotonic() > self.deadline:
            raise Limit("the template takes too long")


class Sandbox(ImmutableSandboxedEnvironment):
    """Autoescaping, loader-less, metered. `meter.start()` before each rendering; not for several threads at once."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            autoescape=True,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            optimized=False,  # nothing is worked out while a template is read
        )
        self.meter = Meter()
        self.filters = {name: _metered(self.meter, name, f) for name, f in self.filters.items() if name in FILTERS}
        self.filters |= {"e": str, "escape": str}  # everything is escaped anyway
        self.globals = {name: f for name, f in self.globals.items() if name in GLOBALS}
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: _metered(self.meter, "", f) for name, f in tests.items()}
        self.globals |= {"_concat": markup_join_all, "_bounded": bounded, "_spend": self.meter.spend}

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            bounded(argument)
        __self.meter.spend()
        made = super().call(__context, __obj, *args, **kwargs)
        return __self._charged(list(made) if isinstance(made, _VIEWS) else made)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.meter.spend()
        _foresee_binop(operator, left, right)
        return self._charged(super().call_binop(context, operator, left, right))

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.meter.spend()
        found = super().getitem(obj, argument)
        return self._charged(found) if isinstance(argument, slice) else found

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.meter.spend()
        return super().getattr(obj, attribute)

    def _charged(self, made: Any) -> Any:
        self.meter.spend(weigh(made))
        return made

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, names in _METHODS:
            if isinstance(obj, kind):
                return attr in names
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        return None  # str.format is not on the list of methods; the format filter is there

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        refuse(f"“.{attribute}” is not available in a template")


def refuse(sentence: str) -> NoReturn:
    raise Limit(sentence)


def bounded(value: Any) -> Any:
    """`value`; raises Limit when it holds more than MAX_VALUE (see `weigh`)."""
    weigh(value)
    return value


def weigh(value: Any, data: bool = False) -> int:
    """The characters, digits and items that a value holds, counted through lists and dicts; raises Limit for more than MAX_VALUE, for
    a number of more than MAX_BITS and, where it has to be `data`, for functions and other objects, whose text tells of our program."""
    weight, rest = 0, [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str | bytes):
            weight += len(item)
        elif isinstance(item, int):
            if item.bit_length() > MAX_BITS:
                refuse("a number is too large")
            weight += item.bit_length() // 3
        elif isinstance(item, dict):
            rest += item.keys()
            rest += item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            rest += item
        elif data and not isinstance(item, _DATA):
            refuse("this is neither a text nor a number nor a list of them")
        weight += 1
        if weight + len(rest) > MAX_VALUE:
            refuse(f"a value is larger than {MAX_VALUE:,} characters")
    return weight


def markup_join_all(*values: Any) -> str:
    """The `~` operator, as a call, so that its result is bounded."""
    weigh(values, data=True)
    return markup_join(iter(values))


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 1


def _foresee_binop(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation before it makes something huge."""
    if operator == "%" and isinstance(left, str):
        _foresee_format(left, [right])
    elif operator == "**":
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            refuse("“**” needs two numbers")
        bits = left.bit_length() if isinstance(left, int) else 1
        if isinstance(right, int) and abs(right) * max(bits, 1) > MAX_BITS:
            refuse("a number is too large")
    elif operator == "*":
        for times, what in ((left, right), (right, left)):
            if isinstance(times, int) and not isinstance(what, int | float) and times * max(_weight(what), 1) > MAX_VALUE:
                refuse(f"a value is larger than {MAX_VALUE:,} characters")


def _foresee_format(text: str, values: list[Any]) -> None:
    if _FORMAT_WIDTH.search(text):
        refuse(f"a width is {MAX_WIDTH:,} or more")
    if text.count("%") * (MAX_WIDTH + 12 * max((weigh(value, data=True) for value in values), default=0)) > MAX_WORK:
        refuse("a format would make too long a text")  # %a writes a character as ten


def _metered(meter: Meter, name: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """The filter called `name`, or the test when there is no name, within the limits. Tests may ask about any object."""

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        meter.spend()
        for argument in (*args, *kwargs.values()):
            if not isinstance(argument, _OURS):
                weigh(argument, data=name != "")
        _foresee_filter(name, args, kwargs)
        result = f(*args, **kwargs)
        if hasattr(result, "__next__"):  # |map, |select: nothing lazy escapes the meter
            return _drained(meter, result)
        meter.spend(weigh(result))
        return result

    return run


def _drained(meter: Meter, items: Iterator[Any]) -> list[Any]:
    found, weight = [], 0
    for item in items:
        one = weigh(item)
        meter.spend(one)
        weight += one
        if weight > MAX_VALUE:
            refuse(f"a value is larger than {MAX_VALUE:,} characters")
        found.append(item)
    return found


def _foresee_filter(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    options = [*args[1:], *kwargs.values()]
    if name in _WIDE and any(isinstance(option, int) and abs(option) > MAX_WIDTH for option in options):
        refuse(f"the number given to |{name} is over {MAX_WIDTH:,}")
    if name == "indent":
        width = max((option if isinstance(option, int) else _weight(option) for option in options), default=0)
        if width > MAX_WIDTH or width * (str(args[0]).count("\n") + 1) > MAX_WORK:
            refuse("|indent would make too long a text")
    given = [*args[2:], *kwargs.values()]  # after Jinja's own context and the value
    if name in ("join", "wordwrap") and any(_weight(option) > 100 for option in given):
        refuse(f"the text given to |{name} is over 100 characters")
    if name == "replace" and _weight(args[1]) * max((_weight(option) for option in given), default=0) > MAX_WORK:
        refuse("|replace would make too long a text")
    if name == "sum" and any(isinstance(option, list | tuple) for option in given):
        refuse("|sum adds numbers")
    if name == "format":
        _foresee_format(str(args[0]), options)


def check_names(tree: nodes.Template) -> None:
    """Refuse, with a TemplateSyntaxError, the names in a file that are only ours to use."""
    named: list[nodes.Name | nodes.Macro] = [*tree.find_all(nodes.Name), *tree.find_all(nodes.Macro)]
    for node in named:
        if node.name.startswith("_") or node.name == "self":
            raise TemplateSyntaxError(f"“{node.name}” is not a name a template can use", node.lineno)


def check(tree: nodes.Template) -> None:
    """Refuse, with a TemplateSyntaxError, what no template may contain, whether or not it would ever be run."""

    def stop(node: nodes.Node, sentence: str) -> NoReturn:
        raise TemplateSyntaxError(sentence, node.lineno)

    local = {n.name for n in tree.find_all(nodes.Name) if n.ctx != "load"} | {m.name for m in tree.find_all(nodes.Macro)}
    callable_names = local | GLOBALS | LOOP_NAMES
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MAX_NODES:
            stop(node, "there is too much inside {{ }} and {% %}")
        if type(node) in _FORBIDDEN:
            stop(node, f"{_FORBIDDEN[type(node)]} is not allowed")
        if isinstance(node, nodes.Filter) and node.name in ("safe", "forceescape", "tojson", "urlize", "xmlattr", "attr"):
            stop(node, f"the filter |{node.name} is not allowed")
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name not in callable_names:
            stop(node, f"there is no function called “{node.node.name}”")
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            stop(node, f"“.{node.attr}” is not available in a template")
        if isinstance(node, nodes.Stmt) and depth > MAX_DEPTH:
            stop(node, f"blocks are nested more than {MAX_DEPTH} deep")
        deeper = depth + isinstance(node, nodes.Stmt)
        stack += [(child, deeper) for child in node.iter_child_nodes()]
