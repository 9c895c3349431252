"""What a fitted law predicts for given weights, with 90 % intervals, in the direction of each target."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session, undefer

from app.models import DomainSet, Fit, LawResult
from app.schemas.fits import Interval, MixturePrediction, PredictionCreate, PredictionsRead
from app.schemas.studies import Constraints, Objective
from app.services.fits import find_fit, law_of
from app.services.mixtures import domains_of, feasible_set, named, parse_weights, vector
from app.services.observations import targets_of_fit
from app.services.studies import find_study
from mixers.laws import fitted_from_dict
from mixers.laws.base import FittedLaw
from mixers.recommendation import MixturePrediction as PredictedMixture
from mixers.recommendation import Problem, interval, predict_mixtures
from mixers.types import Scale, Targets


def predict(session: Session, fit_id: UUID, body: PredictionCreate) -> PredictionsRead:
    """Predicted losses of each mixture under one law of the fit.

    Raises:
        Conflict: the fit is not finished.
        InvalidRequest: a law that the fit does not hold, or wrong weights.
    """
    fit = find_fit(session, fit_id)
    law = law_of(fit, body.law)
    scale = scale_of(fit, body.model_params, body.train_tokens)
    problem = problem_of(session, fit, Objective(kl_to_prior=0), Constraints(), scale)
    names = problem.domains.names
    rows = [parse_weights(weights, names, f"weights.{i}")[0] for i, weights in enumerate(body.weights)]
    p = np.array([vector(row, names) for row in rows])
    predicted = predict_mixtures(load_law(session, fit, law), problem, p)
    return PredictionsRead(
        law=law,
        predictions=[
            read_prediction(row, mixture, names, problem.targets) for row, mixture in zip(p, predicted, strict=True)
        ],
    )


def scale_of(fit: Fit, model_params: float | None = None, train_tokens: float | None = None) -> Scale:
    """The scale that was asked for, else the largest of the fit's runs."""
    asked = (model_params or fit.model_params, train_tokens or fit.train_tokens)
    return Scale(*(np.nan if value is None else float(value) for value in asked))


def problem_of(session: Session, fit: Fit, objective: Objective, constraints: Constraints, scale: Scale) -> Problem:
    """The fit's domains and targets with an objective and constraints, as the mathematics takes them."""
    domains = domains_of(session.get_one(DomainSet, fit.domain_set_id))
    return Problem(
        domains=domains,
        targets=targets_of_fit(find_study(session, fit.study_id), fit),
        feasible=feasible_set(domains, constraints),
        kl_to_prior=objective.kl_to_prior,
        scale=scale,
        target_tokens=None if constraints.target_tokens is None else float(constraints.target_tokens),
        max_epochs=constraints.max_epochs,
    )


def load_law(session: Session, fit: Fit, law: str) -> FittedLaw:
    """A fitted law out of its stored JSON."""
    result = session.get_one(LawResult, (fit.id, law), options=[undefer(LawResult.fitted)], populate_existing=True)
    assert result.fitted is not None  # law_of admits only laws that were fitted
    return fitted_from_dict(result.fitted)


def read_prediction(
    p: np.ndarray, predicted: PredictedMixture, names: tuple[str, ...], targets: Targets
) -> MixturePrediction:
    """A predicted mixture as the API shows it. The objective stays a number to minimise."""
    means, stds = predicted.targets.mean.tolist(), predicted.targets.std.tolist()
    return MixturePrediction(
        weights=named(p, names),
        objective=_interval(predicted.objective_mean, predicted.objective_std),
        targets={
            name: _interval(mean, std, maximised)
            for name, mean, std, maximised in zip(targets.names, means, stds, targets.maximised, strict=True)
        },
    )


def _interval(mean: float, std: float, maximised: bool = False) -> Interval:
    low, high = interval(mean, std)
    if maximised:
        mean, low, high = -mean, -high, -low
    return Interval(mean=float(mean), low=float(low), high=float(high))
