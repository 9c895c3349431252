"""Targets of a study. A name may hold slashes, as those of trackers do."""

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
    problems,
)
from app.schemas.common import Page
from app.schemas.studies import TargetIn
from app.schemas.targets import TargetPatch, TargetRead
from app.services import targets

router = APIRouter(tags=["targets"])


@router.post("/studies/{study_id}/targets", dependencies=WRITE, status_code=201, responses=problems(404, 409))
def add_target(study_id: UUID, body: TargetIn, database: InDatabase, now: Now) -> TargetRead:
    """Add a target. Runs that are measured already have no value of it."""
    with database.write() as session:
        return targets.add_target(session, study_id, body, now)


@router.get("/studies/{study_id}/targets", dependencies=READ, responses=problems(404))
def list_targets(study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[TargetRead]:
    """List the targets in their order."""
    with database.read() as session:
        return targets.list_targets(session, study_id, limit, cursor)


@router.get("/studies/{study_id}/targets/{name:path}", dependencies=READ, responses=problems(404))
def get_target(study_id: UUID, name: str, database: InDatabase, tag: Tagged) -> TargetRead:
    """Read a target."""
    with database.read() as session:
        return tag(targets.get_target(session, study_id, name))


@router.patch("/studies/{study_id}/targets/{name:path}", dependencies=WRITE, responses=problems(404, 409, 412, 428))
def change_target(
    study_id: UUID, name: str, body: TargetPatch, database: InDatabase, if_match: IfMatch, now: Now, response: Response
) -> TargetRead:
    """Change a target. What its values mean is fixed once there are some."""
    with database.write() as session:
        changed = targets.change_target(session, study_id, name, body, if_match, now)
    response.headers["ETag"] = etag_of(changed)
    return changed
