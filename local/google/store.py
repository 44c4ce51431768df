"""Where the twin's spreadsheets live: one SQLite file, committed before every answer, so that kill -9 loses nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from local.google import a1
from local.google.a1 import Area
from local.google.formulas import Cells, Evaluator, move_rows
from local.google.ranges import barred, last, moved
from local.google.rest import Refused
from local.google.values import Cell, Value, display, raw, typed, unformatted

SERVICE = "steps@twin.iam.gserviceaccount.com"  # as whom the steps call
Render = Literal["FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA"]
Entry = Literal["RAW", "USER_ENTERED"]

_CONTACT = "Please contact the spreadsheet owner to remove protection if you need to edit."
PROTECTED = f"You are trying to edit a protected cell or object. {_CONTACT}"
_SCHEMA = """
create table if not exists books (id text primary key, title text not null, zone text not null) without rowid;
create table if not exists tabs (
    book text, id integer, title text not null, position integer not null, frozen integer not null,
    rows integer not null, columns integer not null, primary key (book, id), unique (book, title)) without rowid;
create table if not exists cells (
    book text, tab integer, row integer, col integer, kind text not null, text text not null,
    primary key (book, tab, row, col)) without rowid;
create table if not exists editors (book text primary key, address text not null) without rowid;
create table if not exists looks (book text, tab integer, data text not null, primary key (book, tab)) without rowid;
"""


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab's properties; `id` is Google's sheetId, `frozen` its frozen rows, `rows` and `columns` the grid's size."""

    id: int
    title: str
    position: int
    frozen: int
    rows: int
    columns: int


class SheetsStore:
    """Spreadsheets. Thread-safe. Raises Refused as Google would answer."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.executescript(f"pragma journal_mode=wal; pragma synchronous=full; {_SCHEMA}")
        self._lock = threading.RLock()
        self._depth = 0
        self._passes: dict[str, tuple[tuple[int, int], Evaluator]] = {}
        self._changes = 0

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nested ones join it."""
        with self._lock:
            self._depth += 1
            try:
                if self._depth == 1:
                    self._db.execute("begin immediate")
                yield self._db
                if self._depth == 1:
                    self._db.execute("commit")
            except BaseException:
                if self._depth == 1 and self._db.in_transaction:
                    self._db.execute("rollback")
                raise
            finally:
                self._depth -= 1
                self._changes += 1

    def revision(self) -> str:
        """Changes whenever anything may have changed, also through another process."""
        with self._lock:
            return "{}.{}".format(*self._stamp())

    # --- spreadsheets and tabs

    def create_spreadsheet(self, book: str, title: str, zone: str, tabs: Sequence[str] = ("Sheet1",)) -> None:
        """Make it with empty tabs; nothing happens when the id exists."""
        with self.change() as db:
            if db.execute("insert or ignore into books values (?, ?, ?)", (book, title, zone)).rowcount:
                for tab in tabs:
                    self.add_tab(book, tab)

    def properties(self, book: str) -> tuple[str, str]:
        """Title and IANA time zone."""
        with self._lock:
            found = self._db.execute("select title, zone from books where id = ?", (book,)).fetchone()
        if not found:
            raise Refused(404, "Requested entity was not found.")
        return found[0], found[1]

    def spreadsheets(self) -> list[str]:
        """The ids of them all."""
        with self._lock:
            return [id for (id,) in self._db.execute("select id from books order by id")]

    def update_spreadsheet(self, book: str, title: str, zone: str) -> None:
        """Store another title and time zone."""
        if zone not in zoneinfo.available_timezones():
            raise Refused(400, f"Unsupported time zone: {zone}")
        with self.change() as db:
            db.execute("update books set title = ?, zone = ? where id = ?", (title, zone, book))

    def tabs(self, book: str) -> list[Tab]:
        with self._lock:
            self.properties(book)
            sql = "select id, title, position, frozen, rows, columns from tabs where book = ? order by position"
            return [Tab(*row) for row in self._db.execute(sql, (book,))]

    def tab(self, book: str, title: str) -> Tab:
        for tab in self.tabs(book):
            if tab.title == title:
                return tab
        raise Refused(400, f"Unable to parse range: {title}")

    def add_tab(self, book: str, title: str, frozen: int = 0, rows: int = 1000, columns: int = 26, id: int | None = None) -> Tab:
        with self.change() as db:
            there = self.tabs(book)
            if any(tab.title == title for tab in there):
                raise Refused(400, f'A sheet with the name "{title}" already exists. Please enter another name.')
            if any(tab.id == id for tab in there):
                raise Refused(400, f"A sheet with the ID {id} already exists.")
            new = max((tab.id for tab in there), default=-1) + 1 if id is None else id
            tab = Tab(new, title, len(there), frozen, rows, columns)
            db.execute("delete from looks where book = ? and tab = ?", (book, tab.id))
            db.execute(
                "insert into tabs values (?, ?, ?, ?, ?, ?, ?)", (book, tab.id, title, tab.position, frozen, rows, columns)
            )
            return tab

    def update_tab(self, book: str, tab: Tab) -> None:
        """Store a tab's new title, frozen rows and size."""
        with self.change() as db:
            try:
                sql = "update tabs set title = ?, frozen = ?, rows = ?, columns = ? where book = ? and id = ?"
                db.execute(sql, (tab.title, tab.frozen, tab.rows, tab.columns, book, tab.id))
            except sqlite3.IntegrityError:
                raise Refused(400, f'A sheet with the name "{tab.title}" already exists.') from None
            db.execute(
                "delete from cells where book = ? and tab = ? and (row > ? or col > ?)", (book, tab.id, tab.rows, tab.columns)
            )

    def delete_tab(self, book: str, tab: int) -> None:
        with self.change() as db:
            db.execute("delete from tabs where book = ? and id = ?", (book, tab))
            db.execute("delete from cells where book = ? and tab = ?", (book, tab))

    def place_tab(self, book: str, tab: int, index: int) -> None:
        """Make it the tab number `index`, from 0."""
        with self.change() as db:
            order = [one.id for one in self.tabs(book) if one.id != tab]
            order.insert(index, tab)
            for position, id in enumerate(order):
                db.execute("update tabs set position = ? where book = ? and id = ?", (position, book, id))

    def look(self, book: str, tab: int) -> dict[str, Any]:
        """How a tab looks (see look.py)."""
        with self._lock:
            found = self._db.execute("select data from looks where book = ? and tab = ?", (book, tab)).fetchone()
        known: dict[str, Any] = json.loads(found[0]) if found else {}
        return known

    def set_look(self, book: str, tab: int, data: dict[str, Any]) -> None:
        with self.change() as db:
            db.execute("insert or replace into looks values (?, ?, ?)", (book, tab, json.dumps(data)))

    def editor(self, book: str) -> str:
        """Who changed it last, "" before anybody did."""
        with self._lock:
            found = self._db.execute("select address from editors where book = ?", (book,)).fetchone()
        return found[0] if found else ""

    def edited(self, book: str, who: str) -> None:
        """Note who changed it, in the same `change`."""
        with self.change() as db:
            db.execute("insert or replace into editors values (?, ?)", (book, who))

    def guard(self, book: str, area: Area, who: str) -> None:
        """Raises Refused when a protection keeps somebody out of a part of an area."""
        found = {
            "startRowIndex": area.top - 1,
            "endRowIndex": area.bottom,
            "startColumnIndex": area.left - 1,
            "endColumnIndex": area.right,
        }
        place = {name: index for name, index in found.items() if index is not None}
        if barred(self.look(book, self.tab(book, area.tab).id), place, who):
            raise Refused(400, PROTECTED)

    def area(self, book: str, text: str) -> Area:
        """A1 notation resolved against the workbook."""
        try:
            return a1.parse(text, [tab.title for tab in self.tabs(book)])
        except ValueError as error:
            raise Refused(400, str(error)) from None

    # --- cells

    def read(self, book: str, area: Area, render: Render = "FORMATTED_VALUE") -> list[list[Any]]:
        """Rows of the area without trailing empty cells and rows. An area that starts outside the grid is refused."""
        with self._lock:
            tab = self.tab(book, area.tab)
            if area.top > tab.rows or area.left > tab.columns:
                raise _beyond(area, tab)
            evaluator, formats = self._evaluator(book), self.look(book, tab.id).get("formats", ())
            rows: dict[int, dict[int, Any]] = {}
            for (row, column), cell in evaluator.cells(area.tab).items():
                if area.holds(row, column):
                    value = cell.text if render == "FORMULA" and cell.kind == "f" else evaluator.shown(area.tab, row, column)
                    shown = display(value, _pattern(formats, row, column)) if render == "FORMATTED_VALUE" else unformatted(value)
                    if shown != "":
                        rows.setdefault(row, {})[column] = shown
        return [_filled(rows.get(row, {}), area.left) for row in range(area.top, max(rows, default=area.top - 1) + 1)]

    def cells(self, book: str, title: str) -> Cells:
        """The stored cells of a tab by (row, column)."""
        with self._lock:
            self.tab(book, title)
            return self._evaluator(book).cells(title)

    def write(self, book: str, updates: Sequence[tuple[Area, Sequence[Sequence[Any]]]], entry: Entry) -> int:
        """Write all or nothing; the number of cells. A null leaves a cell as it is, an empty text clears it."""
        count = 0
        with self.change() as db:
            for area, rows in updates:
                tab = self.tab(book, area.tab)
                _check_fit(area, rows, tab)
                for row, values in enumerate(rows, area.top):
                    for column, given in enumerate(values, area.left):
                        if given is not None:
                            self._put(db, book, tab.id, row, column, raw(given) if entry == "RAW" else typed(given))
                            count += 1
        return count

    def append(self, book: str, area: Area, rows: Sequence[Sequence[Any]], entry: Entry) -> Area:
        """Insert rows below the last filled row of the area's tab; where they went."""
        with self.change():
            tab = self.tab(book, area.tab)
            last = max((row for row, _ in self.cells(book, area.tab)), default=0)
            width = max((len(row) for row in rows), default=0)
            self.update_tab(book, Tab(tab.id, tab.title, tab.position, tab.frozen, tab.rows + len(rows), tab.columns))
            target = Area(area.tab, last + 1, area.left, last + len(rows), area.left + max(width, 1) - 1)
            self.write(book, [(target, rows)], entry)
            return target

    def clear(self, book: str, areas: Sequence[Area]) -> None:
        with self.change() as db:
            for area in areas:
                sql = "delete from cells where book = ? and tab = ? and row between ? and ? and col between ? and ?"
                ends = (area.top, area.bottom or 1 << 40, area.left, area.right or 1 << 40)
                db.execute(sql, (book, self.tab(book, area.tab).id, *ends))

    # --- what people do to rows

    def sort(self, book: str, title: str, column: int, descending: bool = False) -> None:
        """Sort the rows below the frozen ones (at least one) by a column; blanks go last, formulas keep meaning their own row."""
        with self.change() as db:
            tab, evaluator = self.tab(book, title), self._evaluator(book)
            cells = dict(evaluator.cells(title))
            first = max(tab.frozen, 1) + 1
            rows = sorted({row for row, _ in cells if row >= first})
            keyed = [(row, evaluator.shown(title, row, column)) for row in rows]
            filled = [(row, value) for row, value in keyed if value not in (None, "")]
            filled.sort(key=lambda pair: _sort_key(pair[1]), reverse=descending)
            order = [row for row, _ in filled] + [row for row, value in keyed if value in (None, "")]
            target = {old: new for new, old in enumerate(order, first)}
            db.execute("delete from cells where book = ? and tab = ? and row >= ?", (book, tab.id, first))
            for (row, col), cell in cells.items():
                if row in target:
                    self._put(db, book, tab.id, target[row], col, _shifted(cell, target[row] - row))

    def insert_rows(self, book: str, title: str, row: int, count: int = 1) -> None:
        """Empty rows above `row`; references follow."""
        with self.change():
            tab = self.tab(book, title)
            self.update_tab(book, Tab(tab.id, title, tab.position, tab.frozen, tab.rows + count, tab.columns))
            self._move(book, tab, lambda old: old + count if old >= row else old)
            self.set_look(book, tab.id, moved(self.look(book, tab.id), row, count))

    def delete_rows(self, book: str, title: str, row: int, count: int = 1) -> None:
        """Take rows out; references to them become #REF!."""
        with self.change():
            tab = self.tab(book, title)
            if row <= tab.frozen or tab.rows - count < max(tab.frozen, 1):
                raise Refused(400, "You can't delete all the rows that are not frozen.")
            gone = range(row, row + count)
            self._move(book, tab, lambda old: None if old in gone else old - count if old >= row + count else old)
            self.set_look(book, tab.id, moved(self.look(book, tab.id), row, -count))
            self.update_tab(book, Tab(tab.id, title, tab.position, tab.frozen, tab.rows - count, tab.columns))

    def _move(self, book: str, moved: Tab, new: Callable[[int], int | None]) -> None:
        with self.change() as db:
            for tab in self.tabs(book):
                here = tab.id == moved.id
                cells = dict(self.cells(book, tab.title))
                if here:
                    db.execute("delete from cells where book = ? and tab = ?", (book, tab.id))
                for (row, column), cell in cells.items():
                    place = new(row) if here else row
                    after = _followed(cell, tab.title, moved.title, new)
                    if place is not None and (here or after != cell):
                        self._put(db, book, tab.id, place, column, after)

    def _put(self, db: sqlite3.Connection, book: str, tab: int, row: int, column: int, cell: Cell | None) -> None:
        if cell is None:
            db.execute("delete from cells where book = ? and tab = ? and row = ? and col = ?", (book, tab, row, column))
        else:
            db.execute("insert or replace into cells values (?, ?, ?, ?, ?, ?)", (book, tab, row, column, cell.kind, cell.text))

    def _stamp(self) -> tuple[int, int]:
        return self._changes, int(self._db.execute("pragma data_version").fetchone()[0])

    def _evaluator(self, book: str) -> Evaluator:
        """The pass for the present state; inside a change always a fresh one."""
        stamp = self._stamp()
        known = self._passes.get(book)
        if not known or known[0] != stamp or self._depth:
            known = (stamp, Evaluator(lambda title: self._load(book, title)))
            self._passes[book] = known
        return known[1]

    def _load(self, book: str, title: str) -> Cells | None:
        sql = "select id from tabs where book = ? and title = ?"
        found = self._db.execute(sql, (book, title)).fetchone()
        if not found:
            return None
        sql = "select row, col, kind, text from cells where book = ? and tab = ?"
        return {(row, col): Cell(kind, text) for row, col, kind, text in self._db.execute(sql, (book, found[0]))}


def _pattern(formats: Sequence[dict[str, Any]], row: int, column: int) -> str:
    return (last(formats, row, column, "format") or {}).get("pattern", "") if formats else ""


def _filled(cells: dict[int, Any], left: int) -> list[Any]:
    return [cells.get(column, "") for column in range(left, max(cells, default=left - 1) + 1)]


def _check_fit(area: Area, rows: Sequence[Sequence[Any]], tab: Tab) -> None:
    bottom, right = area.top + len(rows) - 1, area.left + max((len(row) for row in rows), default=0) - 1
    if bottom > (area.bottom or bottom) or right > (area.right or right):
        written = a1.name(Area(area.tab, area.top, area.left, bottom, right))
        if (area.bottom, area.right) != (area.top, area.left):  # a single cell means "from here"
            raise Refused(400, f"Requested writing within range [{a1.name(area)}], but tried writing to [{written}]")
    if bottom > tab.rows or right > tab.columns:
        raise _beyond(Area(area.tab, bottom, right, bottom, right), tab)


def _beyond(area: Area, tab: Tab) -> Refused:
    return Refused(400, f"Range ({a1.name(area)}) exceeds grid limits. Max rows: {tab.rows}, max columns: {tab.columns}")


def _sort_key(value: Value) -> tuple[int, Any]:
    if isinstance(value, bool):
        return (2, value)
    plain = unformatted(value)
    return (1, plain.casefold()) if isinstance(plain, str) else (0, plain)


def _shifted(cell: Cell, by: int) -> Cell:
    """A formula moved with its row: relative references move too, as when copied."""
    if cell.kind != "f" or not by:
        return cell
    return Cell("f", move_rows(cell.text, lambda tab, row, absolute: row if absolute else max(row + by, 1)))


def _followed(cell: Cell, own: str, moved: str, new: Callable[[int], int | None]) -> Cell:
    """A formula whose references follow the rows of a tab that moved."""
    if cell.kind != "f":
        return cell
    return Cell("f", move_rows(cell.text, lambda tab, row, absolute: new(row) if (tab or own) == moved else row))
