"""Questions to a law and its answers: mixtures in one CSV file, predicted targets in another.

``QUERIES.csv`` has the columns of ``runs.csv``; targets, when there are any, are ignored. ``PREDICTIONS.csv`` has
``run_id`` and one column a target, named as in ``runs.csv`` and with its sign.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from app import atomic_files
from app.formats.csv_table import read_table
from app.formats.errors import FormatError, name_list
from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm, read_scales
from app.formats.weight_columns import DEFAULT_TOLERANCE, SumTolerance, domains_of, read_weights
from mixers.types import Prediction


@dataclass(frozen=True)
class Queries:
    """Mixtures to predict. ``p`` has shape (m, k); scales have shape (m,), NaN where the file does not say."""

    run_ids: tuple[str, ...]
    p: Float[np.ndarray, "m k"]
    model_params: Float[np.ndarray, " m"]
    train_tokens: Float[np.ndarray, " m"]
    remarks: Remarks


def read_queries(path: Path, domains: Sequence[str], tolerance: SumTolerance = DEFAULT_TOLERANCE) -> Queries:
    """Read the mixtures of ``path`` over ``domains``.

    Raises:
        FormatError: naming line and column.
    """
    table = read_table(path)
    run_ids = table.names("run_id", "query")
    given = domains_of(table)
    unknown = [name for name in given if name not in set(domains)]
    if unknown:
        table.fail(f"domain {name_list(unknown, 5)} is not one of the swarm, which has {name_list(domains)}")
    missing = [name for name in domains if name not in set(given)]
    if missing:
        table.fail(f"there is no weight for domain {name_list(missing, 5)}; add a column 'w:{missing[0]}'")
    p, remarks = read_weights(table, domains, tolerance)
    return Queries(tuple(run_ids), p, *read_scales(table), remarks)


def check_destination(out: Path, folder: Path, queries: Path) -> None:
    """Refuse a place for predictions that cannot be written to, or that is one of the inputs.

    Raises:
        FormatError, OSError: naming the file.
    """
    for source in (queries, *(folder / name for name in ("runs.csv", "domains.csv", "targets.csv"))):
        if out.exists() and source.exists() and out.samefile(source):
            raise FormatError(f"{out} is read as input; write the predictions to another file")
    atomic_files.check_writable(out)


def write_predictions(path: Path, swarm: Swarm, run_ids: Sequence[str], predicted: Prediction) -> None:
    """Write predicted losses to ``path``, whole or not at all, each number so that it reads back as the same float."""
    signs = np.where(swarm.runs.targets.maximised, -1.0, 1.0)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run_id", *swarm.target_columns])
    values = predicted.mean * signs + 0.0  # adding 0 makes -0.0 a plain 0
    for run_id, row in zip(run_ids, values.tolist(), strict=True):
        writer.writerow([run_id, *map(repr, row)])
    atomic_files.write_text(path, text.getvalue())
