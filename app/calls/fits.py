"""Calls: fits and predictions."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from app.calls.jobs import Jobs, ignore
from app.schemas.common import Page
from app.schemas.fits import FitCreate, FitRead, OutOfFoldRead, PredictionCreate, PredictionsRead


class FitCalls(Jobs):
    """The calls of this resource; one method a route."""

    def create_fit(self, study_id: UUID, body: FitCreate | None = None) -> FitRead:
        return self._post(f"/v1/studies/{study_id}/fits", body or FitCreate(), FitRead)

    def list_fits(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[FitRead]:
        return self._get(f"/v1/studies/{study_id}/fits", Page[FitRead], limit=limit, cursor=cursor)

    def get_fit(self, fit_id: UUID) -> FitRead:
        return self._get(f"/v1/fits/{fit_id}", FitRead)

    def wait_for_fit(
        self, fit_id: UUID, seconds: float = 3600.0, on_progress: Callable[[float], None] | None = None
    ) -> FitRead:
        """The fit, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait(
            "fit", lambda: self.get_fit(fit_id), seconds, lambda fit: (on_progress or ignore)(fit.progress)
        )

    def get_out_of_fold(self, fit_id: UUID, law: str | None = None, target: str | None = None) -> OutOfFoldRead:
        return self._get(f"/v1/fits/{fit_id}/out-of-fold", OutOfFoldRead, law=law, target=target)

    def predict(self, fit_id: UUID, body: PredictionCreate) -> PredictionsRead:
        return self._post(f"/v1/fits/{fit_id}/predictions", body, PredictionsRead)
