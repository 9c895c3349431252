"""Fits and predictions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, WithSettings, problems
from app.schemas.common import Page
from app.schemas.fits import FitCreate, FitRead, OutOfFoldRead, PredictionCreate, PredictionsRead
from app.services import fits, predictions

router = APIRouter(tags=["fits"])
_Name = Annotated[str | None, Query(max_length=200)]


@router.post("/studies/{study_id}/fits", dependencies=WRITE, status_code=202, responses=problems(404, 409))
def create_fit(
    study_id: UUID, body: FitCreate, database: InDatabase, settings: WithSettings, now: Now, response: Response
) -> FitRead:
    """Fit laws to the measured runs and compare them out of fold. Location names the fit; ask it for its progress."""
    with database.write() as session:
        fit = fits.create_fit(session, study_id, body, settings.job_max_attempts, now)
    response.headers["Location"] = f"/v1/fits/{fit.id}"
    return fit


@router.get("/studies/{study_id}/fits", dependencies=READ, responses=problems(404))
def list_fits(study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[FitRead]:
    """List the fits of a study, newest first."""
    with database.read() as session:
        return fits.list_fits(session, study_id, limit, cursor)


@router.get("/fits/{fit_id}", dependencies=READ, responses=problems(404))
def get_fit(fit_id: UUID, database: InDatabase) -> FitRead:
    """Read a fit: its state and progress, the fidelity of each law and the choice."""
    with database.read() as session:
        return fits.get_fit(session, fit_id)


@router.get("/fits/{fit_id}/out-of-fold", dependencies=READ, responses=problems(404, 409))
def get_out_of_fold(fit_id: UUID, database: InDatabase, law: _Name = None, target: _Name = None) -> OutOfFoldRead:
    """Read observed against predicted values of runs that the law had not seen."""
    with database.read() as session:
        return fits.get_out_of_fold(session, fit_id, law, target)


@router.post("/fits/{fit_id}/predictions", dependencies=READ, responses=problems(404, 409))
def predict(fit_id: UUID, body: PredictionCreate, database: InDatabase) -> PredictionsRead:
    """Predict the targets of given mixtures."""
    with database.read() as session:
        return predictions.predict(session, fit_id, body)
