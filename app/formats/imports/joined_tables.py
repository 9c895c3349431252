"""Two CSV files that tell of the same runs: one has the weights, the other what was measured."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.formats.csv_rows import CsvRows, Numbers
from app.formats.imports.base import ImportedRun, LeftOut, Record, SkipReason


@dataclass(frozen=True)
class Table:
    """One of the two files.

    Attributes:
        id_column: what the files are joined by.
        columns: {column: the domain or target that it is about}.
        label_column: None when there is none.
    """

    rows: CsvRows
    id_column: str
    columns: Mapping[str, str]
    label_column: str | None = None


def join(weights: Table, metrics: Table) -> Iterator[Record]:
    """The runs of the weights' file in its order, with their measurements; then measurements without weights."""
    measured = _measured(metrics)
    read = Numbers(weights.rows, list(weights.columns), "; write a weight from 0 to 1")
    domains, targets = list(weights.columns.values()), list(metrics.columns.values())
    run_id = weights.rows.index(weights.id_column)
    label = None if weights.label_column is None else weights.rows.index(weights.label_column)
    joined: set[str] = set()
    for line, cells in weights.rows:
        key = cells[run_id]
        shares = dict(zip(domains, read.of(line, cells), strict=True))
        values = measured.get(key)
        joined.add(key)
        if values is None:
            yield LeftOut(key, SkipReason.NO_METRICS, f"{metrics.rows.name} has no row for the run")
            continue
        yield ImportedRun(
            external_id=key,
            place=f"{weights.rows.name}, line {line}",
            values=dict(zip(targets, values, strict=True)),
            weights=shares,
            label=cells[label] if label is not None else "",
        )
    for key in measured:
        if key not in joined:
            yield LeftOut(key, SkipReason.NO_WEIGHTS, f"{weights.rows.name} has no row for the run")


def _measured(table: Table) -> dict[str, array[float]]:
    """The values of each run. Two rows of one id must agree: nothing says which of them is right."""
    read = Numbers(table.rows, list(table.columns), "; write a number, or nothing where it was not measured")
    run_id = table.rows.index(table.id_column)
    measured: dict[str, array[float]] = {}
    lines: dict[str, int] = {}
    for line, cells in table.rows:
        key, values = cells[run_id], array("d", read.of(line, cells))
        if key in measured and measured[key].tobytes() != values.tobytes():
            table.rows.fail(f"run {key!r} stands here and, with other values, on line {lines[key]}", line)
        measured[key], lines[key] = values, line
    return measured
