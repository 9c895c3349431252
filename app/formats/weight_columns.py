"""The ``w:<domain>`` columns of a table: read, checked and brought to sums of 1.

Published weights are rounded, so a row may miss 1 by a little. Within ``rounding`` of 1 a row is normalised and
counted; from there to ``limit`` it is normalised with a warning; beyond ``limit`` it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from app.formats.csv_table import CsvTable
from app.formats.errors import FormatError, name_list
from app.formats.remarks import Remarks, note, warning
from mixers.types import SUM_TOLERANCE

PREFIX = "w:"
_SLACK = 1e-9  # 0.995 misses 1 by 0.005000000000000004


@dataclass(frozen=True)
class SumTolerance:
    """How far the sum of a row's weights may be from 1. ``asked_for`` is whether --tolerance can say so."""

    rounding: float = 0.005
    limit: float = 0.05
    asked_for: bool = False

    @classmethod
    def widened(cls, tolerance: float | None) -> SumTolerance:
        """The default, or one where ``tolerance`` is the rounding and, when it is wider than usual, the limit too."""
        default = cls(asked_for=True)
        if tolerance is None:
            return default
        if not 0 <= tolerance < 1:
            raise FormatError(f"the tolerance is {tolerance:g}; it must be at least 0 and less than 1")
        return cls(tolerance, tolerance if tolerance > default.rounding else default.limit, asked_for=True)


DEFAULT_TOLERANCE = SumTolerance()


def domains_of(table: CsvTable) -> list[str]:
    """The domains that the table has weights for, in the order of its columns."""
    names = [column.removeprefix(PREFIX) for column in table.header if column.startswith(PREFIX)]
    if not names:
        table.fail(f"there is no weight column; name them 'w:<domain>' (the columns are {name_list(table.header)})")
    if "" in names:
        table.fail("a column is named 'w:'; put the domain's name behind the colon")
    return names


def read_weights(
    table: CsvTable, domains: Sequence[str], tolerance: SumTolerance
) -> tuple[Float[np.ndarray, "n k"], Remarks]:
    """Weights of every row, with sums of 1, and what had to be done for that.

    Raises:
        FormatError: naming the cell that is no weight, or the row whose sum is too far from 1.
    """
    p = np.empty((len(table), len(domains)))
    for j, domain in enumerate(domains):
        column = PREFIX + domain
        p[:, j] = table.numbers(column, hint="; write a weight from 0 to 1, and 0 for a domain that is not used")
        if (p[:, j] < 0).any():
            row = int(np.argmax(p[:, j] < 0))
            table.fail(f"the weight {p[row, j]:g} is negative; it must be from 0 to 1", row, column)
    sums = p.sum(axis=1)
    remarks = _check_sums(table, sums, tolerance)
    return p / sums[:, None], remarks


def _check_sums(table: CsvTable, sums: Float[np.ndarray, " n"], tolerance: SumTolerance) -> Remarks:
    ids = table.texts("run_id")
    off = np.abs(sums - 1)
    beyond = (off > tolerance.limit + _SLACK) | (sums <= 0)
    if beyond.any():
        row = int(np.argmax(beyond))
        total = float(sums[row])
        table.fail(f"the weights of run {ids[row]!r} sum to {total:.6g}; {_advice(total, tolerance)}", row)
    loud = off > tolerance.rounding + _SLACK
    quiet = ~loud & (off > SUM_TOLERANCE)
    remarks = Remarks()
    if quiet.any():
        remarks += note(
            f"{table.path.name}: the weights of {quiet.sum()} of {len(sums)} rows were off by rounding "
            f"(sums from {sums[quiet].min():.6g} to {sums[quiet].max():.6g}) and were normalised"
        )
    if loud.any():
        row = int(np.argmax(loud))
        remarks += warning(
            f"{table.path.name}: the weights of {loud.sum()} of {len(sums)} rows miss a sum of 1 by more than "
            f"{tolerance.rounding:g} and were normalised; the first is run {ids[row]!r} on line {table.lines[row]}, "
            f"which sums to {sums[row]:.6g}"
        )
    return remarks


def _advice(total: float, tolerance: SumTolerance) -> str:
    accepted = f"they must sum to 1 within {tolerance.limit:g}"
    if total <= 0:
        return "at least one must be positive"
    if abs(total - 100) <= 100 * tolerance.limit:
        return f"{accepted} (these look like percentages: divide them by 100)"
    if tolerance.asked_for and abs(total - 1) < 0.99:
        return f"{accepted} (--tolerance {_rounded_up(abs(total - 1))} accepts this row)"
    return accepted


def _rounded_up(off: float) -> str:
    """``off`` with two digits, never less than it is."""
    digits = 1 - int(np.floor(np.log10(off)))
    return f"{np.ceil(off * 10**digits - _SLACK) / 10**digits:g}"
