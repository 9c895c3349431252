"""Our own table format: ``runs.csv``, and ``domains.csv`` and ``targets.csv`` when they are there.

See ``app/formats/swarm_folder.py`` for the columns. Beside those, ``label``, ``seed`` and ``stderr:<target>``
are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import compress
from pathlib import Path

from app.formats.csv_rows import CsvRows, Numbers
from app.formats.csv_table import columns_of
from app.formats.domain_list import DomainList, read_domains
from app.formats.errors import FormatError
from app.formats.fidelity_column import COLUMN, fidelity_of
from app.formats.imports.base import (
    FoundDomain,
    FoundTarget,
    ImportedRun,
    ImportFormat,
    Options,
    Reading,
    Record,
    Source,
    source_name,
)
from app.formats.imports.files import only
from app.formats.target_list import read_targets
from app.formats.weight_columns import PREFIX, domains_of
from app.schemas.run_fidelity import RunFidelity
from mixers.types import Targets

_STDERR = "stderr:"


class SwarmFolder(ImportFormat[Options]):
    """``runs.csv`` with ``w:<domain>`` and ``loss:<target>`` columns."""

    name = "swarm-folder"
    title = "Swarm folder: runs.csv with domains.csv and targets.csv, as files or as a zip"

    def read(self, source: Source, options: Options) -> Reading:
        del options
        found = only(source.files, "runs.csv")
        if found is None:
            raise FormatError(f"there is no runs.csv; the files are {source_name(list(source.files))}")
        rows = CsvRows(*found)
        rows.index("run_id")
        listed = read_domains(_path(source.files, "domains.csv"), domains_of(columns_of(rows)))
        targets, columns, remarks = read_targets(_path(source.files, "targets.csv"), columns_of(rows))
        return Reading(
            source_name(list(source.files)),
            _domains(listed),
            _targets(targets),
            _runs(rows, columns),
            listed.remarks + remarks,
        )


def _path(files: Mapping[str, Path], name: str) -> Path:
    found = only(files, name)
    return Path(f"(no {name})") if found is None else found[1]


def _domains(listed: DomainList) -> tuple[FoundDomain, ...]:
    domains = listed.domains
    groups = {name: group for group, members in listed.groups.items() for name in members}
    return tuple(
        FoundDomain(
            name,
            round(tokens) if math.isfinite(tokens) and tokens >= 1 else None,
            prior,
            groups.get(name, ""),
            listed.min_weights.get(name),
            listed.max_weights.get(name),
            listed.mean_document_tokens.get(name),
        )
        for name, tokens, prior in zip(
            domains.names, domains.available_tokens.tolist(), domains.prior.tolist(), strict=True
        )
    )


def _targets(targets: Targets) -> tuple[FoundTarget, ...]:
    return tuple(
        FoundTarget(
            name,
            targets.units[j] or "unknown",
            "maximize" if targets.maximised[j] else "minimize",
            float(targets.weights[j]),
            targets.families[j],
            stated=True,
        )
        for j, name in enumerate(targets.names)
    )


def _runs(rows: CsvRows, columns: tuple[str, ...]) -> Iterator[Record]:
    weight_columns = [column for column in rows.header if column.startswith(PREFIX)]
    domains = [column.removeprefix(PREFIX) for column in weight_columns]
    targets = [column.split(":", 1)[1] for column in columns]
    stderr_columns = [column for column in rows.header if column.startswith(_STDERR)]
    measured_stderrs = [column.removeprefix(_STDERR) for column in stderr_columns]
    weights = Numbers(rows, weight_columns, "; write a weight from 0 to 1, and 0 for a domain that is not used")
    values = Numbers(rows, columns, "; write a number, or nothing where it was not measured")
    stderrs = Numbers(rows, stderr_columns, "; write a standard error, or nothing")
    counts = [column for column in ("model_params", "train_tokens", "seed") if column in rows.header]
    sizes = Numbers(rows, counts, "; write a count, or nothing when it is not known")
    run_id = rows.index("run_id")
    label, fidelity = (rows.header.index(name) if name in rows.header else None for name in ("label", COLUMN))
    for line, cells in rows:
        told = dict(zip(counts, sizes.of(line, cells), strict=True)) if counts else {}
        errors = stderrs.of(line, cells) if stderr_columns else []
        yield ImportedRun(
            external_id=cells[run_id],
            place=f"{rows.name}, line {line}",
            values=dict(zip(targets, values.of(line, cells), strict=True)),
            weights=dict(zip(domains, weights.of(line, cells), strict=True)),
            stderrs=dict(
                compress(zip(measured_stderrs, errors, strict=True), [not math.isnan(error) for error in errors])
            ),
            model_params=told.get("model_params"),
            train_tokens=told.get("train_tokens"),
            seed=told.get("seed"),
            label=cells[label] if label is not None else "",
            fidelity=RunFidelity.TRAINED if fidelity is None else _fidelity(rows, line, cells[fidelity]),
        )


def _fidelity(rows: CsvRows, line: int, cell: str) -> RunFidelity:
    try:
        return fidelity_of(cell)
    except FormatError as error:
        rows.fail(str(error), line, COLUMN)
