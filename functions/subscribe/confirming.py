"""A confirmation: makes the subscriber mailable, once for each consent.

The subscriber alone is read where nobody has signed up again since: it holds what its latest sign-up asked for. Else the evidence is
read as well. A repeat is known by `confirmations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.contention import outlast
from shared.http import Request
from shared.links import Links
from shared.model.consent import agent_of, network_of
from shared.model.paths import CONFIRM, Paths
from shared.model.ref import MailRef
from shared.model.subscriber import CONFIRMED, LIFTABLE, mailable, segments_of, signed_up_from
from shared.ports import Clock, Delete, Document, Merge, Store, Write

Outcome = Literal["joined", "known", "unmailable", "dead"]


@dataclass(frozen=True, slots=True)
class Confirming:
    """`domain`: the right side of our Message-IDs."""

    store: Store
    clock: Clock
    links: Links
    paths: Paths
    domain: str

    async def confirm(self, request: Request, sid: str, consent: str, key: str) -> tuple[Outcome, str]:
        """What became of it, and the reader's language where it is known. "joined" also for the repeat of the confirmation that somebody
        joined by: its welcome is asked for again, and sent once. Raises Unavailable."""
        return await outlast(lambda: self._once(request, sid, consent, key))

    async def _once(self, request: Request, sid: str, consent: str, key: str) -> tuple[Outcome, str]:
        """As `confirm`; raises Conflict too."""
        known = await self.store.get(self.paths.subscriber(sid))
        if known is None or not (known.data.get("asked") or known.data.get("address")):
            return "dead", ""
        language = str(known.data.get("language", ""))
        suppressed = known.data.get("suppressed")
        if suppressed and not LIFTABLE.issuperset(suppressed):
            return "unmailable", language
        if consent in (known.data.get("confirmations") or {}):
            if suppressed:
                return "dead", language  # coming back takes a new consent
            return ("joined" if known.data.get("consent") == consent else "known"), language
        wanted = await self._wanted(known, consent)
        if wanted is None:
            return "dead", language
        writes = self._writes(request, known, wanted, consent, key)
        if suppressed:
            bar = await self.store.get(self.paths.suppression(sid), ["left_at", "erased_at"])
            if bar and max(bar.data.get("left_at", 0), bar.data.get("erased_at", 0)) > wanted["at"]:
                return "dead", language  # they left, or had themselves erased, after they asked
            if bar:  # on its version: who leaves once more changes no other document
                writes.append(Delete(bar.path, if_version=bar.version))
        await self.store.commit(writes)
        return ("known" if mailable(known.data) else "joined"), str(wanted.get("language") or language)

    async def _wanted(self, known: Document, consent: str) -> Mapping[str, Any] | None:
        wanted: Mapping[str, Any] = known.data.get("wanted") or {}
        if wanted.get("consent") == consent:
            return wanted
        found = await self.store.get(self.paths.consent(known.id, consent))
        if found is None or "requested" not in found.data:
            return None
        return {**found.data["requested"], "located": found.data.get("located"), "at": found.data["at"]}

    def _writes(self, request: Request, known: Document, wanted: Mapping[str, Any], consent: str, key: str) -> list[Write]:
        now = self.clock.now()
        fresh: dict[str, Any] = {
            "address": known.data.get("asked") or known.data.get("address"),
            "status": CONFIRMED,
            "suppressed": [],
            "consented_at": now,
            "asked_at": None,
            "wanted": None,
            **chosen(known.data, wanted, consent),
            **{name: wanted[name] for name in ("name", "language", "country") if wanted.get(name)},
        }
        if place := wanted.get("located"):
            fresh["located"] = signed_up_from(known.data.get("located") or {}, place, wanted["at"])
        if not mailable(known.data):  # else a running campaign would take them for new
            fresh |= {"confirmed_at": now, "consent": consent}
        fresh["segments"] = segments_of({**known.data, **fresh})
        fresh[f"confirmations.{consent}"] = {
            "at": now,
            "network": network_of(request.client),
            "agent": agent_of(request.headers.get("user-agent", "")),
            "message": self.links.message_id(MailRef(CONFIRM, known.id, key), self.domain),
        }
        return [Merge(known.path, fresh, if_version=known.version)]


def chosen(held: Mapping[str, Any], wanted: Mapping[str, Any], consent: str) -> dict[str, Any]:
    """The fields `topics`, where there are any, and `tags` after a sign-up: it adds tags, and turns on the topics that it chose, unless the
    reader has chosen otherwise since. It turns none off, and no other tag of it is one that the reader has turned off."""
    topics: dict[str, Any] = dict(held.get("topics") or {})
    for tag in wanted.get("topics") or ():
        if topics.get(tag, {}).get("at", -1) <= wanted["at"]:
            topics[tag] = {"on": True, "at": wanted["at"], "consent": consent}
    on = [tag for tag, choice in topics.items() if choice["on"]]
    tags = dict.fromkeys([*(held.get("tags") or ()), *(wanted.get("tags") or ()), *on])
    kept = [tag for tag in tags if topics.get(tag, {"on": True})["on"]]
    return {"tags": kept, **({"topics": topics} if topics else {})}
