"""The tabs Settings and Topics become the tenant's `face`, and each of their rows is answered.

A cell that cannot be used leaves in force what was there before. Rows are known by their first column, so they may be sorted; one that
is missing is written again, with what is in force. What the tabs say is compared with the tenant's document as it was before the Sheet
was read: of two ticks at once the one that read first writes nothing over the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any, Final

from shared.errors import BadInput, Conflict, Unavailable
from shared.logs import log
from shared.model import console
from shared.model.cells import quote, short
from shared.model.face import Face
from shared.model.paths import Paths
from shared.ports import Document, Drive, File, Merge, Rows, Store

from .logo import Logo, Logos
from .settings import CAPTCHA, DEFAULTS, KEY, LOGO, LONGEST, SETTINGS, Setting, faced, values_of
from .tabs import Cell
from .topics import Listed, listed
from .workbook import Book

IN_FORCE: Final = "In force."
ROWS: Final = 200  # of Settings that are read
_NAMES: Final = frozenset(one.name.casefold() for one in SETTINGS)
_STRANGER: Final = "There is no setting of that name: correct it, or clear the row."


@dataclass(frozen=True, slots=True)
class Told:
    """What a tick found: the answers' tabs, cells to fill in, a line for Activity for what changed, notices for the Dashboard."""

    answers: Mapping[str, list[list[Cell]]] = field(default_factory=dict)
    fills: Mapping[str, Rows] = field(default_factory=dict)
    lines: Sequence[str] = ()
    notices: Sequence[str] = ()


@dataclass
class _Tick:
    """One look at both tabs. `face`: what is in force, then what is to be; `origin`: from what file and tab that came."""

    face: Face
    origin: dict[str, Any]
    answers: dict[str, list[list[Cell]]] = field(default_factory=dict)
    fills: dict[str, Rows] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass
class SettingsTab:
    store: Store
    paths: Paths
    drive: Drive | None
    _logos: Logos = field(init=False)

    def __post_init__(self) -> None:
        self._logos = Logos(self.drive)

    async def tick(self, tenant: Document | None, book: Book, files: Sequence[File] | None) -> Told:
        """Make the tenant's face what the tabs say. `tenant`: its document as it was before `book` was read, None while there is none;
        `files`: the templates folder, None when it cannot be read. A write at most, when something changed."""
        if tenant is None:
            return Told()
        held = tenant.data.get("face") or {}
        before = Face.of(held)
        now = _Tick(before, dict(held.get("origin") or {}))
        try:
            await self._settings(now, book.rows[console.SETTINGS], files)
        except BadInput as error:
            now.notices.append(str(error))
        try:
            _topics(now, book)
        except BadInput as error:
            now.notices.append(str(error))
        lines: list[str] = []
        if (now.face, now.origin) != (before, held.get("origin") or {}):
            fresh = now.face.document() | {"origin": now.origin}
            try:
                await self.store.commit([Merge(self.paths.tenant, {"face": fresh}, if_version=tenant.version)])
                lines = _changes(before, now.face)
            except (Conflict, Unavailable) as error:
                log("WARNING", f"the settings are left to the next tick: {error}")
        return Told(now.answers, now.fills, lines, now.notices)

    async def _settings(self, now: _Tick, cells: Sequence[Sequence[str]], files: Sequence[File] | None) -> None:
        """Raises BadInput when the header cannot be trusted."""
        rows = console.table(cells, console.SETTINGS, console.SETTING_FIELDS)[:ROWS]
        typed = {_known(row["Setting"]): row for row in reversed(rows) if row["Setting"]}
        times = Counter(_known(row["Setting"]) for row in rows)
        values, said = values_of(now.face), dict[str, str]()
        for one in SETTINGS:
            name = one.name.casefold()
            if name not in typed:
                said[one.name] = IN_FORCE if _cell(one, values[one.field], now.origin) else _blank(one)
                continue
            try:
                if times[name] > 1:
                    raise BadInput("This setting stands here more than once: clear the other rows.")
                text = typed[name]["Value"]
                values[one.field] = await self._value(one, text, now, files)
                said[one.name] = IN_FORCE if text else _blank(one)
            except BadInput as error:
                said[one.name] = _stays(one, str(error), values[one.field], now.origin)
        _agree(values, values_of(now.face), said, now.origin)
        now.face = faced(now.face, values)
        missing = [[one.name, _cell(one, values[one.field], now.origin)] for one in SETTINGS if one.name.casefold() not in typed]
        now.fills |= _filled(console.SETTINGS, console.SETTING_FIELDS, cells, missing)
        others = dict.fromkeys(row["Setting"] for row in rows if row["Setting"] and _known(row["Setting"]) not in _NAMES)
        strangers: list[list[Cell]] = [[name, "", _STRANGER] for name in others]
        ours: list[list[Cell]] = [[one.name, one.about, said[one.name]] for one in SETTINGS]
        now.answers[console.SETTING_RESULTS] = [*ours, *strangers]

    async def _value(self, one: Setting, text: str, now: _Tick, files: Sequence[File] | None) -> Any:
        """What a cell says. Raises BadInput."""
        if one is LOGO:
            if len(text) > LONGEST:
                raise BadInput("This is no name of a file.")
            logo = await self._logos.read(text, files, Logo(now.face.logo, tuple(now.origin.get("logo", ()))))
            now.origin.pop("logo", None)
            if logo.origin:
                now.origin["logo"] = list(logo.origin)
            return logo.picture
        if len(text) > LONGEST:
            raise BadInput(f"This is longer than {LONGEST:,} characters.")
        return one.read(text) if text else DEFAULTS[one.field]


def _known(name: str) -> str:
    return " ".join(name.split()).casefold()


def _agree(values: dict[str, Any], before: Mapping[str, Any], said: dict[str, str], origin: Mapping[str, Any]) -> None:
    """A CAPTCHA without its key would keep everybody out."""
    if values["captcha"] and not values["captcha_key"]:
        values |= {name: before[name] for name in ("captcha", "captcha_key")}
        said[CAPTCHA.name] = _stays(CAPTCHA, f"Write its public key beside {KEY.name}.", values["captcha"], origin)
        said[KEY.name] = f"The {CAPTCHA.name} needs it."


def _cell(one: Setting, value: Any, origin: Mapping[str, Any]) -> str:
    """A value as its cell says it."""
    return str(next(iter(origin.get("logo", ())), "")) if one is LOGO else one.shown(value)


def _shown(one: Setting, value: Any, origin: Mapping[str, Any] | None = None) -> str:
    return ", ".join(_cell(one, value, origin or {}).splitlines()) or "none"


def _blank(one: Setting) -> str:
    return f"As it comes: {_shown(one, DEFAULTS[one.field])}."


def _stays(one: Setting, sentence: str, value: Any, origin: Mapping[str, Any]) -> str:
    return f"{sentence} Until then: {short(_shown(one, value, origin))}."


def _filled(tab: str, fields: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> dict[str, Rows]:
    """Where to write rows: below the last one in which anything stands in a column that people own."""
    if not rows:
        return {}
    header = [cell.strip() for cell in cells[0]]
    where = [header.index(name) for name in fields]
    last = max(n for n, row in enumerate(cells, 1) if any(at < len(row) and row[at].strip() for at in where))
    return {f"{quote(tab)}!{ascii_uppercase[at]}{last + 1}": [[row[n]] for row in rows] for n, at in enumerate(where)}


def _topics(now: _Tick, book: Book) -> None:
    """Raises BadInput when the header cannot be trusted. A tab without rows means that there are no topics, unless it was just made."""
    cells, id = book.rows[console.TOPICS], book.tabs.get(console.TOPICS)
    rows = [row for row in console.table(cells, console.TOPICS, console.TOPIC_FIELDS) if any(row.values())]
    if not rows and now.face.topics and (len(book.rows[console.TOPIC_RESULTS]) < 2 or now.origin.get("topics") != id):
        held = [[one.tag, one.label, one.about] for one in now.face.topics]
        now.fills |= _filled(console.TOPICS, console.TOPIC_FIELDS, cells, held)
        found = Listed(now.face.topics, {one.tag: IN_FORCE for one in now.face.topics})
    else:
        found = listed(rows, now.face.topics, _segments(book))
        now.origin.pop("topics", None)
        if found.topics:
            now.origin["topics"] = id
    now.face = replace(now.face, topics=found.topics)
    if not all(row["Tag"] for row in rows):
        now.notices.append(f"{console.TOPICS}: a row has no Tag, so readers do not see it.")
    now.answers[console.TOPIC_RESULTS] = [[tag, said] for tag, said in found.answers.items()]


def _segments(book: Book) -> frozenset[str]:
    """The names of segments by rule, in small letters."""
    try:
        rows = console.table(book.rows[console.SEGMENTS], console.SEGMENTS, console.SEGMENT_FIELDS)
    except BadInput:
        return frozenset()
    return frozenset(row["Name"].casefold() for row in rows) - {""}


def _changes(before: Face, after: Face) -> list[str]:
    was, now = values_of(before), values_of(after)
    names = [one.name for one in SETTINGS if was[one.field] != now[one.field]]
    names += [console.TOPICS] if before.topics != after.topics else []
    return [f"Settings: changed {', '.join(names)}."] if names else []
