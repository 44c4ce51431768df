"""What becomes of a campaign that is due: its mail is frozen and checked, its readers are counted, and it runs. Where something stands in
the way it goes back to draft, with the sentence that says what."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.errors import BadInput
from shared.links import Links
from shared.logs import log
from shared.mail.assets import Assets
from shared.mail.source import in_language
from shared.model.campaign import answered
from shared.model.paths import SYSTEM, Paths
from shared.model.subscriber import EVERYONE
from shared.model.tenant import Tenant
from shared.ports import Document, Drive, File, Filter, Merge, Objects, Store, Write

from . import approval, feeds, listing, pace, recent, sends
from .freeze import find, freeze, languages, letters
from .preflight import FIELDS, SAMPLE, Audience, Checks, preflight, thawed
from .preflight_report import Blocked, Report, checked
from .rows import is_public
from .segment import WAITING, rule_of
from .tick import Tick
from .views import with_views


@dataclass(frozen=True)
class Start:
    """`assets`: where pictures of mails are put, None leaves them where they are. `feed` reads the feed of a mail. `pepper` makes the codes
    of approvals."""

    store: Store
    objects: Objects
    drive: Drive
    links: Links
    paths: Paths
    tenant: Tenant
    checks: Checks
    pepper: bytes = field(repr=False)
    assets: Assets | None
    feed: feeds.Read | None

    async def due(self, campaign: Document, files: Sequence[File] | None, tick: Tick, gate: approval.Gate | None) -> bool:
        """Start a scheduled campaign when it is due; whether it runs then. `files`: None when they cannot be read; `gate`: None where
        campaigns need no approval. A fault sends the campaign back to draft with its sentence. Raises Conflict, Unavailable, NotFound."""
        if files is None or (campaign.data["at"] > tick.now and not gate):
            return False
        try:
            ready = await self._ready(campaign.id, files, tick, gate)
        except BadInput as error:
            sentence = f"{error} Then choose Draft, and Go once the row says so."
            changes = {"state": "draft", "active": False, **checked(error, tick.now)}
            if gate:
                changes["approval"] = {}
            await tick.save(campaign.id, changes | answered(sentence, tick.now))
            return False
        if ready:
            await self._begin(campaign.id, tick, *ready)
        return ready is not None

    async def _ready(
        self, id: str, files: Sequence[File], tick: Tick, gate: approval.Gate | None
    ) -> tuple[dict[str, str], dict[str, Any], int, Report] | None:
        """What a campaign starts with now, None while it waits: its segment's rule, and what `fit` gives. Raises BadInput when it must not
        go."""
        data = tick.campaigns[id].data
        row = data["row"]
        due = await self._reviewed(id, files, tick, gate) if gate else data["at"]
        if due is None or due > tick.now:
            return None
        data = tick.campaigns[id].data
        is_public(row.get("public", ""))
        rule = await rule_of(self.store, self.paths, row["segment"], due)
        if rule is None:
            if data.get("answer") != WAITING:
                await tick.save(id, answered(WAITING, tick.now))
            return None
        mail, expected, report = await self.fit(id, row, files, data["review"].get("feeds", ()) if gate else ())
        if gate:
            new = self._code(id, data, mail, rule)
            other = new != data["review"]["code"]
            changed = approval.review(data, "", new, mail, expected, report, tick.now) if other else {}
            due = await gate.passed(tick, id, changed, fresh=True)
            if due is None or due > tick.now:
                return None
        return rule, mail, expected, report

    async def _begin(
        self, id: str, tick: Tick, rule: Mapping[str, str], mail: Mapping[str, Any], expected: int, report: Report
    ) -> None:
        """Let a campaign run, with all that holds for it from now on."""
        campaign = tick.campaigns[id]
        data, segment = campaign.data, campaign.data["row"]["segment"]
        by_roster = data.get("when") or tick.allowances.warming
        parts = 0 if by_roster else math.ceil(expected / pace.size(data.get("rate", 0)))
        policy = dict(self.tenant.policy)
        if policy:
            policy["zone"] = policy.get("zone") or data["zone"]
        mail = await with_views(self.objects, self.links, id, mail)
        changes = {
            "state": "running",
            "mail": mail,
            "templates": [one["file"] for one in (mail, *mail.get("languages", {}).values())],
            "segment": segment,
            **rule,
            "frozen_at": tick.now,
            "expected": expected,
            "cut": False,
            "sends": [{"key": "", "kind": "all", "expected": expected, "parts": parts, "at": tick.now}],
            "policy": policy,
            "preflight": asdict(report),
            **checked(report, tick.now),
            "next_at": 0,
            "until": 0,
        }
        wanted, listed = is_public(data["row"].get("public", "")), list[Write]()
        if wanted:
            listed = await listing.shown(self.store, self.paths, id, data | changes, tick.now)
        changes["public"] = listing.SHOWN if listed else ""
        said = [f"{sends.sending(data | changes)}.", report.sentence(), listing.UNSEEN * (wanted and not listed)]
        changes |= answered(" ".join(filter(None, said)), tick.now)
        begun = Document(campaign.path, "", data | changes)
        changes["recent"] = await recent.first(self.store, self.paths, begun, tick.now)
        await tick.save(id, changes, listed)
        await self.store.commit([Merge(self.paths.console, {f"audiences.{_digest(segment)}": expected})])
        for other in tick.campaigns:
            await tick.acquaint(other)  # before the first mail of this one

    async def _reviewed(self, id: str, files: Sequence[File], tick: Tick, gate: approval.Gate) -> int | None:
        """When a campaign starts that must be approved (ms), None as long as it is not. Its mail is frozen and checked at once, and again
        whenever it may have changed, so that an approver sees what will go. Raises BadInput when it must not go."""
        if not self.pepper:
            raise BadInput(approval.UNSET)
        data = tick.campaigns[id].data
        row, zone, changes = data["row"], data["zone"], {}
        rule = await rule_of(self.store, self.paths, row["segment"], 0) or {}
        mark = approval.stamp(row, zone, rule, files, self.tenant.identity)
        if mark != data.get("review", {}).get("stamp"):
            mail, expected, report = await self.fit(id, row, files, data.get("review", {}).get("feeds", ()))
            new = self._code(id, data, mail, rule)
            changes = approval.review(data, mark, new, mail, expected, report, tick.now)
        return await gate.passed(tick, id, changes)

    def _code(self, id: str, data: Mapping[str, Any], mail: Mapping[str, Any], rule: Mapping[str, str]) -> str:
        return approval.code(self.pepper, id, approval.seen(data["row"], data["zone"], mail, rule))

    async def fit(
        self, campaign: str, row: Mapping[str, str], files: Sequence[File], known: Sequence[Mapping[str, str]] = ()
    ) -> tuple[dict[str, Any], int, Report]:
        """The mail of a row, frozen, how many it goes to, and what is worth a look; raises BadInput when it must not go. `known`: feeds
        that were read for it before, see `feeds.noted`."""
        mail = await self.frozen(letters(files), row["template"], campaign, row["subject"], known=known)
        segment = row["segment"]
        expected = await self.store.count(self.paths.subscribers, Filter(contains=("segments", segment)))
        if not expected:
            there = "confirmed yet" if segment == EVERYONE else f"in the segment “{segment[:40]}” yet"
            raise BadInput(f"Nobody is {there}.")
        return mail, expected, await self._preflight(campaign, mail, segment, expected)

    async def _preflight(self, campaign: str, mail: Mapping[str, Any], segment: str, expected: int) -> Report:
        """What speaks against this mail to this audience; raises BadInput when it must not go."""
        within, most = Filter(contains=("segments", segment)), min(SAMPLE, max(5, expected // 100))
        sample = await self.store.page(self.paths.subscribers, within, limit=most, fields=[*FIELDS, "segments"])
        seen = await self.store.get(self.paths.console, ["audiences"])
        report = await preflight(
            await thawed(self.objects, campaign, mail),
            links=self.links,
            dns=self.checks.dns,
            spam=self.checks.spam,
            audience=Audience(segment, expected, [one.data for one in sample]),
            previous=seen.data.get("audiences", {}).get(_digest(segment)) if seen else None,
            sending=self.checks.sending,
            spoken={
                language: await thawed(self.objects, campaign, in_language(mail, language))
                for language in mail.get("languages", {})
            },
        )
        log("INFO", "preflight", campaign=campaign, **asdict(report))
        if report.faults:
            raise Blocked(report)
        return report

    async def frozen(
        self,
        files: Sequence[File],
        wanted: str,
        campaign: str,
        subject: str = "",
        single: bool = False,
        known: Sequence[Mapping[str, str]] = (),
    ) -> dict[str, Any]:
        """The `mail` of what a cell names, with its languages, see `freeze`, which says what is raised. `known`: as of `fit`."""
        read = None if campaign in SYSTEM else self.feed
        return await freeze(
            self.drive,
            self.objects,
            self.links,
            find(files, wanted),
            campaign,
            self.tenant.identity,
            subject=subject,
            single=single,
            spoken=languages(files, wanted),
            files=files,
            assets=self.assets,
            feed=feeds.again(self.objects, known, read) if read else None,
        )


def _digest(segment: str) -> str:
    """A segment's name as the name of a field."""
    return hashlib.sha256(segment.encode()).hexdigest()[:16]
