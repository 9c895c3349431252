"""Create, read, change and delete schedules, and fire one by hand. What the clock does is in ``firings.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import InvalidRequest, NotFound
from app.etags import Precondition
from app.ids import new_id
from app.models import Firing, Job, Schedule
from app.schemas.common import Page
from app.schemas.jobs import JobState
from app.schemas.schedules import (
    FiringCause,
    FiringRead,
    NextFiring,
    ScheduleCreate,
    SchedulePatch,
    ScheduleRead,
)
from app.services.access import check_study
from app.services.cron import check_cron, firing_times, next_firing
from app.services.events import record
from app.services.firings import new_firing, read_firing
from app.services.pages import page
from app.services.scheduled_work import WORK
from app.services.scheduled_work.base import wrong_settings
from app.services.studies import find_study
from app.settings import Settings

_SHOWN_FIRINGS = 5


def create_schedule(
    session: Session, study_id: UUID, body: ScheduleCreate, settings: Settings, now: datetime
) -> ScheduleRead:
    """Plan something that the study does again and again.

    Raises:
        InvalidRequest: an unknown kind or zone, a cron expression that cannot be read, settings that the kind refuses.
        MixError: settings that every firing would be refused for, such as a tracker that this server may not ask.
    """
    study = find_study(session, study_id)
    check_cron(body.cron, body.time_zone)
    schedule = Schedule(
        id=new_id(now),
        study_id=study.id,
        name=body.name,
        kind=body.kind,
        cron=body.cron,
        time_zone=body.time_zone,
        missed=body.missed,
        settings=_known_settings(body.kind, body.settings, settings),
        enabled=body.enabled,
        next_at=next_firing(body.cron, body.time_zone, now) if body.enabled else None,
        created_at=now,
    )
    session.add(schedule)
    _record(session, "schedule.created", schedule, now, {"kind": body.kind, "name": body.name, "cron": body.cron})
    session.commit()
    return read_schedule(schedule)


def _known_settings(kind: str, given: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    work = WORK.get(kind)
    if work is None:
        raise InvalidRequest.of("kind", f"there is no scheduled work {kind!r}", ", ".join(WORK))
    try:
        wishes = work.wishes.model_validate(given)
    except ValidationError as exc:
        raise wrong_settings(exc, "settings") from exc
    work.check(wishes, settings)
    return wishes.model_dump(mode="json")


def find_schedule(session: Session, schedule_id: UUID, for_update: bool = False) -> Schedule:
    """The schedule; locked until the transaction ends when ``for_update``.

    Raises:
        NotFound: no schedule has this identifier.
    """
    schedule = session.get(Schedule, schedule_id, with_for_update=for_update or None)
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id}")
    check_study(session, schedule.study_id, f"schedule {schedule_id}")
    return schedule


def get_schedule(session: Session, schedule_id: UUID) -> ScheduleRead:
    """One schedule and its next firings."""
    return read_schedule(find_schedule(session, schedule_id))


def list_schedules(session: Session, study_id: UUID, limit: int, cursor: str | None) -> Page[ScheduleRead]:
    """The schedules of a study, oldest first."""
    find_study(session, study_id)
    rows = select(Schedule).where(Schedule.study_id == study_id)
    return page(session, rows, Schedule.id, limit, cursor, lambda found: [read_schedule(row) for row in found])


def change_schedule(
    session: Session,
    schedule_id: UUID,
    body: SchedulePatch,
    precondition: Precondition,
    settings: Settings,
    now: datetime,
) -> ScheduleRead:
    """Change what is given, when the caller has read the present version. The next firing is then the first after now.

    Raises:
        PreconditionRequired, PreconditionFailed: the caller has not.
        InvalidRequest, MixError: as :func:`create_schedule`; also for the present settings of one that is resumed.
    """
    schedule = find_schedule(session, schedule_id, for_update=True)
    precondition.require(read_schedule(schedule))
    given = {name: value for name, value in body.model_dump().items() if value is not None}
    if "settings" in given or given.get("enabled"):
        given["settings"] = _known_settings(schedule.kind, given.get("settings", schedule.settings), settings)
    changed = [name for name, value in given.items() if getattr(schedule, name) != value]
    for name in changed:
        setattr(schedule, name, given[name])
    if {"cron", "time_zone", "enabled"} & set(changed):
        check_cron(schedule.cron, schedule.time_zone)
        schedule.next_at = next_firing(schedule.cron, schedule.time_zone, now) if schedule.enabled else None
    if changed:
        _record(session, "schedule.changed", schedule, now, {"changed": changed})
    session.commit()
    return read_schedule(schedule)


def delete_schedule(session: Session, schedule_id: UUID, precondition: Precondition, now: datetime) -> None:
    """Forget the schedule and its history. What its firings made stays; work that has not begun is taken back.

    Raises:
        PreconditionRequired, PreconditionFailed: the caller has not read the present version.
    """
    schedule = find_schedule(session, schedule_id, for_update=True)
    precondition.require(read_schedule(schedule))
    theirs = select(Firing.job_id).where(Firing.schedule_id == schedule.id)
    session.execute(
        update(Job)
        .where(Job.id.in_(theirs), Job.state == JobState.QUEUED)
        .values(state=JobState.CANCELLED, finished_at=now),
        execution_options={"synchronize_session": False},
    )
    _record(session, "schedule.deleted", schedule, now, {"name": schedule.name, "kind": schedule.kind})
    session.delete(schedule)
    session.commit()


def fire_now(session: Session, schedule_id: UUID, max_attempts: int, now: datetime) -> FiringRead:
    """Do it once now, also while the schedule is paused; its times stay as they are."""
    schedule = find_schedule(session, schedule_id, for_update=True)
    firing = new_firing(session, schedule, _free_instant(session, schedule, now), FiringCause.MANUAL, max_attempts, now)
    session.commit()
    return read_firing(firing)


def _free_instant(session: Session, schedule: Schedule, now: datetime) -> datetime:
    """``now``, or the next microsecond at which nothing fired: two calls of one instant are two firings."""
    soon = Firing.due_at.between(now, now + timedelta(seconds=1))
    taken = set(session.scalars(select(Firing.due_at).where(Firing.schedule_id == schedule.id, soon)))
    return next(at for step in count() if (at := now + timedelta(microseconds=step)) not in taken)


def list_firings(session: Session, schedule_id: UUID, limit: int, cursor: str | None) -> Page[FiringRead]:
    """The history of a schedule, newest first."""
    find_schedule(session, schedule_id)
    return page(
        session,
        select(Firing).where(Firing.schedule_id == schedule_id),
        Firing.id,
        limit,
        cursor,
        lambda found: [read_firing(row) for row in found],
        newest_first=True,
    )


def read_schedule(schedule: Schedule) -> ScheduleRead:
    """A row as the API shows it."""
    return ScheduleRead(
        id=schedule.id,
        study_id=schedule.study_id,
        name=schedule.name,
        kind=schedule.kind,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        missed=schedule.missed,
        settings=schedule.settings,
        enabled=schedule.enabled,
        next_firings=_next_firings(schedule),
        created_at=schedule.created_at,
    )


def _next_firings(schedule: Schedule) -> list[NextFiring]:
    if schedule.next_at is None:
        return []
    later = firing_times(schedule.cron, schedule.time_zone, schedule.next_at)
    zone = ZoneInfo(schedule.time_zone)
    times = [schedule.next_at, *islice(later, _SHOWN_FIRINGS - 1)]
    return [NextFiring(at=at, local=at.astimezone(zone).isoformat()) for at in times]


def _record(session: Session, kind: str, schedule: Schedule, now: datetime, data: Mapping[str, Any]) -> None:
    record(session, kind, now, study_id=schedule.study_id, subject_id=schedule.id, data=data)
