"""What a preflight found, in sentences for the person whose row it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.errors import BadInput
from shared.model.console import PREFLIGHT

SHOWN = 3  # sentences of a kind, and examples in a sentence


@dataclass(frozen=True, slots=True)
class Report:
    """`faults` block the launch, `warnings` are shown and do not, `notes` say what was skipped and why. Each is a whole sentence that
    says what to do; `dataclasses.asdict` makes a document of it."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take over the other's sentences, each once."""
        for mine, theirs in ((self.faults, other.faults), (self.warnings, other.warnings), (self.notes, other.notes)):
            mine += [sentence for sentence in dict.fromkeys(theirs) if sentence not in mine]

    def sentence(self) -> str:
        """For the row: the first faults, then the first warnings; "" when there are none. The tab has them all."""
        parts = [_few(self.faults), "Worth a look: " + _few(self.warnings) if self.warnings else ""]
        return " ".join(part for part in parts if part)


def by_file(found: Mapping[str, Report]) -> Report:
    """The reports of a mail's files, by name, as one: what does not go for all of them is said with the names of those it goes for."""
    whole = Report()
    for kind in ("faults", "warnings", "notes"):
        names: dict[str, list[str]] = {}
        for name, report in found.items():
            for sentence in dict.fromkeys(getattr(report, kind)):
                names.setdefault(sentence, []).append(name)
        for sentence, those in names.items():
            getattr(whole, kind).append(sentence if len(those) == len(found) else f"{', '.join(those)}: {sentence}")
    return whole


class Blocked(BadInput):
    """The mail of a report with faults, which are its sentence."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.sentence())
        self.report = report


def checked(found: Report | BadInput, now: int) -> dict[str, Any]:
    """The field `checked` of a campaign's document: what a preflight found, or what stood in the way of one."""
    report = found if isinstance(found, Report) else found.report if isinstance(found, Blocked) else Report(faults=[str(found)])
    return {"checked": {**asdict(report), "at": now}}


def _few(sentences: Sequence[str]) -> str:
    more = len(sentences) - SHOWN
    return " ".join([*sentences[:SHOWN], *([f"And {more} more in the tab {PREFLIGHT}."] if more > 0 else [])])


def named(examples: Sequence[str]) -> str:
    """“one”, “two” and 3 more: each example once, cut to 80 characters."""
    distinct = list(dict.fromkeys(examples))
    more = len(distinct) - SHOWN
    shown = ", ".join(f"“{one[:80]}”" for one in distinct[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
