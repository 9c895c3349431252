"""A strict reading of CSV, row by row, so that a hundred thousand rows cost the memory of one.

Accepted: UTF-8 with or without a byte order mark, any line ending, quoted cells, blank lines, columns without a name
(they are ignored). Refused: another separator than the comma, a name that stands twice, a row that is shorter or
longer than the header, bytes that are no text; and before it is held, a file of gigabytes in one line, or with a
million columns.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

from app.formats.errors import FormatError, name_list

MAX_LINE_BYTES = 8 * 2**20
MAX_COLUMNS = 10_000
# How much after bytes that are not UTF-8 is looked at, to tell a file of another kind from text of another encoding.
_LOOKED_AT_BYTES = 2**16
# What spreadsheets write in place of commas, with the word for it.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_MOST_SHOWN = 40
_NOT_TEXT = "the file is not text; it must be a CSV file in UTF-8"


class CsvRows:
    """The rows of a file under its header. ``name`` is what the caller calls the file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        first = next(self._records(), None)
        if first is None:
            raise FormatError(f"{name}: the file is empty; its first line must name the columns")
        self.header = tuple(first[1])
        self._check_header()

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """(line, stripped cells) of every row that is not blank.

        Raises:
            FormatError: naming the line that is ragged or no text, or that there is no row at all.
        """
        records = self._records()
        next(records)
        width, empty = len(self.header), True
        for line, cells in records:
            if len(cells) != width:
                self.fail(f"the row has {len(cells)} cells, the header has {width}", line)
            empty = False
            yield line, cells
        if empty:
            raise FormatError(f"{self.name}: there are no rows under the header")

    def fail(self, message: str, line: int | None = None, column: str | None = None) -> NoReturn:
        """Raise ``FormatError`` with the place in front of ``message``."""
        place = self.name if line is None else f"{self.name}, line {line}"
        if column is not None:
            place += f", column {column!r}"
        raise FormatError(f"{place}: {message}")

    def index(self, column: str) -> int:
        """Where ``column`` stands.

        Raises:
            FormatError: naming the columns that there are.
        """
        if column not in self.header:
            self.fail(f"there is no column {column!r}; the columns are {name_list(self.header)}")
        return self.header.index(column)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """(line, stripped cells) of every record that is not blank."""
        with self._opened() as file:
            reader = csv.reader(self._lines(file), strict=True, skipinitialspace=True)
            line = 1
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    self.fail(f"{error}; quotes must come in pairs", line)
                if len(cells) > MAX_COLUMNS:
                    self.fail(f"there are more than {MAX_COLUMNS} columns", line)
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield line, stripped
                line = reader.line_num + 1

    def _opened(self) -> io.BufferedReader:
        try:
            return self.path.open("rb")
        except IsADirectoryError:
            raise FormatError(f"{self.name} is a directory; it must be a CSV file") from None
        except FileNotFoundError:
            raise FormatError(f"{self.name} does not exist") from None
        except OSError as error:
            raise FormatError(f"{self.name} cannot be read: {error.strerror}") from error

    def _lines(self, file: io.BufferedReader) -> Iterator[str]:
        number = 0
        while data := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(data) > MAX_LINE_BYTES:
                self.fail(f"the line is longer than {MAX_LINE_BYTES} bytes", number)
            if b"\0" in data:
                self.fail(_NOT_TEXT, number)
            try:
                text = data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                if b"\0" in file.read(_LOOKED_AT_BYTES):
                    self.fail(_NOT_TEXT, number)
                self.fail("the bytes are not UTF-8 text; save the file as UTF-8", number)
            yield from io.StringIO(text, newline="") if "\r" in text else (text,)

    def _check_header(self) -> None:
        if len(self.header) == 1:
            for separator, word in _OTHER_SEPARATORS.items():
                if separator in self.header[0]:
                    self.fail(f"the columns are separated by {word}; they must be separated by commas")
        seen: dict[str, int] = {}
        for j, name in enumerate(self.header):
            if name and name in seen:
                self.fail(f"column {name!r} is named twice, as columns {seen[name] + 1} and {j + 1}")
            if not name.isprintable():
                self.fail(f"the name of column {j + 1} holds a character that cannot be shown: {name!r:.100}")
            seen[name] = j


class Numbers:
    """The numbers of some columns, row by row; an empty cell is NaN."""

    def __init__(self, rows: CsvRows, columns: Sequence[str], hint: str) -> None:
        self._rows, self._columns, self._hint = rows, columns, hint
        self._indices = [rows.index(column) for column in columns]
        # itemgetter of one index gives a cell and not a tuple of cells.
        self._pick = itemgetter(*self._indices) if len(self._indices) > 1 else None

    def of(self, line: int, cells: list[str]) -> list[float]:
        """The numbers of a row.

        Raises:
            FormatError: naming the cell that holds something else.
        """
        picked = self._pick(cells) if self._pick else [cells[index] for index in self._indices]
        try:
            numbers = list(map(float, picked))
        except ValueError:
            return [self._number(line, *each) for each in zip(self._columns, picked, strict=True)]
        if any("_" in cell for cell in picked):
            return [self._number(line, *each) for each in zip(self._columns, picked, strict=True)]
        return numbers

    def _number(self, line: int, column: str, cell: str) -> float:
        value = parsed(cell)
        if value is None:
            self._rows.fail(f"{shown(cell)} is not a number{self._hint}", line, column)
        return value


def parsed(cell: str) -> float | None:
    """The cell as a float, NaN when it is empty or ``nan``, None when it is no number."""
    if not cell:
        return math.nan
    if "_" in cell:  # Python's float() takes 1_000, no other reader of CSV does
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def shown(cell: str) -> str:
    """The cell for a complaint: quoted, and cut short."""
    return repr(cell if len(cell) <= _MOST_SHOWN else cell[:_MOST_SHOWN] + "...")
