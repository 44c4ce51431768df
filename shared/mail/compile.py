"""Compile once, splice per recipient: the whole of a mail is worked out before the first recipient, into bytes with slots.

A template that branches on recipients gets one variant per outcome of its tests, worked out when first needed and kept (the
last 64). A spliced mail is byte for byte what compiling the template for that recipient alone gives; a property test holds it.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from markupsafe import escape as markup_escape

from shared.links import Links
from shared.mail import feeds, filters, mime
from shared.mail.attach import mixed
from shared.mail.compose import TRACK, Composer, Content, Numbers
from shared.mail.letter import Form
from shared.mail.marks import Marks
from shared.mail.parts import Linker
from shared.mail.program import Escape, Program, Where, plain
from shared.mail.source import Source, Template, read
from shared.mail.wire import Wire
from shared.model.ref import MailRef
from shared.ports import Attachment, Letter

WAYS = ("unsubscribe_url", "preferences_url", "reconsent_url")  # pages of the step unsubscribe, of one reader
STANDARD = frozenset({"name", "email", "language", "country", *WAYS})  # next to postal_address, from_name, list_name
VARIANTS = 64
_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9\u0080-\U0010ffff]")

Sign: TypeAlias = Callable[[bytes, bool], bytes]  # `Dkim.sign`
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a mail goes to. `address`: with an ASCII (IDNA) domain; the local part may be UTF-8. `fields`: name, language and
    attributes, plain data. `extra`: addresses made for this mail, such as `confirm_url`. `at`: when it is handed over (ms), 0 for a
    mail that never is; its track token says so."""

    ref: MailRef
    address: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    at: int = 0


def compile(
    source: Source, links: Links, known: frozenset[str] | None = None, extra: frozenset[str] = frozenset({"confirm_url"})
) -> CompiledMail:
    """Compile a template.

    `known` names the attributes recipients can have, besides `STANDARD` and `extra`; None lets any name pass. Raises
    BadTemplate with a sentence that says what is wrong, and on which line where that is known.
    """
    template = read(source)
    names = None if known is None else known | STANDARD | extra
    parts = (part.decode("utf-8", "replace") for part in source.parts.values())
    marks = Marks("\0".join((template.subject, template.preheader, template.body, source.identity.postal_address, *parts)))
    view = source.view or links.view(source.campaign, source.spoken)
    program = _program(template, source, marks, names, view)
    return CompiledMail(Composer(source, template, links, program, _numbers(source.numbered), view))


class CompiledMail:
    """A mail ready for any number of recipients.

    `size`: bytes of the wire form with all branches taken and empty slots. `links`: (number, target) of the counted links of all
    branches, and before them those `Source.numbered`. `variables`: the recipient's values that the template uses. Not for several
    threads at once.
    """

    def __init__(self, composer: Composer) -> None:
        """Works out everything there is to say to anybody; raises BadTemplate, BadInput."""
        self._bulk, self._links, self._composer = composer.source.bulk, composer.links, composer
        self._domain = mime.check_domain(composer.source.identity.list_domain)
        self.variables = composer.program.variables
        fixed = composer.source, composer.marks, composer.program.slots
        own = {(way, context) for way in composer.ways for context in "htlf" * mime.is_own(self._links.base)} | {
            (composer.tracker, "u")
        }
        self._wires = Variants(composer, lambda content: Wire(content, *fixed, own))
        self._letters = Variants(composer, lambda content: Form(content, *fixed))
        everything = Wire(composer.everything(), *fixed, own)
        self.size = everything.size
        self.links = [(n, target) for (target, _), n in composer.numbers.items()]
        if composer.program.constant:
            self._wires.kept[()] = everything

    def splice(self, recipient: Recipient, date: str, sign: Sign | None = None, files: Sequence[Attachment] = ()) -> bytes:
        """The wire form for one recipient: CRLF line ends, a final one, no line beginning with a dot. `date` is an RFC 5322 date;
        `sign` makes a signature to go in front; `files` go with it. All ASCII, but for a To line whose local part is not.

        Raises BadTemplate when the template cannot be worked out with this recipient's values, BadInput for an address or date
        that is no header value.
        """
        values, message_id, unsubscribe = self._values(recipient)
        wire = self._wires.get(values)
        head = f"To: {mime.check_recipient(recipient.address)}\r\nDate: {mime.check_date(date)}\r\nMessage-ID: {message_id}\r\n"
        if self._bulk:
            head += f"List-Unsubscribe: <{unsubscribe}>\r\n"
        data = mixed(wire.fill(head, values), files) if files else wire.fill(head, values)
        return sign(data, wire.tidy) + data if sign else data

    def letter(self, recipient: Recipient, date: str) -> tuple[Letter, tuple[str, ...]]:
        """The same mail for a provider that makes the MIME: the letter, one object for all who share it, and one recipient's
        values. Put into the pieces, they give what a reader of the wire form sees. Raises as `splice`; the Date is the provider's.
        """
        values, message_id, unsubscribe = self._values(recipient)
        form = self._letters.get(values)
        mime.check_recipient(recipient.address)
        mime.check_date(date)
        return form.letter, form.values(message_id, unsubscribe, values)

    def public(self) -> Content:
        """The mail as anybody may see it: of a reader of whom nothing is known, with addresses that unsubscribe nobody. Its source must
        not be tracked. Raises BadTemplate when the template cannot do without a reader."""
        program, slots = self._composer.program, self._composer.program.slots
        way = f"{self._links.base}/unsubscribe"
        values = dict.fromkeys(WAYS, way)
        content = self._composer.variant(program.render(values, program.signature(values)))

        def filled(text: str) -> str:
            cut = self._composer.marks.cut(text)
            return "".join(one if isinstance(one, str) else mime.write(plain(slots[one[0]](values)), one[1]) for one in cut)

        return Content(*map(filled, (content.subject, content.text, content.html, content.preheader)))

    def _values(self, recipient: Recipient) -> tuple[dict[str, Any], str, str]:
        """What the template may use; the Message-ID and the unsubscribe address."""
        track, unsubscribe, message_id = self._links.of_mail(recipient.ref, self._domain, recipient.at)
        given, extra, to = recipient.fields, recipient.extra, recipient.address
        ours = {"email": to, "unsubscribe_url": unsubscribe, TRACK: track}
        ours["preferences_url"] = self._links.beside(unsubscribe, "preferences")
        if "reconsent_url" in self.variables:
            ours["reconsent_url"] = self._links.beside(unsubscribe, "keep")
        return {**given, **extra, **ours}, message_id, unsubscribe


class Variants(Generic[Made]):
    """What was made for each outcome of a template's tests, the last VARIANTS of them."""

    def __init__(self, composer: Composer, make: Callable[[Content], Made]) -> None:
        self._composer, self._program, self._make = composer, composer.program, make
        self._plain = self._program.plain
        self.kept: OrderedDict[tuple[Any, ...], Made] = OrderedDict()

    def get(self, values: Mapping[str, Any]) -> Made:
        """The variant for a recipient with these values; raises BadTemplate."""
        signature = () if self._plain else self._program.signature(values)
        found = self.kept.get(signature)
        if found is None:
            found = self._make(self._composer.variant(self._program.render(values, signature)))
            self.kept[signature] = found
            if len(self.kept) > VARIANTS:
                self.kept.popitem(last=False)
        elif signature:
            self.kept.move_to_end(signature)
        return found


def _program(template: Template, source: Source, marks: Marks, names: frozenset[str] | None, view: str) -> Program:
    identity, html = source.identity, lambda value: str(markup_escape(value))
    constants: dict[str, Any] = {
        "postal_address": identity.postal_line,
        "from_name": identity.from_name,
        "list_name": identity.list_name,
        "view_in_browser_url": view,
    }
    if feeds.PART in source.parts:
        constants["feed"] = feeds.unpacked(source.parts[feeds.PART])
    program = Program(marks, constants)
    program.env.filters |= filters.of_language(template.language, program.env.meter)
    escapes: dict[str, Escape] = {"markdown": _entities, "html": html, "mjml": html, "text": str}
    program.add("subject", Where("The subject"), lambda parse: parse(template.subject), str, names)
    program.add("preheader", Where("The preheader"), lambda parse: parse(template.preheader), str, names)
    linker = Linker(source.parts, marks.content)
    program.add(
        "body",
        Where("The template", linker.files),
        lambda parse: linker.link(parse, template.body, template.kind, template.layout),
        escapes[template.kind],
        names,
        numbered=template.kind == "mjml",
    )
    return program


def _numbers(targets: Sequence[str]) -> Numbers:
    """As a composer counts them, these having been met in this order."""
    met = Counter[str]()
    numbers: Numbers = {}
    for number, target in enumerate(targets):
        numbers[target, met[target]] = number
        met[target] += 1
    return numbers


def _entities(value: str) -> str:
    """Text that Markdown takes literally."""
    return _NOT_ALPHANUMERIC.sub(lambda m: f"&#{ord(m[0])};", value)
