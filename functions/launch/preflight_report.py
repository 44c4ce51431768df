"""What a preflight found, in sentences for the person whose row it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
        """For the row: the first faults, then the first warnings; "" when there are none. Notes are left to the log."""
        parts = [_few(self.faults), "Worth a look: " + _few(self.warnings) if self.warnings else ""]
        return " ".join(part for part in parts if part)


def _few(sentences: Sequence[str]) -> str:
    more = len(sentences) - SHOWN
    return " ".join([*sentences[:SHOWN], *([f"And {more} more."] if more > 0 else [])])


def named(examples: Sequence[str]) -> str:
    """“one”, “two” and 3 more: each example once, cut to 80 characters."""
    distinct = list(dict.fromkeys(examples))
    more = len(distinct) - SHOWN
    shown = ", ".join(f"“{one[:80]}”" for one in distinct[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
