"""A swarm on disk: a folder with ``runs.csv`` and, if wanted, ``domains.csv`` and ``targets.csv``.

``runs.csv`` has ``run_id``; optional ``mix_id``, ``model_params`` and ``train_tokens``; ``w:<domain>`` columns; and
``loss:<target>`` or ``metric:<target>`` columns, where an empty cell or ``nan`` means "not measured". Only rows of one
``fidelity`` are read, see ``fidelity_column.py``. Other columns are ignored. The two lists are described in
``domain_list.py`` and ``target_list.py``.

Inside, all targets are losses: a column to be maximised is negated here and negated back by whoever writes it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from app.formats.csv_table import CsvTable, read_table
from app.formats.domain_list import read_domains
from app.formats.errors import FormatError
from app.formats.fidelity_column import COLUMN, fidelity_of
from app.formats.remarks import Remarks, note, warning
from app.formats.target_list import read_losses, read_targets
from app.formats.weight_columns import DEFAULT_TOLERANCE, SumTolerance, domains_of, read_weights
from app.schemas.run_fidelity import ABOUT_MERGED, RunFidelity
from mixers.types import Observations


@dataclass(frozen=True)
class Swarm:
    """What a swarm folder holds.

    Args:
        target_columns: the column of each target in ``runs.csv``, along the t-axis.
        min_weights, max_weights, groups: what ``domains.csv`` demands of the weights.
        paths, mean_document_tokens: what it says of the domains for exports to trainers.
        remarks: what was assumed or repaired while reading.
    """

    folder: Path
    runs: Observations
    target_columns: tuple[str, ...]
    min_weights: dict[str, float] = field(default_factory=dict)
    max_weights: dict[str, float] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mean_document_tokens: dict[str, float] = field(default_factory=dict)
    remarks: Remarks = field(default_factory=Remarks)


def read_swarm(
    folder: Path, tolerance: SumTolerance = DEFAULT_TOLERANCE, fidelity: RunFidelity = RunFidelity.TRAINED
) -> Swarm:
    """Read and check a swarm folder; rows of another fidelity are left out.

    Raises:
        FormatError: in one sentence, with file, line and column where there are such.
    """
    table = read_table(_runs_file(folder))
    run_ids = table.names("run_id", "run")
    listed = read_domains(folder / "domains.csv", domains_of(table))
    targets, columns, about_targets = read_targets(folder / "targets.csv", table)
    p, about_weights = read_weights(table, listed.domains.names, tolerance)
    losses = read_losses(table, targets, columns)
    model_params, train_tokens = read_scales(table)
    runs = Observations(
        domains=listed.domains,
        targets=targets,
        p=p,
        losses=losses,
        model_params=model_params,
        train_tokens=train_tokens,
        run_ids=tuple(run_ids),
        mix_ids=_mix_ids(table),
    )
    remarks = listed.remarks + about_targets + about_weights
    wanted, about_fidelity = _of_fidelity(table, fidelity)
    remarks += about_fidelity
    measured = np.any(~np.isnan(losses), axis=1)
    if not measured.all():
        unmeasured = int((~measured).sum())
        remarks += note(f"{table.path.name}: {unmeasured} of {len(table)} rows measure no target and were left out")
    if not (measured & wanted).all():
        runs = runs.rows(np.flatnonzero(measured & wanted))
    return Swarm(
        folder,
        runs,
        columns,
        listed.min_weights,
        listed.max_weights,
        listed.groups,
        listed.paths,
        listed.mean_document_tokens,
        remarks,
    )


def _of_fidelity(table: CsvTable, fidelity: RunFidelity) -> tuple[Bool[np.ndarray, " n"], Remarks]:
    """Which rows are of this fidelity, and what is to be said of it."""
    wanted = np.array([each is fidelity for each in _fidelities(table)])
    remarks = warning(ABOUT_MERGED) if fidelity is RunFidelity.MERGED else Remarks()
    others = int((~wanted).sum())
    if others == len(table):
        other = next(each for each in RunFidelity if each is not fidelity)
        table.fail(f"there is no run of fidelity {fidelity}; --fidelity {other} takes the {others} that there are")
    if others:
        remarks += note(f"{table.path.name}: {others} of {len(table)} rows are not of fidelity {fidelity}: left out")
    return wanted, remarks


def _fidelities(table: CsvTable) -> list[RunFidelity]:
    if COLUMN not in table:
        return [RunFidelity.TRAINED] * len(table)
    found = []
    for i, cell in enumerate(table.texts(COLUMN)):
        try:
            found.append(fidelity_of(cell))
        except FormatError as error:
            table.fail(str(error), i, COLUMN)
    return found


def read_scales(table: CsvTable) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(model_params, train_tokens) of every row, NaN where the table does not say."""
    return _counts(table, "model_params"), _counts(table, "train_tokens")


def _counts(table: CsvTable, column: str) -> Float[np.ndarray, " n"]:
    if column not in table:
        return np.full(len(table), np.nan)
    hint = "; write a positive count, or nothing when it is not known"
    values = table.numbers(column, blank=np.nan, hint=hint)
    if (values <= 0).any():
        row = int(np.argmax(values <= 0))
        table.fail(f"{values[row]:g} is not positive{hint}", row, column)
    return values


def _runs_file(folder: Path) -> Path:
    if not folder.exists():
        raise FormatError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise FormatError(f"{folder} is a file; give the folder that holds runs.csv")
    path = folder / "runs.csv"
    if not path.exists():
        raise FormatError(f"the folder {folder} has no runs.csv; a swarm folder holds its runs in that file")
    return path


def _mix_ids(table: CsvTable) -> tuple[str, ...]:
    """The ``mix_id`` column; without one, rows of equal weights share a mixture."""
    ids = table.texts("mix_id") if "mix_id" in table else []
    if not any(ids):
        return ()
    if "" in ids:
        table.fail("the cell is empty; name the mixture of every run, or of none", ids.index(""), "mix_id")
    return tuple(ids)
