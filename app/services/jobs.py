"""The service's own work: fits and recommendations. Leased, fenced by attempt and retried as proxy runs are.

queued --claim--> running --finish--> succeeded
running --fail--> failed (the mathematics refused: again would refuse again)
running --lease runs out--> queued while attempts are left, else failed
running --release--> queued, and the attempt does not count
queued, running --cancel--> cancelled; the worker learns it when it extends its lease, and nothing is stored
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.ids import new_id
from app.models import Fit, Job, Recommendation
from app.schemas.jobs import JobProgress, JobState
from app.services.events import record

_OPTIONS: dict[str, Any] = {"synchronize_session": False}
_OVER = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobLost(Conflict):
    """The job was cancelled, or another worker holds it by now."""


def new_job(kind: str, max_attempts: int, now: datetime) -> Job:
    """A queued job, not yet stored."""
    return Job(
        id=new_id(now),
        kind=kind,
        state=JobState.QUEUED,
        progress=0.0,
        message="",
        attempt=0,
        max_attempts=max_attempts,
        created_at=now,
    )


def claim_job(session: Session, worker: str, lease_seconds: float, now: datetime) -> Job | None:
    """Lease the oldest queued job, or None when there is none."""
    _requeue_expired(session, now)
    oldest = (
        select(Job.id)
        .where(Job.state == JobState.QUEUED)
        .order_by(Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("oldest")
    )
    statement = (
        update(Job)
        .where(Job.id.in_(select(oldest.c.id)))
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_expires_at=now + timedelta(seconds=lease_seconds),
            started_at=now,
            progress=0.0,
            message="",
        )
        .returning(Job)
    )
    job = session.scalars(statement, execution_options=_OPTIONS).one_or_none()
    session.commit()
    return job


def any_job_waits(session: Session, now: datetime) -> bool:
    """Whether a claim would find something: a cheap question that takes no lock."""
    waiting = (Job.state == JobState.QUEUED) | ((Job.state == JobState.RUNNING) & (Job.lease_expires_at < now))
    return session.scalar(select(Job.id).where(waiting).limit(1)) is not None


def extend_lease(
    session: Session, job_id: UUID, attempt: int, lease_seconds: float, progress: float, message: str, now: datetime
) -> bool:
    """Say that the worker lives and how far it is; False when it holds the job no more."""
    held = _change(
        session,
        _held(job_id, attempt),
        lease_expires_at=now + timedelta(seconds=lease_seconds),
        progress=progress,
        message=message,
    )
    session.commit()
    return held


def finish_job(session: Session, job: Job, now: datetime) -> None:
    """Mark the job as done, in the transaction that stores its results. The caller commits.

    Raises:
        JobLost: the results must not be stored.
    """
    values = {"state": JobState.SUCCEEDED, "progress": 1.0, "message": "", "error": None}
    if not _change(session, _held(job.id, job.attempt), **values, lease_expires_at=None, finished_at=now):
        raise JobLost
    _record(session, job.id, job.kind, JobState.SUCCEEDED, now)


def fail_job(session: Session, job: Job, error: str, now: datetime) -> None:
    """End the job with the reason. Does nothing when the worker holds it no more."""
    values = {"state": JobState.FAILED, "error": error, "lease_expires_at": None, "finished_at": now}
    if _change(session, _held(job.id, job.attempt), **values):
        _record(session, job.id, job.kind, JobState.FAILED, now, error)
    session.commit()


def release_job(session: Session, job_id: UUID, attempt: int) -> None:
    """Give the job back because the worker is told to stop."""
    _change(
        session,
        _held(job_id, attempt),
        state=JobState.QUEUED,
        max_attempts=Job.max_attempts + 1,
        lease_expires_at=None,
        worker=None,
    )
    session.commit()


def cancel_job(session: Session, job: Job, now: datetime) -> None:
    """Take a job back; one that was taken back already stays so. The caller commits.

    Raises:
        Conflict: it has ended otherwise.
    """
    cancelled = {"state": JobState.CANCELLED, "message": "", "lease_expires_at": None, "finished_at": now}
    changed = _change(session, (Job.id == job.id) & Job.state.not_in(_OVER), **cancelled)
    session.refresh(job)
    if changed:
        _record(session, job.id, job.kind, JobState.CANCELLED, now)
    elif job.state is not JobState.CANCELLED:
        raise Conflict(f"the {job.kind} has {job.state} and cannot be cancelled any more")


def require_succeeded(job: Job, what: str) -> None:
    """Refuse what has no result; ``what`` names it.

    Raises:
        Conflict: saying how far it is or why it failed.
    """
    if job.state is JobState.FAILED:
        raise Conflict(f"{what} failed: {job.error}")
    if job.state is JobState.CANCELLED:
        raise Conflict(f"{what} was cancelled; ask for another one")
    if job.state is not JobState.SUCCEEDED:
        raise Conflict(f"{what} is {job.state}, {job.progress:.0%} done; wait until it has succeeded")


def progress_of(session: Session, job_ids: Collection[UUID]) -> dict[UUID, JobProgress]:
    """Where jobs are; one that is not there is left out."""
    columns = select(Job.id, Job.state, Job.progress, Job.message, Job.error)
    rows = session.execute(columns.where(Job.id.in_(job_ids)))
    return {row.id: JobProgress.model_validate(row) for row in rows}


def _requeue_expired(session: Session, now: datetime) -> None:
    expired = (Job.state == JobState.RUNNING) & (Job.lease_expires_at < now)
    used_up = update(Job).where(expired, Job.attempt >= Job.max_attempts)
    error = "its worker died in every attempt; the worker's log says more"
    values = {"state": JobState.FAILED, "lease_expires_at": None, "error": error, "finished_at": now}
    failed = session.execute(used_up.values(**values).returning(Job.id, Job.kind), execution_options=_OPTIONS).all()
    for job_id, kind in failed:
        _record(session, job_id, kind, JobState.FAILED, now, error)
    _change(session, expired & (Job.attempt < Job.max_attempts), state=JobState.QUEUED, lease_expires_at=None)


def _record(
    session: Session, job_id: UUID, kind: str, state: JobState, now: datetime, error: str | None = None
) -> None:
    """The event of a job that ended: it is what the job was for that has changed."""
    for owner in (Fit, Recommendation):
        row = session.execute(select(owner.id, owner.study_id).where(owner.job_id == job_id)).one_or_none()
        if row is not None:
            data = {} if error is None else {"error": error}
            record(session, f"{kind}.{state}", now, study_id=row.study_id, subject_id=row.id, data=data)


def _held(job_id: UUID, attempt: int) -> ColumnElement[bool]:
    return (Job.id == job_id) & (Job.attempt == attempt) & (Job.state == JobState.RUNNING)


def _change(session: Session, which: ColumnElement[bool], **values: Any) -> bool:
    """Update the jobs that match; whether there was any."""
    done = session.execute(update(Job).where(which).values(**values), execution_options=_OPTIONS)
    return cast("CursorResult[Any]", done).rowcount > 0
