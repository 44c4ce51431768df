"""What a workbook lacks in which campaigns need approval: the tab Team, the column Approved and their protections, as requests of
spreadsheets.batchUpdate. Only who is protected there can change them afterwards; functions/launch/approval.py says what is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from functions.launch.approval import hinted, judge, only
from functions.sync_sheet.workbook import HEADERS
from shared.adapters.sheets import guarded
from shared.model import console
from shared.model.tenant import Approval
from shared.ports import Guarded

Json: TypeAlias = dict[str, Any]

_DATA = "data(rowData(values(userEnteredValue,formattedValue)))"
FIELDS = f"sheets(properties(sheetId,title,gridProperties(columnCount)),protectedRanges,{_DATA})"
SPAN = 26  # columns that a tick reads, A to Z
_NOTES = {
    "Email": "The address with which this person uses the Sheet.",
    "Role": f"Choose {console.APPROVER} for who may approve campaigns. Run the bootstrap after a change.",
    console.APPROVED: "Approvers only: the code that the Answer of the row asks for lets the campaign go. Clear the cell to stop it.",
}
GUARDED = (console.SETTINGS, console.TOPICS)  # what strangers meet: the public pages, who may sign up and how
TABS = (console.CAMPAIGNS, console.TEAM, *GUARDED)
_HINT = "Only people whom an admin has chosen may edit this."


@dataclass
class Plan:
    """`requests` make what is missing, `made` says it; `left` is what only a person can put right."""

    requests: list[Json] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def planned(sheets: Sequence[Json], last: int, rule: Approval, approvers: Sequence[str]) -> Plan:
    """`sheets`: Campaigns and, where they are there, the others of TABS as spreadsheets.get gives them with FIELDS; `last`: the highest
    id of any tab. Whoever is in Team already stays there. No approval depends on the protection of GUARDED."""
    plan, found = Plan(), {sheet["properties"]["title"]: sheet for sheet in sheets}
    campaigns, trusted = found[console.CAMPAIGNS], rule.admins | rule.services
    team, tab = found.get(console.TEAM), Guarded(0, [], [])
    if team is None:
        id = last + 1
        plan.requests.append({"addSheet": {"properties": {"sheetId": id, "title": console.TEAM, "gridProperties": _FROZEN}}})
        plan.made.append(f"added tab {console.TEAM}")
    else:
        id, tab = team["properties"]["sheetId"], guarded(team)
        if any(map(any, tab.shown[1:])) and not only(tab, trusted):
            plan.left.append(f"see that all in the tab {console.TEAM} may approve campaigns: until now others could edit it.")
    people = _team(plan, id, tab, approvers)
    if people is not None:
        _protect(plan, id, None, trusted, team or {}, console.TEAM)
        _column(plan, campaigns, trusted | people)
    for name in GUARDED:
        if sheet := found.get(name):
            _protect(plan, sheet["properties"]["sheetId"], None, trusted, sheet, name)
    return plan


def tabs_of(sheets: Sequence[Json]) -> tuple[int, ...]:
    """The ids of Campaigns and Team, as `Approval.tabs` has them."""
    ids = {sheet["properties"]["title"]: sheet["properties"]["sheetId"] for sheet in sheets}
    return ids[console.CAMPAIGNS], ids[console.TEAM]


def doubts(sheets: Sequence[Json], rule: Approval) -> str:
    """Why no approval would be believed in a workbook as it is now, "" when one would. For the operator, so it names people."""
    found = {sheet["properties"]["title"]: sheet for sheet in sheets}
    if console.TEAM not in found:
        return f"There is no tab {console.TEAM}."
    if rule.tabs != tabs_of(sheets):
        return (
            f"{console.CAMPAIGNS} or {console.TEAM} is not the tab that was protected before. See who made the one that is there, and "
            "run this again with UPDATE=1 if it is meant."
        )
    problem = judge(guarded(found[console.CAMPAIGNS]), guarded(found[console.TEAM]), rule).problem
    if not problem:
        return ""
    everyone = {
        editor
        for name in (console.CAMPAIGNS, console.TEAM)
        for one in guarded(found[name]).protections
        if one.hard
        for editor in one.editors or ()
    }
    others = sorted(everyone - rule.admins - rule.services)
    whom = f" Besides admins these may edit there: {', '.join(others)}." if others else ""
    return f"{problem}{whom} Name whoever is to keep that right in ADMINS, or take it away."


def _team(plan: Plan, id: int, tab: Guarded, approvers: Sequence[str]) -> frozenset[str] | None:
    """Put the approvers into the tab, and its header; all whom it names then, None when it cannot be read."""
    rows = tab.typed if any(map(any, tab.shown)) else []
    header = list(console.TEAM_FIELDS)
    if not rows:
        plan.requests.append(_cells(id, 0, 0, [header]))
        plan.requests.append(_noted(id, 0, header))
        condition = {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": console.APPROVER}]}
        below = {"sheetId": id, "startRowIndex": 1, "startColumnIndex": 1, "endColumnIndex": 2}
        rule = {"condition": condition, "strict": True, "showCustomUi": True}
        plan.requests.append({"setDataValidation": {"range": below, "rule": rule}})
        rows = [header]
    top = [cell.strip() for cell in rows[0]]
    if top[:2] != header or any(top.count(name) != 1 for name in header):
        plan.left.append(f"the tab {console.TEAM} must begin with the columns {' and '.join(header)}.")
        return None
    there = {row[0].strip().lower() for row in rows[1:] if len(row) > 1 and row[1].strip().lower() == console.APPROVER.lower()}
    new = [one for one in approvers if one not in there]
    if new:
        plan.requests.append(_cells(id, len(rows), 0, [[one, console.APPROVER] for one in new]))
        plan.made.append(f"{', '.join(new)} may approve")
    return frozenset(there | {*new}) - {""}


def _column(plan: Plan, campaigns: Json, editors: frozenset[str]) -> None:
    """The column Approved at the right end of Campaigns."""
    id, tab = campaigns["properties"]["sheetId"], guarded(campaigns)
    top = [cell.strip() for cell in tab.shown[0]] if tab.shown else []
    if console.APPROVED in top:
        if hinted(tab.shown).problem:
            plan.left.append(f"leave one column “{console.APPROVED}” in {console.CAMPAIGNS}.")
            return
        at = top.index(console.APPROVED)
        if any(row[at] for row in tab.shown[1:] if at < len(row)) and not only(tab, editors, at):
            plan.left.append(f"empty the column {console.APPROVED}: until now others could write there.")
            return
    else:
        at = max(len(top), len(HEADERS[console.CAMPAIGNS]))
        if at >= SPAN:
            plan.left.append(f"{console.CAMPAIGNS} has no room for a column {console.APPROVED} up to Z: remove one of yours.")
            return
        if at >= campaigns["properties"]["gridProperties"]["columnCount"]:
            wider = {"sheetId": id, "gridProperties": {"columnCount": at + 1}}
            plan.requests.append({"updateSheetProperties": {"properties": wider, "fields": "gridProperties.columnCount"}})
        plan.requests += [_cells(id, 0, at, [[console.APPROVED]]), _noted(id, at, [console.APPROVED])]
        plan.made.append(f"added column {console.APPROVED} to {console.CAMPAIGNS}")
    _protect(plan, id, at, editors, campaigns, f"{console.CAMPAIGNS}, column {console.APPROVED}")


def _protect(plan: Plan, id: int, column: int | None, editors: frozenset[str], sheet: Json, what: str) -> None:
    """Keep everybody else out, by a protection of ours that is there, or a new one."""
    place = {"sheetId": id} | ({} if column is None else {"startColumnIndex": column, "endColumnIndex": column + 1})
    wanted = {"range": place, "description": _HINT, "editors": {"users": sorted(editors)}}
    ours = next((one for one in sheet.get("protectedRanges", ()) if _is(one.get("range", {}), place)), None)
    if ours is None or ours.get("warningOnly"):
        plan.requests.append({"addProtectedRange": {"protectedRange": wanted}})
        plan.made.append(f"protected {what}")
    elif {one.lower() for one in ours.get("editors", {}).get("users", ())} != editors:
        changed = {"protectedRangeId": ours["protectedRangeId"], "editors": wanted["editors"]}
        plan.requests.append({"updateProtectedRange": {"protectedRange": changed, "fields": "editors"}})
        plan.made.append(f"changed who may edit {what}")


def _is(range: Mapping[str, int], place: Mapping[str, int]) -> bool:
    names = ("startRowIndex", "endRowIndex", "startColumnIndex", "endColumnIndex")
    return all(range.get(name, 0) == place.get(name, 0) for name in names)


def _cells(id: int, row: int, column: int, rows: Sequence[Sequence[str]]) -> Json:
    start = {"sheetId": id, "rowIndex": row, "columnIndex": column}
    lines = [{"values": [{"userEnteredValue": {"stringValue": text}} for text in line]} for line in rows]
    return {"updateCells": {"start": start, "rows": lines, "fields": "userEnteredValue"}}


def _noted(id: int, column: int, names: Sequence[str]) -> Json:
    start = {"sheetId": id, "rowIndex": 0, "columnIndex": column}
    return {"updateCells": {"start": start, "rows": [{"values": [{"note": _NOTES[name]} for name in names]}], "fields": "note"}}


_FROZEN = {"frozenRowCount": 1}
