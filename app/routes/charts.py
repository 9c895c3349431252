"""The numbers that the dashboard draws, for pages and notebooks."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.charts import PredictedChart, TrajectoryChart, WeightsChart, predicted_chart, trajectory_chart, weights_chart
from app.errors import InvalidRequest
from app.routes.dependencies import READ, InDatabase, Now, problems
from app.services import fits, recommendations, runs, studies

router = APIRouter(tags=["charts"])
_Name = Annotated[str | None, Query(max_length=200)]


@router.get("/charts/studies/{study_id}/weights", dependencies=READ, responses=problems(404, 409))
def get_weights_chart(
    study_id: UUID, database: InDatabase, now: Now, recommendation: UUID | None = None
) -> WeightsChart:
    """Prior and caps of each domain, and the weights and epochs of a recommendation when one is named."""
    with database.read() as session:
        study = studies.get_study(session, study_id, now)
        if recommendation is None:
            return weights_chart(study, None)
        recommendations.require_recommended(recommendations.find_recommendation(session, recommendation))
        found = recommendations.get_recommendation(session, recommendation)
        if found.study_id != study.id:
            raise InvalidRequest.of(
                "recommendation", f"study {study.id} has no recommendation {found.id}", "one of this study"
            )
        return weights_chart(study, found)


@router.get("/charts/fits/{fit_id}/predicted", dependencies=READ, responses=problems(404, 409))
def get_predicted_chart(
    fit_id: UUID, database: InDatabase, now: Now, law: _Name = None, target: _Name = None
) -> PredictedChart:
    """Observed against predicted values out of fold, with common bounds for both axes and the law's fidelity."""
    with database.read() as session:
        points = fits.get_out_of_fold(session, fit_id, law, target)
        fit = fits.get_fit(session, fit_id)
        return predicted_chart(points, fit, studies.get_study(session, fit.study_id, now).targets)


@router.get("/charts/runs/{run_id}/trajectory", dependencies=READ, responses=problems(404))
def get_trajectory_chart(run_id: UUID, database: InDatabase, now: Now) -> TrajectoryChart:
    """Losses over training tokens: one line a target, the objective first."""
    with database.read() as session:
        run = runs.get_run(session, run_id)
        targets = studies.get_study(session, run.study_id, now).targets
        return trajectory_chart(runs.get_trajectory(session, run_id), run, targets)
