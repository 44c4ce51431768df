"""A CSV file of contacts as rows, told from what is none: in the encodings and with the delimiters that spreadsheet programs write.

RFC 4180 with a header, read strictly: a quotation mark that is not closed would make one cell of all that follows, so such a file is
refused as a whole.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from shared.errors import BadInput
from shared.model import console
from shared.model.cells import short

from .imports import Row

MOST_BYTES = 20 << 20
MOST_ROWS = 100_000
MOST_COLUMNS = 1000
MOST_LINES = 2_000_000  # blank ones too
MOST_LINE = 1 << 20  # characters
FIELDS = console.IMPORT_FIELDS[1:]
NEEDED = ("Email", "Consent source")
DELIMITERS = ",;\t"
UNSURE = "Read as Windows-1252, as it is not UTF-8: look whether the accents are right."
TOO_LARGE = f"The file is larger than {MOST_BYTES >> 20} MB. Split it into smaller files."
NO_CSV = "This is no CSV file. In your spreadsheet choose File, Download, Comma-separated values, and put that file here."
EMPTY = "The file is empty."
NO_HEADER = "Name the columns in the first line: Email, Consent source, and if you have them Name, Language and Tags."
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read(data: bytes) -> tuple[list[Row], str]:
    """Its rows that are not blank, each with the number of the line on which it begins as its ID, and what to look at, "" for nothing.

    Raises BadInput with a sentence for who put the file there."""
    if len(data) > MOST_BYTES:
        raise BadInput(TOO_LARGE)
    text, note = _decoded(data)
    if not text.strip():
        raise BadInput(EMPTY)
    if _CONTROLS.search(text):
        raise BadInput(NO_CSV)
    lines = _lines(text, _delimiter(text))
    where = _columns(next(lines)[1])
    rows: list[Row] = []
    for line, cells in lines:
        row = {name: cells[at].strip() if at < len(cells) else "" for name, at in where.items()}
        if any(row.values()):
            if len(rows) == MOST_ROWS:
                raise BadInput(f"The file has more than {MOST_ROWS:,} rows. Split it into smaller files.")
            rows.append({"ID": str(line), **dict.fromkeys(FIELDS, ""), **row})
    if not rows:
        raise BadInput("The file has no contacts below its first line.")
    return rows, note


def _decoded(data: bytes) -> tuple[str, str]:
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding or "utf-8"), ""
    except UnicodeDecodeError:
        if encoding:
            raise BadInput(NO_CSV) from None
    try:
        return data.decode("cp1252"), UNSURE
    except UnicodeDecodeError:
        raise BadInput(NO_CSV) from None


def _short(text: str) -> Iterator[str]:
    """Its lines; one that no spreadsheet program writes is refused before it is taken apart."""
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > MOST_LINE:
            raise BadInput(f"Line {number} has more than a million characters. {NO_CSV}")
        if number > MOST_LINES:
            raise BadInput(f"The file has more than {MOST_LINES:,} lines. Delete the blank ones, or split it into smaller files.")
        yield line


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of each record that is not an empty line."""
    reader = csv.reader(_short(text), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            if len(cells) > MOST_COLUMNS:
                raise BadInput(f"Line {begins} has more than {MOST_COLUMNS:,} columns. Delete those that are not needed.")
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error:
        raise BadInput(
            f"Line {begins}: its quotation marks do not match. Nothing of the file is imported until they do."
        ) from None


def _delimiter(text: str) -> str:
    """The one by which the header has the most columns that we know."""

    def known(delimiter: str) -> int:
        try:
            return len({_name(cell) for cell in next(_lines(text, delimiter))[1]} & set(FIELDS))
        except BadInput:  # a quotation mark that ends before another delimiter
            return -1

    return max(DELIMITERS, key=known)


def _name(cell: str) -> str:
    """The column that a header cell means; its case does not matter."""
    text = " ".join(cell.split())
    return next((name for name in FIELDS if name.casefold() == text.casefold()), text)


def _columns(header: list[str]) -> dict[str, int]:
    """Field -> column."""
    names = [_name(cell) for cell in header]
    if not set(names) & set(FIELDS):
        raise BadInput(NO_HEADER)
    for name in FIELDS:
        if names.count(name) > 1:
            raise BadInput(f"The column “{name}” stands there more than once. Rename or delete one of them.")
    if NEEDED[0] not in names:
        found = ", ".join(short(name) for name in names[:5])
        raise BadInput(f"No column is called Email. Call the one with the addresses so. The columns are: {found}.")
    if NEEDED[1] not in names:
        raise BadInput("No column is called Consent source. Add one that says where each person agreed to get mail.")
    return {name: names.index(name) for name in FIELDS if name in names}
