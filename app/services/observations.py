"""The runs of a study as the records that laws are fitted to, and the hash that says which data those were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from app.models import DomainSet, Run, Study
from app.schemas.runs import RunSource, RunState
from app.services.mixtures import domains_of, targets_of, vector
from mixers.types import Domains, Observations, Targets

# SQLite takes a limited number of values in one statement.
_IDS_AT_ONCE = 10_000


def measured_runs(session: Session, study: Study) -> Observations:
    """Every run that may enter a fit: it succeeded, holds a loss, was not excluded and trained on fixed weights."""
    rows = session.execute(
        _columns(study.domain_set)
        .where(
            Run.state == RunState.SUCCEEDED,
            Run.exclude_from_fit.is_(False),
            Run.source != RunSource.ADAPTIVE,
            Run.losses.is_not(None),
        )
        .order_by(Run.id)
    )
    return _observations(study, study.domain_set, rows.all())


def runs_of_fit(session: Session, study: Study, domain_set: DomainSet, run_ids: Sequence[str]) -> Observations:
    """The runs that a fit names, in its order. Losses of a finished run never change, so these are the same data."""
    found: dict[UUID, Row[Any]] = {}
    wanted = [UUID(run_id) for run_id in run_ids]
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        part = _columns(domain_set).where(Run.id.in_(wanted[start : start + _IDS_AT_ONCE]))
        found |= {row.id: row for row in session.execute(part)}
    return _observations(study, domain_set, [found[run_id] for run_id in wanted])


def known_mixtures(session: Session, study: Study) -> Observations | None:
    """What was measured or waits to be, for a design that must not repeat it; unmeasured losses are NaN."""
    alive = (RunState.QUEUED, RunState.LEASED, RunState.SUCCEEDED)
    rows = session.execute(_columns(study.domain_set).where(Run.state.in_(alive)).order_by(Run.id)).all()
    return _observations(study, study.domain_set, rows) if rows else None


def content_hash(runs: Observations) -> str:
    """Equal for equal data: names, weights, losses and scales of the runs, in order."""
    names = [runs.domains.names, runs.targets.names, runs.targets.maximised, runs.run_ids]
    digest = hashlib.sha256(json.dumps(names).encode())
    for values in (runs.p, runs.losses, runs.model_params, runs.train_tokens):
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()


def _columns(domain_set: DomainSet) -> Select[*tuple[Any, ...]]:
    columns = select(Run.id, Run.weights, Run.losses, Run.model_params, Run.train_tokens)
    return columns.where(Run.study_id == domain_set.study_id, Run.domain_set_id == domain_set.id)


def _observations(study: Study, domain_set: DomainSet, rows: Sequence[Row[Any]]) -> Observations:
    domains, targets = domains_of(domain_set), targets_of(study.targets)
    return Observations(
        domains,
        targets,
        _weights(domains, (row.weights for row in rows)),
        loss_matrix(targets, [row.losses or {} for row in rows]),
        np.array([np.nan if row.model_params is None else row.model_params for row in rows], dtype=float),
        np.array([np.nan if row.train_tokens is None else row.train_tokens for row in rows], dtype=float),
        tuple(str(row.id) for row in rows),
    )


def _weights(domains: Domains, stored: Iterable[dict[str, float]]) -> np.ndarray:
    return np.array([vector(weights, domains.names) for weights in stored]).reshape(-1, len(domains))


def loss_matrix(targets: Targets, stored: Sequence[dict[str, Any]]) -> np.ndarray:
    """Shape (n, t). A metric to be maximised is negated here, once; :func:`shown` takes it back."""
    missing = {"value": np.nan}
    losses = np.array([[row.get(name, missing)["value"] for name in targets.names] for row in stored], dtype=float)
    return losses.reshape(len(stored), len(targets)) * _signs(targets)


def shown(losses: np.ndarray, targets: Targets) -> np.ndarray:
    """Losses (..., t) in the direction in which each target is displayed."""
    return losses * _signs(targets)


def _signs(targets: Targets) -> np.ndarray:
    return np.where(targets.maximised, -1.0, 1.0)
