"""What was played in the demo, and whether the product took it for that: from the stores, and as the Dashboard shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from local.audit import Findings, Mailed, every
from shared.model.campaign import headlines
from shared.model.paths import Paths
from shared.ports import Store

SIGNS: Final = {  # reason of a label (docs/tracking.md) -> who is to have it
    "within seconds of hand-off": "at_once",
    "known robot": "scanned",
    "HEAD request": "probed",
    "burst": "rushed",
    "honeypot link": "trapped",
    "Apple Mail Privacy Protection": "fetched",
}


@dataclass
class Played:
    """Sids, by what was done with their mail of the first campaign. People: opened, clicked, bought, left. Robots: the click that
    came at once, scanners, HEAD, every link in a rush, the hidden link, pictures fetched ahead. Servers: hard, soft, delayed;
    complained."""

    opened: set[str] = field(default_factory=set)
    clicked: set[str] = field(default_factory=set)
    bought: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    at_once: set[str] = field(default_factory=set)
    scanned: set[str] = field(default_factory=set)
    probed: set[str] = field(default_factory=set)
    rushed: set[str] = field(default_factory=set)
    trapped: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    hard: set[str] = field(default_factory=set)
    soft: set[str] = field(default_factory=set)
    delayed: set[str] = field(default_factory=set)
    complained: set[str] = field(default_factory=set)

    @property
    def gone(self) -> set[str]:
        """Who is to get no more mail."""
        return self.left | self.hard | self.complained

    @property
    def opened_by_machines(self) -> set[str]:
        return self.scanned | self.probed

    @property
    def clicked_by_machines(self) -> set[str]:
        return self.at_once | self.scanned | self.probed | self.rushed | self.trapped

    @property
    def opened_by_all(self) -> set[str]:
        return self.opened | self.opened_by_machines | self.fetched

    @property
    def clicked_by_all(self) -> set[str]:
        return self.clicked | self.clicked_by_machines

    def figures(self) -> dict[str, int]:
        """For demo.json."""
        return {item.name: len(getattr(self, item.name)) for item in fields(self)}

    def told(self) -> list[str]:
        """For people, one line for each kind of player."""
        n = {name: str(count) for name, count in self.figures().items()}
        return [
            f"People: {n['opened']} opened, {n['clicked']} clicked, {n['bought']} bought, {n['left']} left by one click.",
            f"Robots: {n['at_once']} gateways clicked the moment the mail came; {n['scanned']} known scanners, {n['probed']} HEAD probes; "
            f"under a browser's name {n['rushed']} followed every link at once and {n['trapped']} the hidden one; "
            f"Apple's relay fetched {n['fetched']} pictures.",
            f"Servers: {n['hard']} mails bounced for good and {n['soft']} softly, by callback and by mail (RFC 3464); "
            f"{n['delayed']} is late; {n['complained']} reader complained (RFC 5965).",
        ]


async def check(
    found: Findings,
    store: Store,
    paths: Paths,
    played: Played,
    names: Sequence[str],
    mails: Sequence[Mailed],
    shown: Sequence[Sequence[str]],
) -> None:
    """Compare with the stores; `names`: the campaigns, the first of which was played with; `shown`: the Dashboard's cells."""
    first, last = names[0], names[-1]
    deliveries = await every(store, paths.deliveries(first))
    counts = await headlines(store, paths, first)

    def having(value: str, kept: str = "labels") -> set[str]:
        return {one.id for one in deliveries if value in one.data.get(kept, ())}

    people = counts["opened"], counts["clicked"], counts["converted"]
    found.check(
        "people's opens, clicks and sales count, and nobody else's",
        people == (len(played.opened), len(played.clicked), len(played.bought))
        and (played.opened, played.clicked, played.bought)
        == (having("opened.human"), having("clicked.human"), having("converted")),
        "{} opened, {} clicked, {} bought".format(*people),
    )
    found.check(
        "every robot's hit is kept, as a machine's or as nobody can say",
        (having("opened.machine"), having("clicked.machine")) == (played.opened_by_machines, played.clicked_by_machines)
        and (having("opened.suspect"), having("clicked.suspect")) == (played.fetched, set())
        and (having("opened"), having("clicked")) == (played.opened_by_all, played.clicked_by_all),
        f"{counts['opened_machine']} opened, {counts['clicked_machine']} clicked, {len(played.fetched)} unsaid",
    )
    by_sign = {sign: getattr(played, kind) <= having(sign, "reasons") for sign, kind in SIGNS.items()}
    found.check(
        "each kind of robot is told by its own sign",
        all(by_sign.values()),
        ", ".join(sign for sign, holds in by_sign.items() if holds),
    )
    kinds = {label: having(label) for label in ("bounced.hard", "bounced.soft", "bounced.other", "deferred", "complained")}
    found.check(
        "what came back is what the servers said, by callback or by mail, hard, soft, late or a complaint",
        list(kinds.values()) == [played.hard, played.soft, set(), played.delayed, played.complained],
        ", ".join(f"{len(sids)} {label}" for label, sids in kinds.items()),
    )
    suppressed = {one.id for one in await every(store, paths.suppressions) if one.data.get("reasons")}
    found.check(
        "exactly those are suppressed who left, bounced for good or complained",
        suppressed == played.gone,
        f"{len(suppressed & played.gone)} of {len(played.gone)}, {len(suppressed - played.gone)} others",
    )
    again = {mail.sid for mail in mails if mail.campaign == last}
    found.check(
        "they got no second mail; who bounced softly or is late did",
        not played.gone & again and played.soft | played.delayed <= again,
    )
    wanted = _dashboard(played, mails, names)
    cells = {row[0]: [cell for cell in row[1:] if cell] for row in shown if row}
    wrong = [name for name, texts in wanted.items() if cells.get(name) != texts]
    found.check("the Dashboard shows people beside all, robots included, as played", not wrong, ", ".join(wrong))


def _dashboard(played: Played, mails: Sequence[Mailed], names: Sequence[str]) -> Mapping[str, list[str]]:
    """What the Dashboard has to show: row -> its cells."""
    base = sum(mail.campaign in names for mail in mails)

    def share(sids: set[str], of: str = "delivered") -> str:
        return f"{len(sids)} ({100 * len(sids) / base:.1f}% of {of})"

    def ratio(clicked: set[str], opened: set[str]) -> str:
        return f"{100 * len(clicked) / len(opened):.1f}%"

    return {
        "Opened": [share(played.opened), share(played.opened_by_all)],
        "Clicked": [share(played.clicked), share(played.clicked_by_all)],
        "Clicks to opens": [ratio(played.clicked, played.opened), ratio(played.clicked_by_all, played.opened_by_all)],
        "Hard bounces": [share(played.hard, "sent")],
        "Soft bounces": [share(played.soft, "sent")],
        "Other bounces": [share(set(), "sent")],
        "Spam complaints": [share(played.complained)],
        "Left after a mail": [share(played.left)],
        "Converted": [share(played.bought)],
    }
