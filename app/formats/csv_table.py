"""A whole CSV file as a table with named columns, where every complaint names file, line and column.

What is accepted and refused is said in ``csv_rows.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from app.formats.csv_rows import CsvRows, parsed, shown
from app.formats.errors import FormatError, name_list


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
            value = parsed(cell)
            if value is None or math.isinf(value):
                self.fail(f"{shown(cell)} is not a finite number{hint}", i, column)
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
    rows = CsvRows(str(path), path)
    lines, cells = zip(*rows, strict=True)
    return CsvTable(path, rows.header, list(cells), list(lines))


def columns_of(rows: CsvRows) -> CsvTable:
    """The header alone, for the readers of column names."""
    return CsvTable(rows.path, rows.header, [], [])
