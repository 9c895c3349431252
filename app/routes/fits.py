"""Fits, their progress, comparisons of their laws, and predictions."""

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
    Recent,
    Tagged,
    Watch,
    WithSettings,
    problems,
)
from app.schemas.common import Page
from app.schemas.fits import FitComparison, FitCreate, FitRead, OutOfFoldRead, PredictionCreate, PredictionsRead
from app.schemas.jobs import JobState
from app.services import fits, law_comparison, predictions

router = APIRouter(tags=["fits"])
_Name = Annotated[str | None, Query(max_length=200)]


@router.post("/studies/{study_id}/fits", dependencies=WRITE, status_code=202, responses=problems(404, 409))
def create_fit(
    study_id: UUID, body: FitCreate, database: InDatabase, settings: WithSettings, now: Now, response: Response
) -> FitRead:
    """Fit laws to the measured runs and compare them out of fold. Location names the fit; ask it for its progress."""
    with database.read() as session:
        planned = fits.plan_fit(session, study_id, body)
    with database.write() as session:
        fit = fits.create_fit(session, planned, settings.job_max_attempts, now)
    response.headers["Location"] = f"/v1/fits/{fit.id}"
    return fit


@router.get("/studies/{study_id}/fits", dependencies=READ, responses=problems(404))
def list_fits(
    study_id: UUID,
    database: InDatabase,
    limit: Limit = 100,
    cursor: Cursor = None,
    state: JobState | None = None,
    law: _Name = None,
) -> Page[FitRead]:
    """List the fits of a study, newest first; of one state, or with one chosen law, when they are named."""
    with database.read() as session:
        return fits.list_fits(session, study_id, limit, cursor, state, law)


@router.get("/fits/{fit_id}", dependencies=READ, responses=problems(404))
def get_fit(fit_id: UUID, database: InDatabase, tagged: Tagged) -> FitRead:
    """Read a fit: its state and progress, the fidelity of each law and the choice."""
    with database.read() as session:
        return tagged(fits.get_fit(session, fit_id))


@router.get("/fits/{fit_id}/events", dependencies=READ, response_class=EventStream, responses=problems(404))
async def watch_fit(fit_id: UUID, database: InDatabase, watch: Watch) -> EventStream:
    """Watch a fit: events `progress` with {state, progress, message, error} on each change, and `end`."""

    def job() -> UUID:
        with database.read() as session:
            return fits.find_fit(session, fit_id).job_id

    return EventStream(watch.events(await run_sync(job)))


@router.post("/fits/{fit_id}/cancel", dependencies=WRITE, responses=problems(404, 409))
def cancel_fit(fit_id: UUID, database: InDatabase, now: Now) -> FitRead:
    """Take back a fit that is not finished. A worker that computes it stops, and nothing of it is kept."""
    with database.write() as session:
        return fits.cancel_fit(session, fit_id, now)


@router.get("/fits/{fit_id}/comparison", dependencies=READ, responses=problems(404, 409))
def get_comparison(fit_id: UUID, database: InDatabase) -> FitComparison:
    """Compare the laws of a fit: by target, and by what choosing each costs against the best in hindsight."""
    with database.read() as session:
        return law_comparison.get_comparison(session, fit_id)


@router.get("/fits/{fit_id}/out-of-fold", dependencies=READ, responses=problems(404, 409))
def get_out_of_fold(fit_id: UUID, database: InDatabase, law: _Name = None, target: _Name = None) -> OutOfFoldRead:
    """Read observed against predicted values of runs that the law had not seen."""
    with database.read() as session:
        return fits.get_out_of_fold(session, fit_id, law, target)


@router.post("/fits/{fit_id}/predictions", dependencies=READ, responses=problems(404, 409))
def predict(fit_id: UUID, body: PredictionCreate, database: InDatabase, recent: Recent) -> PredictionsRead:
    """Predict the targets of given mixtures, and say how far each is from what was measured."""
    with database.read() as session:
        return predictions.predict(session, recent, fit_id, body)
