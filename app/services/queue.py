"""The queue of proxy runs: every transition that an agent or a clock can cause.

    queued --claim--> leased --complete--> succeeded, or failed when it diverged
    leased --fail--> queued while attempts are left, else failed
    leased --lease runs out--> queued while attempts are left, else failed
    leased --release--> queued, and the attempt does not count
    queued, leased --cancel--> cancelled (``runs.py``)

The table is the queue. A claim raises ``attempt``; every later write of the agent names that number and changes
nothing once another attempt holds the run or none does. Delivery is at least once, a result counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import String, Update, cast, literal, select, update
from sqlalchemy.orm import Session

from app.errors import LeaseLost
from app.models import Measurement, Run, Target
from app.schemas.agents import (
    ClaimCreate,
    ClaimedRun,
    ClaimRead,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeartbeatRead,
    MeasurementCreate,
    ReleaseCreate,
)
from app.schemas.runs import RunState
from app.services.agents import seen_agent
from app.services.runs import find_run
from proxy_training.spec import ProxyResult, ProxySettings, ProxySpec, Stage, TrajectoryPoint


def claim(session: Session, body: ClaimCreate, now: datetime) -> ClaimRead:
    """Lease the next batch: the first queued run that the agent has the corpus for, and others it can train with.

    Raises:
        NotFound: the agent is not registered.
    """
    agent = seen_agent(session, body.agent_id, now)
    requeue_expired(session, now)
    statement = _claim_statement(body, agent.id, now)
    runs = session.scalars(statement, execution_options={"synchronize_session": False}).all()
    session.commit()
    ordered = sorted(runs, key=lambda run: (run.queue_rank, run.id))
    claimed = [ClaimedRun(run_id=run.id, attempt=run.attempt, spec=_spec(run)) for run in ordered]
    return ClaimRead(runs=claimed, lease_seconds=body.lease_seconds)


def _claim_statement(body: ClaimCreate, agent_id: UUID, now: datetime) -> Update:
    """One statement. On PostgreSQL rows that another claim holds are skipped; on SQLite claims take turns."""
    queued = Run.state == RunState.QUEUED
    order = (Run.queue_rank, Run.id)
    head = (
        select(Run.batch_key)
        .where(queued, Run.corpus_hash.in_(body.corpus_hashes))
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("head")
    )
    batch = (
        select(Run.id)
        .where(queued, Run.batch_key == select(head.c.batch_key).scalar_subquery())
        .order_by(*order)
        .limit(body.max_runs)
        .with_for_update(skip_locked=True)
        .cte("batch")
    )
    return (
        update(Run)
        .where(Run.id.in_(select(batch.c.id)))
        .values(
            state=RunState.LEASED,
            attempt=Run.attempt + 1,
            agent_id=agent_id,
            lease_expires_at=now + timedelta(seconds=body.lease_seconds),
            started_at=now,
            progress_tokens=0,
            error=None,
        )
        .returning(Run)
    )


def _spec(run: Run) -> ProxySpec:
    settings = ProxySettings.model_validate(run.settings)
    stage = Stage(from_token=0, to_token=settings.train_tokens, weights=run.weights)
    return ProxySpec(settings=settings, stages=(stage,), seed=run.seed)


def heartbeat(session: Session, agent_id: UUID, body: HeartbeatCreate, now: datetime) -> HeartbeatRead:
    """Extend the leases that the agent still holds and name those that it lost.

    Raises:
        NotFound: the agent is not registered.
    """
    seen_agent(session, agent_id, now)
    wanted = [held.run_id for held in body.runs]
    # Locked in one order, so that two heartbeats never wait for each other in a ring.
    rows = session.scalars(select(Run).where(Run.id.in_(wanted)).order_by(Run.id).with_for_update())
    runs = {run.id: run for run in rows}
    lost = []
    for held in body.runs:
        run = runs.get(held.run_id)
        if run is None or not _holds(run, held.attempt) or run.agent_id != agent_id:
            lost.append(held.run_id)
            continue
        run.lease_expires_at = now + timedelta(seconds=body.lease_seconds)
        run.progress_tokens = max(run.progress_tokens, held.progress_tokens)
    session.commit()
    return HeartbeatRead(lost=lost)


def measure(session: Session, run_id: UUID, body: MeasurementCreate) -> None:
    """Take in a point of the trajectory; the same point again replaces it.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = _held_run(session, run_id, body.attempt)
    _store_points(session, run, [body.point])
    run.progress_tokens = max(run.progress_tokens, body.point.train_tokens)
    session.commit()


def complete(session: Session, run_id: UUID, body: CompletionCreate, now: datetime) -> None:
    """Take in the result. The same attempt may report again, for its first answer may have been lost on the way.

    A diverged run has failed: training it again would diverge again.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = find_run(session, run_id, for_update=True)
    if run.attempt == body.attempt and run.result is not None:
        return
    _require_lease(run, body.attempt)
    result = body.result
    targets = session.scalars(select(Target.name).where(Target.study_id == run.study_id)).all()
    losses = {name: result.losses[name].model_dump(mode="json") for name in targets if name in result.losses}
    run.error = _why_no_data_point(result, losses, targets)
    run.state = RunState.SUCCEEDED if run.error is None else RunState.FAILED
    run.losses = losses or None
    run.result = result.model_dump(mode="json", exclude={"trajectory"})
    run.realised_weights = dict(result.realised_weights) or None
    run.wall_seconds = result.wall_seconds
    run.progress_tokens = result.train_tokens
    run.lease_expires_at = None
    run.finished_at = now
    _store_points(session, run, result.trajectory)
    session.commit()


def _why_no_data_point(result: ProxyResult, losses: Mapping[str, object], targets: Sequence[str]) -> str | None:
    if result.status == "diverged":
        return f"diverged: {result.message or 'the loss was not finite'}"
    if not losses:
        return f"it measured {', '.join(result.losses)}, but the targets of the study are {', '.join(targets)}"
    return None


def fail(session: Session, run_id: UUID, body: FailureCreate, now: datetime) -> None:
    """The attempt broke. The run is queued again when the agent asks for it and attempts are left.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = _held_run(session, run_id, body.attempt)
    run.error = f"attempt {run.attempt} of {run.max_attempts} failed: {body.reason}"
    if body.retry and run.attempt < run.max_attempts:
        _back_to_queue(run)
    else:
        run.state, run.lease_expires_at, run.finished_at = RunState.FAILED, None, now
    session.commit()


def release(session: Session, run_id: UUID, body: ReleaseCreate) -> None:
    """The agent gives the run back unharmed. The next claim has a new number, and as many attempts remain as before.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = _held_run(session, run_id, body.attempt)
    run.max_attempts += 1
    _back_to_queue(run)
    session.commit()


def sweep(session: Session, now: datetime) -> None:
    """Return every run whose lease ran out; called now and then, so that this happens without a claim too."""
    requeue_expired(session, now)
    session.commit()


def requeue_expired(session: Session, now: datetime) -> None:
    """Expired leases go back to the queue, or fail when they were the last attempt. The caller commits."""
    expired = (Run.state == RunState.LEASED, Run.lease_expires_at < now)
    reason = (
        literal("the lease of attempt ")
        + cast(Run.attempt, String)
        + literal(" of ")
        + cast(Run.max_attempts, String)
        + literal(" ran out: its agent sent no heartbeat")
    )
    options = {"synchronize_session": False}
    session.execute(
        update(Run)
        .where(*expired, Run.attempt >= Run.max_attempts)
        .values(state=RunState.FAILED, lease_expires_at=None, error=reason, finished_at=now),
        execution_options=options,
    )
    session.execute(
        update(Run)
        .where(*expired, Run.attempt < Run.max_attempts)
        .values(state=RunState.QUEUED, lease_expires_at=None, agent_id=None, error=reason),
        execution_options=options,
    )


def _holds(run: Run, attempt: int) -> bool:
    return run.state is RunState.LEASED and run.attempt == attempt


def _require_lease(run: Run, attempt: int) -> None:
    if not _holds(run, attempt):
        raise LeaseLost(
            f"run {run.id} is {run.state} at attempt {run.attempt}; attempt {attempt} may not write to it any more"
        )


def _held_run(session: Session, run_id: UUID, attempt: int) -> Run:
    run = find_run(session, run_id, for_update=True)
    _require_lease(run, attempt)
    return run


def _back_to_queue(run: Run) -> None:
    run.state = RunState.QUEUED
    run.agent_id = run.lease_expires_at = None


def _store_points(session: Session, run: Run, points: Sequence[TrajectoryPoint]) -> None:
    """Insert or replace the points of the present attempt."""
    tokens = [point.train_tokens for point in points]
    stored = select(Measurement).where(
        Measurement.run_id == run.id, Measurement.attempt == run.attempt, Measurement.train_tokens.in_(tokens)
    )
    known = {row.train_tokens: row for row in session.scalars(stored)} if tokens else {}
    for point in points:
        losses = {name: measured.model_dump(mode="json") for name, measured in point.losses.items()}
        if point.train_tokens in known:
            known[point.train_tokens].losses = losses
            continue
        row = Measurement(run_id=run.id, attempt=run.attempt, train_tokens=point.train_tokens, losses=losses)
        known[point.train_tokens] = row
        session.add(row)
