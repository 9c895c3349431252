"""Calls: studies and suggestions."""

from __future__ import annotations

from uuid import UUID

from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.runs import SuggestionCreate, SuggestionsRead
from app.schemas.studies import StudyCreate, StudyRead


class StudyCalls(Transport):
    """The calls of this resource; one method a route."""

    def create_study(self, body: StudyCreate) -> StudyRead:
        return self._post("/v1/studies", body, StudyRead)

    def list_studies(self, limit: int = 100, cursor: str | None = None) -> Page[StudyRead]:
        return self._get("/v1/studies", Page[StudyRead], limit=limit, cursor=cursor)

    def get_study(self, study_id: UUID) -> StudyRead:
        return self._get(f"/v1/studies/{study_id}", StudyRead)

    def suggest(self, study_id: UUID, body: SuggestionCreate) -> SuggestionsRead:
        return self._post(f"/v1/studies/{study_id}/suggestions", body, SuggestionsRead)
