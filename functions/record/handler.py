"""What happened to a mail, applied once: order-free, idempotent transforms, so that a replay or a late event changes nothing.

Consumes engagement-events (published by track, webhooks, unsubscribe and send_batch). Blind writes: one of the delivery, and in the same
commit a complaint, a bounce for good or an unsubscribe at a provider's suppresses the subscriber; a soft bounce that counts or a
delivery is noted there, or a person's open or click, or that it was a machine's after all. After either of these two the delivery is
read, and its labels are put right. Bounces and deliveries are what decides about suppressions that come and go, so after one of these
the subscriber is read, and put right where that is due: shared/model/suppression.py says why that ends right.

A delivery document holds, of one mail:

    labels      each type, with its label ("opened.human"), and a bounce's class ("bounced.hard", "bounced.soft", "bounced.other");
                COUNTED when reports break it down
    {type}_at, {type}_{label}_at, bounced_{class}_at    the first time (ms)
    first_at    of the system's own mails: when something was first heard of it (ms). privacy deletes by it
    hits        what people, and machines taken for people, opened and clicked, see shared/model/hits.py; cities: of people's clicks
    codes       SMTP's or the provider's; reasons: why hits were labelled; providers: who told of it
    conversions {digest of the order's id, or of the time without one: {at: the first time (ms), currency: the largest value}}; values in
                millionths of the currency's unit. The same order told twice is one conversion

With the delivery goes a mark that the campaign's reports are out of date, at most a few in five minutes: shared/model/marks.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Conflict, Unavailable
from shared.model.event import Event
from shared.model.hits import COUNTED, counted, noted, overruling
from shared.model.hits import settled as without_machines
from shared.model.paths import SYSTEM, Paths
from shared.model.subscriber import engaged, overruled, suppress
from shared.model.suppression import settled, soft_bounced
from shared.ports import ArrayUnion, Maximum, Merge, Minimum, Store, Write

from .marks import Marks

ATTEMPTS: Final = 5
_SETS: Final = {"reason": "reasons", "code": "codes", "city": "cities", "provider": "providers"}


@dataclass(frozen=True)
class Record:
    """The step's dependencies. `marks`: None where nobody makes reports."""

    store: Store
    paths: Paths
    marks: Marks | None = None

    async def handle(self, message: Mapping[str, Any]) -> None:
        """Apply one event; raises BadInput for a message that is none (it ends as a dead letter), Unavailable to retry."""
        event = Event.from_message(message)
        changes = writes(self.paths, event)
        marking = self.marks.begin(event.mail) if self.marks else None
        if marking and marking.write:
            changes.append(marking.write)
        await self.store.commit(changes)
        if self.marks and marking and (late := self.marks.end(marking)):
            await self.store.commit([late])
        if overruling(event) or event.label == "human":  # either may come first: whoever writes last sees both
            await self._judge(event)
        if event.type == "delivered" or event.hard or event.counts:
            await self._settle(event.mail.sid)

    async def _judge(self, event: Event) -> None:
        path = self.paths.delivery(event.mail.campaign, event.mail.delivery)
        for _ in range(ATTEMPTS):
            found = await self.store.get(path, ["labels", "hits"])
            changes = without_machines(found.data) if found else {}
            if found is None or not changes:
                return
            try:
                await self.store.commit([Merge(path, changes, if_version=found.version)])
                return
            except Conflict:
                continue
        raise Unavailable("the store", "contended")

    async def _settle(self, sid: str) -> None:
        for _ in range(ATTEMPTS):
            found = await self.store.get(self.paths.subscriber(sid))
            changes = settled(self.paths, found) if found else []
            if not changes:
                return
            try:
                await self.store.commit(changes)
                return
            except Conflict:
                continue  # somebody else wrote, or our own reply was lost: look again
        raise Unavailable("the store", "contended")


def writes(paths: Paths, event: Event) -> list[Write]:
    """What the event adds to the delivery, and to the subscriber and the suppression where it says something of them."""
    mail = event.mail
    source = f"mail of {mail.campaign}"
    found: list[Write] = [Merge(paths.delivery(mail.campaign, mail.delivery), _timeline(event, mail.campaign in SYSTEM))]
    if event.type == "bounced" and event.hard:
        found += suppress(paths, mail.sid, "hard_bounce", source, event.at)
    elif event.type == "bounced" and event.counts:
        found += soft_bounced(paths, mail.sid, source, event.at)
    elif event.type == "complained":
        found += suppress(paths, mail.sid, "complaint", source, event.at)
    elif event.type == "unsubscribed" and event.provider:  # at the provider's; our own page has written it already
        found += suppress(paths, mail.sid, "unsubscribed", source, event.at)
    elif event.type == "delivered":
        found.append(Merge(paths.subscriber(mail.sid), {"delivered_at": Maximum(event.at)}))
    elif event.type in ("opened", "clicked"):
        if event.label == "human":
            found.append(engaged(paths, mail.sid, event.at, clicked=event.type == "clicked", country=event.country))
        elif overruling(event):
            found.append(overruled(paths, mail.sid, event.at))
    return found


def _timeline(event: Event, single: bool) -> dict[str, Any]:
    kind: str = event.label
    data: dict[str, Any] = {"first_at": Minimum(event.at)} if single else {}
    if event.type == "bounced":
        kind = "hard" if event.hard else "soft" if event.counts else "other"
        data["bounced_at"] = Minimum(event.at)
    name = f"{event.type}.{kind}" if kind else event.type
    data["labels"] = ArrayUnion(tuple(dict.fromkeys((event.type, name, *([COUNTED] if counted(event) else [])))))
    data[f"{name.replace('.', '_')}_at"] = Minimum(event.at)
    data |= noted(event)
    for one, many in _SETS.items():
        if value := getattr(event, one):
            data[many] = ArrayUnion((value,))
    if event.type == "converted":
        order = hashlib.sha256((f"id {event.id}" if event.id else f"at {event.at}").encode()).hexdigest()[:16]
        data[f"conversions.{order}.at"] = Minimum(event.at)
        if event.currency:
            data[f"conversions.{order}.{event.currency}"] = Maximum(event.value)
    return data
