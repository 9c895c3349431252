"""The history of a run: a row for every claim, closed when the attempt ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.models import RunAttempt
from app.schemas.common import Page
from app.schemas.runs import AttemptOutcome, AttemptRead
from app.services.budgets import Cost, flops_of, spend
from app.services.pages import page
from app.services.runs import find_run
from proxy_training.spec import Processor

_START = insert(RunAttempt)
_END = (
    update(RunAttempt)
    .where(RunAttempt.run_id == bindparam("of_run"), RunAttempt.attempt == bindparam("of_attempt"))
    .values(ended_at=bindparam("at"), outcome=bindparam("how"), reason=bindparam("why"))
)


@dataclass(frozen=True)
class Reported:
    """What an attempt took. ``processor`` is None where the agent did not say it again: what it claimed for counts."""

    flops: float
    seconds: float
    processor: Processor | None


@dataclass(frozen=True)
class _Held:
    """What an attempt held of its agent: its share of the time, over the runs that were claimed with it."""

    seconds: float
    processor: Processor


# Of an attempt that no claim is known of; what is not known to be on a CPU counts in GPU-hours.
_UNKNOWN = _Held(0.0, "gpu")


@dataclass(frozen=True)
class Ended:
    """How an attempt ended. ``reported`` is what its agent said that it took, or None where it said nothing."""

    run_id: UUID
    attempt: int
    outcome: AttemptOutcome
    reason: str | None
    at: datetime
    study_id: UUID
    model_params: int | None
    progress_tokens: int
    reported: Reported | None = None


def start_attempts(session: Session, runs: Sequence[Row], agent_id: UUID, processor: Processor, now: datetime) -> None:
    """Note that ``agent_id`` holds ``runs``, rows with an id and an attempt. The caller commits."""
    shared = {"agent_id": agent_id, "stack_size": len(runs), "processor": processor, "started_at": now}
    rows = [{"run_id": run.id, "attempt": run.attempt, **shared} for run in runs]
    session.connection().execute(_START, rows)


def end_attempts(session: Session, ended: Sequence[Ended]) -> None:
    """Close attempts and settle what they cost their studies. The caller commits, and soon: studies are locked."""
    if not ended:
        return
    unsaid = [one for one in ended if one.reported is None or one.reported.processor is None]
    held = _held(session, unsaid)
    rows = [
        {"of_run": one.run_id, "of_attempt": one.attempt, "at": one.at, "how": one.outcome, "why": one.reason}
        for one in ended
    ]
    session.connection().execute(_END, rows)
    spend(session, _by_study(ended, held))


def _by_study(ended: Iterable[Ended], held: Mapping[UUID, _Held]) -> dict[UUID, Cost]:
    costs: dict[UUID, Cost] = {}
    for one in ended:
        costs[one.study_id] = costs.get(one.study_id, Cost()) + _cost(one, held.get(one.run_id, _UNKNOWN))
    return costs


def _cost(one: Ended, held: _Held) -> Cost:
    if one.reported is None:
        return Cost.on(held.processor, flops_of(one.model_params, one.progress_tokens), held.seconds)
    return Cost.on(one.reported.processor or held.processor, one.reported.flops, one.reported.seconds)


def _held(session: Session, ended: Sequence[Ended]) -> dict[UUID, _Held]:
    if not ended:
        return {}
    until = {(one.run_id, one.attempt): one.at for one in ended}
    rows = session.execute(
        select(
            RunAttempt.run_id, RunAttempt.attempt, RunAttempt.started_at, RunAttempt.stack_size, RunAttempt.processor
        ).where(RunAttempt.run_id.in_([one.run_id for one in ended]), RunAttempt.ended_at.is_(None))
    )
    return {
        row.run_id: _Held(
            max((until[row.run_id, row.attempt] - row.started_at).total_seconds(), 0.0) / row.stack_size, row.processor
        )
        for row in rows
        if (row.run_id, row.attempt) in until
    }


def list_attempts(session: Session, run_id: UUID, limit: int, cursor: str | None) -> Page[AttemptRead]:
    """The attempts at a run, first to last."""
    rows = select(RunAttempt).where(RunAttempt.run_id == find_run(session, run_id).id)
    return page(
        session, rows, RunAttempt.attempt, limit, cursor, lambda found: [AttemptRead.model_validate(r) for r in found]
    )
