"""From a rendering of a template to the finished subject, text and HTML of one variant, in which only recipients' values are open.

What a template may lack is added here: the layout around Markdown, the footer with the postal address and the way out, counted links,
the open pixel and a link that only machines follow, the text part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

from shared.errors import BadTemplate
from shared.links import Links
from shared.mail import footer, html, markdown, mime, mjml
from shared.mail.program import Program, Rendering, Unworkable
from shared.mail.source import Source, Template
from shared.mail.text import to_text

TRACK = "_track"  # the track token's name among a recipient's values; no template can use it
Numbers: TypeAlias = dict[tuple[str, int], int]  # (target, its occurrence) -> n


@dataclass(frozen=True, slots=True)
class Content:
    """The texts of one variant, with marks where a recipient's values go. `html` is "" for a mail of text only."""

    subject: str
    text: str
    html: str = ""
    preheader: str = ""


@dataclass
class Composer:
    """Turns a rendering into a variant's content."""

    source: Source
    template: Template
    links: Links
    program: Program
    numbers: Numbers = field(default_factory=dict)  # of all branches
    view: str = ""  # address of the public version, which is not counted

    def __post_init__(self) -> None:
        self.marks = self.program.marks
        self.tracked = self.source.tracked and self.template.kind != "text"
        self.tracker = self.program.plain_slot(TRACK)
        self.unsubscribe = self.program.plain_slot("unsubscribe_url")
        self.preferences = self.program.plain_slot("preferences_url")
        self.ways = self.unsubscribe, self.preferences, self.program.plain_slot("reconsent_url")

    def everything(self) -> Content:
        """The content with all branches, numbering its links; raises BadTemplate."""
        if self.program.constant:
            return self._compose(self.program.render({}, ()), self.numbers)
        try:
            rendering = self.program.render_everything()
        except Unworkable:
            if not self.program.keys:
                raise
            rendering = Rendering(dict.fromkeys(self.program.parts, ""))  # needs values no one has yet
        return self._compose(rendering, self.numbers)

    def variant(self, rendering: Rendering) -> Content:
        """One variant; a link that only it has is numbered after those of all branches. Raises BadTemplate."""
        return self._compose(rendering, dict(self.numbers))

    def _compose(self, rendering: Rendering, numbers: Numbers) -> Content:
        subject = self._settled(self.marks.to_text(rendering.texts["subject"]), rendering)
        preheader = self._settled(self.marks.to_text(rendering.texts["preheader"].strip()), rendering)
        if self.template.kind == "text":
            body = self._shown(rendering.texts["body"]).lstrip("\n")  # the empty lines that stand for the front matter
            return Content(subject, self._settled(self._with_text_footer(body, rendering), rendering), preheader=preheader)
        page = self._html(rendering, numbers)
        text = self.marks.to_text(to_text(page))
        return Content(subject, self._settled(text, rendering), self._settled(page, rendering), preheader)

    def _settled(self, text: str, rendering: Rendering) -> str:
        """`text` with the values fixed in this variant written in."""
        values = rendering.values
        return self.marks.pattern.sub(lambda m: m[0] if m[1] == "s" else mime.write(values[int(m[2])], m[3]), text)

    def _html(self, rendering: Rendering, numbers: Numbers) -> str:
        track = self.marks.slot(self.tracker, "u")
        body = rendering.texts["body"]
        if self.template.kind == "markdown":
            body = self._laid_out(body)
        elif self.template.kind == "mjml":
            body = mjml.document(body, self.template.language, self.marks.token, self.program.parts["body"].where.at)
        seen: dict[str, int] = {}

        def click(target: str) -> str:
            if self.view and target.startswith(self.view):
                return target
            occurrence = seen[target] = seen.get(target, -1) + 1
            n = numbers.setdefault((target, occurrence), len(numbers))
            return self.links.click(track, self.links.signed_target(self.source.campaign, n, target))

        page = html.Page(
            self.marks,
            rendering.values,
            preheader=rendering.texts["preheader"].strip(),
            click=click if self.tracked else None,
            pixel=self.links.open(track) if self.tracked else "",
            trap=self.links.trap(track) if self.tracked else "",
            footer=lambda done: self._footer(self._shown(done), rendering),
        )
        return html.finish(html.inline(body, self.marks), page)

    def _laid_out(self, body: str) -> str:
        """Markdown in its layout."""
        if not self.template.layout:
            return markdown.document(body, self.source.identity.list_name, self.template.language)
        begin, end = self.marks.content
        before, _, rest = body.partition(begin)
        text, _, after = rest.partition(end)
        return f"{before}{markdown.fragment(text)}{after}"

    def _shown(self, body: str) -> str:
        """The body; raises BadTemplate when it shows nothing (loops over a recipient's values may)."""
        if not self.program.keys and "<img" not in body and not to_text(body):
            raise BadTemplate("The template is empty.")
        return body

    def _lacks(self, done: str, rendering: Rendering) -> tuple[str, list[int]]:
        """The postal address unless the text has it, and the slots of the links that are missing: that to leave, and with it that to the
        preferences."""
        if not self.source.bulk:
            return "", []
        postal = self.source.identity.postal_line
        shown = {int(m[2]) for m in self.marks.pattern.finditer(done) if m[1] == "v"}
        has = postal in done or escape(postal) in done or any(postal in rendering.values[index] for index in shown)
        used = {name for index in self.marks.slots(done) for name in self.program.slots[index].names}
        ways = [] if "unsubscribe_url" in used else [self.unsubscribe]
        if ways and "preferences_url" not in used:
            ways.append(self.preferences)
        return "" if has else postal, ways

    def _footer(self, done: str, rendering: Rendering) -> str:
        postal, ways = self._lacks(done, rendering)
        return footer.as_html(escape(postal), [self.marks.slot(way, "l") for way in ways], self.template.language)

    def _with_text_footer(self, text: str, rendering: Rendering) -> str:
        text = self.marks.to_text(text)
        postal, ways = self._lacks(text, rendering)
        return footer.as_text(text, postal, [self.marks.slot(way, "f") for way in ways], self.template.language)
