"""`python -m tests.hostile`: what becomes of every hostile template, by kind, beside a control: Jinja, Markdown and CSS inlining
without our limits, given 1 s and 512 MB. Exit status 1 when a template did harm, took more than is allowed, or got no sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shared.mail import confined

from .corpus import hostile
from .trial import Outcome, ours, plain, tried


def row(kind: str, made: Sequence[Outcome], control: Sequence[Outcome]) -> str:
    """One line of the table. Through: templates that did harm; of the control's also those that only its limits ended."""
    refused, ended, through = (sum(map(bool, one)) for one in zip(*((o.sentence, o.ended, o.fault) for o in made), strict=True))
    loose = sum(bool(one.fault or one.ended) for one in control)
    seconds, megabytes = max(one.seconds for one in made), max(one.megabytes for one in made)
    return f"{kind:12}{len(made):9}{refused:9}{ended:7}{through:9}{seconds:15.2f}{megabytes:10.0f}{loose:17}"


def main() -> int:
    confined.warm()
    templates = list(hostile())
    made = {one.hostile: one for one in tried(templates, ours)}
    control = {one.hostile: one for one in tried(templates, plain, cpu=1, megabytes=512)}
    print("kind        templates  refused  ended  through  worst seconds  worst MB  control through")
    for kind in [*dict.fromkeys(one.kind for one in templates), "all"]:
        mine = [one for one in templates if kind in (one.kind, "all")]
        print(row(kind, [made[one] for one in mine], [control[one] for one in mine]))
    faults = [one for one in made.values() if one.fault]
    for one in faults:
        written = one.hostile.data if one.hostile.subject == "Hello" else one.hostile.subject
        print(f"{one.hostile.kind}: {one.fault} ({one.seconds:.1f} s, {one.megabytes:.0f} MB): {written[:80]!r}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
