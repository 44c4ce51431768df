"""The first compile of a template, in a process of its own: what the sandbox's meter cannot see (Markdown, CSS inlining, regular
expressions) is bounded by the kernel.

A helper process imports the compiler once (0.4 s); each template gets a fork of it (5 ms), whose limits it cannot lift. Requests and
answers are lines of JSON, so nothing that a hostile template could write is ever unpickled. The helper sees no signing key and of
the environment only what Python itself needs. It ends with the process that asks, whose end closes its input.

setrlimit(2): Linux and gVisor enforce all of it, macOS does not enforce RLIMIT_AS: there time alone is bounded.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import signal
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from shared.errors import BadInput, BadTemplate, Unavailable
from shared.links import Links
from shared.mail.compile import compile as compile_here
from shared.mail.compose import Content
from shared.mail.helper import Helper
from shared.mail.source import Identity, Source
from shared.tokens import MIN_KEY, Tokens

CPU = 2  # seconds
WALL = 60  # seconds: a busy machine gives little of each
MEMORY = 256 << 20  # bytes of address space, the interpreter's included
_TIME, _SPACE = "the template takes too long", "the template needs too much memory"


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a mail that compiles. `links`, `variables`: as `CompiledMail`'s."""

    links: list[tuple[int, str]]
    variables: frozenset[str]


def compile(
    source: Source, links: Links, known: frozenset[str] | None = None, extra: frozenset[str] = frozenset({"confirm_url"})
) -> Outline:
    """As `shared.mail.compile.compile`, within CPU seconds and MEMORY. Blocks; for any thread. Raises BadTemplate, BadInput, and
    Unavailable when there is no process to be had."""
    names = {"known": None if known is None else sorted(known), "extra": sorted(extra)}
    answer = _answered({**_given(source, links), **names})
    return Outline([(n, target) for n, target in answer["links"]], frozenset(answer["variables"]))


def public(source: Source, links: Links) -> Content:
    """As `CompiledMail.public`, of a source that is not tracked, within the same limits. Blocks; for any thread. Raises as `compile`."""
    shown = replace(source, view=links.view(source.campaign, source.spoken))
    return Content(**_answered({**_given(shown, links), "public": True}))


def feed(data: bytes, address: str) -> bytes:
    """As `shared.mail.feed_parse.parse`, within the same limits. Blocks; for any thread. Raises BadInput, Unavailable."""
    try:
        return str(_answered({"feed": b64encode(data).decode(), "address": address})["packed"]).encode()
    except BadTemplate:  # its process was ended
        raise BadInput("cannot be read: it is broken, or takes too much time or memory") from None


def _given(source: Source, links: Links) -> dict[str, Any]:
    parts = {name: b64encode(data).decode() for name, data in source.parts.items()}
    given = asdict(source) | {"data": b64encode(source.data).decode(), "parts": parts}
    return {"source": given, "base": links.base}


def _answered(request: Mapping[str, Any]) -> dict[str, Any]:
    """Raises BadTemplate, BadInput, Unavailable."""
    answer: dict[str, Any] = json.loads(_asked(json.dumps(request).encode()))
    if sentence := answer.get("refused"):
        raise (BadTemplate if answer["template"] else BadInput)(sentence)
    return answer


def _asked(line: bytes) -> bytes:
    """Raises Unavailable."""
    try:
        answer = _helper().ask(line)
    except OSError as error:
        raise Unavailable("the template compiler", error.strerror or "") from None
    if not answer:
        raise Unavailable("the template compiler", "its process ended")
    return answer


@cache
def _helper() -> Helper:
    return Helper("shared.mail.confined")


# --- in the helper ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How a confined piece of work ended. `died`: a sentence, "" when it has `said` all it had to; `seconds` of CPU; `peak`: bytes
    resident, the interpreter's included."""

    said: bytes
    died: str
    seconds: float
    peak: int


def serve() -> None:
    """Answer each line of the input, until it is closed."""
    answering(_answer, lambda died: json.dumps({"refused": died, "template": True}).encode())


def answering(answer: Callable[[bytes], bytes], died: Callable[[str], bytes]) -> None:
    """A helper's life: answer each line of the input with a line, until it is closed. `answer` is `confined`; when that ended early, `died`
    makes an answer of the sentence that says why."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends who asks, and so the input
    warm()
    for line in sys.stdin.buffer:
        ended = confined(lambda request=line: answer(request))  # type: ignore[misc]
        said = died(f"{ended.died[:1].upper()}{ended.died[1:]}.") if ended.died else ended.said
        sys.stdout.buffer.write(said + b"\n")
        sys.stdout.buffer.flush()


def confined(work: Callable[[], bytes], cpu: int = CPU, wall: int = WALL, memory: int = MEMORY) -> Ended:
    """Do `work` in a fork with limits. Only for a process of one thread."""
    gc.freeze()  # so that no collection in the fork touches, and thereby copies, what it shares
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        code = 1
        try:
            _limit(cpu, wall, memory)
            with os.fdopen(writing, "wb") as out:
                out.write(work())
            code = 0
        except MemoryError:
            code = errno.ENOMEM
        except BaseException:  # a panic in Rust is none of Exception
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        said = answers.read()
    _, status, used = os.wait4(pid, 0)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Ended(said, _cause(os.waitstatus_to_exitcode(status)), used.ru_utime + used.ru_stime, peak)


def _limit(cpu: int, wall: int, memory: int) -> None:
    signal.alarm(wall)  # SIGALRM and SIGXCPU end a process that does not handle them
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),  # it has no file to write
        (resource.RLIMIT_AS, memory),
    ):
        with contextlib.suppress(ValueError, OSError):  # not on every system
            resource.setrlimit(kind, (most, most + (kind == resource.RLIMIT_CPU)))


def _cause(code: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGALRM):
        return _TIME
    if code < 0 or code == errno.ENOMEM:  # Rust ends its process when there is no memory, and so does a stack that overflows
        return _SPACE
    return "the template cannot be read by our program: simplify it, or ask your operator to look at the log" if code else ""


def warm() -> None:
    """Have everything loaded and cached that any template needs, so that the forks share it."""
    identity = Identity("Us", "us@mail.example", "1 Street", "Letter", "mail.example")
    source = Source(
        name="warm.md", data=b"# {{ name or 'You' }}\n\n[Here](https://mail.example)", campaign="", identity=identity, subject="-"
    )
    compile_here(source, Links("https://mail.example", Tokens([bytes(MIN_KEY)])))


def _answer(line: bytes) -> bytes:
    request: dict[str, Any] = json.loads(line)
    if "feed" in request:
        return _feed(b64decode(request["feed"]), request["address"])
    given, known = request["source"], request.get("known")
    parts = {name: b64decode(data) for name, data in given["parts"].items()}
    source = Source(**given | {"data": b64decode(given["data"]), "parts": parts, "identity": Identity(**given["identity"])})
    links = Links(request["base"], Tokens([bytes(MIN_KEY)]))  # what is signed here goes nowhere
    try:
        found = compile_here(source, links, None if known is None else frozenset(known), frozenset(request.get("extra", ())))
        if request.get("public"):
            return json.dumps(asdict(found.public())).encode()
    except BadInput as error:
        return json.dumps({"refused": str(error), "template": isinstance(error, BadTemplate)}).encode()
    return json.dumps({"links": found.links, "variables": sorted(found.variables)}).encode()


def _feed(data: bytes, address: str) -> bytes:
    from shared.mail.feed_parse import parse  # for those only who have a feed

    try:
        return json.dumps({"packed": parse(data, address).decode()}).encode()
    except BadInput as error:
        return json.dumps({"refused": str(error), "template": False}).encode()
