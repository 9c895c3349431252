"""How agents say that a run is over for them: results, failures, and runs given back. Points are ``measurements.py``.

Every report names its attempt. One that comes when another attempt holds the run, or none does, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from app.models import Run
from app.schemas.agents import (
    CompletionBatchCreate,
    CompletionBatchRead,
    CompletionCreate,
    FailureCreate,
    ReleaseCreate,
)
from app.schemas.runs import AttemptOutcome, RunState
from app.services.attempts import Ended, Reported, end_attempts
from app.services.budgets import flops_of
from app.services.events import Happened, record, record_all
from app.services.held_runs import held_run, holds, locked_run, locked_runs, require_lease
from app.services.measured_values import Units, values_of_targets, why_nothing_measured
from app.services.measurements import store_points, units_of_targets
from proxy_training.spec import ProxyResult, ProxySettings

_ENDED = ("state", "error", "losses", "result", "realised_weights", "wall_seconds", "progress_tokens", "finished_at")
_TAKE_IN = (
    update(Run)
    .where(Run.id == bindparam("of_run"))
    .values(lease_expires_at=None, **{name: bindparam(name) for name in _ENDED})
)


def complete(session: Session, run_id: UUID, body: CompletionCreate, now: datetime) -> None:
    """Take in the result. The same attempt may report again, for its first answer may have been lost on the way.

    A diverged run has failed: training it again would diverge again. So has one that is said to have succeeded before
    its end or beyond it.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = locked_run(session, run_id)
    if _is_repeated(run, body.attempt):
        return
    require_lease(run, body.attempt)
    _take_in(session, [(run, body.result)], now)
    session.commit()


def complete_many(session: Session, body: CompletionBatchCreate, now: datetime) -> CompletionBatchRead:
    """Take in the results of a stack. Those that come too late are named; the others count all the same."""
    runs = locked_runs(session, {report.run_id for report in body.results})
    fresh: dict[UUID, tuple[Row, ProxyResult]] = {}
    lost: list[UUID] = []
    for report in body.results:
        run = runs.get(report.run_id)
        if run is None or not (_is_repeated(run, report.attempt) or holds(run, report.attempt)):
            lost.append(report.run_id)
        elif not _is_repeated(run, report.attempt):
            fresh.setdefault(run.id, (run, report.result))
    if fresh:
        _take_in(session, list(fresh.values()), now)
    session.commit()
    return CompletionBatchRead(lost=lost)


def fail(session: Session, run_id: UUID, body: FailureCreate, now: datetime) -> None:
    """The attempt broke. The run is queued again when the agent asks for it and attempts are left.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = held_run(session, run_id, body.attempt)
    error = f"attempt {run.attempt} of {run.max_attempts} failed: {body.reason}"
    if body.retry and run.attempt < run.max_attempts:
        state = _back_to_queue(session, run, error=error)
    else:
        state = RunState.FAILED
        _change(session, run.id, state=state, lease_expires_at=None, finished_at=now, error=error)
    data = {"attempt": run.attempt, "state": state.value, "reason": body.reason[:500]}
    record(session, "run.failed", now, study_id=run.study_id, subject_id=run.id, data=data)
    end_attempts(session, [_ended(run, AttemptOutcome.FAILED, body.reason, now)])
    session.commit()


def release(session: Session, run_id: UUID, body: ReleaseCreate, now: datetime) -> None:
    """The agent gives the run back unharmed. The next claim has a new number, and as many attempts remain as before.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = held_run(session, run_id, body.attempt)
    _back_to_queue(session, run, max_attempts=run.max_attempts + 1)
    record(session, "run.preempted", now, study_id=run.study_id, subject_id=run.id, data={"attempt": run.attempt})
    end_attempts(session, [_ended(run, AttemptOutcome.PREEMPTED, "its agent gave it back", now)])
    session.commit()


def _take_in(session: Session, results: Sequence[tuple[Row, ProxyResult]], now: datetime) -> None:
    """Store results of runs that are locked and held by the attempt that reports them."""
    units = units_of_targets(session, {run.study_id for run, _ in results})
    wrong_length = _of_another_length(session, results)
    rows, ended, events = [], [], []
    for run, result in results:
        row = _outcome(result, units[run.study_id], wrong_length.get(run.id), now)
        rows.append(row | {"of_run": run.id})
        how = AttemptOutcome.SUCCEEDED if row["state"] is RunState.SUCCEEDED else AttemptOutcome.FAILED
        reported = Reported(flops_of(run.model_params, result.train_tokens), result.wall_seconds, result.processor)
        ended.append(_ended(run, how, row["error"], now, reported))
        data = {"attempt": run.attempt} if row["error"] is None else _failure(run, row["error"])
        events.append(Happened(f"run.{how.value}", run.study_id, run.id, data))
        store_points(session, run, result.trajectory, units[run.study_id])
    session.connection().execute(_TAKE_IN, rows)
    record_all(session, events, now)
    end_attempts(session, ended)


def _failure(run: Row, reason: str) -> dict[str, Any]:
    return {"attempt": run.attempt, "state": RunState.FAILED.value, "reason": reason[:500]}


def _of_another_length(session: Session, results: Sequence[tuple[Row, ProxyResult]]) -> dict[UUID, str]:
    """What is wrong with those that succeeded, as they say, after other tokens than those of their run: a fit would
    take them for runs of its length."""
    odd = {
        run.id: result.train_tokens
        for run, result in results
        if result.status == "succeeded" and result.train_tokens != run.train_tokens
    }
    if not odd:
        return {}
    found: dict[UUID, str] = {}
    for run in session.execute(select(Run.id, Run.settings).where(Run.id.in_(odd))):
        settings, tokens = ProxySettings.model_validate(run.settings), odd[run.id]
        if not settings.is_end(tokens) or settings.is_beyond(tokens):
            found[run.id] = f"its agent reports success after {tokens} tokens; the run has {settings.train_tokens}"
    return found


def _outcome(result: ProxyResult, units: Units, wrong_length: str | None, now: datetime) -> dict[str, Any]:
    """The columns that a result fills."""
    losses = values_of_targets(units, result.losses, result.metrics)
    error = wrong_length or _why_no_data_point(result, losses, units)
    return {
        "state": RunState.SUCCEEDED if error is None else RunState.FAILED,
        "error": error,
        "losses": losses or None,
        "result": result.model_dump(mode="json", exclude={"trajectory"}, exclude_none=True),
        "realised_weights": dict(result.realised_weights) or None,
        "wall_seconds": result.wall_seconds,
        "progress_tokens": result.train_tokens,
        "finished_at": now,
    }


def _why_no_data_point(result: ProxyResult, losses: Mapping[str, object], units: Units) -> str | None:
    if result.status == "diverged":
        return f"diverged: {result.message or 'the loss was not finite'}"
    if not losses:
        return why_nothing_measured(units, result.losses)
    return None


def _is_repeated(run: Row, attempt: int) -> bool:
    return run.attempt == attempt and run.has_result


def _change(session: Session, run_id: UUID, **values: object) -> None:
    statement = update(Run).where(Run.id == run_id).values(values)
    session.execute(statement, execution_options={"synchronize_session": False})


def _back_to_queue(session: Session, run: Row, **values: object) -> RunState:
    _change(session, run.id, state=RunState.QUEUED, agent_id=None, lease_expires_at=None, **values)
    return RunState.QUEUED


def _ended(run: Row, how: AttemptOutcome, reason: str | None, now: datetime, reported: Reported | None = None) -> Ended:
    return Ended(
        run_id=run.id,
        attempt=run.attempt,
        outcome=how,
        reason=reason,
        at=now,
        study_id=run.study_id,
        model_params=run.model_params,
        progress_tokens=run.progress_tokens,
        reported=reported,
    )
