"""The Segments tab: a name and a rule in a row become a segment that campaigns may name, and the row says how many readers it has.

segments/{name}
    rule, version   the rule as it is printed, and its digest; version "" while the segment cannot be used
    answer          why it cannot, "" when it can; both are "" when its row is gone
    swept_at        as of when (ms) all subscribers were looked at for this version, 0 for not yet; `readers`: how many it held then
    asked           launch waits for a sweep that begins no earlier (ms)

Which readers a segment holds is kept in their documents (`segments`), as an index for batches to page by. A sweep looks at all
subscribers, at most MOST of them a tick, and writes those whose index differs. One begins when a rule has changed, when launch asks for
it, and once a day, because windows end and readers come without anybody changing a rule. Launch asks whenever a campaign is about to
start, so whoever confirmed, or was imported, before a campaign's time is found by it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import BadInput, Conflict, Unavailable
from shared.logs import log
from shared.model import console
from shared.model.conditions import Rule
from shared.model.moments import moment
from shared.model.paths import Paths
from shared.model.rules import parse
from shared.model.subscriber import EVERYONE, segments_of, tag_form, usable_tag
from shared.paging import PAGE
from shared.ports import MAX_WRITES, Document, Filter, Merge, Store, Write

from . import segment_facts
from .tabs import Cell

MOST = 10_000  # subscribers a tick
ROWS = 100  # segments
DAY = 86_400_000  # ms
READ = ("address", "status", "suppressed", "tags", "segments")
SEEN = 50  # readers of an index entry who are asked whether it is a tag of theirs


@dataclass(frozen=True, slots=True)
class Segment:
    """A row. `typed`, `text`: its name and its rule as they stand there; `rule`: None when `fault` says why there is none."""

    typed: str
    name: str
    rule: Rule | None
    fault: str = ""
    text: str = ""

    @property
    def version(self) -> str:
        return hashlib.sha256(str(self.rule).encode()).hexdigest()[:16] if self.rule else ""


def read(cells: Sequence[Sequence[str]]) -> list[Segment]:
    """The rows that have a name; raises BadInput when the header cannot be trusted."""
    rows = [row for row in console.table(cells, console.SEGMENTS, console.SEGMENT_FIELDS) if row["Name"]]
    times = Counter(tag_form(row["Name"]) for row in rows)
    return [_segment(row, n, times) for n, row in enumerate(rows)]


def _segment(row: Mapping[str, str], n: int, times: Mapping[str, int]) -> Segment:
    typed, name = row["Name"], tag_form(row["Name"])
    fault = ""
    if not usable_tag(name):
        fault = "Choose another name: up to 40 letters and numbers, with signs such as - or & in between."
    elif name == EVERYONE:
        fault = f"“{EVERYONE}” is all readers already. Choose another name."
    elif times[name] > 1:
        fault = f"The name “{name}” stands in {times[name]} rows. Give each row a name of its own."
    elif n >= ROWS:
        fault = f"Only the first {ROWS} segments are kept. Delete one that you do not need."
    try:
        return Segment(typed, name, None if fault else parse(row["Rule"]), fault, row["Rule"])
    except BadInput as error:
        return Segment(typed, name, None, str(error))


async def run(store: Store, paths: Paths, cells: Sequence[Sequence[str]], zone: str, now: int) -> list[list[Cell]]:
    """Keep the segments as the tab says, go on with a sweep, and the rows of Segment results. Raises BadInput when the header cannot be
    trusted: then everything stays as it is."""
    rows = read(cells)
    known = await _known(store, paths)
    rows = [await _no_tag(store, paths, await _about_campaigns(store, paths, row), known) for row in rows]
    try:
        if changes := _changes(paths, rows, known):
            await store.commit(changes[:MAX_WRITES])  # the next tick does the rest
            known = await _known(store, paths)
        rules = {row.name: row.rule for row in rows if row.rule and _current(row, known)}
        if await _swept(store, paths, rules, known, now):
            known = await _known(store, paths)
    except Conflict as error:
        log("WARNING", f"left to the next tick, another one is at it: {error}")
    return [_shown(row, known.get(row.name), zone) for row in rows]


async def _known(store: Store, paths: Paths) -> dict[str, Document]:
    """Name -> what is stored, of all that ever stood in the tab."""
    return {found.id: found for found in await store.page(paths.segments, limit=MOST)}


async def _about_campaigns(store: Store, paths: Paths, row: Segment) -> Segment:
    """A rule may ask about campaigns that are there."""
    fault = await segment_facts.unknown(store, paths, row.rule, row.text) if row.rule and row.rule.facts else ""
    return replace(row, rule=None, fault=fault) if fault else row


async def _no_tag(store: Store, paths: Paths, row: Segment, known: Mapping[str, Document]) -> Segment:
    """A new segment may not have the name of a tag: campaigns that go to the tag would change. What was refused stays so, unread, until
    the row gets another name."""
    held = known[row.name].data if row.name in known else {}
    if row.rule is None or held.get("version"):
        return row
    taken = replace(row, rule=None, fault=f"“{row.name}” is a tag already, and campaigns can go to it. Choose another name.")
    if held.get("answer") == taken.fault:
        return taken
    readers = await store.page(paths.subscribers, Filter(contains=("segments", row.name)), limit=SEEN, fields=["tags"])
    return taken if any(row.name in reader.data.get("tags", ()) for reader in readers) else row


def _changes(paths: Paths, rows: Sequence[Segment], known: Mapping[str, Document]) -> list[Write]:
    """What makes the segments those of the tab. A name that stands twice is one that cannot be used."""
    wanted = {row.name: row for row in rows if usable_tag(row.name) and row.name != EVERYONE}
    blank = {"rule": "", "version": "", "answer": "", "swept_at": 0, "readers": 0}
    gone = [
        found for name, found in known.items() if name not in wanted and (found.data.get("version") or found.data.get("answer"))
    ]
    changes: list[Write] = [Merge(found.path, blank) for found in gone]
    for name, row in wanted.items():
        held = known[name].data if name in known else {}
        if (held.get("version"), held.get("answer")) != (row.version, row.fault):
            rule = str(row.rule) if row.rule else ""
            fresh = {} if held.get("version") == row.version else {"swept_at": 0, "readers": 0}
            changes.append(Merge(paths.segment(name), {"rule": rule, "version": row.version, "answer": row.fault, **fresh}))
    return changes


def _current(row: Segment, known: Mapping[str, Document]) -> bool:
    return row.name in known and known[row.name].data.get("version") == row.version


async def _swept(store: Store, paths: Paths, rules: Mapping[str, Rule], known: Mapping[str, Document], now: int) -> bool:
    """Begin a sweep or go on with one, when it is time; whether it came to its end. Raises Conflict when another tick is at it."""
    if not known:
        return False  # there never was a segment
    digest = hashlib.sha256(repr([(name, str(rule)) for name, rule in sorted(rules.items())]).encode()).hexdigest()[:16]
    found = await store.get(paths.sweep)
    state: dict[str, Any] = found.data if found else {"done": True, "begun": 0, "cursor": "", "digest": ""}
    asked = max((known[name].data.get("asked", 0) for name in rules), default=0)
    late = bool(rules) and (asked > state["begun"] or now - state["begun"] >= DAY)
    if state["digest"] != digest or (state["done"] and late):
        state = {"done": False, "begun": now, "cursor": "", "digest": digest}
    elif state["done"]:
        return False
    cursor, done = await _look(store, paths, rules, state["cursor"], state["begun"])
    if done:
        for name in rules:
            readers = await store.count(paths.subscribers, Filter(contains=("segments", name)))
            await store.commit([Merge(paths.segment(name), {"swept_at": state["begun"], "readers": readers})])
    fresh = {**state, "cursor": cursor, "done": done}
    await store.commit([Merge(paths.sweep, fresh, if_version=found.version if found else None)])
    return done


async def _look(store: Store, paths: Paths, rules: Mapping[str, Rule], after: str, at: int) -> tuple[str, bool]:
    """Look at the next MOST subscribers: (the last one, whether there are no more). Raises Unavailable; then this tick's share is done
    again."""
    fields = sorted({*READ, *(name for rule in rules.values() for name in rule.fields)})
    facts = await segment_facts.asked(store, paths, rules)
    pages: list[list[Document]] = []
    last = after
    while len(pages) < -(-MOST // PAGE) and (not pages or len(pages[-1]) == PAGE):
        pages.append(await store.page(paths.subscribers, after=last, limit=PAGE, fields=fields))
        last = pages[-1][-1].id if pages[-1] else last
    noted = await segment_facts.noted(store, paths, facts, after, last) if last > after else {}
    for page in pages:
        await _write(store, page, rules, at, fields, noted)
    return last, len(pages[-1]) < PAGE


async def _write(
    store: Store,
    page: Sequence[Document | None],
    rules: Mapping[str, Rule],
    at: int,
    fields: Sequence[str],
    noted: Mapping[str, Sequence[str]],
) -> None:
    """Correct the index of those read. Who was changed meanwhile, also by a write of ours whose reply was lost, is read again."""
    for _ in range(5):
        changes = [
            Merge(found.path, {"segments": index}, if_version=found.version)
            for found in page
            if found and set(index := held_by(found, rules, at, noted.get(found.id, ()))) != set(found.data.get("segments") or ())
        ]
        if not changes:
            return
        outcomes = await store.write_many(changes)
        for outcome in outcomes:
            if isinstance(outcome, Unavailable):
                raise outcome
        again = [change.path for change, outcome in zip(changes, outcomes, strict=True) if isinstance(outcome, Conflict)]
        page = await store.get_many(again, fields) if again else []
    raise Unavailable("the store", "contended")


def held_by(subscriber: Document, rules: Mapping[str, Rule], at: int, noted: Sequence[str] = ()) -> list[str]:
    """The whole index of somebody as of `at` (ms): everyone, tags, the segments whose rule holds, and what is `noted` for rules."""
    plain = segments_of({**subscriber.data, "segments": []})
    if not plain:
        return []
    known = {**subscriber.data, "segments": noted}
    return [*plain, *(name for name, rule in sorted(rules.items()) if name not in plain and rule.holds(known, at)), *noted]


def _shown(row: Segment, held: Document | None, zone: str) -> list[Cell]:
    """A row of Segment results. A name that Sheets shows as a number is one there, else no lookup finds it."""
    name: Cell = int(row.typed) if re.fullmatch("[1-9][0-9]{0,14}", row.typed) else row.typed
    if row.fault or held is None or held.data.get("version") != row.version:
        return [name, "", row.fault or "Its readers are being counted."]
    if not held.data.get("swept_at"):
        return [name, "", "Its readers are being counted."]
    return [name, held.data["readers"], f"Ready for campaigns. Counted {moment(held.data['swept_at'], zone)}."]
