"""Takes in what runs measure on the way. Where its rule says so, a run is given up by its point.

Runs of a stack are measured together. They are judged by points that are all stored, so that the order in which they
are told does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.models import Measurement, Run, Target
from app.schemas.agents import MeasurementBatchCreate, MeasurementBatchRead, MeasurementCreate
from app.services.early_stopping import why_hopeless
from app.services.held_runs import held_run, holds, locked_runs
from app.services.measured_values import Units, values_of_targets
from app.services.run_changes import prune
from proxy_training.spec import TrajectoryPoint

_TARGETS = (
    select(Target.study_id, Target.name, Target.unit)
    .where(Target.study_id.in_(bindparam("study_ids", expanding=True)))
    .order_by(Target.position)
)
_PROGRESS = (
    update(Run)
    .where(Run.id.in_(bindparam("run_ids", expanding=True)), Run.progress_tokens < bindparam("tokens"))
    .values(progress_tokens=bindparam("tokens"))
)

# What runs measured after as many tokens: ``{target: {"value", "stderr"}}`` by run.
_Measured = Mapping[UUID, Mapping[str, Any]]


def measure(session: Session, run_id: UUID, body: MeasurementCreate, now: datetime) -> None:
    """Take in a point of the trajectory; the same point again replaces it. It may be the last one of its run.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    _take_in(session, [(held_run(session, run_id, body.attempt), body.point)], now)
    session.commit()


def measure_many(session: Session, body: MeasurementBatchCreate, now: datetime) -> MeasurementBatchRead:
    """Take in points of a stack. Runs whose points come too late are named; the others count all the same."""
    runs = locked_runs(session, {report.run_id for report in body.points})
    held: list[tuple[Row, TrajectoryPoint]] = []
    lost: list[UUID] = []
    for report in body.points:
        run = runs.get(report.run_id)
        if run is None or not holds(run, report.attempt):
            lost.append(report.run_id)
        else:
            held.append((run, report.point))
    lost += _take_in(session, held, now)
    session.commit()
    return MeasurementBatchRead(lost=list(dict.fromkeys(lost)))


def units_of_targets(session: Session, study_ids: Collection[UUID]) -> dict[UUID, dict[str, str]]:
    """The unit of each target of each study."""
    found: dict[UUID, dict[str, str]] = {}
    for study_id, name, unit in session.connection().execute(_TARGETS, {"study_ids": list(study_ids)}):
        found.setdefault(study_id, {})[name] = unit
    return found


def store_points(session: Session, run: Row, points: Iterable[TrajectoryPoint], units: Units) -> None:
    """Insert or replace points of the run's attempt; of two at the same tokens the later one counts."""
    by_tokens = {point.train_tokens: values_of_targets(units, point.losses, point.metrics) for point in points}
    _insert(session, [_row(run, tokens, losses) for tokens, losses in by_tokens.items()])


def _take_in(session: Session, held: Collection[tuple[Row, TrajectoryPoint]], now: datetime) -> Collection[UUID]:
    """Store points of runs that are locked and held. Returns the runs that are given up by them.

    A run has its points in the order of their tokens, and none after the one that it is given up by.
    """
    units = units_of_targets(session, {run.study_id for run, _ in held})
    runs = {run.id: run for run, _ in held}
    measured: dict[int, dict[UUID, dict[str, Any]]] = {}
    for run, point in held:
        values = values_of_targets(units[run.study_id], point.losses, point.metrics)
        measured.setdefault(point.train_tokens, {})[run.id] = values
    hopeless: dict[UUID, str] = {}
    for tokens in sorted(measured):
        here = {run_id: losses for run_id, losses in measured[tokens].items() if run_id not in hopeless}
        if here:
            _store(session, runs, tokens, here)
            hopeless |= why_hopeless(session, tokens, here)
    # At last and together, for this locks their studies: see the order of locks in ``queue.py``.
    prune(session, hopeless, now)
    return hopeless.keys()


def _store(session: Session, runs: Mapping[UUID, Row], tokens: int, measured: _Measured) -> None:
    _insert(session, [_row(runs[run_id], tokens, losses) for run_id, losses in measured.items()])
    session.connection().execute(_PROGRESS, {"run_ids": list(measured), "tokens": tokens})


def _row(run: Row, tokens: int, losses: Mapping[str, Any]) -> dict[str, Any]:
    return {"run_id": run.id, "attempt": run.attempt, "train_tokens": tokens, "losses": losses}


def _insert(session: Session, rows: Collection[dict[str, Any]]) -> None:
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Measurement)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["run_id", "attempt", "train_tokens"], set_={"losses": statement.excluded.losses}
        ),
        list(rows),
    )
