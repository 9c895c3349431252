"""Calls: recommendations and their verification."""

from __future__ import annotations

from uuid import UUID

from app.calls.jobs import Jobs, ignore
from app.schemas.common import Page
from app.schemas.recommendations import RecommendationCreate, RecommendationRead, VerificationCreate, VerificationRead
from app.schemas.runs import RunsCreated


class RecommendationCalls(Jobs):
    """The calls of this resource; one method a route."""

    def create_recommendation(self, study_id: UUID, body: RecommendationCreate) -> RecommendationRead:
        return self._post(f"/v1/studies/{study_id}/recommendations", body, RecommendationRead)

    def list_recommendations(
        self, study_id: UUID, limit: int = 100, cursor: str | None = None
    ) -> Page[RecommendationRead]:
        path = f"/v1/studies/{study_id}/recommendations"
        return self._get(path, Page[RecommendationRead], limit=limit, cursor=cursor)

    def get_recommendation(self, recommendation_id: UUID) -> RecommendationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}", RecommendationRead)

    def wait_for_recommendation(self, recommendation_id: UUID, seconds: float = 3600.0) -> RecommendationRead:
        """The recommendation, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait("recommendation", lambda: self.get_recommendation(recommendation_id), seconds, ignore)

    def create_verification(self, recommendation_id: UUID, body: VerificationCreate) -> RunsCreated:
        return self._post(f"/v1/recommendations/{recommendation_id}/verifications", body, RunsCreated)

    def get_verification(self, recommendation_id: UUID) -> VerificationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}/verification", VerificationRead)
