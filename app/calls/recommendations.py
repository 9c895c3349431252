"""Calls: recommendations, differences between them, and their verification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from app.calls.jobs import Jobs
from app.calls.pages import walked
from app.schemas.common import Page
from app.schemas.jobs import JobProgress, JobState
from app.schemas.recommendations import (
    RecommendationCreate,
    RecommendationDiff,
    RecommendationRead,
    VerificationCreate,
    VerificationRead,
)
from app.schemas.runs import RunsCreated


class RecommendationCalls(Jobs):
    """The calls of this resource; one method a route."""

    def create_recommendation(self, study_id: UUID, body: RecommendationCreate) -> RecommendationRead:
        return self._post(f"/v1/studies/{study_id}/recommendations", body, RecommendationRead)

    def list_recommendations(
        self,
        study_id: UUID,
        limit: int = 100,
        cursor: str | None = None,
        state: JobState | None = None,
        law: str | None = None,
    ) -> Page[RecommendationRead]:
        """Newest first, without their details; of one state or law."""
        path = f"/v1/studies/{study_id}/recommendations"
        return self._get(path, Page[RecommendationRead], limit=limit, cursor=cursor, state=state, law=law)

    def all_recommendations(self, study_id: UUID) -> Iterator[RecommendationRead]:
        """Every recommendation of a study, page by page."""
        return walked(lambda cursor: self.list_recommendations(study_id, 1000, cursor))

    def get_recommendation(self, recommendation_id: UUID) -> RecommendationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}", RecommendationRead)

    def watch_recommendation(self, recommendation_id: UUID) -> Iterator[JobProgress]:
        """Where the recommendation is, each time that it changes, until it is over."""
        return self._watch(f"/v1/recommendations/{recommendation_id}/events")

    def wait_for_recommendation(
        self, recommendation_id: UUID, seconds: float = 3600.0, on_progress: Callable[[float], None] | None = None
    ) -> RecommendationRead:
        """The recommendation, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait("recommendation", lambda: self.get_recommendation(recommendation_id), seconds, on_progress)

    def cancel_recommendation(self, recommendation_id: UUID) -> RecommendationRead:
        return self._post(f"/v1/recommendations/{recommendation_id}/cancel", None, RecommendationRead)

    def diff(self, recommendation_id: UUID, against: str | UUID = "prior") -> RecommendationDiff:
        """What moves against another recommendation of the study, ``prior``, ``adopted`` or a baseline."""
        return self._get(f"/v1/recommendations/{recommendation_id}/diff", RecommendationDiff, against=against)

    def create_verification(self, recommendation_id: UUID, body: VerificationCreate) -> RunsCreated:
        return self._post(f"/v1/recommendations/{recommendation_id}/verifications", body, RunsCreated)

    def get_verification(self, recommendation_id: UUID) -> VerificationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}/verification", VerificationRead)
