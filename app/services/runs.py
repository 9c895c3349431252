"""Create, read and cancel runs. What agents do with them is in ``queue.py``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_ids
from app.models import Measurement, Run, Study
from app.schemas.common import Page
from app.schemas.runs import RunBatchCreate, RunCreate, RunRead, RunsCreated, RunSource, RunState, TrajectoryRead
from app.services.access import check_study
from app.services.events import record
from app.services.mixtures import parse_weights
from app.services.pages import page
from app.services.studies import find_study
from proxy_training.spec import Measured, TrajectoryPoint


def create_runs(
    session: Session, study_id: UUID, body: RunBatchCreate, max_attempts: int, now: datetime
) -> RunsCreated:
    """Queue proxy runs and take in runs that were trained elsewhere; all of the batch or none.

    Raises:
        InvalidRequest: naming the first run and field that is wrong.
    """
    study = find_study(session, study_id)
    names = [domain["name"] for domain in study.domain_set.domains]
    runs, renormalised = [], 0
    for i, (key, wanted) in enumerate(zip(new_ids(len(body.runs), now), body.runs, strict=True)):
        weights, was_off = parse_weights(wanted.weights, names, f"runs.{i}.weights")
        renormalised += was_off
        run = new_run(key, study, wanted, weights, max_attempts, now)
        if wanted.losses is not None:
            _take_losses(run, wanted, [target.name for target in study.targets], f"runs.{i}.losses", now)
        runs.append(run)
    session.add_all(runs)
    created = {"count": len(runs), "first": str(runs[0].id), "last": str(runs[-1].id)}
    record(session, "runs.created", now, study_id=study.id, data=created)
    session.commit()
    return RunsCreated(runs=read_runs(runs), renormalised=renormalised)


def new_run(
    key: UUID, study: Study, wanted: RunCreate, weights: dict[str, float], max_attempts: int, now: datetime
) -> Run:
    """A queued run of the study's present domain set, not yet stored."""
    settings = wanted.settings
    return Run(
        id=key,
        study_id=study.id,
        domain_set_id=study.domain_set.id,
        label=wanted.label,
        purpose=wanted.purpose,
        state=RunState.QUEUED,
        source=RunSource.PROXY,
        exclude_from_fit=wanted.exclude_from_fit,
        weights=weights,
        seed=wanted.seed,
        settings=settings.model_dump(mode="json") if settings else None,
        batch_key=settings.batch_key if settings else None,
        corpus_hash=settings.corpus_hash if settings else None,
        model_params=settings.model.non_embedding_params if settings else wanted.model_params,
        train_tokens=settings.train_tokens if settings else wanted.train_tokens,
        queue_rank=-wanted.priority,
        attempt=0,
        max_attempts=max_attempts,
        progress_tokens=0,
        created_at=now,
    )


def _take_losses(run: Run, wanted: RunCreate, targets: Sequence[str], field: str, now: datetime) -> None:
    """Make ``run`` one that was trained elsewhere and is finished."""
    losses = wanted.losses or {}
    for name in losses:
        if name not in targets:
            raise InvalidRequest.of(f"{field}.{name}", "no such target", ", ".join(targets[:20]))
    if not losses:
        raise InvalidRequest.of(field, "holds no loss", f"a loss of at least one of {', '.join(targets[:20])}")
    run.state, run.source = RunState.SUCCEEDED, RunSource.MANUAL
    run.losses = {name: Measured(value=value).model_dump(mode="json") for name, value in losses.items()}
    run.progress_tokens = wanted.train_tokens or 0
    run.finished_at = now


def read_runs(runs: Sequence[Run]) -> list[RunRead]:
    """Rows as the API shows them."""
    return [RunRead.model_validate(run) for run in runs]


def list_runs(
    session: Session, study_id: UUID, limit: int, cursor: str | None, state: RunState | None, purpose: str | None
) -> Page[RunRead]:
    """The runs of a study, oldest first."""
    find_study(session, study_id)
    rows = select(Run).where(Run.study_id == study_id)
    if state is not None:
        rows = rows.where(Run.state == state)
    if purpose is not None:
        rows = rows.where(Run.purpose == purpose)
    return page(session, rows, Run.id, limit, cursor, read_runs)


def find_run(session: Session, run_id: UUID, for_update: bool = False) -> Run:
    """The run; locked until the transaction ends when ``for_update``.

    Raises:
        NotFound: no run has this identifier.
    """
    run = session.get(Run, run_id, with_for_update=True if for_update else None)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    check_study(session, run.study_id)
    return run


def get_run(session: Session, run_id: UUID) -> RunRead:
    """One run."""
    return RunRead.model_validate(find_run(session, run_id))


def get_trajectory(session: Session, run_id: UUID) -> TrajectoryRead:
    """What the run's last attempt measured on the way, by tokens."""
    run = find_run(session, run_id)
    measured = session.scalars(
        select(Measurement)
        .where(Measurement.run_id == run.id, Measurement.attempt == run.attempt)
        .order_by(Measurement.train_tokens)
    )
    points = [TrajectoryPoint.model_validate({"train_tokens": m.train_tokens, "losses": m.losses}) for m in measured]
    return TrajectoryRead(run_id=run.id, points=points)


def cancel_run(session: Session, run_id: UUID, now: datetime) -> RunRead:
    """Take a run back. An agent that trains it learns so by its next heartbeat; cancelling twice is one cancelling.

    Raises:
        Conflict: the run has ended already.
    """
    run = find_run(session, run_id, for_update=True)
    if run.state in (RunState.QUEUED, RunState.LEASED):
        run.state = RunState.CANCELLED
        run.agent_id = run.lease_expires_at = None
        run.finished_at = now
        record(session, "run.cancelled", now, study_id=run.study_id, subject_id=run.id)
        session.commit()
    elif run.state is not RunState.CANCELLED:
        raise Conflict(f"run {run.id} has {run.state} already; only a queued or leased run can be cancelled")
    return RunRead.model_validate(run)
