"""Which opens and clicks of one mail were a person's, once all that is known is told: a machine's wins over a person's.

A delivery keeps in `hits`, for opens and for each link, of each hour of a week:

    hits {o|c, number of the link, _, hour modulo SLOTS: {human, machine: the last such hit (ms), first: a person's first one,
         {country}, {device}: the last one there or on such a device}}

Minima and maxima only, so order-free, idempotent and bounded: a mail has at most SLOTS keys for opens and for each of its links. What
turns out to be a machine's takes along what came before it in its hour, as it does in the score (shared/model/score.py): a scanner
goes through a mail when it arrives, its reader comes later. After a week an hour is used again, and keeps its latest hits only.

`labels` says the same, for queries and counts: "opened.human" and "clicked.human" go when nothing of their kind was a person's. A
person's hit adds them blindly, also when it is told again, or told late. So whoever reads a delivery (record after a person's hit and
after one that is overruled, report each time) puts them right by `settled`, on the version read: the later of two writes sees both, so
they end as the set of the events says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.model.event import Event
from shared.model.subscriber import HOUR
from shared.ports import Maximum, Minimum

SEEN_LATER: Final = frozenset({"burst", "honeypot link"})  # reasons of hits that track may have told as a person's before
SLOTS: Final = 168  # hours
COUNTED: Final = "counted"  # label of the deliveries that reports break down
Kind = Literal["opened", "clicked"]
KINDS: Final[tuple[Kind, ...]] = ("opened", "clicked")
_KEY: Final = re.compile(r"([oc])(\d*)_\d+")
_TIMES: Final = frozenset({"human", "machine", "first"})


@dataclass(frozen=True, slots=True)
class Hit:
    """Hits of people in one hour: the first and the last (ms), of which link (-1 for none), from which countries, on which devices."""

    first: int
    last: int
    link: int
    countries: Mapping[str, int]  # -> the last one from there (ms)
    devices: Mapping[str, int]


def counted(event: Event) -> bool:
    """Whether reports break an event of this type down."""
    return event.type not in ("delivered", "deferred", "unknown")


def overruling(event: Event) -> bool:
    """Whether an event may take back what was told as a person's."""
    return event.type in KINDS and event.label == "machine" and event.reason in SEEN_LATER


def noted(event: Event) -> dict[str, Any]:
    """What a hit adds to its delivery's `hits`; {} for nothing."""
    if event.type not in KINDS:
        return {}
    number = str(event.link) if event.link >= 0 else ""
    key = f"hits.{event.type[0]}{number}_{event.at // HOUR % SLOTS:03d}"
    if overruling(event):
        return {f"{key}.machine": Maximum(event.at)}
    if event.label != "human":
        return {}
    found: dict[str, Any] = {f"{key}.human": Maximum(event.at), f"{key}.first": Minimum(event.at)}
    for place in (event.country, event.device):
        if place:
            found[f"{key}.{place}"] = Maximum(event.at)
    return found


def people(delivery: Mapping[str, Any], kind: Kind) -> list[Hit]:
    """The hits of a kind that were people's, in the order of their first moments."""
    found = []
    for key, held in (delivery.get("hits") or {}).items():
        match = _KEY.fullmatch(key)
        machine, last = held.get("machine", -1), held.get("human", -1)
        if match is None or match[1] != kind[0] or last <= machine:
            continue
        places = {name: at for name, at in held.items() if name not in _TIMES and at > machine}
        first = held["first"] if held["first"] > machine else last
        countries = {name: at for name, at in places.items() if name.isupper()}
        devices = {name: at for name, at in places.items() if not name.isupper()}
        found.append(Hit(first, last, int(match[2] or -1), countries, devices))
    return sorted(found, key=lambda hit: (hit.first, hit.link))


def settled(delivery: Mapping[str, Any]) -> dict[str, Any]:
    """The field `labels` without what no person did; {} when that is what it says."""
    held = delivery.get("labels") or []
    over = {f"{kind}.human" for kind in KINDS if _told(delivery, kind) and not people(delivery, kind)}
    return {"labels": [label for label in held if label not in over]} if over & set(held) else {}


def _told(delivery: Mapping[str, Any], kind: Kind) -> bool:
    """Whether `hits` knows of the kind: what is not there cannot be judged."""
    return any(key[0] == kind[0] for key in delivery.get("hits") or ())
