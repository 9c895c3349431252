"""The targets of a swarm: the columns of ``runs.csv`` and what ``targets.csv`` says of them.

``targets.csv`` has ``target``; optional ``weight`` (1), ``family``, ``unit`` and ``direction`` (``minimize`` or
``maximize``). Without a direction a ``loss:`` column is minimised and a ``metric:`` column maximised. Without the file
every target weighs 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from app.formats.csv_table import CsvTable, read_table
from app.formats.errors import name_list
from app.formats.remarks import Remarks, note
from mixers.types import Targets

PREFIXES = ("loss:", "metric:")
_MAXIMISED = {"minimize": False, "minimise": False, "maximize": True, "maximise": True}


def read_targets(path: Path, runs: CsvTable) -> tuple[Targets, tuple[str, ...], Remarks]:
    """The targets in the order of the columns of ``runs``, those columns, and what was assumed.

    Raises:
        FormatError: naming line and column.
    """
    columns = _target_columns(runs)
    names = [_name_of(column) for column in columns]
    if not path.exists():
        maximised, remarks = _maximised(columns, {})
        remarks = note("there is no targets.csv: every target weighs 1") + remarks
        return Targets(tuple(names), maximised=maximised), columns, remarks
    table = read_table(path)
    listed = table.names("target", "target")
    table.check_listed(listed, names, "target", "'loss:<target>' or 'metric:<target>'")
    order = [listed.index(name) for name in names]
    weights = table.amounts("weight", 1.0, "; write the importance of the target, 0 or more")
    if weights.sum() <= 0:
        table.fail("all are 0; at least one target must have a positive weight", column="weight")
    families, units = (_texts(table, column) for column in ("family", "unit"))
    maximised, remarks = _maximised(columns, _directions(table, listed))
    targets = Targets(
        tuple(names),
        weights[order],
        tuple(families[i] for i in order),
        tuple(units[i] for i in order),
        maximised,
    )
    return targets, columns, remarks


def read_losses(table: CsvTable, targets: Targets, columns: Sequence[str]) -> Float[np.ndarray, "n t"]:
    """Measured values as losses, NaN where there is none: what is to be maximised is negated."""
    losses = np.empty((len(table), len(columns)))
    for j, column in enumerate(columns):
        values = table.numbers(column, blank=np.nan, hint="; write a number, or nothing where it was not measured")
        if np.isnan(values).all():
            table.fail("no run has a value; measure this target or take it out of the tables", column=column)
        losses[:, j] = -values if targets.maximised[j] else values
    return losses


def _name_of(column: str) -> str:
    return column.split(":", 1)[1]


def _target_columns(runs: CsvTable) -> tuple[str, ...]:
    columns = tuple(column for column in runs.header if column.startswith(PREFIXES))
    if not columns:
        runs.fail(
            "there is no column of a target; name them 'loss:<target>' or 'metric:<target>' "
            f"(the columns are {name_list(runs.header)})"
        )
    seen: dict[str, str] = {}
    for column in columns:
        name = _name_of(column)
        if not name:
            runs.fail(f"a column is named {column!r}; put the target's name behind the colon")
        if name in seen:
            runs.fail(f"target {name!r} has two columns, {seen[name]!r} and {column!r}; keep one")
        seen[name] = column
    return columns


def _directions(table: CsvTable, listed: Sequence[str]) -> dict[str, bool]:
    """True (maximise) or False for every target whose direction is written."""
    told = {}
    for i, (name, word) in enumerate(zip(listed, _texts(table, "direction"), strict=True)):
        if not word:
            continue
        if word.lower() not in _MAXIMISED:
            table.fail(f"{word!r} is no direction; write minimize or maximize", i, "direction")
        told[name] = _MAXIMISED[word.lower()]
    return told


def _maximised(columns: Sequence[str], told: dict[str, bool]) -> tuple[tuple[bool, ...], Remarks]:
    """Whether each target is to be maximised: as told, else by the kind of its column."""
    guessed = [_name_of(c) for c in columns if c.startswith("metric:") and _name_of(c) not in told]
    maximised = tuple(told.get(_name_of(c), c.startswith("metric:")) for c in columns)
    if not guessed:
        return maximised, Remarks()
    return maximised, note(f"no direction is given for {name_list(guessed, 5)}: a metric is taken as to be maximised")


def _texts(table: CsvTable, column: str) -> list[str]:
    return table.texts(column) if column in table else [""] * len(table)
