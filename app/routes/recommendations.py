"""Recommendations, their progress, differences between them, and their verification."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response

from app.event_streams import EventStream
from app.routes.dependencies import (
    READ,
    WRITE,
    Cursor,
    InDatabase,
    Limit,
    Now,
    Tagged,
    Watch,
    WithSettings,
    problems,
)
from app.schemas.common import Page
from app.schemas.jobs import JobState
from app.schemas.recommendations import (
    RecommendationCreate,
    RecommendationDiff,
    RecommendationRead,
    VerificationCreate,
    VerificationRead,
)
from app.schemas.runs import RunsCreated
from app.services import recommendation_diff, recommendations, verifications

router = APIRouter(tags=["recommendations"])


@router.post("/studies/{study_id}/recommendations", dependencies=WRITE, status_code=202, responses=problems(404, 409))
def create_recommendation(
    study_id: UUID,
    body: RecommendationCreate,
    database: InDatabase,
    settings: WithSettings,
    now: Now,
    response: Response,
) -> RecommendationRead:
    """Search for the best weights under a fitted law, or judge stages of your own. Location names the outcome."""
    with database.read() as session:
        planned = recommendations.plan_recommendation(session, study_id, body)
    with database.write() as session:
        made = recommendations.create_recommendation(session, planned, settings.job_max_attempts, now)
    response.headers["Location"] = f"/v1/recommendations/{made.id}"
    return made


@router.get("/studies/{study_id}/recommendations", dependencies=READ, responses=problems(404))
def list_recommendations(
    study_id: UUID,
    database: InDatabase,
    limit: Limit = 100,
    cursor: Cursor = None,
    state: JobState | None = None,
    law: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[RecommendationRead]:
    """List the recommendations of a study, newest first, without their details; of one state or law when named."""
    with database.read() as session:
        return recommendations.list_recommendations(session, study_id, limit, cursor, state, law)


@router.get("/recommendations/{recommendation_id}", dependencies=READ, responses=problems(404))
def get_recommendation(recommendation_id: UUID, database: InDatabase, tagged: Tagged) -> RecommendationRead:
    """Read a recommendation: stages, weights, predictions beside each baseline, gains, prices and provenance."""
    with database.read() as session:
        return tagged(recommendations.get_recommendation(session, recommendation_id))


@router.get(
    "/recommendations/{recommendation_id}/events",
    dependencies=READ,
    response_class=EventStream,
    responses=problems(404),
)
async def watch_recommendation(recommendation_id: UUID, database: InDatabase, watch: Watch) -> EventStream:
    """Watch a recommendation: events `progress` with {state, progress, message, error} on each change, and `end`."""

    def job() -> UUID:
        with database.read() as session:
            return recommendations.find_recommendation(session, recommendation_id).job_id

    return EventStream(watch.events(await run_sync(job)))


@router.post("/recommendations/{recommendation_id}/cancel", dependencies=WRITE, responses=problems(404, 409))
def cancel_recommendation(recommendation_id: UUID, database: InDatabase, now: Now) -> RecommendationRead:
    """Take back a recommendation that is not finished. A worker that computes it stops, and nothing of it is kept."""
    with database.write() as session:
        return recommendations.cancel_recommendation(session, recommendation_id, now)


@router.get("/recommendations/{recommendation_id}/diff", dependencies=READ, responses=problems(404, 409))
def get_diff(
    recommendation_id: UUID,
    database: InDatabase,
    against: Annotated[
        str,
        Query(max_length=200, description="another recommendation of the study, prior, adopted, or a baseline"),
    ] = recommendation_diff.PRIOR,
) -> RecommendationDiff:
    """Compare a recommendation with another mixture: what moves, what it gains, what was asked differently."""
    with database.read() as session:
        return recommendation_diff.diff(session, recommendation_id, against)


@router.post(
    "/recommendations/{recommendation_id}/verifications",
    dependencies=WRITE,
    status_code=201,
    responses=problems(404, 409),
)
def create_verification(
    recommendation_id: UUID, body: VerificationCreate, database: InDatabase, settings: WithSettings, now: Now
) -> RunsCreated:
    """Queue the recommended mixture and the baselines with each seed."""
    with database.write() as session:
        return verifications.create_verification(session, recommendation_id, body, settings.run_max_attempts, now)


@router.get("/recommendations/{recommendation_id}/verification", dependencies=READ, responses=problems(404))
def get_verification(recommendation_id: UUID, database: InDatabase) -> VerificationRead:
    """Read what the verification runs measured so far."""
    with database.read() as session:
        return verifications.get_verification(session, recommendation_id)
