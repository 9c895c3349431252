"""Runs, as users make and read them. How they change is ``run_changes.py``, ``queue.py``, ``measurements.py`` and
``reports.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, insert, select, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidRequest, NotFound, listed
from app.ids import first_id, new_ids
from app.models import Measurement, Run, Study
from app.schemas.common import Page
from app.schemas.runs import (
    Loss,
    LossPoint,
    RunBatchCreate,
    RunCreate,
    RunFilter,
    RunQuery,
    RunRead,
    RunsCreated,
    RunSource,
    RunState,
    TrajectoryRead,
)
from app.services.access import visible
from app.services.domain_versions import names_of
from app.services.events import record
from app.services.pages import one_page, page
from app.services.run_content import content_key, skip_known
from app.services.stages import Mixture, mixture_of
from app.services.studies import find_study

Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])

# Fewer than SQLite allows as parameters of one statement.
_NAMES_AT_ONCE = 10_000


def create_runs(
    session: Session, study_id: UUID, body: RunBatchCreate, max_attempts: int, now: datetime
) -> RunsCreated:
    """Queue proxy runs and take in runs that were trained elsewhere; all of the batch or none.

    What the study has already is not queued again, unless the body asks for that.

    Raises:
        InvalidRequest: naming the first run and field that is wrong.
        Conflict: naming the first ``external_id`` that the study has already.
    """
    study = find_study(session, study_id)
    names = names_of(study.domain_set)
    targets = [target.name for target in study.targets]
    _check_external_ids(session, study.id, body.runs)
    runs, points, renormalised = [], [], 0
    for i, (key, wanted) in enumerate(zip(new_ids(len(body.runs), now), body.runs, strict=True)):
        mixture = mixture_of(wanted, names, f"runs.{i}")
        renormalised += mixture.renormalised
        run = new_run(key, study, wanted, mixture, max_attempts, now)
        if wanted.losses is not None:
            _take_losses(run, wanted, targets, f"runs.{i}.losses", now)
            points += [_point(key, point) for point in wanted.trajectory]
        runs.append(run)
    runs, skipped = (runs, []) if body.repeat else skip_known(session, study, runs)
    if runs:
        _insert(session, runs)
        created = {"count": len(runs), "first": str(runs[0].id), "last": str(runs[-1].id)}
        record(session, "runs.created", now, study_id=study.id, data=created)
    if points:
        session.execute(insert(Measurement), points)
    session.commit()
    return RunsCreated(runs=read_runs(runs), skipped=skipped, renormalised=renormalised)


def new_run(key: UUID, study: Study, wanted: RunCreate, mixture: Mixture, max_attempts: int, now: datetime) -> Run:
    """A queued run of the study's present domain set, not yet stored."""
    settings = wanted.settings
    run = Run(
        id=key,
        study_id=study.id,
        domain_set_id=study.domain_set.id,
        label=wanted.label,
        purpose=wanted.purpose,
        state=RunState.QUEUED,
        source=RunSource.PROXY,
        fidelity=wanted.fidelity,
        exclude_from_fit=wanted.exclude_from_fit,
        weights=mixture.weights,
        stages=mixture.stages,
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
        external_id=wanted.external_id,
        created_at=now,
    )
    run.content_key = content_key(run)
    return run


def _take_losses(run: Run, wanted: RunCreate, targets: Sequence[str], field: str, now: datetime) -> None:
    """Make ``run`` one that was trained elsewhere and is finished."""
    losses = wanted.losses or {}
    for name in losses:
        if name not in targets:
            raise InvalidRequest.of(f"{field}.{name}", "no such target", listed(targets))
    if not losses:
        raise InvalidRequest.of(field, "holds no loss", f"a loss of at least one of {listed(targets)}")
    run.state, run.source = RunState.SUCCEEDED, RunSource.MANUAL
    run.losses = {name: _measured(value).model_dump(mode="json") for name, value in losses.items()}
    run.progress_tokens = wanted.train_tokens or 0
    run.finished_at = now


def _measured(loss: float | Loss) -> Loss:
    return loss if isinstance(loss, Loss) else Loss(value=loss)


def _point(run_id: UUID, point: LossPoint) -> dict[str, Any]:
    """A row of measurements. A run that no agent trained has attempt 0."""
    losses = {name: measured.model_dump(mode="json") for name, measured in point.losses.items()}
    return {"run_id": run_id, "attempt": 0, "train_tokens": point.train_tokens, "losses": losses}


def _check_external_ids(session: Session, study_id: UUID, wanted: Sequence[RunCreate]) -> None:
    given = [run.external_id for run in wanted if run.external_id is not None]
    twice = [name for name, count in Counter(given).items() if count > 1]
    for start in range(0, len(given), _NAMES_AT_ONCE):
        some = given[start : start + _NAMES_AT_ONCE]
        taken = session.scalar(
            select(Run.external_id).where(Run.study_id == study_id, Run.external_id.in_(some)).limit(1)
        )
        if taken is not None:
            raise Conflict(f"the study has a run with the external_id {taken!r} already; nothing was stored")
    if twice:
        raise Conflict(f"the external_id {twice[0]!r} is given twice; nothing was stored")


def _insert(session: Session, runs: Sequence[Run]) -> None:
    """Store new runs: one statement for all, many times as fast as one object at a time."""
    columns = [column.key for column in Run.__mapper__.column_attrs]
    rows = [{name: getattr(run, name) for name in columns} for run in runs]
    try:
        session.execute(insert(Run), rows)
    except IntegrityError as exc:
        # Another call has taken the name since we looked.
        raise Conflict("the study has a run with one of these external_ids already; nothing was stored") from exc


def read_runs(runs: Sequence[Run]) -> list[RunRead]:
    """Rows as the API shows them."""
    return [RunRead.model_validate(run) for run in runs]


def list_runs(session: Session, study_id: UUID, query: RunQuery) -> Page[RunRead]:
    """The runs of a study, oldest first."""
    find_study(session, study_id)
    rows = _asked_for(select(Run).where(Run.study_id == study_id), query)
    if query.state:
        # An index walks the runs of one state; a page of several states is among the pages of each.
        each = [
            one_page(
                _asked_for(select(Run.id).where(Run.study_id == study_id, Run.state == state), query),
                Run.id,
                query.limit,
                query.cursor,
            ).subquery()
            for state in dict.fromkeys(query.state)
        ]
        rows = select(Run).where(Run.id.in_(union_all(*(select(one.c.id) for one in each))))
    return page(session, rows, Run.id, query.limit, query.cursor, read_runs)


def _asked_for(rows: Rows, query: RunQuery) -> Rows:
    rows = filtered(rows, query)
    return rows if query.agent_id is None else rows.where(Run.agent_id == query.agent_id)


def filtered(rows: Rows, wanted: RunFilter) -> Rows:
    """The rows of runs that are as ``wanted``."""
    for column, value in (
        (Run.purpose, wanted.purpose),
        (Run.source, wanted.source),
        (Run.fidelity, wanted.fidelity),
        (Run.exclude_from_fit, wanted.exclude_from_fit),
        (Run.recommendation_id, wanted.recommendation_id),
        (Run.model_params, wanted.model_params),
    ):
        if value is not None:
            rows = rows.where(column == value)
    if wanted.staged is not None:
        rows = rows.where(Run.stages.is_not(None) if wanted.staged else Run.stages.is_(None))
    if wanted.label:
        rows = rows.where(Run.label.icontains(wanted.label, autoescape=True))
    if wanted.created_after is not None:
        # Identifiers sort by creation: the first condition is where the index starts.
        rows = rows.where(Run.id >= first_id(wanted.created_after), Run.created_at > wanted.created_after)
    return rows


def find_run(session: Session, run_id: UUID, for_update: bool = False) -> Run:
    """The run; locked until the transaction ends when ``for_update``.

    Raises:
        NotFound: no run has this identifier.
    """
    rows = visible(session, select(Run), Run.study_id).where(Run.id == run_id)
    run = session.scalar(rows.with_for_update(key_share=True) if for_update else rows)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
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
    points = [LossPoint.model_validate({"train_tokens": m.train_tokens, "losses": m.losses}) for m in measured]
    return TrajectoryRead(run_id=run.id, points=points)
