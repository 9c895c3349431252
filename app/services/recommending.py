"""What the worker does for a recommendation: solve for the weights, predict them and the baselines, store at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.demands import beyond_the_runs, scale_for, trade_off
from app.models import DomainSet, Fit, LawResult, Recommendation
from app.recommendation_details import mixture_document, recommendation_details, weights_document
from app.schemas.recommendations import Provenance
from app.schemas.run_fidelity import ABOUT_MERGED, RunFidelity
from app.schemas.wishes import Constraints, Objective
from app.services.fits import about_points, fidelity_of, fitted_runs
from app.services.fitting import OnProgress, Store
from app.services.mixtures import named
from app.services.observations import count_staged_of_fit
from app.services.predictions import fit_problem, load_law
from app.services.stages import about_staged_runs, about_stages, mean_weights
from mixers.laws.base import FittedLaw
from mixers.outliers import without_diverged
from mixers.recommendation import Checks, Problem, recommend
from mixers.recommendation import Recommendation as Recommended
from mixers.simplex import FeasibleSet
from mixers.types import Observations
from proxy_training.spec import Stage


@dataclass(frozen=True)
class _Asked:
    """A recommendation as the mathematics takes it, and where it comes from. ``runs`` are without what diverged;
    ``about_points`` is what is to be known of points on their way."""

    row: Recommendation
    problem: Problem
    law: FittedLaw
    runs: Observations
    provenance: dict[str, Any]
    about_points: list[str]


def run_recommendation(database: Database, job_id: UUID, on_progress: OnProgress) -> Store:
    """Compute the recommendation of a job. What it returns stores it; until then nothing is written.

    Raises:
        MixError: the problem cannot be solved as it is stated.
    """
    with database.read() as session:
        asked = _load(session, job_id)
    problem, law, runs = asked.problem, asked.law, asked.runs
    rng = np.random.default_rng(asked.row.seed)
    on_progress(0.05, "searching for the best weights")
    stages = asked.row.stages
    given = mean_weights(stages, problem.domains.names) if stages else None
    if given is not None and problem.target_tokens is None:
        problem = replace(problem, target_tokens=float(stages[-1]["to_token"]))
    best = recommend(law, problem, runs, rng, given=given)
    front = None
    if asked.row.pareto:
        on_progress(0.5, "following the trade-off between families of targets")
        front = trade_off(law, problem, runs, rng)
    on_progress(0.8, "searching without constraints")
    details = {
        **recommendation_details(problem, best, runs, front),
        "unconstrained": _unconstrained(asked),
        "warnings": [*_about_runs(asked), *beyond_the_runs(runs, problem.scale), *about_stages(stages)],
        "provenance": asked.provenance | {"solver_status": str(best.solution.status)},
    }

    def store(session: Session) -> None:
        kept = session.get_one(Recommendation, asked.row.id)
        kept.weights = weights_document(problem, best)
        if given is None:
            kept.stages = [stage.model_dump(mode="json") for stage in _stages(best, problem)]
        kept.predictions = {
            name: mixture_document(problem, p, best.predictions[name]) for name, p in best.mixtures.items()
        }
        kept.solver_status, kept.message, kept.details = str(best.solution.status), best.message, details

    return store


def _load(session: Session, job_id: UUID) -> _Asked:
    row = session.scalars(select(Recommendation).where(Recommendation.job_id == job_id)).one()
    fit = session.get_one(Fit, row.fit_id)
    runs, _ = without_diverged(fitted_runs(session, fit))
    scale = scale_for(runs, row.model_params, row.train_tokens)
    objective, constraints = Objective.model_validate(row.objective), Constraints.model_validate(row.constraints)
    problem = fit_problem(session, fit, objective, constraints, scale)
    return _Asked(
        row, problem, load_law(session, fit, row.law), runs, _provenance(session, row, fit), about_points(fit)
    )


def _provenance(session: Session, row: Recommendation, fit: Fit) -> dict[str, Any]:
    domain_set = session.get_one(DomainSet, fit.domain_set_id)
    made = Provenance(
        fit_id=fit.id,
        law=row.law,
        reason=fit.reason if row.law == fit.chosen_law else "it was asked for",
        fidelity=session.get_one(LawResult, (fit.id, row.law)).fidelity,  # type: ignore[arg-type]  # pydantic reads it
        runs=fit.runs_used,
        run_fidelity=fidelity_of(fit),
        staged_runs=count_staged_of_fit(session, fit),
        points=None if fit.points is None else fit.points["used"],
        runs_hash=fit.runs_hash,
        domain_set_id=domain_set.id,
        domain_set_version=domain_set.version,
        domain_set_hash=domain_set.content_hash,
        seed=row.seed,
        solver_status="",
        mixwright_version=version("mixwright"),
    )
    return made.model_dump(mode="json")


def _about_runs(asked: _Asked) -> list[str]:
    merged = [ABOUT_MERGED] if asked.provenance["run_fidelity"] == RunFidelity.MERGED else []
    staged = about_staged_runs(asked.provenance["staged_runs"], asked.provenance["runs"])
    return [*merged, *staged, *asked.about_points]


def _unconstrained(asked: _Asked) -> dict[str, Any] | None:
    """The best mixture without limits; None where there are none."""
    problem = asked.problem
    if not problem.feasible.stated and problem.not_worse is None:
        return None
    free = replace(problem, feasible=FeasibleSet.simplex(problem.domains), not_worse=None)
    rng = np.random.default_rng(asked.row.seed)
    found = recommend(asked.law, free, asked.runs, rng, Checks(worst=False, sensitivity=False))
    return mixture_document(free, found.solution.weights, found.predictions["recommended"])


def _stages(best: Recommended, problem: Problem) -> list[Stage]:
    """One stage over the whole run: the target run's tokens, else those of the runs. None when neither is known."""
    tokens = problem.target_tokens or float(problem.scale.train_tokens)
    if not math.isfinite(tokens):
        return []
    weights = named(best.solution.weights / best.solution.weights.sum(), problem.domains.names)
    return [Stage(from_token=0, to_token=int(tokens), weights=weights)]
