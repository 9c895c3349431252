"""Recommendations and their verification."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, WithSettings, problems
from app.schemas.common import Page
from app.schemas.recommendations import RecommendationCreate, RecommendationRead, VerificationCreate, VerificationRead
from app.schemas.runs import RunsCreated
from app.services import recommendations, verifications

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
    """Search for the best weights under a fitted law. Location names the recommendation; ask it for its state."""
    with database.write() as session:
        made = recommendations.create_recommendation(session, study_id, body, settings.job_max_attempts, now)
    response.headers["Location"] = f"/v1/recommendations/{made.id}"
    return made


@router.get("/studies/{study_id}/recommendations", dependencies=READ, responses=problems(404))
def list_recommendations(
    study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None
) -> Page[RecommendationRead]:
    """List the recommendations of a study, newest first."""
    with database.read() as session:
        return recommendations.list_recommendations(session, study_id, limit, cursor)


@router.get("/recommendations/{recommendation_id}", dependencies=READ, responses=problems(404))
def get_recommendation(recommendation_id: UUID, database: InDatabase) -> RecommendationRead:
    """Read a recommendation: stages, weights, epochs and predictions beside each baseline."""
    with database.read() as session:
        return recommendations.get_recommendation(session, recommendation_id)


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
