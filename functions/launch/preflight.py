"""Before a campaign goes: would this mail arrive, be read, be lawful, and go to those it is meant for?

Everything is judged on the mail as compiled, made for a few recipients. What a stranger typed into a form never decides: the mail is
read and scored with made-up details of the same shape, and real ones are only tried out. Nothing linked is fetched.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from types import MappingProxyType
from typing import Any

from shared.errors import BadInput, Unavailable
from shared.links import Links
from shared.logs import log
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import Source, best
from shared.mail.source import read as read_template
from shared.mail.source import thawed as source_of
from shared.model.ref import MailRef
from shared.model.subscriber import country_of, segments_of
from shared.ports import Dns, Objects

from . import preflight_content, preflight_domain, preflight_spamd, preflight_variables
from .freeze import CONFIRM_URL, KNOWN
from .preflight_domain import Sending
from .preflight_report import Report, by_file
from .preflight_spamd import MAX_MAIL, Spam

SECONDS = 10.0  # for DNS and SpamAssassin together
SAMPLE = 200  # subscribers that are worth reading for a sample
FIELDS = ("address", "status", "suppressed", "tags", "name", "language", "country", "located")  # of them
SHAPES = 5  # different recipients that a mail is made for
TOO_LARGE = 10_000_000  # bytes: what the stricter mail servers take
READ = 5_000_000  # bytes of mails that are read: it takes a second
JUMP, PEOPLE = 3, 100  # times as many, and at least so many more or fewer
_NAME, _ADDRESS = "Ada Lovelace", "ada.lovelace@example.com"
_PLAIN = re.compile(r"[\w .&+#-]{1,40}")
_REF = "0" * 32  # nobody's
_ODD = "<b>\"'></a>{{ 7 * 7 }}{% if %}\r\nBcc: x@example.com\r\n.\r\n\x00\x1b\u202e\u200b\ud83d %n \U0001f600" + "é" * 200


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a campaign goes to: `expected` by count, and a `sample` of subscriber documents (FIELDS) just read."""

    segment: str
    expected: int
    sample: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """Whom a preflight asks, each None where there is none, and what is known of how mail leaves."""

    dns: Dns | None = None
    spam: Spam | None = None
    sending: Sending = field(default_factory=Sending)


async def thawed(objects: Objects, campaign: str, mail: Mapping[str, Any]) -> Source:
    """The source of a campaign's frozen `mail`; raises NotFound."""
    return source_of(mail, await objects.get(mail["object"]), campaign)


async def preflight(
    mail: Source,
    *,
    links: Links,
    dns: Dns | None,
    spam: Spam | None,
    audience: Audience,
    previous: int | None,
    sending: Sending = Sending(),
    spoken: Mapping[str, Source] = MappingProxyType({}),
    seconds: float = SECONDS,
) -> Report:
    """Every check. `dns`, `spam`: None where there is none. `previous`: how many the segment's last campaign expected, None for the
    first. `spoken`: the mail in other languages, each looked at as those get it who speak that. Raises nothing for what it finds; takes
    at most `seconds` longer than compiling and reading the mails."""
    report, domain, asked = Report(), Report(), Report()
    contents: dict[str, Report] = {}
    examples: dict[str, bytes] = {}
    people = [values(one) for one in audience.sample[:SAMPLE] if audience.segment in segments_of(one)]
    looking = asyncio.create_task(
        _bounded(
            preflight_domain.check(domain, mail.identity, sending, dns, audience.expected),
            seconds,
            domain,
            "The look-ups of SPF, DKIM and DMARC were not finished: {}.",
        )
    )
    try:
        for language, source in {"": mail, **spoken}.items():
            whose = [one for one in people if best(spoken, one["language"]) == language]
            contents[source.name], example = await asyncio.to_thread(_inspect, source, links, whose)
            if example is not None:
                examples[source.name] = example[: MAX_MAIL + 1]
        scores = {name: Report() for name in examples}
        await _bounded(_score(scores, examples, spam), seconds, asked, "SpamAssassin was not asked to the end: {}.")
    finally:
        await looking
    report.add(by_file(contents))
    report.add(_jump(audience, previous))
    report.add(domain)
    report.add(by_file(scores))
    report.add(asked)
    return report


async def _bounded(work: Awaitable[None], seconds: float, report: Report, sentence: str) -> None:
    """Let `work` fill in its report; a note when it is slow or fails."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        report.notes.append(sentence.format(f"it took more than {seconds:g} seconds"))
    except Unavailable as error:
        report.notes.append(sentence.format(error))


async def _score(reports: Mapping[str, Report], mails: Mapping[str, bytes], spam: Spam | None) -> None:
    for name, mail in mails.items():
        if spam is None:
            reports[name].notes.append("The mail was not scored for spam: no SpamAssassin is set up here.")
        elif len(mail) > MAX_MAIL:
            reports[name].notes.append(
                f"The mail was not scored for spam: SpamAssassin looks at no more than {MAX_MAIL // 1024} KB."
            )
        else:
            reports[name].add(preflight_spamd.judge(await spam.score(mail)))


def _jump(audience: Audience, previous: int | None) -> Report:
    """Whether the audience is another size than last time: the wrong segment, a broken import."""
    now = audience.expected
    if previous is None:
        return Report(notes=[f"This is the first mail to “{audience.segment}”, so its size was compared with nothing."])
    if abs(now - previous) < PEOPLE or (now <= previous * JUMP and previous <= now * JUMP):
        return Report()
    return Report(
        warnings=[
            f"This goes to {now:,} people; the last mail to “{audience.segment}” went to {previous:,}. Is it the right segment?"
        ]
    )


# --- the mail itself --------------------------------------------------------------------------------------------------


def values(subscriber: Mapping[str, Any]) -> dict[str, Any]:
    """What a template may say of a subscriber, as send_batch gives it."""
    return {
        "name": subscriber.get("name", ""),
        "language": subscriber.get("language", ""),
        "country": country_of(subscriber),
        "tags": subscriber.get("tags", []),
    }


def _inspect(source: Source, links: Links, people: Sequence[Mapping[str, Any]]) -> tuple[Report, bytes | None]:
    """All that needs no network, and one finished mail; None when not one can be made."""
    report = Report()
    try:
        compiled = compile(replace(source, numbered=()), links, KNOWN, frozenset() if source.bulk else CONFIRM_URL)
        template = read_template(source)
    except BadInput as error:
        report.faults.append(str(error))
        return report, None
    if not template.preheader and template.kind != "text":
        report.notes.append("There is no preheader: inboxes show the mail's first words beside the subject.")
    report.add(preflight_variables.check(template, compiled.variables, people))
    extra = {} if source.bulk else {"confirm_url": f"{links.base}/subscribe/confirm/"}
    empty, odd = dict.fromkeys(values({}), ""), dict.fromkeys(values({}), _ODD)
    shapes = _shapes(people) or [{"name": _NAME, "language": template.language, "country": "", "tags": []}]
    made = [_make(compiled, _made_up(shape), extra, "somebody like your subscribers", report) for shape in shapes]
    for whom, fields in [
        *(("one of your subscribers", shape) for shape in shapes),
        ("somebody who told us nothing", {**empty, "tags": []}),
        ("somebody with odd details", {**odd, "tags": [_ODD, _ODD]}),
    ]:
        _make(compiled, fields, extra, whom, report)
    readable = [data for data in made if data is not None]
    if not readable:
        return report, None
    largest = max(map(len, readable))
    if largest > TOO_LARGE:
        report.faults.append(f"The mail has {largest / 1e6:.1f} MB, and many servers refuse more than 10: shorten it.")
        return report, None
    seen = [preflight_content.read(data, links, source) for data in readable[: max(1, READ // largest)]]
    report.add(preflight_content.check(seen, source, links.base, [target for _, target in compiled.links]))
    return report, readable[0]


def _make(compiled: CompiledMail, fields: Mapping[str, Any], extra: Mapping[str, str], whom: str, report: Report) -> bytes | None:
    """The mail for one recipient; a fault when it cannot be made, whatever the reason."""
    try:
        # The real time, since SpamAssassin compares it with its own clock.
        return compiled.splice(Recipient(MailRef("preflight", _REF), _ADDRESS, fields, extra), formatdate())
    except BadInput as error:
        sentence = f"The mail cannot be made for {whom}: {error}"
    except Exception as error:
        log("ERROR", f"a mail could not be made: {type(error).__name__}")
        sentence = f"The mail cannot be made for {whom}: simplify the template's {{{{ }}}} and {{% %}}, or tell your operator."
    if not any(fault.partition(": ")[2] == sentence.partition(": ")[2] for fault in report.faults):
        report.faults.append(sentence)
    return None


def _shapes(people: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """People who differ in what is known of them, the fullest first."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in sorted(people, key=lambda one: -sum(map(bool, one.values()))):
        found.setdefault(repr({**one, "name": bool(one.get("name"))}), one)
        if len(found) == SHAPES:
            break
    return list(found.values())


def _made_up(person: Mapping[str, Any]) -> dict[str, Any]:
    """The same shape, with what people type freely replaced."""
    kept = {name: _harmless(value) for name, value in person.items()}
    return {**kept, "name": _NAME if person.get("name") else ""}


def _harmless(value: Any) -> Any:
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str) and _PLAIN.fullmatch(item)]
    return value if not isinstance(value, str) or _PLAIN.fullmatch(value) else ""
