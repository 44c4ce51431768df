"""One tick's work on the campaigns that are on their way: cut a send into batches, let batches go, note the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.logs import log
from shared.model import batch
from shared.model.campaign import ENDED, answered, progress
from shared.model.paths import Paths
from shared.paging import every
from shared.ports import Bus, Clock, Document, Filter, Objects, Store, Write

from . import cut, pace, prepare, recent, sends
from .allowance import Allowances
from .preflight_report import Report
from .release import LATER, Release, save
from .sweep import cancel, settle, sweep

CUTTING: Final = 180_000  # ms, longer than a tick can last: one of them reads the audience, not each
SOON: Final = 20_000  # readers who are looked at in a few seconds
TURN: Final = 10_000  # ms that such a cut takes at most
DAY: Final = 86_400_000
ANY: Final = "any"  # the group of mails of no group, where a name is needed
OPEN: Final = Filter(equals=("state", "open"))


@dataclass
class Tick:
    """`campaigns`: those on their way by id, as they are now. The methods work on one of them and raise Conflict, Unavailable, NotFound."""

    store: Store
    bus: Bus
    objects: Objects
    paths: Paths
    allowances: Allowances
    clock: Clock
    campaigns: dict[str, Document] = field(default_factory=dict)

    @property
    def now(self) -> int:
        """Milliseconds since the Unix epoch; reading a large audience takes minutes."""
        return self.clock.now()

    async def save(self, id: str, changes: Mapping[str, Any], more: Sequence[Write] = ()) -> None:
        """Write whole fields of a campaign, if it is as last read, and `more` with them."""
        self.campaigns[id] = await save(self.store, self.campaigns[id], changes, more)

    async def acquaint(self, id: str) -> None:
        """Tell a campaign of the others whose mails count for its readers."""
        campaign = self.campaigns[id]
        if campaign.data["state"] in ("running", "paused"):
            others = recent.of(campaign, self.campaigns.values())
            if others != campaign.data.get("recent", []):
                await self.save(id, {"recent": others})

    def long(self, id: str) -> bool:
        """Whether a campaign is to be cut in a way that takes more than a few seconds."""
        data = self.campaigns[id].data
        return data["state"] == "running" and not data.get("cut") and not _settled(data) and data["expected"] > SOON

    async def advance(self, id: str, until: int = 0) -> None:
        """Cut what is to be cut, let batches go, and end the campaign when all are done. `until`: when a cut stops that is not through."""
        await self.allowances.take_back(id)
        data = self.campaigns[id].data
        if data["state"] == "paused":
            return
        if not data.get("cut") and data["state"] in ("running", "cancelled"):
            if data["state"] == "cancelled" and not _settled(data):
                await self.save(id, {"cut": True, "preparing": {}})
            elif not await self._cut(id, until or self.now + TURN):
                return
        state, still_open = self.campaigns[id].data["state"], False
        if state == "running":
            still_open = await self._release(id)
        elif state == "cancelled":
            still_open = await cancel(self.store, self.bus, self.paths, id, self.now) > 0
        if still_open and state not in ENDED:
            return
        watched, turned = await settle(self.store, self.paths, id, self.now)
        if not still_open:
            await self._end(id, watched, turned)

    # --- cutting ---

    async def _cut(self, id: str, until: int) -> bool:
        """Make the newest send's batches, publish them unless something holds them back, and note it. Repeating it is harmless. False
        when it is not known yet whom they hold."""
        if not _settled(self.campaigns[id].data) and not await self._settle(id, until):
            return False
        if self.campaigns[id].data.get("cut"):  # nobody is to be sent it again
            return True
        send, held = self.campaigns[id].data["sends"][-1], self._held(id)
        parts = [] if send["parts"] else await cut.kept(self.objects, send["plan"])
        first = self.now if held else self.now + batch.GRACE
        batches = cut.ranges(send, first) if send["parts"] else cut.rosters(send, parts, first)
        names = await cut.create(self.store, self.paths, id, send["key"], batches)
        if not held:
            await self.bus.publish(batch.TOPIC, [batch.request(id, name) for name in names])
        await self.save(id, {"cut": True})
        log("INFO", "launched", campaign=id, send=send["key"], expected=send["expected"], batches=len(names))
        return True

    def _held(self, id: str) -> bool:
        """Whether the newest send's batches wait for the tick to let them go, a few at a time."""
        data = self.campaigns[id].data
        apart = data.get("when") and len(data.get("sends", ())) == 1
        return bool(data.get("rate") or data.get("hours") or apart or self.allowances.limited)

    async def _settle(self, id: str, until: int) -> bool:
        """Find out who is in which roster, once and for all; False while that is not through, or another tick is at it.

        A tick that finds the campaign changed meanwhile notes nothing of its share, which is then done again.
        """
        data = self.campaigns[id].data
        if data.get("cut_by", 0) > self.now:
            return False
        begun = data.get("preparing") or prepare.begin("all", self.now, self.allowances.warming, data["expected"])
        await self.save(id, {"cut_by": self.now + CUTTING, "preparing": begun})
        data = self.campaigns[id].data
        work = prepare.Preparing(self.store, self.objects, self.paths, self.clock, id, data)
        state, rosters = await work.go_on(until)
        if rosters is None:
            await self.save(id, {"cut_by": 0, "preparing": state, **answered(prepare.said(state, data["expected"]), self.now)})
            return False
        changes: dict[str, Any] = {"cut_by": 0, "preparing": {}}
        if state["kind"] != "all" and not len(rosters):
            ended = {"state": state["before"], "cut": True, **answered(prepare.nobody(state), self.now)}
            await self.save(id, changes | ended)
            return True
        expected = len(rosters)
        plan = await cut.keep(self.objects, rosters.parts(pace.size(data.get("rate", 0))))
        *before, send = data["sends"]
        if state["kind"] == "all":
            changes["sends"] = [*before, {**send, "plan": plan}]
        else:
            again = {"key": f"r{len(data['sends'])}", "kind": state["kind"], "expected": expected, "parts": 0}
            changes["sends"] = [*before, send, {**again, "at": state["at"], "plan": plan}]
        if state["kind"] != "all" or str(data.get("answer", "")).startswith(prepare.SAID):
            found = Report(**data["preflight"]).sentence() if state["kind"] == "all" and "preflight" in data else ""
            changes |= answered(f"{sends.sending(data | changes)}. {found}".strip(), self.now)
        await self.save(id, changes)
        for other in self.campaigns:
            await self.acquaint(other)  # before the first mail of this one
        return True

    # --- sending ---

    async def _release(self, id: str) -> bool:
        """Let go what may go now; whether batches are still open."""
        data = self.campaigns[id].data
        until = pace.window(data.get("hours") or {}, self.now)
        if until is not None:
            if until != data.get("until", 0):
                await self.save(id, {"until": until})
            release = Release(self.store, self.allowances, self.campaigns[id], self.now, self._held(id))
            try:
                found = await sweep(self.store, self.bus, self.paths, id, self.now, release)
            finally:
                self.campaigns[id] = release.campaign
            if self.allowances.limited:
                await self._tell_when(id, release.put_off)
            if found:
                return True
        return await self.store.count(self.paths.batches(id), OPEN) > 0

    async def _tell_when(self, id: str, put_off: bool) -> None:
        """Say beside the row, once a day, when those will get it who wait for a provider.

        They are counted when a send begins and when a day does (UTC, as limits are); while some wait for another day, as often as a
        batch is put off. One read per open batch.
        """
        data, now = self.campaigns[id].data, self.now
        counted, waiting = data.get("waiting_at", 0), Counter(data.get("waiting", {}))
        new = now // DAY != counted // DAY
        if not new and (now - counted < LATER or not (waiting or put_off)):
            self.allowances.forecast({"" if group == ANY else group: mails for group, mails in waiting.items()})
            return
        waiting.clear()
        async for one in every(self.store, self.paths.batches(id), OPEN, ["key", "source", "group", "tally", "read_all"]):
            waiting[one.data["group"]] += pace.mails(one, data)
        sending, when, told = sends.sending(data), self.allowances.forecast(waiting), str(data.get("outlook", ""))
        changes: dict[str, Any] = {
            "waiting": {group or ANY: mails for group, mails in waiting.items() if when},
            "waiting_at": now,
        }
        answer = str(data.get("answer", ""))
        known = answer.startswith(sending)
        sentence = f"{answer.removesuffix(told).strip() if known else f'{sending}.'} {when}".strip()
        if sentence != answer and (new or not known or not told):
            changes |= {"outlook": when, **answered(sentence, now)}
        await self.save(id, changes)

    async def _end(self, id: str, watched: int, turned: bool) -> None:
        """Note the end, and stay active while `watched` unknown mails may still be heard of. `turned`: some were heard of just now."""
        data = self.campaigns[id].data
        count = len(data.get("sends", ()))
        if data.get("ended") == count and not turned and data["active"] == (watched > 0):
            return
        await self.allowances.take_back(id)  # what the last worker left
        totals = await progress(self.store, self.paths, id, data.get("sends", ()))
        changes: dict[str, Any] = {"totals": totals, "active": watched > 0, "ended": count, "waiting": {}, "waiting_at": 0}
        if data["state"] == "running":
            changes |= {"state": "completed", **answered(_done(totals) + sends.anew(data), self.now)}
        elif data["state"] == "completed" and totals != data.get("totals"):
            changes |= answered(_done(totals) + sends.anew(data), self.now)
        await self.save(id, changes)


def _settled(data: Mapping[str, Any]) -> bool:
    """Whether it is known whom the batches of the newest send hold."""
    send = data["sends"][-1]
    return not data.get("preparing") and bool(send["parts"] or "plan" in send)


def _done(totals: Mapping[str, int]) -> str:
    parts = [f"{totals['sent']:,} sent"]
    parts += [f"{totals[name]:,} {name}" for name in ("failed", "suppressed", "skipped", "cancelled", "unknown") if totals[name]]
    return f"Done: {', '.join(parts)}."
