"""Runs, as users see them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

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
from app.schemas.runs import (
    AttemptRead,
    RunBatchCreate,
    RunFilter,
    RunQuery,
    RunRead,
    RunsCancelled,
    RunsCreated,
    RunUpdate,
    TrajectoryRead,
)
from app.services import attempts, run_changes, runs

router = APIRouter(tags=["runs"])


@router.post("/studies/{study_id}/runs", dependencies=WRITE, status_code=201, responses=problems(404, 409))
def create_runs(
    study_id: UUID, body: RunBatchCreate, database: InDatabase, settings: WithSettings, now: Now
) -> RunsCreated:
    """Queue proxy runs, or report runs that were trained elsewhere. All of them are taken or none."""
    with database.write() as session:
        return runs.create_runs(session, study_id, body, settings.run_max_attempts, now)


@router.get("/studies/{study_id}/runs", dependencies=READ, responses=problems(404))
def list_runs(study_id: UUID, query: Annotated[RunQuery, Query()], database: InDatabase) -> Page[RunRead]:
    """List the runs of a study, oldest first."""
    with database.read() as session:
        return runs.list_runs(session, study_id, query)


@router.post("/studies/{study_id}/runs/cancel", dependencies=WRITE, responses=problems(404))
def cancel_runs(study_id: UUID, body: RunFilter, database: InDatabase, now: Now) -> RunsCancelled:
    """Take back all queued runs that match; those that agents train go on."""
    with database.write() as session:
        return run_changes.cancel_runs(session, study_id, body, now)


@router.get("/runs/{run_id}", dependencies=READ, responses=problems(404))
def get_run(run_id: UUID, database: InDatabase, tag: Tagged) -> RunRead:
    """Read a run."""
    with database.read() as session:
        return tag(runs.get_run(session, run_id))


@router.patch("/runs/{run_id}", dependencies=WRITE, responses=problems(404, 412, 428))
def update_run(
    run_id: UUID, body: RunUpdate, expected: IfMatch, database: InDatabase, now: Now, response: Response
) -> RunRead:
    """Change the label, the priority, or whether fits use the run."""
    with database.write() as session:
        changed = run_changes.update_run(session, run_id, body, expected, now)
    response.headers["ETag"] = etag_of(changed)
    return changed


@router.get("/runs/{run_id}/trajectory", dependencies=READ, responses=problems(404))
def get_trajectory(run_id: UUID, database: InDatabase) -> TrajectoryRead:
    """Read what a run measured on the way."""
    with database.read() as session:
        return runs.get_trajectory(session, run_id)


@router.get("/runs/{run_id}/attempts", dependencies=READ, responses=problems(404))
def list_attempts(run_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[AttemptRead]:
    """List the claims of a run, first to last, and how each ended."""
    with database.read() as session:
        return attempts.list_attempts(session, run_id, limit, cursor)


@router.post("/runs/{run_id}/cancel", dependencies=WRITE, responses=problems(404, 409))
def cancel_run(run_id: UUID, database: InDatabase, now: Now) -> RunRead:
    """Take back a run that has not ended."""
    with database.write() as session:
        return run_changes.cancel_run(session, run_id, now)


@router.post("/runs/{run_id}/prune", dependencies=WRITE, responses=problems(404, 409))
def prune_run(run_id: UUID, database: InDatabase, now: Now) -> RunRead:
    """Stop a run in training because enough was seen of it."""
    with database.write() as session:
        return run_changes.prune_run(session, run_id, now)


@router.post("/runs/{run_id}/retry", dependencies=WRITE, responses=problems(404, 409))
def retry_run(run_id: UUID, database: InDatabase, settings: WithSettings, now: Now) -> RunRead:
    """Queue a run again that failed, went stale, was cancelled or was pruned."""
    with database.write() as session:
        return run_changes.retry_run(session, run_id, settings.run_max_attempts, now)
