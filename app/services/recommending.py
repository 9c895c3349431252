"""What the worker does for a recommendation: solve for the weights, predict them and the baselines, store at once."""

from __future__ import annotations

import math
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.models import Fit, Recommendation
from app.schemas.recommendations import DomainWeight
from app.schemas.studies import Constraints, Objective
from app.services.fits import fitted_runs
from app.services.fitting import OnProgress, Store
from app.services.mixtures import named
from app.services.predictions import load_law, problem_of, read_prediction, scale_of
from mixers.recommendation import Problem, recommend
from mixers.recommendation import Recommendation as Recommended
from proxy_training.spec import Stage


def run_recommendation(database: Database, job_id: UUID, on_progress: OnProgress) -> Store:
    """Compute the recommendation of a job. What it returns stores it; until then nothing is written.

    Raises:
        MixError: the problem cannot be solved as it is stated.
    """
    with database.read() as session:
        row = session.scalars(select(Recommendation).where(Recommendation.job_id == job_id)).one()
        fit = session.get_one(Fit, row.fit_id)
        constraints = Constraints.model_validate(row.constraints)
        problem = problem_of(session, fit, Objective.model_validate(row.objective), constraints, scale_of(fit))
        law = load_law(session, fit, row.law)
        runs = fitted_runs(session, fit)
    on_progress(0.1, "searching for the best weights")
    best = recommend(law, problem, runs, np.random.default_rng(row.seed))

    def store(session: Session) -> None:
        kept = session.get_one(Recommendation, row.id)
        kept.weights = [weight.model_dump(mode="json") for weight in _weights(best, problem)]
        kept.stages = [stage.model_dump(mode="json") for stage in _stages(best, problem)]
        kept.predictions = {
            name: read_prediction(p, best.predictions[name], problem.domains.names, problem.targets).model_dump()
            for name, p in best.mixtures.items()
        }
        kept.solver_status, kept.message = str(best.solution.status), best.message

    return store


def _weights(best: Recommended, problem: Problem) -> list[DomainWeight]:
    rows = zip(
        problem.domains.names,
        problem.domains.prior.tolist(),
        best.solution.weights.tolist(),
        best.max_weight.tolist(),
        best.epochs.tolist(),
        best.capped.tolist(),
        strict=True,
    )
    return [
        DomainWeight(
            domain=domain,
            prior=prior,
            weight=weight,
            max_weight=max_weight,
            epochs=epochs if math.isfinite(epochs) else None,
            capped=capped,
        )
        for domain, prior, weight, max_weight, epochs, capped in rows
    ]


def _stages(best: Recommended, problem: Problem) -> list[Stage]:
    """One stage over the whole run: the target run's tokens, else those of the runs. None when neither is known."""
    tokens = problem.target_tokens or float(problem.scale.train_tokens)
    if not math.isfinite(tokens):
        return []
    weights = named(best.solution.weights / best.solution.weights.sum(), problem.domains.names)
    return [Stage(from_token=0, to_token=int(tokens), weights=weights)]
