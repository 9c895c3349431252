"""What proxy runs cost their study: reserved while an agent holds them, settled when the attempt ends.

    FLOPs        6 N D for N non-embedding parameters and D trained tokens
    seconds      as the agent reports them; of a broken attempt, its share of the time that it held its agent

Seconds on GPUs and on CPUs are counted apart, and a budget of GPU-hours binds claims for GPUs alone. What an agent
claims a run for counts until its result says what it was trained on; an agent that says neither counts as one with a
GPU, so that a budget is never passed by what was not said. What a FLOP takes is known of GPUs from runs on GPUs only.

A study's row is locked after the rows of runs, and several studies in the order of their ids, so that no two
transactions wait for each other in a ring.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Double,
    Row,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.models import Run, RunAttempt, Study
from app.schemas.budgets import BudgetRead
from app.schemas.runs import RunState
from proxy_training.spec import Processor

_FLOPS_A_PARAMETER_AND_TOKEN = 6.0
_SECONDS_AN_HOUR = 3600.0
# Sums of large floats are off by rounding; a budget of exactly ten runs must have room for the tenth.
_ROUNDING = 1e-9

_SPEND = (
    update(Study)
    .where(Study.id == bindparam("of_study"))
    .values(
        spent_flops=Study.spent_flops + bindparam("more_flops"),
        spent_gpu_flops=Study.spent_gpu_flops + bindparam("more_gpu_flops"),
        spent_gpu_seconds=Study.spent_gpu_seconds + bindparam("more_gpu_seconds"),
        spent_cpu_seconds=Study.spent_cpu_seconds + bindparam("more_cpu_seconds"),
    )
)
_HAS_BUDGET = or_(Study.budget_flops.is_not(None), Study.budget_gpu_hours.is_not(None))
_LIMITED = select(Study.id).where(
    _HAS_BUDGET,
    select(Run.id).where(Run.study_id == Study.id, Run.state == RunState.QUEUED).exists(),
)


@dataclass(frozen=True)
class Cost:
    """Of one or several attempts; ``gpu_flops`` are those of the ``flops`` that a GPU did."""

    flops: float = 0.0
    gpu_flops: float = 0.0
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def on(cls, processor: Processor, flops: float, seconds: float) -> Cost:
        """Of one attempt."""
        if processor == "cpu":
            return cls(flops, cpu_seconds=seconds)
        return cls(flops, gpu_flops=flops, gpu_seconds=seconds)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.gpu_flops + other.gpu_flops,
            self.gpu_seconds + other.gpu_seconds,
            self.cpu_seconds + other.cpu_seconds,
        )


def flops_of(model_params: int | None, tokens: int) -> float:
    """6ND; 0 for a run of unknown size."""
    return _FLOPS_A_PARAMETER_AND_TOKEN * (model_params or 0) * tokens


def run_flops() -> ColumnElement[float]:
    """6ND of a row of runs, trained to its end."""
    params, tokens = func.coalesce(Run.model_params, 0), func.coalesce(Run.train_tokens, 0)
    return literal(_FLOPS_A_PARAMETER_AND_TOKEN) * cast(params, Double) * cast(tokens, Double)


def spend(session: Session, costs: Mapping[UUID, Cost]) -> None:
    """Add to what studies have spent. The caller commits, and does so soon: the rows of the studies stay locked."""
    rows = [
        {"of_study": study_id} | {f"more_{name}": amount for name, amount in asdict(cost).items()}
        for study_id, cost in sorted(costs.items())
    ]
    session.connection().execute(_SPEND, rows)


@dataclass(frozen=True)
class Room:
    """How much of a study's budget is left; infinite without a limit. ``seconds_a_flop`` is its rate on GPUs so far."""

    study_id: UUID
    flops: float
    gpu_seconds: float
    seconds_a_flop: float

    @property
    def left_flops(self) -> float:
        """The FLOPs that may still be handed out; 0 or less when nothing may."""
        if self.gpu_seconds <= 0:
            return 0.0
        if self.seconds_a_flop <= 0:
            return self.flops
        return min(self.flops, self.gpu_seconds / self.seconds_a_flop)


def limited_studies(session: Session) -> list[UUID]:
    """The studies with a budget that have runs waiting."""
    return list(session.connection().scalars(_LIMITED))


def lock_studies(session: Session, study_ids: Collection[UUID]) -> None:
    """Lock the rows of studies, in the one order, until the transaction ends."""
    if not study_ids:
        return
    rows = select(Study.id).where(Study.id.in_(study_ids)).order_by(Study.id)
    session.execute(rows.with_for_update(key_share=True)).all()


def rooms(session: Session, study_ids: Sequence[UUID], processor: Processor) -> list[Room]:
    """What is left, on such a processor, to those of the studies that can be given only so much, less what is reserved
    for runs in work."""
    if not study_ids:
        return []
    found = [_room(row, processor) for row in _read(session, study_ids)]
    return [room for room in found if room.left_flops < float("inf")]


def fits(bounded: Sequence[Room]) -> ColumnElement[bool]:
    """Whether a row of runs, alone, has room in the budget of its study."""
    full = [room.study_id for room in bounded if room.left_flops <= 0]
    rest = [room for room in bounded if room.left_flops > 0]
    return and_(
        Run.study_id.not_in(full),
        *(or_(Run.study_id != room.study_id, run_flops() <= room.left_flops) for room in rest),
    )


def has_known_room(locked: BindParameter[Sequence[UUID]]) -> ColumnElement[bool]:
    """Whether a row of runs belongs to a study without a budget, or to one that was ``locked`` before its room was
    looked up. One may have got its budget, or its first runs, since the limited studies were looked for."""
    return Run.study_id.not_in(select(Study.id).where(_HAS_BUDGET, Study.id.not_in(locked)))


def room_left(bounded: Sequence[Room], study_id: ColumnElement[UUID]) -> ColumnElement[float]:
    """The FLOPs left to the study of a row, of at least one bounded study; no run costs as much as the others have."""
    known = ((study_id == room.study_id, literal(room.left_flops, Double)) for room in bounded)
    return case(*known, else_=literal(1e300, Double))


def budget_of(session: Session, study_ids: Sequence[UUID]) -> dict[UUID, BudgetRead]:
    """The budgets of studies, as the API shows them."""
    return {row.id: _shown(session, row) for row in _read(session, study_ids)}


def _read(session: Session, study_ids: Sequence[UUID]) -> Sequence[Row]:
    on_gpu = case((RunAttempt.processor == "cpu", 0.0), else_=run_flops())
    reserved = (
        select(Run.study_id, func.sum(run_flops()).label("flops"), func.sum(on_gpu).label("gpu_flops"))
        .outerjoin(RunAttempt, (RunAttempt.run_id == Run.id) & (RunAttempt.attempt == Run.attempt))
        .where(Run.study_id.in_(study_ids), Run.state == RunState.LEASED)
        .group_by(Run.study_id)
        .subquery()
    )
    return session.execute(
        select(
            Study.id,
            Study.budget_flops,
            Study.budget_gpu_hours,
            Study.spent_flops,
            Study.spent_gpu_flops,
            Study.spent_gpu_seconds,
            Study.spent_cpu_seconds,
            func.coalesce(reserved.c.gpu_flops, 0.0).label("reserved_gpu_flops"),
            func.coalesce(reserved.c.flops, 0.0).label("reserved_flops"),
        )
        .outerjoin(reserved, reserved.c.study_id == Study.id)
        .where(Study.id.in_(study_ids))
    ).all()


def _rate(seconds: float, flops: float) -> float:
    return seconds / flops if flops > 0 else 0.0


def _gpu_rate(row: Row) -> float:
    return _rate(row.spent_gpu_seconds, row.spent_gpu_flops)


def _room(row: Row, processor: Processor) -> Room:
    rate = _gpu_rate(row)
    hours = None if processor == "cpu" else row.budget_gpu_hours
    used_seconds = row.spent_gpu_seconds + row.reserved_gpu_flops * rate
    return Room(
        study_id=row.id,
        flops=_left(row.budget_flops, row.spent_flops + row.reserved_flops),
        gpu_seconds=_left(None if hours is None else hours * _SECONDS_AN_HOUR, used_seconds),
        seconds_a_flop=rate,
    )


def _left(limit: float | None, used: float) -> float:
    if limit is None:
        return float("inf")
    return 0.0 if used >= limit else limit * (1 + _ROUNDING) - used


def _shown(session: Session, row: Row) -> BudgetRead:
    on_cpu = row.spent_flops - row.spent_gpu_flops
    reserved_on_cpu = row.reserved_flops - row.reserved_gpu_flops
    return BudgetRead(
        flops=row.budget_flops,
        gpu_hours=row.budget_gpu_hours,
        spent_flops=row.spent_flops,
        reserved_flops=row.reserved_flops,
        spent_gpu_hours=row.spent_gpu_seconds / _SECONDS_AN_HOUR,
        reserved_gpu_hours=row.reserved_gpu_flops * _gpu_rate(row) / _SECONDS_AN_HOUR,
        spent_cpu_hours=row.spent_cpu_seconds / _SECONDS_AN_HOUR,
        reserved_cpu_hours=reserved_on_cpu * _rate(row.spent_cpu_seconds, on_cpu) / _SECONDS_AN_HOUR,
        exhausted=_is_exhausted(session, row, "gpu"),
        exhausted_on_cpu=_is_exhausted(session, row, "cpu"),
    )


def _is_exhausted(session: Session, row: Row, processor: Processor) -> bool:
    left = _room(row, processor).left_flops
    return left <= 0 or (left < float("inf") and _next_flops(session, row.id) > left)


def _next_flops(session: Session, study_id: UUID) -> float:
    """What the oldest queued run would cost; 0 when none waits."""
    oldest = select(run_flops()).where(Run.study_id == study_id, Run.state == RunState.QUEUED)
    return session.scalar(oldest.order_by(Run.id).limit(1)) or 0.0
