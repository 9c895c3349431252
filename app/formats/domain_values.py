"""A number for every domain in a CSV file of two columns: the mixture in use (``weight``), or measured ``entropy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from app.formats.csv_table import read_table
from app.formats.errors import FormatError, name_list
from app.formats.remarks import Remarks, note
from app.formats.weight_columns import DEFAULT_TOLERANCE, SumTolerance
from mixers.types import SUM_TOLERANCE


def read_domain_values(path: Path, column: str, domains: Sequence[str], hint: str) -> Float[np.ndarray, " k"]:
    """The numbers of ``column``, 0 or more, in the order of ``domains``; the file must name just these.

    Raises:
        FormatError: naming line and column; ``hint`` is the end of what is said of a wrong number.
    """
    table = read_table(path)
    names = table.names("domain", "domain")
    unknown = [name for name in names if name not in set(domains)]
    if unknown:
        row = names.index(unknown[0])
        table.fail(f"there is no domain {name_list(unknown, 5)}; known are {name_list(domains)}", row, "domain")
    missing = [name for name in domains if name not in set(names)]
    if missing:
        table.fail(f"domain {name_list(missing, 5)} is not listed; add a row for it")
    table.require(column)
    values = table.amounts(column, None, f"; {hint}")
    return values[[names.index(name) for name in domains]]


def read_mixture(
    path: Path, domains: Sequence[str], tolerance: SumTolerance = DEFAULT_TOLERANCE
) -> tuple[Float[np.ndarray, " k"], Remarks]:
    """The ``weight`` of every domain, with a sum of 1, and what had to be done for that.

    Raises:
        FormatError: a cell that is no weight, a domain that is missing, or a sum too far from 1.
    """
    p = read_domain_values(path, "weight", domains, "write a weight from 0 to 1, and 0 for a domain that is not used")
    total = float(p.sum())
    if abs(total - 1) > tolerance.limit:
        raise FormatError(f"{path}: the weights sum to {total:.6g}; they must sum to 1 within {tolerance.limit:g}")
    if abs(total - 1) <= SUM_TOLERANCE:
        return p / total, Remarks()
    return p / total, note(f"{path.name}: the weights sum to {total:.6g} and were normalised")
