"""Specs and results of proxy runs as a swarm folder, which the offline commands read.

``runs.csv`` is written anew each time. ``domains.csv`` and ``targets.csv`` are the team's to edit (weights of targets,
bounds and groups of domains): those that are there stay as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app import atomic_files
from app.formats.corpus_manifest import CorpusSummary
from app.formats.errors import FormatError, name_list
from app.formats.fidelity_column import COLUMN
from app.formats.remarks import Remarks, note, warning
from app.formats.swarm_folder import Swarm, read_swarm
from app.schemas.run_fidelity import RunFidelity
from app.schemas.run_points import FALLING_RATES
from proxy_training.spec import Measured, NamedResult, NamedSpec

Cells = Sequence[object]


@dataclass(frozen=True)
class TableWish:
    """What the folder is made from.

    Args:
        corpus: says which tokens each domain has; unknown when None.
        minimised: metrics that are better when they are smaller.
        trajectory: whether every point that was measured on the way has a row of its own.
    """

    specs: Mapping[str, NamedSpec]
    results: Mapping[str, NamedResult]
    corpus: CorpusSummary | None
    minimised: Sequence[str]
    trajectory: bool


@dataclass(frozen=True)
class _Row:
    run_id: str
    spec: NamedSpec
    fidelity: RunFidelity
    train_tokens: int
    losses: Mapping[str, Measured]
    metrics: Mapping[str, Measured]


def write_table(wish: TableWish, folder: Path) -> Swarm:
    """Write the folder, and give what its readers will find; the remarks tell what was left out, too.

    Raises:
        FormatError: a result without its spec, runs of several corpora, nothing measured, or lists that are there
            already and do not fit.
        OSError: a file cannot be written.
    """
    _check_corpora(wish)
    rows, remarks = _rows(wish)
    losses = _names(row.losses for row in rows)
    metrics = _names(row.metrics for row in rows)
    if not losses:
        raise FormatError("no run has measured anything; 'mixwright proxy train' trains them")
    unknown = [name for name in wish.minimised if name not in metrics]
    if unknown:
        known = f"there are {name_list(metrics)}" if metrics else "there is none"
        raise FormatError(f"--minimize names {name_list(unknown)}, which is no metric of the results; {known}")
    domains = _domains(wish)
    folder.mkdir(parents=True, exist_ok=True)
    targets = [(name, "bits_per_byte", "minimize", 1, "") for name in losses]
    targets += [(name, "", "minimize" if name in wish.minimised else "maximize", 1, "") for name in metrics]
    remarks += _write_list(folder / "targets.csv", ("target", "unit", "direction", "weight", "family"), targets)
    if wish.corpus is not None:
        listed = [(d.name, d.tokens, f"{d.tokens / max(1, d.documents):.6g}") for d in wish.corpus.domains]
        remarks += _write_list(folder / "domains.csv", ("domain", "available_tokens", "mean_document_tokens"), listed)
    header = ("run_id", "model_params", "train_tokens", "seed", COLUMN, *(f"w:{name}" for name in domains))
    header += (*(f"loss:{name}" for name in losses), *(f"metric:{name}" for name in metrics))
    _write(folder / "runs.csv", header, [_cells(row, domains, losses, metrics) for row in rows])
    only_merged = all(row.fidelity is RunFidelity.MERGED for row in rows)
    swarm = read_swarm(folder, fidelity=RunFidelity.MERGED if only_merged else RunFidelity.TRAINED)
    return replace(swarm, remarks=remarks + swarm.remarks)


def _check_corpora(wish: TableWish) -> None:
    alone = [run_id for run_id in wish.results if run_id not in wish.specs]
    if alone:
        raise FormatError(
            f"the results have run {name_list(alone, 3)}, which no file of specs names; give it by --specs"
        )
    for run_id, result in wish.results.items():
        if result.spec_hash != wish.specs[run_id].spec.hash:
            raise FormatError(
                f"the result of run {run_id!r} is that of another spec, of other weights, seed or settings, than the "
                "files of --specs have under this name"
            )
    wanted = None if wish.corpus is None else wish.corpus.corpus_hash
    for run_id, named in wish.specs.items():
        found = named.spec.settings.corpus_hash
        wanted = wanted or found
        if found != wanted:
            raise FormatError(
                f"run {run_id!r} is for the corpus {found}, others for {wanted}: their losses do not compare"
            )


def _rows(wish: TableWish) -> tuple[list[_Row], Remarks]:
    """The rows in the order of the specs, and what has none."""
    rows: list[_Row] = []
    missing = staged = annealed = 0
    for run_id, named in wish.specs.items():
        if run_id not in wish.results:
            missing += 1
            continue
        if len(named.spec.stages) > 1:
            staged += 1
            continue
        result, fidelity = wish.results[run_id].result, RunFidelity(wish.results[run_id].fidelity)
        if wish.trajectory:
            on_the_way = [point for point in result.trajectory if point.train_tokens < result.train_tokens]
            settings = named.spec.settings
            annealed += sum(not settings.ends_a_shorter_run(point.train_tokens) for point in on_the_way)
            rows += [
                _Row(f"{run_id}@{point.train_tokens}", named, fidelity, point.train_tokens, point.losses, point.metrics)
                for point in on_the_way
            ]
        rows.append(_Row(run_id, named, fidelity, result.train_tokens, result.losses, result.metrics))
    remarks = Remarks()
    if missing:
        remarks += warning(f"{missing} of {len(wish.specs)} runs have no result yet and were left out")
    if staged:
        remarks += warning(f"{staged} runs changed their weights on the way and were left out: they are no one mixture")
    if annealed:
        remarks += warning(f"{annealed} points on the way {FALLING_RATES}")
    return rows, remarks


def _names(keyed: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for each in keyed for name in each))


def _domains(wish: TableWish) -> list[str]:
    """The domains in the order of the corpus, or as the runs first name them."""
    named = _names(named.spec.stages[0].weights for named in wish.specs.values())
    if wish.corpus is None:
        return named
    known = [domain.name for domain in wish.corpus.domains]
    unknown = [name for name in named if name not in known]
    if unknown:
        raise FormatError(f"the runs have weights for {name_list(unknown)}; the corpus has {name_list(known)}")
    return known


def _cells(row: _Row, domains: Sequence[str], losses: Sequence[str], metrics: Sequence[str]) -> Cells:
    weights, settings = row.spec.spec.stages[0].weights, row.spec.spec.settings
    counts = (row.run_id, settings.model.non_embedding_params, row.train_tokens, row.spec.spec.seed, row.fidelity.value)
    shares = (repr(weights.get(name, 0.0)) for name in domains)
    measured = [row.losses.get(name) for name in losses] + [row.metrics.get(name) for name in metrics]
    return (*counts, *shares, *("" if each is None else repr(each.value) for each in measured))


def _write_list(path: Path, header: Cells, rows: Sequence[Cells]) -> Remarks:
    if path.exists():
        return note(f"{path.name} was there and is as it was")
    _write(path, header, rows)
    return Remarks()


def _write(path: Path, header: Cells, rows: Sequence[Cells]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic_files.write_text(path, text.getvalue())
