"""Who has approved a campaign, where a tenant asks for that: somebody typed its code where nobody but approvers can type.

What the Sheet says is believed only as far as Google keeps others from saying it: the protections are read together with the cells, at
one moment, whenever an approval is believed. Nothing in the Sheet says whether approval is needed: the tenant's document does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from shared.errors import BadInput, NotFound, Unavailable
from shared.logs import log
from shared.mail.source import Identity
from shared.model import console
from shared.model.campaign import answered
from shared.model.cells import short
from shared.model.moments import moment
from shared.model.tenant import Approval
from shared.ports import Document, Drive, File, Guarded, Protection, Sheet

from .feeds import noted
from .preflight_report import Report, checked
from .tick import Tick

CHECKING: Final = "It is being checked, and then needs approval."
UNREAD: Final = "It waits, because Google does not say now who may approve. It is tried again every minute."
STOPS: Final = "Pause, Cancel, Draft or clearing the Approved cell stops it."
UNSET: Final = "Campaigns need approval, which is not set up to the end. Ask your operator to run the bootstrap again."
CHANGED: Final = "It changed since it was approved, so that approval does not count any more."
BACK: Final = "Its approval was taken back."
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: a code is no word, no date and no number in any Sheet
SIGNS: Final = f"{LETTERS}23456789"
LENGTH: Final = 8  # signs, 38 bits: a second mail with the same code takes years of visible edits, see docs/approval.md
KEPT: Final = 8  # earlier codes of a campaign that are told from a wrong one
_MEND: Final = "Nothing written in Approved counts until your operator has run the bootstrap again."


def code(key: bytes, campaign: str, seen: Mapping[str, Any]) -> str:
    """The code of what an approver has `seen`: whoever types it has seen exactly this. Without `key` nobody can look for two mails that
    have one code."""
    text = json.dumps([campaign, seen], sort_keys=True, ensure_ascii=False, default=str)
    digest = hmac.digest(key, b"approval\0" + text.encode(), "sha256")
    number, found = int.from_bytes(digest), ""
    while len(found) < LENGTH:
        number, at = divmod(number, len(SIGNS) if found else len(LETTERS))
        found += SIGNS[at]
    return found


def seen(row: Mapping[str, str], zone: str, mail: Mapping[str, Any], rule: Mapping[str, str]) -> dict[str, Any]:
    """What an approval is of. `mail`, `rule`: as a campaign's document has them; not which version of a file it was, only what it says."""
    typed = {name: row[name] for name in ("subject", "segment", "schedule")}
    if row.get("public"):
        typed["public"] = row["public"].lower()
    return {**typed, "zone": zone, "mail": _timeless(mail), "rule": rule.get("rule", "")}


def stamp(row: Mapping[str, str], zone: str, rule: Mapping[str, str], files: Sequence[File], identity: Identity) -> str:
    """Changes when the mail may have: then it is frozen and checked again."""
    typed = [row[name] for name in ("template", "subject", "segment", "schedule")]
    typed += [row["public"]] if row.get("public") else []
    folder = sorted((file.id, file.folder, file.name, file.version) for file in files)
    text = json.dumps([typed, zone, rule.get("rule", ""), folder, asdict(identity)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(one) for name, one in value.items() if name not in ("file", "version", "parts")}
    return [_timeless(one) for one in value] if isinstance(value, list | tuple) else value


# --- what the Sheet says ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cells:
    """What the column says, by campaign, not yet believed or believed; or the sentence why it says nothing."""

    codes: Mapping[str, str]
    problem: str = ""


def hinted(rows: Sequence[Sequence[str]]) -> Cells:
    """What the rows of Campaigns seem to say, so that nobody asks for protections as long as the column is empty."""
    where = _columns(rows)
    if where is None:
        return Cells({}, f"{console.CAMPAIGNS} needs one column “{console.APPROVED}”, and not two. {_MEND}")
    return Cells({_at(row, where[0]).strip(): _plain(_at(row, where[1])) for row in rows[1:] if _at(row, where[1]).strip()})


async def believed(sheet: Sheet, rule: Approval) -> Cells:
    """What approvers wrote. One call. Raises Unavailable."""
    try:
        tabs = await sheet.guarded([console.CAMPAIGNS, console.TEAM])
    except (BadInput, NotFound):  # one of the tabs is gone, or was renamed
        tabs = {}
    if not {console.CAMPAIGNS, console.TEAM} <= tabs.keys():  # renamed to a title that Google takes for the same one
        return Cells({}, f"The workbook needs a tab “{console.TEAM}” that names who may approve. {_MEND}")
    return judge(tabs[console.CAMPAIGNS], tabs[console.TEAM], rule)


def judge(campaigns: Guarded, team: Guarded, rule: Approval) -> Cells:
    """Believe the column only behind the protection of both tabs, and these only when they are those that were protected."""
    if (campaigns.id, team.id) != rule.tabs:
        return Cells(
            {}, f"{console.CAMPAIGNS} or {console.TEAM} is not the tab of that name that was set up for approval. {_MEND}"
        )
    trusted = rule.admins | rule.services
    if not only(team, trusted):
        return Cells({}, f"Others than admins may edit the tab {console.TEAM}, so it does not say who may approve. {_MEND}")
    try:
        people = console.table(team.typed, console.TEAM, console.TEAM_FIELDS)
    except BadInput as error:
        return Cells({}, f"{error} {_MEND}")
    approvers = {one["Email"].lower() for one in people if one["Role"].lower() == console.APPROVER.lower()} - {""}
    where = _columns(campaigns.shown)
    if where is None:
        return hinted(campaigns.shown)
    if not only(campaigns, trusted | approvers, where[1]):
        return Cells({}, f"Others than approvers may edit the column {console.APPROVED}. {_MEND}")
    times = Counter(_at(row, where[0]).strip().casefold() for row in campaigns.shown)
    codes = {}
    for row, typed in zip(campaigns.shown, campaigns.typed, strict=True):
        id = _at(row, where[0]).strip()
        if times[id.casefold()] == 1:
            codes[id] = _plain(_at(typed, where[1]))
    return Cells(codes)


def only(tab: Guarded, allowed: frozenset[str], column: int | None = None) -> bool:
    """Whether nobody but those `allowed` may edit a column (from 0), or any cell of the tab: one protection covers all of it, now and
    when it grows, and of none that touches it is anybody else an editor."""
    touching = [one for one in tab.protections if one.hard and _touches(one, column)]
    return any(_covers(one, column) for one in touching) and all(
        one.editors is not None and one.editors <= allowed for one in touching
    )


def _touches(one: Protection, column: int | None) -> bool:
    _, left, _, right = one.place
    return column is None or (left <= column and (right is None or column < right))


def _covers(one: Protection, column: int | None) -> bool:
    top, left, bottom, right = one.place
    return top == 0 and bottom is None and (column is not None or (left == 0 and right is None))


def _columns(rows: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """Where the ids and the approvals are, from 0; None when that is not plain."""
    header = [cell.strip() for cell in rows[0]] if rows else []
    names = (console.ROW_FIELDS[0], console.APPROVED)
    folded = [cell.casefold() for cell in header]
    if any(name not in header or folded.count(name.casefold()) != 1 for name in names):
        return None
    return header.index(names[0]), header.index(names[1])


def _at(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _plain(typed: str) -> str:
    """A code as it is compared: case, blanks and hyphens do not matter."""
    return "".join(typed.replace("-", "").split()).upper()


# --- what becomes of a campaign ---------------------------------------------------------------------------------------


def wished(changes: dict[str, Any], document: Document | None) -> dict[str, Any]:
    """What a row changes, where approval is needed: a Go is no start, and a campaign that leaves the schedule leaves its approval."""
    before = document.data["state"] if document else "draft"
    if changes.get("state") == "scheduled":
        changes |= {"answer": CHECKING}
    if changes.get("state") == "draft" or (changes.get("state") == "scheduled" and before != "scheduled"):
        changes["approval"] = {}
        if document and (known := document.data.get("review")) and known.get("feeds"):
            changes["review"] = {**known, "stamp": "", "feeds": []}  # so that feeds are read anew
    return changes


def review(
    data: Mapping[str, Any], mark: str, new: str, mail: Mapping[str, Any], expected: int, report: Report, now: int
) -> dict[str, Any]:
    """The fields of a campaign that was checked, with its `review`: {stamp, code, before (earlier codes, the newest last), expected, found
    (what the preflight says), feeds (see `noted`, as long as it is scheduled: what was approved is what goes)}."""
    old = data.get("review") or {}
    before = [one for one in [*old.get("before", ()), old.get("code", "")] if one and one != new]
    found = {"stamp": mark, "code": new, "before": before[-KEPT:], "expected": expected, "found": report.sentence()}
    return {"review": found | {"feeds": noted(mail)}, **checked(report, now)}


@dataclass
class Gate:
    """One tick's look at approvals. `hints`: what Campaigns seemed to say when the tick read it, None when it could not be read."""

    sheet: Sheet
    drive: Drive
    book: str  # the spreadsheet's id
    rule: Approval
    hints: Cells | None = None
    known: Cells | None = None

    async def passed(self, tick: Tick, id: str, changes: dict[str, Any], *, fresh: bool = False) -> int | None:
        """When a campaign starts (ms), None as long as nobody has approved it; its document gets that, the answer and `changes`. `fresh`:
        ask Google again. Raises Conflict, Unavailable."""
        data = {**tick.campaigns[id].data, **changes}
        known, ask = data.get("approval") or {}, _ask(data)
        cells = self.hints or Cells({})
        if cells.codes.get(id) and not cells.problem:
            try:
                cells = await self._believed(fresh)
            except Unavailable as error:
                log("WARNING", f"approvals cannot be read: {error}", campaign=id)
                await self._save(tick, id, changes, known, UNREAD)
                return None
        if self.hints is None:
            await self._save(tick, id, changes, known, UNREAD if known else ask)
            return None
        found, sentence = _verdict(data, cells, cells.codes.get(id, ""))
        if not found:
            lasting = sentence == ask and any(reason in data.get("answer", "") for reason in (CHANGED, BACK))
            await self._save(tick, id, changes, {}, sentence if changes or not lasting else "")
            return None
        if found != known:
            editor, revision = await self._editor()
            found |= {"at": tick.now, "editor": editor, "revision": revision}
        begins = max(int(data["at"]), int(found["at"]) + self.rule.hold * 60_000)
        waits = begins > tick.now or found != known
        sentence = f"Approved. It begins to send at {moment(begins, data['zone'])} ({data['zone']}). {STOPS}"
        await self._save(tick, id, changes, found, sentence if waits else "")
        return begins

    async def _believed(self, fresh: bool) -> Cells:
        if fresh or self.known is None:
            self.known = await believed(self.sheet, self.rule)
        return self.known

    async def _save(self, tick: Tick, id: str, changes: dict[str, Any], known: Mapping[str, Any], sentence: str) -> None:
        """Write what is new; without a `sentence` the answer stays."""
        data = {**tick.campaigns[id].data, **changes}
        if known != (data.get("approval") or {}):
            changes = changes | {"approval": dict(known)}
        said = _said(data["review"], sentence) if sentence else data.get("answer", "")
        if changes or said != data.get("answer", ""):
            await tick.save(id, changes | answered(said, tick.now))

    async def _editor(self) -> tuple[str, str]:
        """Who changed the Sheet last, which may be somebody else than who approved: kept, never believed."""
        try:
            return await self.drive.edited(self.book)
        except (Unavailable, NotFound, BadInput):
            return "", ""


def _verdict(data: Mapping[str, Any], cells: Cells, typed: str) -> tuple[dict[str, Any], str]:
    """The approval as far as it is known, {} for none, and then why."""
    known, checked, ask = data.get("approval") or {}, data["review"], _ask(data)
    if cells.problem:
        return {}, cells.problem
    if typed == checked["code"]:
        return (dict(known) if known.get("code") == typed else {"code": typed}), ""
    if typed in checked["before"] or known.get("code", checked["code"]) != checked["code"]:
        return {}, f"{CHANGED} {ask}"
    if typed:
        return {}, f"“{short(typed)}” is not its code. {ask}"
    return {}, f"{BACK} {ask}" if known else ask


def _ask(data: Mapping[str, Any]) -> str:
    return f"To approve, write {data['review']['code']} in the {console.APPROVED} column."


def _said(checked: Mapping[str, Any], sentence: str) -> str:
    expected = checked["expected"]
    return f"Checked: it goes to {expected:,} reader{'s' * (expected != 1)}. {sentence} {checked['found']}".strip()
