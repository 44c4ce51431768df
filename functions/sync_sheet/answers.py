"""Import results: the answers to rows of the Import tab, which shows them beside the rows, and to the rejected rows of files.

For the Import tab it is also what is known of the rows: one whose answer stands here, with the row's digest, is done. So those answers are
kept; of all others, of files and of rows that are gone, the newest KEPT, and the last row says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from shared.model import console
from shared.model.cells import quote, runs, stored
from shared.ports import Rows, Sheet

KEPT = 10_000
SLICE = 10_000  # rows of one call: about a megabyte
FILE = "file-"  # how `of` begins in an answer to a row of a file
DROPPED = f"… of files, and of rows that are gone from Import, the newest {KEPT:,} answers are kept"
WIDTH = 3
Key = tuple[str, str]


class Answers:
    """The tab as it was read, and as it is to be. Nothing is done with it before it is asked for: at most ticks nobody does."""

    def __init__(self, tab: Sequence[Sequence[str]]) -> None:
        self.shown: Sequence[Sequence[str]] = tab[1:]

    @cached_property
    def _rows(self) -> dict[Key, Sequence[str]]:
        return {_key(row[0], row[2]): row for row in self.shown if len(row) == WIDTH}

    @cached_property
    def _dropped(self) -> bool:
        return [DROPPED] in self.shown

    def of_import(self) -> dict[str, tuple[str, str]]:
        """Id -> (answer, digest), of the rows of Import."""
        return {id: (answer, of) for id, answer, of in self._rows.values() if not of.startswith(FILE)}

    def put(self, id: str, answer: str, of: str) -> None:
        """`of`: the digest of a row of Import, or FILE and the file's key."""
        id = str(stored(id))
        self._rows[_key(id, of)] = [id, str(stored(answer)), of]

    def drop(self, id: str, of: str) -> None:
        """Take an answer away, when there is one."""
        self._rows.pop(_key(str(stored(id)), of), None)

    def forget(self, of: str) -> None:
        """Drop the answers to a file's rows, because it is read anew."""
        for key in [key for key, row in self._rows.items() if row[2] == of]:
            del self._rows[key]

    def trim(self, standing: Iterable[str]) -> None:
        """Drop all but the newest KEPT answers, when there are twice as many, of those that are not to rows of Import with these ids."""
        ids = set(standing)
        loose = [key for key in self._rows if key[1] or key[0] not in ids]
        if len(loose) >= 2 * KEPT:
            for key in loose[:-KEPT]:
                del self._rows[key]
            self._dropped = True

    async def write(self, sheet: Sheet) -> None:
        """Make the tab so: only the rows that differ, SLICE of them a call."""
        rows = [*self._rows.values(), *([[DROPPED]] if self._dropped else [])]
        for updates in _sliced(_lines(rows), _lines(self.shown)):
            await sheet.write(updates)
        self.shown = rows


def _key(id: str, of: str) -> Key:
    return id, of if of.startswith(FILE) else ""


def _lines(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[*row, *[""] * (WIDTH - len(row))] for row in rows]


def _sliced(rows: list[list[str]], shown: list[list[str]]) -> Iterator[dict[str, Rows]]:
    rows = [*rows, *[[""] * WIDTH for _ in shown[len(rows) :]]]
    differing = [n for n, row in enumerate(rows) if n >= len(shown) or row != shown[n]]
    for at in range(0, len(differing), SLICE):
        yield {
            f"{quote(console.IMPORT_RESULTS)}!A{run[0] + 2}": [rows[n] for n in run] for run in runs(differing[at : at + SLICE])
        }
