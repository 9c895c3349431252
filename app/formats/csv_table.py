"""A strict reading of CSV: a table with named columns, where every complaint names file, line and column.

Accepted: UTF-8 with or without a byte order mark, any line ending, quoted cells, blank lines, columns without a name
(they are ignored). Refused: another separator than the comma, a name that stands twice, a row that is shorter or
longer than the header, bytes that are no text.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from app.formats.errors import FormatError

# What spreadsheets write in place of commas, with the word for it.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class CsvTable:
    """The text cells of a file. ``lines[i]`` is the line of the file on which row i starts."""

    path: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, column: str) -> bool:
        return column in self.header

    def fail(self, message: str, row: int | None = None, column: str | None = None) -> NoReturn:
        """Raise ``FormatError`` with the place in front of ``message``."""
        place = str(self.path)
        if row is not None:
            place += f", line {self.lines[row]}"
        if column is not None:
            place += f", column {column!r}"
        raise FormatError(f"{place}: {message}")

    def require(self, column: str) -> None:
        """Refuse a file without ``column``."""
        if column not in self:
            self.fail(f"there is no column {column!r}; the columns are {name_list(self.header)}")

    def texts(self, column: str) -> list[str]:
        """The cells of a column, without surrounding blanks."""
        self.require(column)
        index = self.header.index(column)
        return [row[index] for row in self.rows]

    def names(self, column: str, what: str) -> list[str]:
        """The cells of a column that names its rows: none empty, none twice."""
        cells = self.texts(column)
        first: dict[str, int] = {}
        for i, cell in enumerate(cells):
            if not cell:
                self.fail(f"a {what} has no name", i, column)
            if cell in first:
                self.fail(f"{what} {cell!r} stands here and on line {self.lines[first[cell]]}", i, column)
            first[cell] = i
        return cells

    def numbers(self, column: str, blank: float | None = None, hint: str = "") -> Float[np.ndarray, " n"]:
        """A column of finite numbers.

        Args:
            blank: what an empty cell or ``nan`` stands for; when left out, both are errors.
            hint: what would be accepted, as the end of the complaint.
        """
        cells = self.texts(column)
        values = np.empty(len(cells))
        for i, cell in enumerate(cells):
            value = _number(cell)
            if value is None or math.isinf(value):
                self.fail(f"{_shown(cell)} is not a finite number{hint}", i, column)
            if math.isnan(value):
                if blank is None:
                    self.fail(f"{'the cell is empty' if not cell else 'nan is not a number'}{hint}", i, column)
                value = blank
            values[i] = value
        return values

    def amounts(self, column: str, blank: float | None, hint: str) -> Float[np.ndarray, " n"]:
        """As :meth:`numbers`, all 0 or more; ``blank`` for every row when the file has no such column."""
        if column not in self:
            return np.full(len(self), blank, dtype=float)
        values = self.numbers(column, blank, hint)
        if (values < 0).any():
            row = int(np.argmax(values < 0))
            self.fail(f"{values[row]:g} is negative{hint}", row, column)
        return values

    def check_listed(self, listed: Sequence[str], used: Sequence[str], what: str, form: str) -> None:
        """Refuse a list that names other things than ``runs.csv`` has columns for, of the form ``form``."""
        unlisted = [name for name in used if name not in set(listed)]
        if unlisted:
            self.fail(f"{what} {name_list(unlisted, 5)} of runs.csv is not listed here; add a row for it")
        unused = [name for name in listed if name not in set(used)]
        if unused:
            row = list(listed).index(unused[0])
            self.fail(f"{what} {name_list(unused, 5)} has no column in runs.csv; it would be named {form}", row)


def read_table(path: Path) -> CsvTable:
    """Read a CSV file with a header line and at least one row.

    Raises:
        FormatError: naming the file, the line and what would be accepted.
    """
    records = list(_records(path, _text(path)))
    if not records:
        raise FormatError(f"{path}: the file is empty; its first line must name the columns")
    header = tuple(records[0][1])
    _check_header(path, header)
    table = CsvTable(path, header, [cells for _, cells in records[1:]], [line for line, _ in records[1:]])
    for i, cells in enumerate(table.rows):
        if len(cells) != len(header):
            table.fail(f"the row has {len(cells)} cells, the header has {len(header)}", i)
    if not table.rows:
        raise FormatError(f"{path}: there are no rows under the header")
    return table


def name_list(names: Iterable[str], most: int = 12) -> str:
    """Names for a sentence: quoted, and cut short when there are many."""
    shown = [repr(name) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def _text(path: Path) -> str:
    if path.is_dir():
        raise FormatError(f"{path} is a directory; it must be a CSV file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist") from None
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if b"\0" in data:
        raise FormatError(f"{path} is not text; it must be a CSV file in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"{path}, line {line}: the bytes are not UTF-8 text; save the file as UTF-8") from None


def _records(path: Path, text: str) -> Iterable[tuple[int, list[str]]]:
    """(line, stripped cells) of every record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FormatError(f"{path}, line {line}: {error}; quotes must come in pairs") from None
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield line, stripped
        line = reader.line_num + 1


def _check_header(path: Path, header: tuple[str, ...]) -> None:
    if len(header) == 1:
        for separator, word in _OTHER_SEPARATORS.items():
            if separator in header[0]:
                raise FormatError(f"{path}: the columns are separated by {word}; they must be separated by commas")
    seen: dict[str, int] = {}
    for j, name in enumerate(header):
        if name and name in seen:
            raise FormatError(f"{path}: column {name!r} is named twice, as columns {seen[name] + 1} and {j + 1}")
        seen[name] = j


def _number(cell: str) -> float | None:
    """The cell as a float, NaN when it is empty or ``nan``, None when it is no number."""
    if not cell:
        return math.nan
    if "_" in cell:  # Python's float() takes 1_000, no other reader of CSV does
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "...")
