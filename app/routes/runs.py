"""Runs, as users see them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, WithSettings, problems
from app.schemas.common import Page
from app.schemas.runs import RunBatchCreate, RunRead, RunsCreated, RunState, TrajectoryRead
from app.services import runs

router = APIRouter(tags=["runs"])


@router.post("/studies/{study_id}/runs", dependencies=WRITE, status_code=201, responses=problems(404))
def create_runs(
    study_id: UUID, body: RunBatchCreate, database: InDatabase, settings: WithSettings, now: Now
) -> RunsCreated:
    """Queue proxy runs, or report runs that were trained elsewhere. All of them are taken or none."""
    with database.write() as session:
        return runs.create_runs(session, study_id, body, settings.run_max_attempts, now)


@router.get("/studies/{study_id}/runs", dependencies=READ, responses=problems(404))
def list_runs(
    study_id: UUID,
    database: InDatabase,
    state: RunState | None = None,
    purpose: Annotated[str | None, Query(max_length=50)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RunRead]:
    """List the runs of a study, oldest first."""
    with database.read() as session:
        return runs.list_runs(session, study_id, limit, cursor, state, purpose)


@router.get("/runs/{run_id}", dependencies=READ, responses=problems(404))
def get_run(run_id: UUID, database: InDatabase) -> RunRead:
    """Read a run."""
    with database.read() as session:
        return runs.get_run(session, run_id)


@router.get("/runs/{run_id}/trajectory", dependencies=READ, responses=problems(404))
def get_trajectory(run_id: UUID, database: InDatabase) -> TrajectoryRead:
    """Read what a run measured on the way."""
    with database.read() as session:
        return runs.get_trajectory(session, run_id)


@router.post("/runs/{run_id}/cancel", dependencies=WRITE, responses=problems(404, 409))
def cancel_run(run_id: UUID, database: InDatabase, now: Now) -> RunRead:
    """Take back a run that has not ended."""
    with database.write() as session:
        return runs.cancel_run(session, run_id, now)
