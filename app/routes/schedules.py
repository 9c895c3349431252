"""Schedules and their firings."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from app.etags import etag_of
from app.routes.dependencies import (
    READ,
    WRITE,
    Cursor,
    IfMatch,
    InDatabase,
    Limit,
    Now,
    Tagged,
    WithSettings,
    problems,
)
from app.schemas.common import Page
from app.schemas.schedules import FiringRead, ScheduleCreate, SchedulePatch, ScheduleRead
from app.services import schedules

router = APIRouter(tags=["schedules"])


@router.post("/studies/{study_id}/schedules", dependencies=WRITE, status_code=201, responses=problems(404))
def create_schedule(
    study_id: UUID,
    body: ScheduleCreate,
    database: InDatabase,
    settings: WithSettings,
    now: Now,
    response: Response,
) -> ScheduleRead:
    """Plan a top-up of the swarm, a refit or an import by a cron expression in a time zone."""
    with database.write() as session:
        made = schedules.create_schedule(session, study_id, body, settings, now)
    response.headers["Location"] = f"/v1/schedules/{made.id}"
    response.headers["ETag"] = etag_of(made)
    return made


@router.get("/studies/{study_id}/schedules", dependencies=READ, responses=problems(404))
def list_schedules(
    study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None
) -> Page[ScheduleRead]:
    """List the schedules of a study, oldest first."""
    with database.read() as session:
        return schedules.list_schedules(session, study_id, limit, cursor)


@router.get("/schedules/{schedule_id}", dependencies=READ, responses=problems(404))
def get_schedule(schedule_id: UUID, database: InDatabase, tag: Tagged) -> ScheduleRead:
    """Read a schedule and its next five firings."""
    with database.read() as session:
        return tag(schedules.get_schedule(session, schedule_id))


@router.patch("/schedules/{schedule_id}", dependencies=WRITE, responses=problems(404, 412, 428))
def change_schedule(
    schedule_id: UUID,
    body: SchedulePatch,
    database: InDatabase,
    if_match: IfMatch,
    settings: WithSettings,
    now: Now,
    response: Response,
) -> ScheduleRead:
    """Change, pause or resume a schedule; it next fires at its first time from now on."""
    with database.write() as session:
        changed = schedules.change_schedule(session, schedule_id, body, if_match, settings, now)
    response.headers["ETag"] = etag_of(changed)
    return changed


@router.delete("/schedules/{schedule_id}", dependencies=WRITE, status_code=204, responses=problems(404, 412, 428))
def delete_schedule(schedule_id: UUID, database: InDatabase, if_match: IfMatch, now: Now) -> None:
    """Delete a schedule and its history. The runs, fits and recommendations that it made stay."""
    with database.write() as session:
        schedules.delete_schedule(session, schedule_id, if_match, now)


@router.post("/schedules/{schedule_id}/fire", dependencies=WRITE, status_code=202, responses=problems(404))
def fire_now(schedule_id: UUID, database: InDatabase, settings: WithSettings, now: Now) -> FiringRead:
    """Do it once now, whatever its times are."""
    with database.write() as session:
        return schedules.fire_now(session, schedule_id, settings.job_max_attempts, now)


@router.get("/schedules/{schedule_id}/firings", dependencies=READ, responses=problems(404))
def list_firings(
    schedule_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None
) -> Page[FiringRead]:
    """List what a schedule did, newest first: when it was due, what came of it or why it failed."""
    with database.read() as session:
        return schedules.list_firings(session, schedule_id, limit, cursor)
