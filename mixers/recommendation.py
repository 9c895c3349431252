"""From a fitted law to recommended weights, beside the baselines that they must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mixers.baselines import BEST_MEASURED, RECOMMENDED, best_measured, largest_scale
from mixers.laws import CalibratedLaw
from mixers.laws.base import FittedLaw
from mixers.laws.calibrated import Z90
from mixers.objectives import Objective
from mixers.optimizers import solve
from mixers.problem import Problem, comparison_mixtures, objective_of
from mixers.sensitivity import Sensitivity, sensitivity
from mixers.shadow_prices import Prices, shadow_prices
from mixers.simplex import epochs
from mixers.types import Observations, Prediction, Solution, SolveStatus
from mixers.worst_mixture import worst_mixture

# A weight this close to its upper bound is held by it.
_AT_BOUND = 1e-6
# Of the spread of the objective over the runs: what the sensitivity counts as equally good when no margin is given.
_MARGIN = 0.01
# An L1 distance to the nearest run above which nothing like the mixture was measured.
_FAR = 0.5

__all__ = [
    "Checks",
    "Gain",
    "MixturePrediction",
    "Problem",
    "Recommendation",
    "WorstCase",
    "best_measured",
    "far_from_runs",
    "gain_over",
    "interval",
    "largest_scale",
    "nearest_run",
    "predict_mixtures",
    "recommend",
]


@dataclass(frozen=True)
class MixturePrediction:
    """Targets of one mixture (t,), and the objective with the standard deviation of a new measurement.

    The objective is the weighted mean, or the worst excess where that is minimised (then the deviation is that of the
    row that is worst), without pull and costs.
    """

    objective_mean: float
    objective_std: float
    targets: Prediction


@dataclass(frozen=True)
class Gain:
    """How much better the recommended mixture is predicted to be than a baseline: baseline minus recommended.

    The deviations are those of the difference of two new measurements whose errors are independent. Two predictions of
    one law share part of their errors, so the intervals are a little too wide rather than too narrow.
    """

    objective_mean: float
    objective_std: float
    targets: Prediction


@dataclass(frozen=True)
class WorstCase:
    """The mixture that the law expects to be worst, to train as a test of the law."""

    weights: Float[np.ndarray, " k"]
    prediction: MixturePrediction


@dataclass(frozen=True)
class Checks:
    """What is computed beside the weights.

    Args:
        margin: of the sensitivity, in units of the objective; 1 % of the spread over the runs when left out.
    """

    worst: bool = True
    sensitivity: bool = True
    margin: float | None = None


@dataclass(frozen=True)
class Recommendation:
    """The recommended weights and what is expected of them and of the baselines.

    Args:
        epochs: passes over each domain, NaN where not known. capped: where the upper bound holds the weight.
        wasted_tokens: tokens of the run lost to repetition on each domain (k,), NaN where they are not known.
        mixtures: ``recommended`` and every baseline: ``natural``, ``uniform``, ``temperature``; where they are known
            ``unimax``, ``current``, ``best_measured`` and those of the problem.
        gains: of the recommended mixture over each baseline.
        outside: the baselines that the constraints do not allow.
        prices: of the active constraints.
        within_noise: whether the predicted gain over the best measured mixture is within the noise; None without one.
        offered: the name of the mixture to act on: ``recommended``, or ``best_measured`` when it is allowed and the
            gain over it is within the noise.
        unseen: domains that no run contained: the law knows nothing about them.
        message: what a reader must know, in sentences.
    """

    solution: Solution
    epochs: Float[np.ndarray, " k"]
    max_weight: Float[np.ndarray, " k"]
    capped: Bool[np.ndarray, " k"]
    wasted_tokens: Float[np.ndarray, " k"]
    mixtures: dict[str, Float[np.ndarray, " k"]]
    predictions: dict[str, MixturePrediction]
    gains: dict[str, Gain]
    outside: tuple[str, ...]
    prices: Prices
    worst: WorstCase | None
    sensitivity: Sensitivity | None
    within_noise: bool | None
    offered: str
    unseen: tuple[str, ...]
    message: str

    @property
    def offered_weights(self) -> Float[np.ndarray, " k"]:
        """The weights of the mixture to act on."""
        return self.mixtures[self.offered]


def recommend(
    fitted: FittedLaw,
    problem: Problem,
    runs: Observations | None,
    rng: np.random.Generator,
    checks: Checks | None = None,
    given: Float[np.ndarray, " k"] | None = None,
) -> Recommendation:
    """Solve ``problem`` under ``fitted`` and predict the baselines beside it.

    Args:
        given: weights that somebody has chosen. They are judged as the recommended ones, and nothing is searched; they
            have no shadow prices, for those belong to an optimum.

    Raises:
        Infeasible: no mixture satisfies the limits on targets.
        InvalidInput: the problem names a baseline, family or target that is not there.
    """
    checks = checks or Checks()
    baselines = comparison_mixtures(problem, runs)
    objective = objective_of(fitted, problem, runs, baselines)
    solution = solve(objective, problem.feasible, rng).solution if given is None else _chosen(objective, given)
    p = solution.weights
    mixtures = {RECOMMENDED: p, **baselines}
    stacked = np.stack(list(mixtures.values()))
    predictions = dict(zip(mixtures, predict_mixtures(fitted, problem, stacked, objective), strict=True))
    gains = {name: gain_over(predictions[name], predictions[RECOMMENDED]) for name in baselines}
    inside = problem.feasible.inside(stacked[1:], 1e-6)
    outside = tuple(name for name, good in zip(baselines, inside, strict=True) if not good)
    best = gains.get(BEST_MEASURED)
    within_noise = None if best is None else best.objective_mean < Z90 * best.objective_std
    offered = BEST_MEASURED if within_noise and BEST_MEASURED not in outside else RECOMMENDED
    unseen = _unseen(runs)
    return Recommendation(
        solution,
        epochs(p, problem.domains, problem.target_tokens),
        problem.feasible.upper.copy(),
        (p >= problem.feasible.upper - _AT_BOUND) & (problem.feasible.upper < 1),
        _wasted_tokens(problem, p),
        mixtures,
        predictions,
        gains,
        outside,
        shadow_prices(objective, problem.feasible, p) if given is None else Prices((), float("nan")),
        _worst_case(objective, problem, rng) if checks.worst else None,
        _sensitivity(objective, problem, runs, p, checks, rng) if checks.sensitivity else None,
        within_noise,
        offered,
        unseen,
        " ".join(_sentences(problem, solution, best, within_noise, offered, outside, unseen, runs)),
    )


def predict_mixtures(
    fitted: FittedLaw, problem: Problem, p: Float[np.ndarray, "m k"], objective: Objective | None = None
) -> list[MixturePrediction]:
    """Predicted targets and objective of each row of ``p`` at the scale of the problem.

    Args:
        objective: that of :func:`objective_of`; without it the weighted mean is predicted.
    """
    prediction = fitted.predict(p, problem.scale)
    weights = np.broadcast_to(problem.weights, prediction.mean.shape)
    mean = prediction.mean @ problem.weights
    if objective is not None and objective.worst is not None:
        mean = objective.aggregate(prediction.mean)
        weights = np.array([objective.gradient_rows(y) for y in prediction.mean])
    return [
        MixturePrediction(
            float(mean[i]),
            _weighted_std(fitted, prediction.std[i], weights[i]),
            Prediction(prediction.mean[i], prediction.std[i]),
        )
        for i in range(len(p))
    ]


def _weighted_std(fitted: FittedLaw, std: np.ndarray, weights: np.ndarray) -> float:
    if isinstance(fitted, CalibratedLaw):
        return float(fitted.weighted_std(std, weights))
    return float(std @ weights)  # without known correlations: fully correlated errors, the widest interval


def interval(mean: float, std: float) -> tuple[float, float]:
    """The 90 % interval of a new measurement."""
    return mean - Z90 * std, mean + Z90 * std


def gain_over(baseline: MixturePrediction, recommended: MixturePrediction) -> Gain:
    """How much better a mixture is predicted to be than a baseline."""
    return Gain(
        baseline.objective_mean - recommended.objective_mean,
        float(np.hypot(baseline.objective_std, recommended.objective_std)),
        Prediction(
            baseline.targets.mean - recommended.targets.mean, np.hypot(baseline.targets.std, recommended.targets.std)
        ),
    )


def _chosen(objective: Objective, p: Float[np.ndarray, " k"]) -> Solution:
    value = float(objective.value(p[None])[0])
    return Solution(p, value, SolveStatus.GIVEN, float("nan"), "none, the weights were given")


def _wasted_tokens(problem: Problem, p: np.ndarray) -> np.ndarray:
    repetition = problem.repetition
    if repetition is None:
        return np.full(len(p), np.nan)
    known = np.isfinite(problem.domains.available_tokens)
    return np.where(known, repetition.wasted(p) * repetition.target_tokens, np.nan)


def _worst_case(objective: Objective, problem: Problem, rng: np.random.Generator) -> WorstCase:
    p = worst_mixture(objective, problem.feasible, rng)
    return WorstCase(p, predict_mixtures(objective.law, problem, p[None], objective)[0])


def _sensitivity(
    objective: Objective,
    problem: Problem,
    runs: Observations | None,
    p: np.ndarray,
    checks: Checks,
    rng: np.random.Generator,
) -> Sensitivity:
    margin = checks.margin
    if margin is None:
        seen = problem.feasible.sample(500, np.ones(len(p)), rng) if runs is None or len(runs) == 0 else runs.p
        margin = max(_MARGIN * float(np.ptp(objective.predicted(seen))), 1e-9)
    return sensitivity(objective, problem.feasible, p, margin)


def nearest_run(runs: Observations, p: Float[np.ndarray, " k"]) -> tuple[str, float]:
    """The name of the run whose weights are nearest to ``p``, and their L1 distance, from 0 to 2."""
    distance = np.abs(runs.p - p).sum(axis=1)
    nearest = int(np.argmin(distance))
    return runs.of_run[nearest], float(distance[nearest])


def far_from_runs(distance: float) -> bool:
    """Whether nothing like a mixture at this distance from the nearest run was measured."""
    return distance > _FAR


def _unseen(runs: Observations | None) -> tuple[str, ...]:
    if runs is None or len(runs) == 0:
        return ()
    return tuple(name for name, most in zip(runs.domains.names, runs.p.max(axis=0), strict=True) if most <= 0)


def _sentences(
    problem: Problem,
    solution: Solution,
    best: Gain | None,
    within_noise: bool | None,
    offered: str,
    outside: tuple[str, ...],
    unseen: tuple[str, ...],
    runs: Observations | None,
) -> list[str]:
    sentences = [f"Solver: {solution.message}."]
    if solution.status is SolveStatus.GIVEN and not problem.feasible.inside(solution.weights[None], 1e-6)[0]:
        sentences.append("The given weights are outside of the constraints.")
    if outside:
        sentences.append(f"Outside of the constraints, shown for comparison only: {', '.join(outside)}.")
    if best is not None and within_noise:
        advice = "the measured one is offered as the safer choice"
        if offered != BEST_MEASURED:
            advice = "but the constraints do not allow the measured one"
        sentences.append(
            f"The predicted gain over the best measured mixture ({best.objective_mean:.4f}) is within the noise of "
            f"the difference of two measurements ({Z90 * best.objective_std:.4f}): {advice}."
        )
    if unseen:
        held = sum(float(solution.weights[runs.domains.names.index(name)]) for name in unseen) if runs else 0.0
        sentences.append(
            f"No run contained {', '.join(unseen)}: the law knows nothing about "
            f"{'it' if len(unseen) == 1 else 'them'}, and {held:.3f} of the recommended mixture rests on that."
        )
    if runs is not None and len(runs):
        _, reach = nearest_run(runs, solution.weights)
        if far_from_runs(reach):
            sentences.append(
                f"The recommended mixture is far from every run (L1 distance {reach:.2f}): train it first."
            )
    return sentences
