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
from mixers.laws.noise import residual_std

# In units of the target's spread: residuals beyond it count linearly, so that a diverged run cannot bend a law.
HUBER_DELTA = 0.5
# In the same units: no healthy run lies this far off. Where levels and noise are measured, values are cut there.
OUTLIER = 20.0
# Ridge strengths, in units of the penalty that a law defines as "signal spread evenly over its parameters".
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# A leverage of 1 means that the row is fitted exactly; its left-out residual is unknown, not infinite.
_MAX_LEVERAGE = 0.99


@dataclass(frozen=True)
class Problem:
    """A law with t targets in spread units.

    Args:
        model: see fitting.Model; problem b is target ``b % t``.
        y: shape (t, n), with 0 where ``weight`` is 0.
        weight: shape (t, n), 1 for a measured row.
        starts: shape (s, t, P). lower, upper: (P,). centre, penalty: (t, P), to be multiplied by a strength.
    """

    model: Model
    y: Float[np.ndarray, "t n"]
    weight: Float[np.ndarray, "t n"]
    starts: Float[np.ndarray, "s t m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]
    centre: Float[np.ndarray, "t m"]
    penalty: Float[np.ndarray, "t m"]


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
    """Fit at every strength, warm-started from the middle one, and keep each target's best by PRESS."""
    middle = len(strengths) // 2
    start = problem.starts.reshape(-1, problem.starts.shape[2])
    repeat = len(problem.starts)
    first = keep_best(solve(_batch(problem, start, np.full(repeat, strengths[middle]))), repeat)
    others = np.array([s for i, s in enumerate(strengths) if i != middle])
    fits = {middle: first}
    if len(others):
        rest = solve(_batch(problem, np.tile(first.theta, (len(others), 1)), others))
        t = len(problem.y)
        for place, i in enumerate(i for i in range(len(strengths)) if i != middle):
            fits[i] = _rows(rest, np.arange(place * t, (place + 1) * t))
    ordered = [fits[i] for i in range(len(strengths))]
    return _choose(problem, ordered, np.array(strengths))


def _batch(problem: Problem, start: np.ndarray, strength: np.ndarray) -> LeastSquares:
    """The problems of every strength (outermost) and target."""
    s, t = len(strength), len(problem.y)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return problem.model(theta, index % t)

    penalty = (strength[:, None, None] * problem.penalty[None]).reshape(s * t, -1)
    return LeastSquares(
        model,
        np.tile(problem.y, (s, 1)),
        np.tile(problem.weight, (s, 1)),
        start,
        problem.lower,
        problem.upper,
        np.tile(problem.centre, (s, 1)),
        penalty,
        np.full(s * t, HUBER_DELTA),
    )


def _rows(fit: Fit, index: np.ndarray) -> Fit:
    return Fit(*(getattr(fit, name)[index] for name in Fit.__dataclass_fields__))


def _choose(problem: Problem, fits: list[Fit], strengths: np.ndarray) -> Penalised:
    t = len(problem.y)
    delta = np.full(t, HUBER_DELTA)
    press = np.empty((len(fits), t))
    for i, fit in enumerate(fits):
        left_out = (fit.values - problem.y) / (1 - np.minimum(fit.leverage, _MAX_LEVERAGE))
        loss, _ = huber(left_out, delta)
        press[i] = (problem.weight * loss).sum(axis=1) / problem.weight.sum(axis=1)
    relative = press / np.maximum(press.min(axis=0), 1e-12)
    score = relative / 2 + relative.mean(axis=1, keepdims=True) / 2
    best = np.argmin(score, axis=0)
    column = np.arange(t)

    def pick(name: str) -> np.ndarray:
        return np.stack([getattr(fit, name) for fit in fits])[best, column]

    residual = np.where(problem.weight > 0, pick("values") - problem.y, np.nan).T
    residual = np.clip(residual, -OUTLIER, OUTLIER)
    deviation = residual_std(residual, pick("freedom"))
    return Penalised(pick("theta"), deviation, strengths[best], pick("objective"), press[best, column])
