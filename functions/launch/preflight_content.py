"""What a finished mail says and how large it is, read from its bytes as a mail program reads them."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from shared.errors import BadToken
from shared.links import Links
from shared.mail import footer
from shared.mail.html import VOID
from shared.mail.sandbox import words
from shared.mail.source import Source

from . import preflight_links
from .preflight_links import Link, reserved
from .preflight_report import Report, named

CLIPPED = 102 * 1024  # bytes of HTML from which Gmail hides the rest behind a link; measured by many, documented by nobody
NEARLY_CLIPPED = 90 * 1024
LONG_SUBJECT = 70  # characters: phones show half of that, desktops this
SHORT_TEXT = 20  # characters
TEXT_PER_IMAGE = 100  # characters, until there are ENOUGH_TEXT
ENOUGH_TEXT = 400

_SKIPPED = words("head script style template title svg")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.I)
_ADDRESS = re.compile(r"<[a-z]+:[^>\s]*>|<[^<>\s]+@[^<>\s]+>|https?://\S+", re.I)
_URL = re.compile(r"https?://[^\s<>]*[^\s<>.,;:!?)\]’”\"']", re.I)
_REPLY = re.compile(r"(?:re|fwd?|aw|wg|antw|sv|vs|tr|rv)\s*(?:\[\d+\])?\s*[:：]", re.I)
_PLACEHOLDER = re.compile(
    r"\{\{.{0,60}?\}\}|\|[A-Z][A-Z0-9_:]+\||\$\{\w+\}|%%\w+%%|\[\[[\w .-]+\]\]|\{[a-z]+[_ ]?name\}|\[(?:[a-z]+[_ ])?name\]|lorem ipsum",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Image:
    source: str
    alt: str | None  # None: there is no such attribute


@dataclass(slots=True)
class Seen:
    """One finished mail, opened. `shown`: its words, without those of images; `html_size` in bytes, 0 without HTML."""

    subject: str
    text: str
    shown: str
    html_size: int = 0
    links: list[Link] = field(default_factory=list)  # those of the template, with their own targets
    images: list[Image] = field(default_factory=list)  # without the open pixel
    leaves: bool = False  # shows the way out


def read(data: bytes, links: Links, source: Source) -> Seen:
    """Open one mail of `source` made for somebody."""
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    subject = str(message["Subject"] or "")
    if message.is_multipart():
        text, page = (part.get_payload(decode=True) for part in message.iter_parts())
    else:
        text, page = message.get_payload(decode=True), None
    assert isinstance(text, bytes)
    plain = text.decode()
    if not isinstance(page, bytes):
        seen = Seen(subject, plain, plain)
        found = [Link(url) for url in _URL.findall(plain)]
    else:
        reader = _Reader()
        reader.feed(page.decode())
        reader.close()
        seen = Seen(subject, plain, " ".join(" ".join(reader.words).split()), len(page))
        seen.images = [image for image in reader.images if not image.source.startswith(f"{links.base}/track/")]
        found = [Link(link.target, " ".join(link.text.split())) for link in reader.links]
        found += [Link(image.source) for image in seen.images if image.source.startswith(("http:", "https:"))]
    ours = f"{links.base}/unsubscribe/"
    leave = re.compile(rf"{re.escape(ours)}(?!preferences/|keep/)")
    seen.leaves = bool(leave.search(seen.shown))
    for link in found:
        target = link.target or ""
        if target.startswith(ours):
            seen.leaves |= bool(link.text and leave.match(target))
        elif target.startswith(f"{links.base}/track/k/"):
            seen.links.append(Link(_target(links, source.campaign, target), link.text))
        elif not target.startswith(f"{links.base}/"):
            seen.links.append(link)
    return seen


def _target(links: Links, campaign: str, counted: str) -> str:
    """Where a counted link leads."""
    try:
        return links.read_target(campaign, counted.rpartition("/")[2])[1]
    except BadToken:  # the author's own
        return counted


class _Reader(HTMLParser):
    """Collects what is visible."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.links: list[_Open] = []
        self.images: list[Image] = []
        self._hidden: list[str] = []  # open elements inside, and with, the hidden one
        self._link: _Open | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._hidden or tag in _SKIPPED or "hidden" in given or _HIDDEN.search(given.get("style") or ""):
            if tag not in VOID:
                self._hidden.append(tag)
        elif tag == "img":
            self.images.append(Image(given.get("src") or "", given.get("alt") if "alt" in given else None))
            if self._link:
                self._link.text += given.get("alt") or "an image"
        elif tag in ("a", "area") and ("href" in given or not given.keys() & {"name", "id"}):
            self._link = _Open(given.get("href"))
            self.links.append(self._link)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag in self._hidden:
                while self._hidden.pop() != tag:
                    pass
        elif tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
            if self._link:
                self._link.text += data


@dataclass(slots=True)
class _Open:
    target: str | None
    text: str = ""


# --- checks -----------------------------------------------------------------------------------------------------------


def check(mails: Sequence[Seen], source: Source, base: str, targets: Sequence[str]) -> Report:
    """Judge the mails made of one source. `base`: the product's own address; `targets`: counted links of all branches."""
    report = Report()
    for part in (_subject(mails), _size(mails), _text(mails, source), _images(mails, source)):
        report.add(part)
    trial = reserved(source.identity.from_address.rpartition("@")[2])
    found = list(dict.fromkeys(link for mail in mails for link in mail.links))
    met = {link.target for link in found}
    report.add(preflight_links.check([*found, *(Link(target) for target in targets if target not in met)], trial))
    if source.bulk:
        report.add(_lawful(mails, source, base, trial))
    return report


def _subject(mails: Sequence[Seen]) -> Report:
    report = Report()
    subjects = [mail.subject.strip() for mail in mails]
    longest = max(subjects, key=len)
    cased = [char for char in longest if char.upper() != char.lower()]
    if "" in subjects:
        report.faults.append("The subject is empty for some people: write one that stands without their details.")
    if len(longest) > LONG_SUBJECT:
        report.warnings.append(f"The subject has {len(longest)} characters: most inboxes cut it off after {LONG_SUBJECT}.")
    if len(cased) > 5 and all(char.isupper() for char in cased):
        report.warnings.append("The subject is all in capitals, as in spam: write it as a sentence.")
    if any(subject.count("!") + subject.count("！") > 2 or "!!" in subject for subject in subjects):
        report.warnings.append("The subject has many exclamation marks, as in spam: one is enough.")
    if any(_REPLY.match(subject) for subject in subjects):
        report.warnings.append(
            "The subject looks like a reply or a forwarded mail, which misleads: leave out the “Re:” or “Fwd:”."
        )
    return report


def _size(mails: Sequence[Seen]) -> Report:
    html = max(mail.html_size for mail in mails)
    if html < NEARLY_CLIPPED:
        return Report()
    how = "and Gmail hides the rest and the end with the way out" if html >= CLIPPED else "close to where Gmail cuts it off"
    return Report(warnings=[f"The HTML has {html // 1024} KB, {how} (from {CLIPPED // 1024} KB): shorten the mail."])


def _text(mails: Sequence[Seen], source: Source) -> Report:
    report = Report()
    least = min((_own_words(mail.text, source) for mail in mails), key=len)
    if len(least) < SHORT_TEXT:
        report.warnings.append(
            f"The text version says next to nothing ({len(least)} characters): write more than pictures and links."
        )
    if left := [match[0] for mail in mails for match in _PLACEHOLDER.finditer(f"{mail.subject}\n{mail.shown}")]:
        report.warnings.append(f"The mail shows what looks like a placeholder: {named(left)}. Put in what belongs there.")
    return report


def _images(mails: Sequence[Seen], source: Source) -> Report:
    report = Report()
    worst = max(mails, key=lambda mail: len(mail.images))
    count, bare = len(worst.images), sum(image.alt is None for image in worst.images)
    has = len(_own_words(worst.shown, source))
    if count and has < min(ENOUGH_TEXT, count * TEXT_PER_IMAGE):
        pictures = "one image" if count == 1 else f"{count} images"
        report.warnings.append(f"The mail is {pictures} and only {has} characters of text, as in spam: say it in words as well.")
    if bare:
        pictures = "one image has" if bare == 1 else f"{bare} of {count} images have"
        report.warnings.append(
            f"{pictures[0].upper()}{pictures[1:]} no description for those who do not see images: add an alt text."
        )
    return report


def _own_words(text: str, source: Source) -> str:
    """What is said besides addresses and what the law wants."""
    said = " ".join(_ADDRESS.sub(" ", text).split()).replace(source.identity.postal_line, "")
    return " ".join(footer.bare(said).replace("-- ", "").split())


def _lawful(mails: Sequence[Seen], source: Source, base: str, trial: bool) -> Report:
    """Postal address and way out, as CAN-SPAM wants them (15 U.S.C. § 7704(a)(5)) and RFC 8058 for the button."""
    report = Report()
    postal = " ".join(source.identity.postal_line.split())
    if not postal:
        report.faults.append("There is no postal address, which the law asks for: have yours added to the brand's settings.")
    elif not all(postal in " ".join(mail.shown.split()) for mail in mails):
        report.faults.append(
            "The postal address is in the template where readers do not see it: show it, or leave it to the footer."
        )
    if not all(mail.leaves for mail in mails):
        report.faults.append("The unsubscribe link is where readers do not see it: give it words, or leave it to the footer.")
    if not trial and (preflight_links.fault(base, trial) or not base.startswith("https://")):
        report.faults.append(f"Readers cannot unsubscribe at {base}: ask your operator for a public https address (PUBLIC_URL).")
    return report
