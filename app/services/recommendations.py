"""Ask for recommendations and read them. The worker computes them in ``recommending.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.models import DomainSet, Fit, Job, Recommendation, Study
from app.schemas.common import Page
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationCreate, RecommendationRead
from app.schemas.wishes import Constraints, Objective
from app.services.access import check_study
from app.services.events import record
from app.services.fits import fitted_runs, law_of
from app.services.jobs import cancel_job, new_job, require_succeeded
from app.services.mixture_choice import adopted_mixture
from app.services.pages import page
from app.services.predictions import fit_problem
from app.services.stages import checked_stages
from app.services.studies import find_study
from app.services.wishes import ADOPTED, check_baselines
from mixers.objectives import family_names
from mixers.types import Scale


def plan_recommendation(session: Session, study_id: UUID, body: RecommendationCreate) -> Recommendation:
    """The search for the best weights under a law of a finished fit, checked and not yet queued.

    Reading the runs of a large fit takes seconds, in which nobody who writes should have to wait.

    Raises:
        InvalidRequest: the fit is not one of the study, or does not hold the law; stages with gaps or wrong weights.
        Conflict: the fit is not finished.
        Infeasible: no mixture satisfies the constraints.
    """
    study = find_study(session, study_id)
    fit = session.get(Fit, body.fit_id, options=[undefer(Fit.run_ids)])
    if fit is None or fit.study_id != study.id:
        raise InvalidRequest.of("fit_id", f"study {study.id} has no fit {body.fit_id}", "the id of a fit of this study")
    law = law_of(fit, body.law)
    objective = body.objective or Objective.model_validate(study.objective)
    constraints = _resolved(session, study, body.constraints or Constraints.model_validate(study.constraints))
    _check_problem(session, fit, objective, constraints, body.pareto)
    names = [domain["name"] for domain in session.get_one(DomainSet, fit.domain_set_id).domains]
    return Recommendation(
        study_id=study.id,
        fit_id=fit.id,
        law=law,
        objective=objective.model_dump(mode="json"),
        constraints=constraints.model_dump(mode="json"),
        model_params=body.model_params,
        train_tokens=body.train_tokens,
        pareto=body.pareto,
        seed=body.seed,
        runs_hash=fit.runs_hash,
        stages=checked_stages(body.stages, names)[0],
        weights=[],
        predictions={},
    )


def create_recommendation(
    session: Session, planned: Recommendation, max_attempts: int, now: datetime
) -> RecommendationRead:
    """Queue what :func:`plan_recommendation` has planned."""
    planned.id, planned.created_at = new_id(now), now
    planned.job = new_job("recommendation", max_attempts, now)
    session.add(planned)
    created = {"fit": str(planned.fit_id), "law": planned.law}
    record(session, "recommendation.created", now, study_id=planned.study_id, subject_id=planned.id, data=created)
    session.commit()
    return read_recommendation(planned)


def _resolved(session: Session, study: Study, constraints: Constraints) -> Constraints:
    """The constraints with the adopted mixture written out: what is stored must not change when another is adopted.

    Raises:
        InvalidRequest: the study has adopted none.
    """
    if constraints.current != ADOPTED:
        return constraints
    adopted = adopted_mixture(session, study)
    if adopted is None:
        raise InvalidRequest.of(
            "constraints.current", "the study has adopted no recommendation yet", "weights, natural or uniform"
        )
    return constraints.model_copy(update={"current": adopted[1]})


def _check_problem(session: Session, fit: Fit, objective: Objective, constraints: Constraints, pareto: bool) -> None:
    """Refuse at once what the worker would refuse: an answer is better than a job that fails."""
    problem = fit_problem(session, fit, objective, constraints, Scale.unknown())
    check_baselines(problem, fitted_runs(session, fit))
    if pareto and len(families := family_names(problem.targets)) < 2:
        raise InvalidRequest.of("pareto", f"there is only one family of targets, {', '.join(families)}", "false")


def find_recommendation(session: Session, recommendation_id: UUID, whole: bool = False) -> Recommendation:
    """The recommendation with its job; ``whole`` with the details, which are large.

    Raises:
        NotFound: no recommendation has this identifier.
    """
    options = [undefer(Recommendation.details)] if whole else []
    found = session.get(Recommendation, recommendation_id, options=options)
    if found is None:
        raise NotFound(f"there is no recommendation {recommendation_id}")
    check_study(session, found.study_id, f"recommendation {recommendation_id}")
    return found


def get_recommendation(session: Session, recommendation_id: UUID) -> RecommendationRead:
    """One recommendation, with all that is known of it."""
    found = find_recommendation(session, recommendation_id, whole=True)
    return read_recommendation(found, found.details)


def list_recommendations(
    session: Session,
    study_id: UUID,
    limit: int,
    cursor: str | None,
    state: JobState | None = None,
    law: str | None = None,
) -> Page[RecommendationRead]:
    """The recommendations of a study, newest first, without their details; of one state or law when they are named."""
    find_study(session, study_id)
    wanted = select(Recommendation).where(Recommendation.study_id == study_id)
    if state is not None:
        wanted = wanted.where(Recommendation.job.has(Job.state == state))
    if law is not None:
        wanted = wanted.where(Recommendation.law == law)
    return page(
        session,
        wanted,
        Recommendation.id,
        limit,
        cursor,
        lambda rows: [read_recommendation(row) for row in rows],
        newest_first=True,
    )


def cancel_recommendation(session: Session, recommendation_id: UUID, now: datetime) -> RecommendationRead:
    """Take a recommendation back; a worker that computes it stops, and nothing of it is stored.

    Raises:
        Conflict: it has ended already.
    """
    found = find_recommendation(session, recommendation_id)
    cancel_job(session, found.job, now)
    session.commit()
    return read_recommendation(found)


def require_recommended(recommendation: Recommendation) -> None:
    """Refuse a recommendation that has no weights.

    Raises:
        Conflict: saying how far it is or why it failed.
    """
    require_succeeded(recommendation.job, f"recommendation {recommendation.id}")


def read_recommendation(row: Recommendation, details: dict[str, Any] | None = None) -> RecommendationRead:
    """A row as the API shows it."""
    return RecommendationRead.model_validate(
        {
            "id": row.id,
            "study_id": row.study_id,
            "fit_id": row.fit_id,
            "state": row.job.state,
            "progress": row.job.progress,
            "progress_message": row.job.message,
            "law": row.law,
            "objective": row.objective,
            "constraints": row.constraints,
            "model_params": row.model_params,
            "train_tokens": row.train_tokens,
            "pareto": row.pareto,
            "stages": row.stages,
            "weights": row.weights,
            "predictions": row.predictions,
            "solver_status": row.solver_status,
            "message": row.message,
            "details": details,
            "provenance": None if details is None else details.get("provenance"),
            "runs_hash": row.runs_hash,
            "error": row.job.error,
            "created_at": row.created_at,
            "finished_at": row.job.finished_at,
        }
    )
