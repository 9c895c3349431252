"""The common way to fit a parametric law: many targets, starts and ridge strengths at once, the strength by PRESS.

Losses are divided by a robust spread first, so that one set of penalties, one Huber threshold and one grid of strengths
serves every target. The strength of each target is the one with the least predicted-residual error

    PRESS = mean_i rho( r_i / (1 - h_i) )

(leave-one-out to first order, Allen 1974), half of it averaged over all targets: with few runs a target's own score
is too noisy to choose by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.fitting import Fit, LeastSquares, Model, huber, keep_best, solve
from mixers.jacobians import Jacobian
from mixers.laws.noise import residual_std

# In units of the target's spread: residuals beyond it count linearly, so that a diverged run cannot bend a law.
HUBER_DELTA = 0.5
# In the same units: no healthy run lies this far off. Where levels and noise are measured, values are cut there.
OUTLIER = 20.0
# Ridge strengths, in units of the penalty that a law defines as "signal spread evenly over its parameters".
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# A leverage of 1 means that the row is fitted exactly; its left-out residual is unknown, not infinite. Much less than
# this would hide what a weak ridge does to rows that alone hold a domain: residual and 1 - h then vanish together.
_MAX_LEVERAGE = 0.9999
# Fits at strengths that are only compared end with steps that gain less than this part of the objective, or after so
# many steps.
_ROUGH, _ROUGH_STEPS = 1e-6, 40


@dataclass(frozen=True)
class Problem:
    """A law with t targets in spread units.

    Args:
        model: see fitting.Model; problem b is target ``b % t``.
        y: shape (t, n), with 0 where ``weight`` is 0.
        weight: shape (t, n), 1 for a measured row.
        starts: shape (s, t, P). lower, upper: (P,). centre, penalty: (t, P), to be multiplied by a strength.
        jacobian_size: see fitting.LeastSquares.
    """

    model: Model
    y: Float[np.ndarray, "t n"]
    weight: Float[np.ndarray, "t n"]
    starts: Float[np.ndarray, "s t m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]
    centre: Float[np.ndarray, "t m"]
    penalty: Float[np.ndarray, "t m"]
    jacobian_size: int = 0


@dataclass(frozen=True)
class Penalised:
    """Chosen parameters (t, P); the residual standard deviation, strength, objective and PRESS of each target (t,).

    In spread units. Two laws of the same losses can be told apart by their PRESS.
    """

    theta: Float[np.ndarray, "t m"]
    residual_std: Float[np.ndarray, " t"]
    strength: Float[np.ndarray, " t"]
    objective: Float[np.ndarray, " t"]
    press: Float[np.ndarray, " t"]


def spread(losses: Float[np.ndarray, "n t"]) -> Float[np.ndarray, " t"]:
    """A robust scale of each target: 1.4826 MAD, else the standard deviation, else 1 for a constant target."""
    middle = np.nanmedian(losses, axis=0)
    mad = 1.4826 * np.nanmedian(np.abs(losses - middle), axis=0)
    deviation = np.nanstd(losses, axis=0)
    # A spread of rounding errors is a constant target: dividing by it would turn noise into signal.
    least = 1e-9 * np.maximum(np.abs(middle), 1e-9)
    return np.where(mad > least, mad, np.where(deviation > least, deviation, 1.0))


def in_spread_units(losses: Float[np.ndarray, "n t"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y (t, n) with 0 where not measured, weight (t, n), spread (t,))."""
    scale = spread(losses)
    measured = ~np.isnan(losses)
    return np.where(measured, losses / scale, 0.0).T, measured.T.astype(float), scale


def fit_penalised(problem: Problem, strengths: tuple[float, ...] = STRENGTHS) -> Penalised:
    """Fit at every strength, each warm-started from its neighbour, and keep each target's best by PRESS.

    The strengths are compared on fits that end early; only the chosen ones are followed to the end.
    """
    t, middle = len(problem.y), len(strengths) // 2
    theta = np.empty((len(strengths), t, problem.starts.shape[2]))
    press = np.empty((len(strengths), t))
    theta[middle] = _best_start(problem, strengths[middle])
    for away in range(max(middle, len(strengths) - 1 - middle) + 1):
        pair = [i for i in sorted({middle - away, middle + away}) if 0 <= i < len(strengths)]
        nearer = [i - int(np.sign(i - middle)) for i in pair]
        rough = solve(_batch(problem, theta[nearer], np.repeat([strengths[i] for i in pair], t)), _ROUGH_STEPS, _ROUGH)
        theta[pair] = rough.theta.reshape(len(pair), t, -1)
        press[pair] = _press(problem, rough).reshape(len(pair), t)
    best = _least_press(press)
    strength = np.array(strengths)[best]
    final = solve(_batch(problem, theta[best, np.arange(t)][None], strength))
    residual = np.where(problem.weight > 0, final.values - problem.y, np.nan).T
    deviation = residual_std(np.clip(residual, -OUTLIER, OUTLIER), final.freedom)
    return Penalised(final.theta, deviation, strength, final.objective, _press(problem, final))


def _best_start(problem: Problem, strength: float) -> np.ndarray:
    """Of each target the start that leads furthest down, and where it led; shape (t, P)."""
    starts = len(problem.starts)
    if starts == 1:
        return problem.starts[0]
    tried = _batch(problem, problem.starts, np.full(starts * len(problem.y), strength))
    return keep_best(solve(tried, _ROUGH_STEPS, _ROUGH), starts).theta


def _batch(problem: Problem, starts: np.ndarray, strength: np.ndarray) -> LeastSquares:
    """The problems of every start (s, t, P), the targets innermost, each with its strength (s t,)."""
    s, t = len(starts), len(problem.y)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | Jacobian]:
        return problem.model(theta, index % t)

    return LeastSquares(
        model,
        np.tile(problem.y, (s, 1)),
        np.tile(problem.weight, (s, 1)),
        starts.reshape(s * t, -1),
        problem.lower,
        problem.upper,
        np.tile(problem.centre, (s, 1)),
        strength[:, None] * np.tile(problem.penalty, (s, 1)),
        np.full(s * t, HUBER_DELTA),
        problem.jacobian_size,
    )


def _press(problem: Problem, fit: Fit) -> np.ndarray:
    """The mean Huber loss of the left-out residuals, for fits of every target, once or several times (s t,)."""
    s = len(fit.theta) // len(problem.y)
    y, weight = np.tile(problem.y, (s, 1)), np.tile(problem.weight, (s, 1))
    left_out = (fit.values - y) / (1 - np.minimum(fit.leverage, _MAX_LEVERAGE))
    loss, _ = huber(left_out, np.full(len(y), HUBER_DELTA))
    return (weight * loss).sum(axis=1) / weight.sum(axis=1)


def _least_press(press: np.ndarray) -> np.ndarray:
    """Which of the strengths (s, t) is the best of each target: half by its own score, half by that of all."""
    relative = press / np.maximum(press.min(axis=0), 1e-12)
    score = relative / 2 + relative.mean(axis=1, keepdims=True) / 2
    return np.argmin(score, axis=0)
