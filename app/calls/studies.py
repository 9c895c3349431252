"""Calls: studies, the weights that they have adopted, and suggestions."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from app.calls.pages import walked
from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.mixture_choice import OFFERED, AdoptionCreate, WantedMixture
from app.schemas.runs import SuggestionCreate, SuggestionsRead
from app.schemas.studies import StudyCreate, StudyPatch, StudyRead
from app.schemas.weights import WeightsRead


class StudyCalls(Transport):
    """The calls of this resource; one method a route."""

    def create_study(self, body: StudyCreate) -> StudyRead:
        return self._post("/v1/studies", body, StudyRead)

    def list_studies(self, limit: int = 100, cursor: str | None = None, name: str | None = None) -> Page[StudyRead]:
        """Newest first; ``name`` is a part of the name, in any case."""
        return self._get("/v1/studies", Page[StudyRead], limit=limit, cursor=cursor, name=name)

    def all_studies(self, name: str | None = None) -> Iterator[StudyRead]:
        """Every study, page by page."""
        return walked(lambda cursor: self.list_studies(1000, cursor, name))

    def get_study(self, study_id: UUID) -> StudyRead:
        return self._get(f"/v1/studies/{study_id}", StudyRead)

    def change_study(self, study_id: UUID, body: StudyPatch, etag: str | None = None) -> StudyRead:
        """Change the version ``etag``, or the present one."""
        return self._change(f"/v1/studies/{study_id}", body, StudyRead, etag)

    def suggest(self, study_id: UUID, body: SuggestionCreate) -> SuggestionsRead:
        return self._post(f"/v1/studies/{study_id}/suggestions", body, SuggestionsRead)

    def adopt(self, recommendation_id: UUID, mixture: WantedMixture = OFFERED) -> WeightsRead:
        """Training pipelines read this mixture of the recommendation from now on."""
        body = AdoptionCreate(mixture=mixture)
        return self._post(f"/v1/recommendations/{recommendation_id}/adopt", body, WeightsRead)

    def get_weights(self, study_id: UUID) -> WeightsRead:
        """The adopted weights."""
        return self._get(f"/v1/studies/{study_id}/weights", WeightsRead)
