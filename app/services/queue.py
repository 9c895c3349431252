"""The queue of proxy runs: how agents get them, keep them and lose them. What they report is
``measurements.py`` and ``reports.py``.

    queued --claim--> leased --complete--> succeeded, or failed when it diverged
    leased --fail--> queued while attempts are left, else failed
    leased --lease runs out--> queued while attempts are left, else stale
    leased --release--> queued, and the attempt does not count
    queued, leased --cancel--> cancelled; leased --prune--> pruned; ended --retry--> queued (``run_changes.py``)

The table is the queue. A claim raises ``attempt``; every later write of the agent names that number and changes
nothing once another attempt holds the run or none does. Delivery is at least once, a result counts once.

Rows are locked in one order, so that no two transactions wait for each other in a ring: an agent, runs by id, studies
by id. A claim and a sweep never wait for a run: what another transaction holds they leave to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from app.models import Run
from app.schemas.agents import ClaimCreate, ClaimedRun, ClaimRead, HeartbeatCreate, HeartbeatRead
from app.schemas.runs import AttemptOutcome, RunState
from app.services.access import caller, visible
from app.services.agents import SeenAgent, announce, seen_agent
from app.services.attempts import Ended, end_attempts, start_attempts
from app.services.budgets import Room, fits, has_known_room, limited_studies, lock_studies, room_left, rooms, run_flops
from app.services.events import record
from proxy_training.spec import ProxySettings, ProxySpec, Stage

# More expired leases than this wait for the next claim or sweep, so that none takes long.
_EXPIRED_AT_ONCE = 500
_UNSYNCED = {"synchronize_session": False}


def claim(session: Session, body: ClaimCreate, now: datetime) -> ClaimRead:
    """Lease the next batch: the first queued run that the agent may have, and others it can train with.

    An agent may have runs of the corpora it names, of the studies its key may see, and of those studies whose budget
    has room for them. An agent that drains gets none.

    Raises:
        NotFound: the agent is not registered.
    """
    agent = seen_agent(session, body.agent_id, now)
    announce(session, agent, body.corpus_hashes)
    expired = _take_back_expired(session, now)
    limited = [] if agent.draining else limited_studies(session)
    lock_studies(session, {*limited, *(attempt.study_id for attempt in expired)})
    end_attempts(session, expired)
    runs = [] if agent.draining else _lease_batch(session, body, agent, limited, now)
    if runs:
        start_attempts(session, runs, agent.id, body.processor, now)
        for study_id, count in Counter(run.study_id for run in runs).items():
            record(session, "runs.claimed", now, study_id=study_id, subject_id=agent.id, data={"count": count})
    session.commit()
    return ClaimRead(runs=_specs(runs), lease_seconds=body.lease_seconds)


def _lease_batch(
    session: Session, body: ClaimCreate, agent: SeenAgent, limited: Sequence[UUID], now: datetime
) -> Sequence[Row]:
    bounded = rooms(session, limited, body.processor)
    only = agent.study_id or caller(session).study_id
    statement = _CLAIM if only is None and not bounded else _claim_statement(only, bounded)
    given = {
        "corpora": body.corpus_hashes,
        "locked": limited,
        "most": body.max_runs,
        "claiming": agent.id,
        "until": now + timedelta(seconds=body.lease_seconds),
        "now": now,
    }
    return sorted(session.connection().execute(statement, given), key=lambda run: (run.queue_rank, run.id))


def _claim_statement(study_id: UUID | None, bounded: Sequence[Room]) -> ReturningUpdate[*tuple[Any, ...]]:
    """One statement. On PostgreSQL rows that another claim holds are skipped; on SQLite claims take turns.

    Args:
        study_id: the one study whose runs may be claimed, or None for all.
        bounded: studies that can be given only so much.
    """
    wanted = [
        Run.state == RunState.QUEUED,
        Run.corpus_hash.in_(bindparam("corpora", expanding=True)),
        has_known_room(bindparam("locked", expanding=True)),
    ]
    if study_id is not None:
        wanted.append(Run.study_id == study_id)
    if bounded:
        wanted.append(fits(bounded))
    order = (Run.queue_rank, Run.id)
    head = (
        select(Run.batch_key)
        .where(*wanted)
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("head")
    )
    batch = (
        select(Run.id, Run.study_id, Run.queue_rank, run_flops().label("flops"))
        .where(*wanted, Run.batch_key == select(head.c.batch_key).scalar_subquery())
        .order_by(*order)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, key_share=True)
        .cte("batch")
    )
    chosen = select(batch.c.id)
    if bounded:
        so_far = func.sum(batch.c.flops).over(partition_by=batch.c.study_id, order_by=(batch.c.queue_rank, batch.c.id))
        summed = select(batch.c.id, batch.c.study_id, so_far.label("so_far")).cte("summed")
        chosen = select(summed.c.id).where(summed.c.so_far <= room_left(bounded, summed.c.study_id))
    return (
        update(Run)
        .where(Run.id.in_(chosen))
        .values(
            state=RunState.LEASED,
            attempt=Run.attempt + 1,
            agent_id=bindparam("claiming"),
            lease_expires_at=bindparam("until"),
            started_at=bindparam("now"),
            progress_tokens=0,
            error=None,
        )
        .returning(Run.id, Run.study_id, Run.attempt, Run.queue_rank, Run.seed, Run.weights, Run.stages, Run.settings)
    )


# Statements of the busiest calls are built once: building one takes as long as carrying it out.
_CLAIM = _claim_statement(None, ())
_EXPIRED = (
    select(
        Run.id,
        Run.study_id,
        Run.attempt,
        Run.max_attempts,
        Run.model_params,
        Run.progress_tokens,
        Run.lease_expires_at,
    )
    .where(Run.state == RunState.LEASED, Run.lease_expires_at < bindparam("now"))
    .order_by(Run.lease_expires_at)
    .limit(_EXPIRED_AT_ONCE)
    .with_for_update(skip_locked=True, key_share=True)
)


def _specs(runs: Sequence[Row]) -> list[ClaimedRun]:
    """What the agent is told. The runs of a batch share their settings, so these are read once."""
    if not runs:
        return []
    settings = ProxySettings.model_validate(runs[0].settings)
    return [
        ClaimedRun(
            run_id=run.id,
            attempt=run.attempt,
            spec=ProxySpec(settings=settings, stages=_stages(run, settings.train_tokens), seed=run.seed),
        )
        for run in runs
    ]


def _stages(run: Row, train_tokens: int) -> tuple[Stage, ...]:
    stages = run.stages or [{"from_token": 0, "to_token": train_tokens, "weights": run.weights}]
    return tuple(Stage.model_validate(stage) for stage in stages)


def heartbeat(session: Session, agent_id: UUID, body: HeartbeatCreate, now: datetime) -> HeartbeatRead:
    """Extend the leases that the agent still holds and name those that it lost.

    Raises:
        NotFound: the agent is not registered.
    """
    seen_agent(session, agent_id, now)
    wanted = [held.run_id for held in body.runs]
    rows = visible(session, select(Run.id, Run.attempt, Run.progress_tokens), Run.study_id).where(
        Run.id.in_(wanted), Run.state == RunState.LEASED, Run.agent_id == agent_id
    )
    locked = session.execute(rows.order_by(Run.id).with_for_update(key_share=True))
    ours = {row.id: row for row in locked}
    lost: list[UUID] = []
    kept: dict[UUID, int] = {}
    for held in body.runs:
        row = ours.get(held.run_id)
        if row is None or row.attempt != held.attempt:
            lost.append(held.run_id)
        else:
            kept[row.id] = max(row.progress_tokens, held.progress_tokens)
    _extend(session, kept, now + timedelta(seconds=body.lease_seconds))
    session.commit()
    return HeartbeatRead(lost=lost)


def _extend(session: Session, progress: dict[UUID, int], until: datetime) -> None:
    """Runs of one stack have trained as many tokens, so that this is one statement."""
    for tokens in set(progress.values()):
        runs = [run_id for run_id, trained in progress.items() if trained == tokens]
        session.execute(
            update(Run).where(Run.id.in_(runs)).values(lease_expires_at=until, progress_tokens=tokens),
            execution_options=_UNSYNCED,
        )


def sweep(session: Session, now: datetime) -> None:
    """Return every run whose lease ran out; called now and then, so that this happens without a claim too."""
    while True:
        expired = _take_back_expired(session, now)
        end_attempts(session, expired)
        session.commit()
        if len(expired) < _EXPIRED_AT_ONCE:
            return


def _take_back_expired(session: Session, now: datetime) -> list[Ended]:
    """Expired leases go back to the queue, or are stale when they were the last attempt; at most so many at once."""
    expired = session.connection().execute(_EXPIRED, {"now": now}).all()
    for run in expired:
        _expire(session, run, now)
    return [_stale(run) for run in expired]


def _expire(session: Session, run: Row, now: datetime) -> None:
    last = run.attempt >= run.max_attempts
    state = RunState.STALE if last else RunState.QUEUED
    values = {"state": state, "lease_expires_at": None, "error": _silence(run), "finished_at": now if last else None}
    if not last:
        values["agent_id"] = None
    session.execute(update(Run).where(Run.id == run.id).values(values), execution_options=_UNSYNCED)
    data = {"attempt": run.attempt, "state": state.value}
    record(session, "run.stale", now, study_id=run.study_id, subject_id=run.id, data=data)


def _stale(run: Row) -> Ended:
    return Ended(
        run_id=run.id,
        attempt=run.attempt,
        outcome=AttemptOutcome.STALE,
        reason=_silence(run),
        at=run.lease_expires_at,
        study_id=run.study_id,
        model_params=run.model_params,
        progress_tokens=run.progress_tokens,
    )


def _silence(run: Row) -> str:
    return f"the lease of attempt {run.attempt} of {run.max_attempts} ran out: its agent sent no heartbeat"
