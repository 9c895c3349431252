"""What a fitted law predicts for given weights, with 90 % intervals, in the direction of each target.

Sliders ask often, and how far a mixture is from the runs takes the weights of all of them. A finished fit does not
change, so the process keeps what it has read of the latest fits: the law, and the runs without their losses.
"""

from __future__ import annotations

import sys
from uuid import UUID

import numpy as np
from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session, undefer

from app.demands import beyond_the_runs, scale_for
from app.fidelity_answers import finite
from app.models import DomainSet, Fit, LawResult
from app.recent_values import RecentValues
from app.recommendation_details import mixture_document
from app.schemas.fits import PredictionCreate, PredictionsRead, WhatIf
from app.schemas.wishes import Constraints, Objective
from app.services.domain_versions import domains_in
from app.services.fits import find_fit, fitted_runs, law_of
from app.services.mixtures import parse_weights, vector
from app.services.observations import targets_of_fit
from app.services.studies import find_study
from app.services.wishes import problem_of
from mixers.laws import fitted_from_dict
from mixers.laws.base import FittedLaw
from mixers.recommendation import MixturePrediction, Problem, far_from_runs, nearest_run, predict_mixtures
from mixers.types import Observations, Scale


def predict(session: Session, recent: RecentValues, fit_id: UUID, body: PredictionCreate) -> PredictionsRead:
    """Predicted losses of each mixture under one law of the fit, and how far each is from what was measured.

    Raises:
        Conflict: the fit is not finished.
        InvalidRequest: a law that the fit does not hold, or wrong weights.
    """
    fit = find_fit(session, fit_id)
    law = law_of(fit, body.law)
    runs = recent.get(("runs", fit.id, fit.runs_hash), lambda: _support(session, fit))
    scale = scale_for(runs, body.model_params, body.train_tokens)
    problem = fit_problem(session, fit, Objective(kl_to_prior=0), Constraints(), scale)
    names = problem.domains.names
    rows = [parse_weights(weights, names, f"weights.{i}")[0] for i, weights in enumerate(body.weights)]
    p = np.array([vector(row, names) for row in rows])
    fitted = recent.get(("law", fit.id, fit.runs_hash, law), lambda: _sized_law(session, fit, law))
    predicted = predict_mixtures(fitted, problem, p)
    return PredictionsRead(
        law=law,
        model_params=finite(scale.model_params),
        train_tokens=finite(scale.train_tokens),
        predictions=[_what_if(problem, runs, row, mixture) for row, mixture in zip(p, predicted, strict=True)],
        warnings=beyond_the_runs(runs, scale),
    )


def _support(session: Session, fit: Fit) -> tuple[Observations, int]:
    """The weights and scales of the runs, with one target only, and their bytes."""
    runs = fitted_runs(session, fit).of_targets([0])
    names = sum(sys.getsizeof(name) for name in {*runs.run_ids, *runs.mix_ids, *runs.of_run})
    arrays = (runs.p, runs.losses, runs.model_params, runs.train_tokens)
    return runs, names + sum(array.nbytes for array in arrays) + 24 * len(runs)


def _sized_law(session: Session, fit: Fit, law: str) -> tuple[FittedLaw, int]:
    """The law, and the length of its JSON, which no law exceeds by much in memory."""
    row = (LawResult.fit_id == fit.id, LawResult.law == law)
    size = session.scalar(select(func.length(cast(LawResult.fitted, Text))).where(*row))
    return load_law(session, fit, law), size or 0


def _what_if(problem: Problem, runs: Observations, p: np.ndarray, predicted: MixturePrediction) -> WhatIf:
    run, distance = nearest_run(runs, p)
    unseen = (runs.p.max(axis=0) <= 0) & (p > 0)
    return WhatIf.model_validate(
        {
            **mixture_document(problem, p, predicted),
            "nearest_run": run,
            "distance": distance,
            "far": far_from_runs(distance),
            "unseen_domains": [name for name, new in zip(problem.domains.names, unseen, strict=True) if new],
        }
    )


def fit_problem(session: Session, fit: Fit, objective: Objective, constraints: Constraints, scale: Scale) -> Problem:
    """The fit's domains and targets with an objective and constraints, as the mathematics takes them.

    Raises:
        InvalidRequest: a name that is not there.
        Infeasible: no mixture satisfies all constraints together.
    """
    domains = domains_in(session.get_one(DomainSet, fit.domain_set_id))
    targets = targets_of_fit(find_study(session, fit.study_id), fit)
    return problem_of(domains, targets, objective, constraints, scale)


def load_law(session: Session, fit: Fit, law: str) -> FittedLaw:
    """A fitted law out of its stored JSON."""
    result = session.get_one(LawResult, (fit.id, law), options=[undefer(LawResult.fitted)], populate_existing=True)
    assert result.fitted is not None  # law_of admits only laws that were fitted
    return fitted_from_dict(result.fitted)
