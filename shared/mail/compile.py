"""Compile once, splice per recipient: the whole of a mail is worked out before the first recipient, into bytes with slots.

A template that branches on recipients gets one variant per outcome of its tests, worked out when first needed and kept (the
last 64). A spliced mail is byte for byte what compiling the template for that recipient alone gives; a property test holds it.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from operator import itemgetter
from typing import Any, TypeAlias

from markupsafe import escape as markup_escape

from shared.errors import BadInput, BadTemplate
from shared.links import Links
from shared.mail import html, mime
from shared.mail.marks import Marks
from shared.mail.program import Escape, Program, Rendering, Unworkable, plain
from shared.mail.source import Identity, Source, Template, read
from shared.mail.text import to_text
from shared.model.ref import MailRef

STANDARD = frozenset({"name", "email", "language", "country", "unsubscribe_url"})  # next to postal_address, from_name, list_name
VARIANTS = 64
_TRACK = "_track"  # the track token's name among a recipient's values; no template can use it
_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9\u0080-\U0010ffff]")


Numbers: TypeAlias = dict[tuple[str, int], int]  # (target, its occurrence) -> n


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a mail goes to. `address`: ASCII (IDNA domain). `fields`: name, language and attributes, plain data. `extra`:
    addresses made for this mail, such as `confirm_url`."""

    ref: MailRef
    address: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)


def compile(
    source: Source, links: Links, known: frozenset[str] | None = None, extra: frozenset[str] = frozenset({"confirm_url"})
) -> CompiledMail:
    """Compile a template.

    `known` names the attributes recipients can have, besides `STANDARD` and `extra`; None lets any name pass. Raises
    BadTemplate with a sentence that says what is wrong, and on which line where that is known.
    """
    template = read(source)
    names = None if known is None else known | STANDARD | extra
    marks = Marks("\0".join((template.subject, template.preheader, template.body, source.identity.postal_address)))
    program = _program(template, source.identity, marks, names)
    track = marks.slot(program.plain_slot(_TRACK), "u") if source.tracked and template.kind != "text" else ""
    unsubscribe = program.plain_slot("unsubscribe_url")
    builder = _Builder(source, template, links, program, track, unsubscribe)
    everything = builder.everything()
    return CompiledMail(
        size=sum(map(len, everything.static)),
        links=[(n, target) for (target, _), n in builder.numbers.items()],
        variables=program.variables,
        _builder=builder,
        _program=program,
        _variants=OrderedDict({(): everything} if builder.constant else {}),
    )


@dataclass(frozen=True)
class Variant:
    """One rendering as bytes: `order([recipient's headers] + static + slots' bytes)` joined is the mail. `subject` is None when it
    is static."""

    subject: str | None
    static: list[bytes]
    uses: list[tuple[int, str]]
    needs: frozenset[int]  # the slots among `uses`
    order: Callable[[list[bytes]], tuple[bytes, ...]]


@dataclass(frozen=True)
class CompiledMail:
    """A mail ready for any number of recipients.

    `size`: bytes of the wire form with all branches taken and empty slots. `links`: (number, target) of the counted links of all
    branches. `variables`: the recipient's values that the template uses. Not for several threads at once.
    """

    size: int
    links: list[tuple[int, str]]
    variables: frozenset[str]
    _builder: _Builder
    _program: Program
    _variants: OrderedDict[tuple[Any, ...], Variant] = field(default_factory=OrderedDict)

    def splice(self, recipient: Recipient, date: str) -> bytes:
        """The wire form for one recipient: CRLF line ends, a final one, no line beginning with a dot. `date` is an RFC 5322 date.

        Raises BadTemplate when the template cannot be worked out with this recipient's values, BadInput for an address or date
        that is no header value.
        """
        builder, program, ref = self._builder, self._program, recipient.ref
        links = builder.links
        values = {**recipient.fields, **recipient.extra, "email": recipient.address}
        values["unsubscribe_url"] = unsubscribe = links.unsubscribe(ref) if builder.leaves else ""
        if builder.track:
            values[_TRACK] = links.track_token(ref)
        variant = self._variant(values)
        slots = program.slots
        texts = {index: _text(slots[index](values)) for index in variant.needs}
        if not date.isascii() or not date.isprintable():
            raise BadInput("The date is not a header value.")
        address, message_id = mime.check_address(recipient.address), links.message_id(ref, builder.domain)
        head = f"To: {address}\r\nDate: {date}\r\nMessage-ID: {message_id}\r\n".encode()
        if builder.source.bulk:
            head += f"List-Unsubscribe: <{unsubscribe}>\r\n".encode()
        if variant.subject is not None:
            head += mime.header("Subject", builder.show(variant.subject, values))
        slots_bytes = [mime.slot_bytes(texts[index], context) for index, context in variant.uses]
        return b"".join(variant.order([head, *variant.static, *slots_bytes]))

    def _variant(self, values: Mapping[str, Any]) -> Variant:
        signature = self._program.signature(values)
        variant = self._variants.get(signature)
        if variant is None:
            variant = self._builder.variant(self._program.render(values, signature))
            self._variants[signature] = variant
            if len(self._variants) > VARIANTS:
                self._variants.popitem(last=False)
        elif signature:
            self._variants.move_to_end(signature)
        return variant


def _text(value: Any) -> str:
    return value if type(value) is str else plain(value)


def _program(template: Template, identity: Identity, marks: Marks, names: frozenset[str] | None) -> Program:
    constants = {
        "postal_address": identity.postal_line,
        "from_name": identity.from_name,
        "list_name": identity.list_name,
    }
    program = Program(marks, constants)
    escapes: dict[str, Escape] = {"markdown": _entities, "html": lambda value: str(markup_escape(value)), "text": str}
    program.add("subject", "The subject", template.subject, str, names)
    program.add("preheader", "The preheader", template.preheader, str, names)
    program.add("body", "The template", template.body, escapes[template.kind], names)
    return program


def _entities(value: str) -> str:
    """Text that Markdown takes literally."""
    return _NOT_ALPHANUMERIC.sub(lambda m: f"&#{ord(m[0])};", value)


@dataclass
class _Builder:
    """Turns a rendering into a variant."""

    source: Source
    template: Template
    links: Links
    program: Program
    track: str  # the track token's mark, "" when not tracked
    unsubscribe: int  # the slot
    numbers: Numbers = field(default_factory=dict)  # of all branches

    def __post_init__(self) -> None:
        self.marks = self.program.marks
        self.domain = mime.check_domain(self.source.identity.list_domain)
        self.leaves = self.source.bulk or "unsubscribe_url" in self.program.variables
        identity, address = self.source.identity, self.source.identity.from_address
        self.static_head = mime.mailbox("From", identity.from_name, address)
        if identity.reply_to:
            self.static_head += mime.mailbox("Reply-To", "", identity.reply_to)
        if self.source.bulk:
            self.static_head += b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            self.static_head += mime.list_id(identity.list_name, self.domain)
        else:
            self.static_head += b"Auto-Submitted: auto-generated\r\n"
        self.static_head += b"MIME-Version: 1.0\r\n"

    @property
    def constant(self) -> bool:
        """Whether all recipients get the same variant."""
        return not self.program.tests and not self.program.keys

    def everything(self) -> Variant:
        """The variant with all branches, numbering its links; raises BadTemplate."""
        if self.constant:
            return self._build(self.program.render({}, ()), self.numbers)
        try:
            rendering = self.program.render_everything()
        except Unworkable:
            if not self.program.keys:
                raise
            rendering = Rendering(dict.fromkeys(self.program.parts, ""))  # needs values no one has yet
        return self._build(rendering, self.numbers)

    def variant(self, rendering: Rendering) -> Variant:
        """One variant; a link that only it has is numbered after those of all branches."""
        return self._build(rendering, dict(self.numbers))

    def _build(self, rendering: Rendering, numbers: Numbers) -> Variant:
        subject = mime.Cutter(self.marks, rendering.values).resolve(self.marks.to_text(rendering.texts["subject"]))
        open_subject = self.marks.pattern.search(subject) is not None
        head = self.static_head if open_subject else mime.header("Subject", subject) + self.static_head
        cutter = mime.Cutter(self.marks, rendering.values)
        if self.template.kind == "text":
            cutter.raw(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
            body = self._shown(rendering.texts["body"]).lstrip("\n")  # the empty lines that stand for the front matter
            cutter.text(self._with_text_footer(body, rendering))
        else:
            page = self._html(rendering, numbers)
            self._alternatives(cutter, self.marks.to_text(to_text(page)), page)
        return _variant(head, subject if open_subject else None, cutter.pieces)

    def _alternatives(self, cutter: mime.Cutter, text: str, page: str) -> None:
        digest = hashlib.sha256(self.source.data + self.source.campaign.encode()).hexdigest()[:16]
        boundary = f"=_{digest}".encode()  # "=_" cannot occur in quoted-printable
        cutter.raw(b'Content-Type: multipart/alternative; boundary="%b"\r\n\r\n' % boundary)
        for kind, content in ((b"plain", text), (b"html", page)):
            cutter.raw(b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\n" % (boundary, kind))
            cutter.raw(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
            cutter.text(content)
        cutter.raw(b"--%b--\r\n" % boundary)

    def _html(self, rendering: Rendering, numbers: Numbers) -> str:
        body = rendering.texts["body"]
        if self.template.kind == "markdown":
            title = self.source.identity.list_name
            body = html.in_layout(html.from_markdown(body), title, self.template.language)
        seen: dict[str, int] = {}

        def click(target: str) -> str:
            occurrence = seen[target] = seen.get(target, -1) + 1
            n = numbers.setdefault((target, occurrence), len(numbers))
            return self.links.click(self.track, self.links.signed_target(self.source.campaign, n, target))

        page = html.Page(
            self.marks,
            rendering.values,
            preheader=rendering.texts["preheader"].strip(),
            click=click if self.track else None,
            pixel=self.links.open(self.track) if self.track else "",
            footer=lambda done: self._footer(self._shown(done), rendering),
        )
        return html.finish(html.inline(body, self.marks), page)

    def _shown(self, body: str) -> str:
        """The body; raises BadTemplate when it shows nothing (loops over a recipient's values may)."""
        if not self.program.keys and "<img" not in body and not to_text(body):
            raise BadTemplate("The template is empty.")
        return body

    def _lacks(self, done: str, rendering: Rendering) -> tuple[str, bool]:
        """The postal address unless the text has it, and whether the unsubscribe link is missing."""
        if not self.source.bulk:
            return "", False
        postal = self.source.identity.postal_line
        shown = {int(m[2]) for m in self.marks.pattern.finditer(done) if m[1] == "v"}
        has = postal in done or escape(postal) in done or any(postal in rendering.values[index] for index in shown)
        used = {name for index in self.marks.slots(done) for name in self.program.slots[index].names}
        return "" if has else postal, "unsubscribe_url" not in used

    def _footer(self, done: str, rendering: Rendering) -> str:
        postal, link = self._lacks(done, rendering)
        return html.footer(escape(postal), self.marks.slot(self.unsubscribe, "l") if link else "")

    def _with_text_footer(self, text: str, rendering: Rendering) -> str:
        text = self.marks.to_text(text)
        postal, link = self._lacks(text, rendering)
        if postal or link:
            text = text.rstrip("\n") + "\n\n-- \n" + postal + "\n" * bool(postal)
            text += f"Unsubscribe: {self.marks.slot(self.unsubscribe, 'f')}\n" if link else ""
        return text

    def show(self, text: str, values: Mapping[str, Any]) -> str:
        """Plain text with its slots filled for one recipient."""
        return self.marks.pattern.sub(lambda m: plain(self.program.slots[int(m[2])](values)), text)


def _variant(head: bytes, subject: str | None, pieces: list[bytes | tuple[int, str]]) -> Variant:
    static = [head, *(piece for piece in pieces if isinstance(piece, bytes))]
    uses = list(dict.fromkeys(piece for piece in pieces if not isinstance(piece, bytes)))
    place = {use: 1 + len(static) + i for i, use in enumerate(uses)}
    order, position = [0, 1], 2
    for piece in pieces:
        order.append(position if isinstance(piece, bytes) else place[piece])
        position += isinstance(piece, bytes)
    return Variant(subject, static, uses, frozenset(index for index, _ in uses), itemgetter(*order))
