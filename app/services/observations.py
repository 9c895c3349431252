"""The runs of a study as the records that laws are fitted to, and the hash that says which data those were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.orm import Session

from app.models import DomainSet, Fit, Run, Study
from app.schemas.run_fidelity import RunFidelity
from app.schemas.run_points import is_end
from app.schemas.runs import RunSource, RunState
from app.services.domain_versions import carried_names, stranded_versions
from app.services.mixtures import domains_of, targets_of, vector
from app.services.run_content import KNOWN
from mixers.types import Domains, Observations, Targets

# SQLite takes a limited number of values in one statement.
_IDS_AT_ONCE = 10_000
CarriedNames = Mapping[UUID, Mapping[str, str]]


# It succeeded, holds a loss, was not excluded and trained on fixed weights. Each fit takes runs of one fidelity.
_MAY_ENTER_A_FIT = (
    Run.state == RunState.SUCCEEDED,
    Run.exclude_from_fit.is_(False),
    Run.source != RunSource.ADAPTIVE,
    Run.losses.is_not(None),
)
# A law is of mixtures that do not change: the mean of the stages is no mixture that the run was trained on.
_ONE_MIXTURE = Run.stages.is_(None)


def measured_runs(
    session: Session, study: Study, fidelity: RunFidelity = RunFidelity.TRAINED, staged: bool = False
) -> Observations:
    """Every run of a fidelity that may enter a fit, of all versions of the domain set that have the domains of the
    newest. Runs of several stages only when ``staged``, each with the mean of its stages."""
    carried = carried_names(study, study.domain_set)
    wanted = [*_MAY_ENTER_A_FIT, Run.fidelity == fidelity, _of(carried)]
    if not staged:
        wanted.append(_ONE_MIXTURE)
    rows = session.execute(_columns(study.id).where(*wanted).order_by(Run.id))
    return _observations(study.domain_set, targets_of(study.targets), rows.all(), carried)


def count_of_other_fidelity(session: Session, study: Study, fidelity: RunFidelity) -> int:
    """How many runs that may enter a fit a fit of this ``fidelity`` must leave out."""
    others = (*_MAY_ENTER_A_FIT, Run.fidelity != fidelity, _of(carried_names(study, study.domain_set)))
    return session.scalar(select(func.count()).where(Run.study_id == study.id, *others)) or 0


def count_staged(session: Session, study: Study, fidelity: RunFidelity) -> int:
    """How many runs of several stages may enter a fit of this ``fidelity`` that asks for them."""
    staged = (*_MAY_ENTER_A_FIT, Run.fidelity == fidelity, Run.stages.is_not(None))
    counted = select(func.count()).where(Run.study_id == study.id, *staged, _of(carried_names(study, study.domain_set)))
    return session.scalar(counted) or 0


def count_staged_of_fit(session: Session, fit: Fit) -> int:
    """How many of the runs of a fit have several stages."""
    ids = _runs_named(fit)
    staged = select(func.count()).where(Run.stages.is_not(None))
    parts = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
    return sum(session.scalar(staged.where(Run.id.in_(part))) or 0 for part in parts)


def count_measured(session: Session, studies: Sequence[UUID]) -> dict[UUID, int]:
    """How many runs of each version of the domain sets of these studies a fit of trained runs could use."""
    usable = (*_MAY_ENTER_A_FIT, Run.fidelity == RunFidelity.TRAINED, _ONE_MIXTURE)
    counted = select(Run.domain_set_id, func.count()).where(Run.study_id.in_(studies), *usable)
    return {row[0]: row[1] for row in session.execute(counted.group_by(Run.domain_set_id))}


def count_stranded(session: Session, studies: Sequence[Study]) -> dict[UUID, int]:
    """How many measured runs of each study no fit can use, because the newest version has other domains."""
    stranded = {study.id: found for study in studies if (found := stranded_versions(study))}
    if not stranded:
        return {}
    counts = count_measured(session, list(stranded))
    return {study_id: sum(counts.get(each, 0) for each in versions) for study_id, versions in stranded.items()}


def runs_of_fit(session: Session, study: Study, fit: Fit) -> Observations:
    """The ends of the runs that a fit names, in its order. Losses of a finished run never change, so these are the same
    data."""
    found: dict[UUID, Row[Any]] = {}
    wanted = _runs_named(fit)
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        part = _columns(study.id).where(Run.id.in_(wanted[start : start + _IDS_AT_ONCE]))
        found |= {row.id: row for row in session.execute(part)}
    domain_set = session.get_one(DomainSet, fit.domain_set_id)
    rows = [found[run_id] for run_id in wanted]
    return _observations(domain_set, targets_of_fit(study, fit), rows, carried_names(study, domain_set))


def _runs_named(fit: Fit) -> list[UUID]:
    return [UUID(name) for name in fit.run_ids if is_end(name)]


def targets_of_fit(study: Study, fit: Fit) -> Targets:
    """The targets that the study had when the fit was made and some run had measured, with their present weights."""
    left_out = set(fit.targets_left_out or ())
    return targets_of([target for target in study.targets[: fit.targets_used] if target.name not in left_out])


def known_mixtures(session: Session, study: Study) -> Observations | None:
    """What was measured, waits to be or was given up, for a design that must not repeat it; unmeasured losses are
    NaN."""
    carried = carried_names(study, study.domain_set)
    wanted = (Run.state.in_(KNOWN), Run.fidelity == RunFidelity.TRAINED, _ONE_MIXTURE, _of(carried))
    rows = session.execute(_columns(study.id).where(*wanted).order_by(Run.id)).all()
    return _observations(study.domain_set, targets_of(study.targets), rows, carried) if rows else None


def content_hash(runs: Observations) -> str:
    """Equal for equal data: names, weights, losses and scales of the runs, in order."""
    names = [runs.domains.names, runs.targets.names, runs.targets.maximised, runs.run_ids]
    digest = hashlib.sha256(json.dumps(names).encode())
    for values in (runs.p, runs.losses, runs.model_params, runs.train_tokens):
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()


def _columns(study_id: UUID) -> Select[*tuple[Any, ...]]:
    columns = select(Run.id, Run.domain_set_id, Run.weights, Run.losses, Run.model_params, Run.train_tokens)
    return columns.where(Run.study_id == study_id)


def _of(carried: CarriedNames) -> ColumnElement[bool]:
    return Run.domain_set_id.in_(list(carried))


def _observations(
    domain_set: DomainSet, targets: Targets, rows: Sequence[Row[Any]], carried: CarriedNames
) -> Observations:
    domains = domains_of(domain_set)
    return Observations(
        domains,
        targets,
        _weights(domains, rows, carried),
        loss_matrix(targets, [row.losses or {} for row in rows]),
        np.array([np.nan if row.model_params is None else row.model_params for row in rows], dtype=float),
        np.array([np.nan if row.train_tokens is None else row.train_tokens for row in rows], dtype=float),
        tuple(str(row.id) for row in rows),
    )


def _weights(domains: Domains, rows: Sequence[Row[Any]], carried: CarriedNames) -> np.ndarray:
    """Shape (n, k): each run's weights under the names of its own version, put in the order of ``domains``."""
    own_names: dict[UUID, list[str]] = {}
    for version, names in carried.items():
        before = {new: old for old, new in names.items()}
        own_names[version] = [before[name] for name in domains.names]
    weights = [vector(row.weights, own_names[row.domain_set_id]) for row in rows]
    return np.array(weights).reshape(-1, len(domains))


def loss_matrix(targets: Targets, stored: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Shape (n, t). A metric to be maximised is negated here, once; :func:`shown` takes it back."""
    missing = {"value": np.nan}
    losses = np.array([[row.get(name, missing)["value"] for name in targets.names] for row in stored], dtype=float)
    return losses.reshape(len(stored), len(targets)) * _signs(targets)


def shown(losses: np.ndarray, targets: Targets) -> np.ndarray:
    """Losses (..., t) in the direction in which each target is displayed."""
    return losses * _signs(targets)


def _signs(targets: Targets) -> np.ndarray:
    return np.where(targets.maximised, -1.0, 1.0)
