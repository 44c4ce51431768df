"""What happened to a mail, applied once: order-free, idempotent transforms, so that a replay or a late event changes nothing.

Consumes engagement-events (published by track, webhooks, unsubscribe and send_batch). Blind writes, no read: one of the delivery,
and in the same commit a complaint or a bounce for good also suppresses the subscriber, or a person's open or click is noted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.model.event import Event
from shared.model.paths import Paths
from shared.model.subscriber import engaged, suppress
from shared.ports import ArrayUnion, Merge, Minimum, Store, Write


@dataclass(frozen=True)
class Record:
    """The step's dependencies."""

    store: Store
    paths: Paths

    async def handle(self, message: Mapping[str, Any]) -> None:
        """Apply one event; raises BadInput for a message that is none (it ends as a dead letter), Unavailable to retry."""
        event = Event.from_message(message)
        await self.store.commit(writes(self.paths, event))


def writes(paths: Paths, event: Event) -> list[Write]:
    """The delivery's timeline and labels, and the subscriber's suppression or engagement where the event calls for one."""
    mail = event.mail
    label = f"{event.type}.{event.label}" if event.label else event.type
    data: dict[str, Any] = {
        "labels": ArrayUnion(tuple(dict.fromkeys((event.type, label)))),
        f"{label.replace('.', '_')}_at": Minimum(event.at),
    }
    if event.link >= 0 and event.label == "human":
        data["links"] = ArrayUnion((event.link,))
    if event.reason:
        data["reasons"] = ArrayUnion((event.reason,))
    if event.code:
        data["codes"] = ArrayUnion((event.code,))
    if event.country:
        data["countries"] = ArrayUnion((event.country,))
    if event.city:
        data["cities"] = ArrayUnion((event.city,))
    found: list[Write] = [Merge(paths.delivery(mail.campaign, mail.delivery), data)]
    source = f"mail of {mail.campaign}"
    if event.type == "bounced" and event.hard:
        found += suppress(paths, mail.sid, "hard_bounce", source, event.at)
    elif event.type == "complained":
        found += suppress(paths, mail.sid, "complaint", source, event.at)
    elif event.type in ("opened", "clicked") and event.label == "human":
        found.append(engaged(paths, mail.sid, event.at, clicked=event.type == "clicked", country=event.country))
    return found
