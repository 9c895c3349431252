"""Ask for recommendations and read them. The worker computes them in ``recommending.py``."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.models import DomainSet, Fit, Recommendation
from app.schemas.common import Page
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationCreate, RecommendationRead
from app.schemas.studies import Constraints, Objective
from app.services.access import check_study
from app.services.events import record
from app.services.fits import law_of
from app.services.jobs import new_job
from app.services.mixtures import domains_of, feasible_set
from app.services.pages import page
from app.services.studies import find_study


def create_recommendation(
    session: Session, study_id: UUID, body: RecommendationCreate, max_attempts: int, now: datetime
) -> RecommendationRead:
    """Queue the search for the best weights under a law of a finished fit.

    Raises:
        InvalidRequest: the fit is not one of the study, or does not hold the law.
        Conflict: the fit is not finished.
        Infeasible: no mixture satisfies the constraints.
    """
    study = find_study(session, study_id)
    fit = session.get(Fit, body.fit_id)
    if fit is None or fit.study_id != study.id:
        raise InvalidRequest.of("fit_id", f"study {study.id} has no fit {body.fit_id}", "the id of a fit of this study")
    law = law_of(fit, body.law)
    constraints = body.constraints or Constraints.model_validate(study.constraints)
    feasible_set(domains_of(session.get_one(DomainSet, fit.domain_set_id)), constraints)
    objective = body.objective or Objective.model_validate(study.objective)
    recommendation = Recommendation(
        id=new_id(now),
        job=new_job("recommendation", max_attempts, now),
        study_id=study.id,
        fit_id=fit.id,
        law=law,
        objective=objective.model_dump(mode="json"),
        constraints=constraints.model_dump(mode="json"),
        seed=body.seed,
        runs_hash=fit.runs_hash,
        stages=[],
        weights=[],
        predictions={},
        created_at=now,
    )
    session.add(recommendation)
    created = {"fit": str(fit.id), "law": law}
    record(session, "recommendation.created", now, study_id=study.id, subject_id=recommendation.id, data=created)
    session.commit()
    return read_recommendation(recommendation)


def find_recommendation(session: Session, recommendation_id: UUID) -> Recommendation:
    """The recommendation with its job.

    Raises:
        NotFound: no recommendation has this identifier.
    """
    found = session.get(Recommendation, recommendation_id)
    if found is None:
        raise NotFound(f"there is no recommendation {recommendation_id}")
    check_study(session, found.study_id)
    return found


def get_recommendation(session: Session, recommendation_id: UUID) -> RecommendationRead:
    """One recommendation."""
    return read_recommendation(find_recommendation(session, recommendation_id))


def list_recommendations(session: Session, study_id: UUID, limit: int, cursor: str | None) -> Page[RecommendationRead]:
    """The recommendations of a study, newest first."""
    find_study(session, study_id)
    return page(
        session,
        select(Recommendation).where(Recommendation.study_id == study_id),
        Recommendation.id,
        limit,
        cursor,
        lambda rows: [read_recommendation(row) for row in rows],
        newest_first=True,
    )


def require_recommended(recommendation: Recommendation) -> None:
    """Refuse a recommendation that has no weights.

    Raises:
        Conflict: saying how far it is or why it failed.
    """
    job = recommendation.job
    if job.state is JobState.FAILED:
        raise Conflict(f"recommendation {recommendation.id} failed: {job.error}")
    if job.state is not JobState.SUCCEEDED:
        raise Conflict(f"recommendation {recommendation.id} is {job.state}; wait until it has succeeded")


def read_recommendation(row: Recommendation) -> RecommendationRead:
    """A row as the API shows it."""
    return RecommendationRead.model_validate(
        {
            "id": row.id,
            "study_id": row.study_id,
            "fit_id": row.fit_id,
            "state": row.job.state,
            "law": row.law,
            "objective": row.objective,
            "constraints": row.constraints,
            "stages": row.stages,
            "weights": row.weights,
            "predictions": row.predictions,
            "solver_status": row.solver_status,
            "message": row.message,
            "runs_hash": row.runs_hash,
            "error": row.job.error,
            "created_at": row.created_at,
            "finished_at": row.job.finished_at,
        }
    )
