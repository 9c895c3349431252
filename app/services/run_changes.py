"""What users change about runs: their label and priority, whether they count, and whether they are trained at all.

queued, leased --cancel--> cancelled
leased --prune--> pruned: enough was seen of it, by a user or by the rule of its settings (``early_stopping.py``)
failed, stale, cancelled, pruned --retry--> queued, with as many attempts as a new run
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.etags import Precondition
from app.models import Run
from app.schemas.runs import AttemptOutcome, RunFilter, RunRead, RunsCancelled, RunState, RunUpdate
from app.services.attempts import Ended, end_attempts
from app.services.events import record
from app.services.runs import filtered, find_run
from app.services.studies import find_study

_BY_A_USER = "taken back by a user"
_RETRIED = (RunState.FAILED, RunState.STALE, RunState.CANCELLED, RunState.PRUNED)


def update_run(session: Session, run_id: UUID, body: RunUpdate, expected: Precondition, now: datetime) -> RunRead:
    """Change what may change at any time.

    Raises:
        PreconditionFailed: a user has changed it since it was read.
    """
    run = find_run(session, run_id, for_update=True)
    expected.require(RunRead.model_validate(run))
    changed = body.model_dump(exclude_unset=True)
    for name, value in changed.items():
        if name == "priority":
            run.queue_rank = -value
        else:
            setattr(run, name, value)
    if changed:
        record(session, "run.changed", now, study_id=run.study_id, subject_id=run.id, data=changed)
    session.commit()
    return RunRead.model_validate(run)


def cancel_run(session: Session, run_id: UUID, now: datetime) -> RunRead:
    """Take a run back. An agent that trains it learns so by its next heartbeat; cancelling twice is one cancelling.

    Raises:
        Conflict: the run has ended already.
    """
    run = find_run(session, run_id, for_update=True)
    if run.state is RunState.CANCELLED:
        return RunRead.model_validate(run)
    if run.state not in (RunState.QUEUED, RunState.LEASED):
        raise Conflict(f"run {run.id} has {run.state} already; only a queued or leased run can be cancelled")
    _take_back(session, run, RunState.CANCELLED, AttemptOutcome.CANCELLED, _BY_A_USER, now)
    session.commit()
    return RunRead.model_validate(run)


def prune_run(session: Session, run_id: UUID, now: datetime) -> RunRead:
    """Stop a run that is being trained, because enough was seen of it. What it measured on the way stays.

    Raises:
        Conflict: no agent trains it.
    """
    run = find_run(session, run_id, for_update=True)
    if run.state is RunState.PRUNED:
        return RunRead.model_validate(run)
    if run.state is not RunState.LEASED:
        raise Conflict(f"run {run.id} is {run.state}; only a leased run can be pruned")
    _take_back(session, run, RunState.PRUNED, AttemptOutcome.PRUNED, _BY_A_USER, now)
    session.commit()
    return RunRead.model_validate(run)


def prune(session: Session, why: Mapping[UUID, str], now: datetime) -> None:
    """Stop leased runs that the caller has locked; the sentence about each stays with it. The caller commits."""
    ended = []
    for run_id, reason in why.items():
        run = session.get_one(Run, run_id, populate_existing=True)
        run.error = reason
        _end(session, run, RunState.PRUNED, reason, now)
        ended.append(_ended(run, AttemptOutcome.PRUNED, reason, now))
    end_attempts(session, ended)


def _take_back(session: Session, run: Run, state: RunState, outcome: AttemptOutcome, why: str, now: datetime) -> None:
    held = run.state is RunState.LEASED
    _end(session, run, state, why, now)
    if held:
        end_attempts(session, [_ended(run, outcome, why, now)])


def _end(session: Session, run: Run, state: RunState, why: str, now: datetime) -> None:
    run.state, run.finished_at = state, now
    run.agent_id = run.lease_expires_at = None
    data = {"attempt": run.attempt, "reason": why}
    record(session, f"run.{state.value}", now, study_id=run.study_id, subject_id=run.id, data=data)
    session.flush()


def _ended(run: Run, outcome: AttemptOutcome, why: str, now: datetime) -> Ended:
    return Ended(
        run_id=run.id,
        attempt=run.attempt,
        outcome=outcome,
        reason=why,
        at=now,
        study_id=run.study_id,
        model_params=run.model_params,
        progress_tokens=run.progress_tokens,
    )


def cancel_runs(session: Session, study_id: UUID, wanted: RunFilter, now: datetime) -> RunsCancelled:
    """Take back every queued run of a study that is as wanted. Those that agents hold are not touched."""
    study = find_study(session, study_id)
    waiting = select(Run.id).where(Run.study_id == study.id, Run.state == RunState.QUEUED)
    # A run that is being claimed at this moment is no queued one; waiting for it would gain nothing.
    chosen = filtered(waiting, wanted).order_by(Run.id).with_for_update(skip_locked=True, key_share=True).cte("chosen")
    statement = (
        update(Run)
        .where(Run.id.in_(select(chosen.c.id)))
        .values(state=RunState.CANCELLED, finished_at=now)
        .returning(Run.id)
    )
    cancelled = len(session.execute(statement, execution_options={"synchronize_session": False}).all())
    if cancelled:
        data = {"count": cancelled, "filter": wanted.model_dump(mode="json", exclude_none=True)}
        record(session, "runs.cancelled", now, study_id=study.id, data=data)
    session.commit()
    return RunsCancelled(cancelled=cancelled)


def retry_run(session: Session, run_id: UUID, max_attempts: int, now: datetime) -> RunRead:
    """Queue a run again that ended without a result. Attempts are counted on, so that its late agents stay out.

    Raises:
        Conflict: it waits, is in work, has succeeded, or was trained elsewhere.
    """
    run = find_run(session, run_id, for_update=True)
    if run.state not in _RETRIED:
        raise Conflict(f"run {run.id} is {run.state}; accepted: a run that is {', '.join(_RETRIED)}")
    if run.settings is None:
        raise Conflict(f"run {run.id} was trained elsewhere; the service has no settings to train it again")
    data = {"was": run.state.value, "attempt": run.attempt}
    run.state, run.max_attempts = RunState.QUEUED, run.attempt + max_attempts
    run.agent_id = run.lease_expires_at = run.started_at = run.finished_at = None
    run.losses = run.result = run.realised_weights = run.wall_seconds = run.error = None
    run.progress_tokens = 0
    record(session, "run.retried", now, study_id=run.study_id, subject_id=run.id, data=data)
    session.commit()
    return RunRead.model_validate(run)
