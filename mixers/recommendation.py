"""From a fitted law to recommended weights, beside the baselines that they must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mixers.fidelity import objective_values
from mixers.laws import CalibratedLaw
from mixers.laws.base import FittedLaw
from mixers.laws.calibrated import Z90
from mixers.objectives import Objective
from mixers.optimizers import minimize_objective
from mixers.priors import natural, uniform
from mixers.simplex import FeasibleSet, epochs
from mixers.types import Domains, Observations, Prediction, Scale, Solution, Targets

# A weight this close to its upper bound is held by it.
_AT_BOUND = 1e-6


@dataclass(frozen=True)
class Problem:
    """What is asked: the least weighted mean of the targets at ``scale``, inside ``feasible``, near the prior.

    Args:
        kl_to_prior: weight of KL(p || prior), in units of the targets.
        target_tokens: tokens of the planned run, for the epochs; None when not known.
    """

    domains: Domains
    targets: Targets
    feasible: FeasibleSet
    kl_to_prior: float
    scale: Scale
    target_tokens: float | None = None


@dataclass(frozen=True)
class MixturePrediction:
    """Targets of one mixture (t,), and their weighted mean with the standard deviation of a new measurement."""

    objective_mean: float
    objective_std: float
    targets: Prediction


@dataclass(frozen=True)
class Recommendation:
    """The recommended weights and what is expected of them and of the baselines.

    Args:
        epochs: passes over each domain, NaN where not known. capped: where the upper bound holds the weight.
        mixtures: ``recommended``, ``natural``, ``uniform`` and, when runs were given, ``best_measured``.
        message: what a reader must know, in sentences.
    """

    solution: Solution
    epochs: Float[np.ndarray, " k"]
    max_weight: Float[np.ndarray, " k"]
    capped: Bool[np.ndarray, " k"]
    mixtures: dict[str, Float[np.ndarray, " k"]]
    predictions: dict[str, MixturePrediction]
    message: str


def recommend(
    fitted: FittedLaw, problem: Problem, runs: Observations | None, rng: np.random.Generator
) -> Recommendation:
    """Solve ``problem`` under ``fitted`` and predict the baselines beside it."""
    weights = problem.targets.weights
    objective = Objective(fitted, problem.scale, weights, problem.kl_to_prior, problem.domains.prior)
    solution = minimize_objective(objective, problem.feasible, rng)
    mixtures = {
        "recommended": solution.weights,
        "natural": natural(problem.domains),
        "uniform": uniform(problem.domains),
    }
    best = None if runs is None else best_measured(runs)
    if best is not None:
        mixtures["best_measured"] = best
    predictions = dict(zip(mixtures, predict_mixtures(fitted, problem, np.stack(list(mixtures.values()))), strict=True))
    upper = problem.feasible.upper
    capped = (solution.weights >= upper - _AT_BOUND) & (upper < 1)
    return Recommendation(
        solution,
        epochs(solution.weights, problem.domains, problem.target_tokens),
        upper.copy(),
        capped,
        mixtures,
        predictions,
        _message(solution, problem, runs, mixtures, predictions),
    )


def predict_mixtures(fitted: FittedLaw, problem: Problem, p: Float[np.ndarray, "m k"]) -> list[MixturePrediction]:
    """Predicted targets and objective of each row of ``p`` at the scale of the problem."""
    prediction = fitted.predict(p, problem.scale)
    weights = problem.targets.weights / problem.targets.weights.sum()
    mean = objective_values(prediction.mean, weights)
    if isinstance(fitted, CalibratedLaw):
        std = fitted.weighted_std(prediction.std, weights)
    else:  # without known correlations: fully correlated errors, the widest interval
        std = prediction.std @ weights
    return [
        MixturePrediction(float(mean[i]), float(std[i]), Prediction(prediction.mean[i], prediction.std[i]))
        for i in range(len(p))
    ]


def interval(mean: float, std: float) -> tuple[float, float]:
    """The 90 % interval of a new measurement."""
    return mean - Z90 * std, mean + Z90 * std


def best_measured(runs: Observations) -> Float[np.ndarray, " k"] | None:
    """The mixture with the lowest measured objective at the largest scale that has one; None when none was measured.

    Repeats of one mixture are averaged first: the luckiest of several repeats is not the best mixture.
    """
    value = objective_values(runs.losses, runs.targets.weights)
    group = runs.scale_groups
    for g in sorted(set(group.tolist()), reverse=True):
        rows = np.flatnonzero((group == g) & np.isfinite(value))
        if len(rows):
            mixtures, inverse = np.unique(np.round(runs.p[rows], 9), axis=0, return_inverse=True)
            inverse = inverse.reshape(-1)
            mean = np.bincount(inverse, value[rows]) / np.bincount(inverse)
            return mixtures[int(np.argmin(mean))] / mixtures[int(np.argmin(mean))].sum()
    return None


def largest_scale(runs: Observations) -> Scale:
    """The largest N among the runs and the largest D at that N; NaN where not known."""
    params = runs.model_params
    if np.isnan(params).all():
        rows = np.ones(len(runs), bool)
        top = np.nan
    else:
        top = float(np.nanmax(params))
        rows = params == top
    tokens = runs.train_tokens[rows]
    return Scale(np.float64(top), np.float64(np.nan if np.isnan(tokens).all() else np.nanmax(tokens)))


def _message(
    solution: Solution,
    problem: Problem,
    runs: Observations | None,
    mixtures: dict[str, np.ndarray],
    predictions: dict[str, MixturePrediction],
) -> str:
    sentences = [f"Solver: {solution.message}."]
    chosen = predictions["recommended"]
    outside = [name for name in ("natural", "uniform", "best_measured") if name in mixtures]
    outside = [name for name in outside if not problem.feasible.contains(mixtures[name], 1e-6)]
    if outside:
        sentences.append(f"Outside of the constraints, shown for comparison only: {', '.join(outside)}.")
    if "best_measured" in predictions:
        gain = predictions["best_measured"].objective_mean - chosen.objective_mean
        if gain < Z90 * chosen.objective_std:
            sentences.append(
                f"The predicted gain over the best measured mixture ({gain:.4f}) is within the noise of a prediction "
                f"({Z90 * chosen.objective_std:.4f}): where it is allowed, the best measured mixture is as good."
            )
    if runs is not None and len(runs):
        reach = np.abs(runs.p - solution.weights).sum(axis=1).min()
        if reach > 0.5:
            sentences.append(
                f"The recommended mixture is far from every run (L1 distance {reach:.2f}): train it first."
            )
    return " ".join(sentences)
