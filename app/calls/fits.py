"""Calls: fits, comparisons of their laws, and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from app.calls.jobs import Jobs
from app.calls.pages import walked
from app.schemas.common import Page
from app.schemas.fits import FitComparison, FitCreate, FitRead, OutOfFoldRead, PredictionCreate, PredictionsRead
from app.schemas.jobs import JobProgress, JobState


class FitCalls(Jobs):
    """The calls of this resource; one method a route."""

    def create_fit(self, study_id: UUID, body: FitCreate | None = None) -> FitRead:
        return self._post(f"/v1/studies/{study_id}/fits", body or FitCreate(), FitRead)

    def list_fits(
        self,
        study_id: UUID,
        limit: int = 100,
        cursor: str | None = None,
        state: JobState | None = None,
        law: str | None = None,
    ) -> Page[FitRead]:
        """Newest first; of one state, or with one chosen law."""
        path = f"/v1/studies/{study_id}/fits"
        return self._get(path, Page[FitRead], limit=limit, cursor=cursor, state=state, law=law)

    def all_fits(self, study_id: UUID) -> Iterator[FitRead]:
        """Every fit of a study, page by page."""
        return walked(lambda cursor: self.list_fits(study_id, 1000, cursor))

    def get_fit(self, fit_id: UUID) -> FitRead:
        return self._get(f"/v1/fits/{fit_id}", FitRead)

    def watch_fit(self, fit_id: UUID) -> Iterator[JobProgress]:
        """Where the fit is, each time that it changes, until it is over; a lost connection is made again."""
        return self._watch(f"/v1/fits/{fit_id}/events")

    def wait_for_fit(
        self, fit_id: UUID, seconds: float = 3600.0, on_progress: Callable[[float], None] | None = None
    ) -> FitRead:
        """The fit, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait("fit", lambda: self.get_fit(fit_id), seconds, on_progress)

    def cancel_fit(self, fit_id: UUID) -> FitRead:
        return self._post(f"/v1/fits/{fit_id}/cancel", None, FitRead)

    def compare_laws(self, fit_id: UUID) -> FitComparison:
        """The laws of a fit by target, and what choosing each would have cost."""
        return self._get(f"/v1/fits/{fit_id}/comparison", FitComparison)

    def get_out_of_fold(self, fit_id: UUID, law: str | None = None, target: str | None = None) -> OutOfFoldRead:
        return self._get(f"/v1/fits/{fit_id}/out-of-fold", OutOfFoldRead, law=law, target=target)

    def predict(self, fit_id: UUID, body: PredictionCreate) -> PredictionsRead:
        return self._post(f"/v1/fits/{fit_id}/predictions", body, PredictionsRead)
