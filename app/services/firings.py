"""What the clock does with schedules: each due time becomes one firing, whose work is one job after another.

Every worker process looks every few seconds. A look moves ``next_at`` on and stores the firings in one transaction,
and only if ``next_at`` is still what it saw; the pair (schedule, due time) is unique besides. A clock that steps back
therefore fires nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session, joinedload

from app.clock import Clock
from app.db import Database
from app.errors import NotFound
from app.ids import new_id
from app.models import Firing, Job, Schedule
from app.principal import Principal, Scope
from app.schemas.jobs import JobState
from app.schemas.schedules import FiringCause, FiringRead, Missed
from app.services.cron import firing_times, next_firing
from app.services.events import record
from app.services.fitting import OnProgress, Store
from app.services.jobs import new_job
from app.services.scheduled_work import WORK
from app.services.scheduled_work.base import Task
from app.settings import Settings

KIND = "firing"
# Later than this a due time was missed: no worker looked for a while.
LATE = timedelta(minutes=1)
# How many missed firings are made up for at most, and how many due times are looked at in one go.
MOST_MADE_UP = 24
_MOST_DUE = 1000
_ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def fire_due(database: Database, max_attempts: int, now: datetime) -> int:
    """Fire every schedule whose time has come; how many firings there are now. Each schedule is one transaction."""
    with database.read() as session:
        due = session.scalars(select(Schedule).where(Schedule.next_at <= now)).all()
    return sum(_fire(database, schedule, max_attempts, now) for schedule in due)


def _fire(database: Database, seen: Schedule, max_attempts: int, now: datetime) -> int:
    assert seen.next_at is not None
    times = _due_times(seen, seen.next_at, now)
    with database.write() as session:
        schedule = session.get(Schedule, seen.id, with_for_update=True)
        if schedule is None or (schedule.next_at, schedule.cron) != (seen.next_at, seen.cron):
            return 0  # another replica was faster, or the schedule was changed
        schedule.next_at = next_firing(schedule.cron, schedule.time_zone, max(times[-1], now))
        fired = _store_firings(session, schedule, times, max_attempts, now)
        session.commit()
    return fired


def _store_firings(
    session: Session, schedule: Schedule, times: Sequence[datetime], max_attempts: int, now: datetime
) -> int:
    stored = select(Firing.due_at).where(Firing.schedule_id == schedule.id, Firing.due_at.between(times[0], times[-1]))
    happened = set(session.scalars(stored))
    new = [at for at in times if at not in happened]
    made_up, skipped = _split(schedule.missed, new, now)
    if skipped:
        _note_skipped(session, schedule, skipped, now)
    for at in made_up:
        cause = FiringCause.DUE if now - at <= LATE else FiringCause.MISSED
        stands_for = len(skipped) if schedule.missed is Missed.ONCE and at == made_up[-1] else 0
        message = f"stands for {stands_for} earlier ones that were missed" if stands_for else ""
        new_firing(session, schedule, at, cause, max_attempts, now, message)
    return len(made_up)


def _due_times(schedule: Schedule, next_at: datetime, now: datetime) -> list[datetime]:
    """``next_at`` and the times after it until now. Of very many the oldest and the newest."""
    times = [next_at, *_times_until(schedule, next_at, now)]
    if len(times) > _MOST_DUE:
        pace = (times[-1] - times[0]) / _MOST_DUE
        times += _times_until(schedule, max(times[-1], now - 2 * MOST_MADE_UP * pace), now)
    return times


def _times_until(schedule: Schedule, after: datetime, now: datetime) -> list[datetime]:
    times = islice(firing_times(schedule.cron, schedule.time_zone, after), _MOST_DUE)
    return list(takewhile(lambda at: at <= now, times))


def _split(missed: Missed, times: Sequence[datetime], now: datetime) -> tuple[list[datetime], list[datetime]]:
    """(times that are fired, times that are not)."""
    if missed is Missed.SKIP:
        fired = [at for at in times[-1:] if now - at <= LATE]
    else:
        fired = list(times[-1:] if missed is Missed.ONCE else times[-MOST_MADE_UP:])
    return fired, list(times[: len(times) - len(fired)])


def _note_skipped(session: Session, schedule: Schedule, skipped: Sequence[datetime], now: datetime) -> None:
    """One row tells of all of them."""
    count = f"{len(skipped)}" if len(skipped) < _MOST_DUE else f"{_MOST_DUE} or more"
    many = f"{count} firings from {skipped[0].isoformat()} on were" if len(skipped) > 1 else "it was"
    message = f"{many} missed: no worker ran"
    session.add(
        Firing(
            id=new_id(now),
            schedule_id=schedule.id,
            due_at=skipped[-1],
            cause=FiringCause.SKIPPED,
            message=message,
            created_at=now,
        )
    )


def new_firing(
    session: Session,
    schedule: Schedule,
    due_at: datetime,
    cause: FiringCause,
    max_attempts: int,
    now: datetime,
    message: str = "",
) -> Firing:
    """Add a firing and the job of its first step. The caller commits."""
    firing = Firing(
        id=new_id(now),
        schedule_id=schedule.id,
        due_at=due_at,
        cause=cause,
        job=new_job(KIND, max_attempts, now),
        message=message,
        created_at=now,
    )
    session.add(firing)
    data = {"firing": str(firing.id), "due_at": due_at.isoformat(), "cause": cause.value, "name": schedule.name}
    record(session, "schedule.fired", now, study_id=schedule.study_id, subject_id=schedule.id, data=data)
    return firing


def take_next_steps(database: Database, max_attempts: int, now: datetime) -> int:
    """Queue the next step of every firing whose fit or recommendation has ended; how many."""
    ended = select(Firing.id, Firing.waits_for).join(Job, Job.id == Firing.waits_for).where(Job.state.in_(_ENDED))
    with database.read() as session:
        ready = session.execute(ended).all()
    return sum(_take_next_step(database, firing, job, max_attempts, now) for firing, job in ready if job is not None)


def _take_next_step(database: Database, firing_id: UUID, waited_for: UUID, max_attempts: int, now: datetime) -> bool:
    with database.write() as session:
        job = new_job(KIND, max_attempts, now)
        session.add(job)
        session.flush()
        taken = session.execute(
            update(Firing)
            .where(Firing.id == firing_id, Firing.waits_for == waited_for)
            .values(waits_for=None, job_id=job.id),
            execution_options={"synchronize_session": False},
        )
        if cast("CursorResult[Any]", taken).rowcount == 0:
            return False  # another replica was faster; what was added is rolled back
        session.commit()
    return True


def firing_runner(settings: Settings, clock: Clock) -> Callable[[Database, UUID, OnProgress], Store]:
    """What the worker does for a job of :data:`KIND`."""

    def run(database: Database, job_id: UUID, on_progress: OnProgress) -> Store:
        with database.read() as session:
            firing = _firing_of(session, job_id)
        schedule = firing.schedule
        work, actor = WORK[schedule.kind], _actor(schedule)
        task = Task(
            database=database.on_behalf_of(actor),
            study_id=schedule.study_id,
            wishes=work.wishes.model_validate(schedule.settings),
            outcome=firing.outcome or {},
            settings=settings,
            now=clock(),
            on_progress=on_progress,
        )
        finish = work.step(task)

        def store(session: Session) -> None:
            ours = _firing_of(session, job_id)
            with _inside(session, actor) as inner:
                done = finish(inner)
            ours.outcome = {**task.outcome, **done.outcome}
            ours.waits_for = done.waits_for
            ours.message = done.message or ours.message
            ours.started_at = ours.started_at or (ours.job and ours.job.started_at)

        return store

    return run


def _firing_of(session: Session, job_id: UUID) -> Firing:
    found = session.scalars(
        select(Firing).where(Firing.job_id == job_id).options(joinedload(Firing.schedule))
    ).one_or_none()
    if found is None:
        raise NotFound("its schedule was deleted")
    return found


def _actor(schedule: Schedule) -> Principal:
    """Who the events of a firing name; it sees one study only."""
    return Principal(f"schedule {schedule.name}"[:200], frozenset({Scope.WRITE}), study_id=schedule.study_id)


@contextmanager
def _inside(session: Session, actor: Principal) -> Iterator[Session]:
    """A session whose commits wait for that of the transaction it is inside of."""
    info = {"principal": actor}
    connection = session.connection()
    with Session(connection, expire_on_commit=False, info=info, join_transaction_mode="rollback_only") as inner:
        yield inner


def read_firing(firing: Firing) -> FiringRead:
    """A row as the API shows it. One that waits for other work is running."""
    job = firing.job
    waits = firing.waits_for is not None
    return FiringRead(
        id=firing.id,
        schedule_id=firing.schedule_id,
        due_at=firing.due_at,
        cause=firing.cause,
        state=None if job is None else JobState.RUNNING if waits or _between(firing, job) else job.state,
        message=firing.message,
        outcome=firing.outcome or {},
        error=None if job is None else job.error,
        created_at=firing.created_at,
        started_at=firing.started_at or (None if job is None else job.started_at),
        finished_at=None if job is None or waits else job.finished_at,
    )


def _between(firing: Firing, job: Job) -> bool:
    """Whether its next step waits for a worker."""
    return firing.started_at is not None and job.state is JobState.QUEUED
