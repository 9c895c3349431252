"""A constant and a sum of exponentials of the weights, fitted under one weak prior that is the same for every table.

    y_i(p) = c_i + sum_m exp(a_im + t_im . p),        c_i >= 0 for losses, free for negated metrics

Data Mixing Laws (Ye et al. 2025, arXiv 2403.16952) with one term (Eq. 6) or one a hidden domain (Eq. 8). As the weights
sum to 1, (t + g, a - g) is the same law for every number g: the gauge. It is fixed by mean(t_im) = 0, which is also
where the prior on t is smallest.

In loss units, with sigma the noise that a run is expected to have (half of the Huber threshold), the prior is

    t_imj ~ N(0, 3^2),      a_im ~ N(log of what lies above c, shared by the terms; 2^2)

Three e-folds from a mixture without a domain to one of nothing else is more than public tables show, and a domain that
hardly varied keeps a slope near 0 instead of the -31.9 of the published fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mixers.fitting import LeastSquares, huber, keep_best, solve
from mixers.laws.levels import Levels
from mixers.laws.noise import residual_std
from mixers.laws.parametric import OUTLIER, in_spread_units
from mixers.types import Observations

# Residuals beyond it count linearly; in loss units (nats a token), as published.
HUBER_DELTA = 0.02
# The same in units of a target's spread, for targets in other units (per cent, perplexity) than the paper's.
_DELTA_RANGE = (0.05, 0.5)
# Standard deviations of the prior.
SLOPE_STD = 3.0
LOG_WEIGHT_STD = 2.0
# Of c between its floor and the least loss, where the search starts; and the slope there of the domain that helps most.
_FLOOR_STARTS = (0.2, 0.6, 0.9)
OWN_SLOPE = -1.0
# Steps from every start, before the best of them is followed to the end.
_SCREENING_STEPS = 8
# Held-out errors tell numbers of terms apart long before a search ends.
_HELD_OUT_STEPS, _HELD_OUT_TOLERANCE = 25, 1e-6
# exp() beyond this is no loss any more; the clip keeps a wild step of the search finite.
MAX_EXPONENT = 50.0


@dataclass(frozen=True)
class ExponentialSum:
    """c (t,), log_weight a (t, m), slopes (t, m, k) with mean 0 over the domains, and the standard deviation (t,) of
    the residuals over the degrees of freedom that the fit left."""

    c: Float[np.ndarray, " t"]
    log_weight: Float[np.ndarray, "t m"]
    slopes: Float[np.ndarray, "t m k"]
    residual_std: Float[np.ndarray, " t"]


@dataclass(frozen=True)
class _Prepared:
    """What every number of terms shares: losses in spread units, where they lie, the Huber threshold, and the
    domains of each target from the one that lowers it most to the one that raises it most (t, k)."""

    p: np.ndarray  # (n, k)
    y: np.ndarray  # (t, n)
    weight: np.ndarray  # (t, n)
    scale: np.ndarray  # (t,)
    levels: Levels
    delta: np.ndarray  # (t,)
    helpful: np.ndarray  # (t, k)


def fit_exponential_sum(runs: Observations, terms: int) -> ExponentialSum:
    """Fit ``terms`` exponentials a target. Deterministic."""
    ready = _prepare(runs)
    t, k = len(ready.y), ready.p.shape[1]
    starts = np.stack([_start(ready, terms, share) for share in _FLOOR_STARTS])
    problems = _problems(ready, starts)
    screened = keep_best(solve(problems, max_steps=_SCREENING_STEPS), len(starts))
    best = solve(_problems(ready, screened.theta[None]))
    c = ready.levels.floor + span(ready.levels) * best.theta[:, 0]
    slopes = best.theta[:, 1 + terms :].reshape(t, terms, k)
    centre = slopes.mean(axis=2)
    log_weight = best.theta[:, 1 : 1 + terms] + centre + np.log(ready.scale)[:, None]
    residual = np.where(ready.weight > 0, best.values - ready.y, np.nan).T
    deviation = residual_std(np.clip(residual, -OUTLIER, OUTLIER), best.freedom) * ready.scale
    return ExponentialSum(c * ready.scale, log_weight, slopes - centre[:, :, None], deviation)


def held_out_loss(runs: Observations, terms: int, fold: Int[np.ndarray, " n"]) -> Float[np.ndarray, " t"]:
    """The mean Huber loss, in spread units, of the runs of each fold under a law fitted to the other folds."""
    ready = _prepare(runs)
    t, count = len(ready.y), int(fold.max()) + 1
    seen = np.stack([fold != f for f in range(count)])  # (f, n)
    start = np.tile(_start(ready, terms, _FLOOR_STARTS[1]), (count, 1, 1))
    problems = _problems(ready, start)
    problems = replace(problems, row_weight=problems.row_weight * np.repeat(seen, t, axis=0))
    fit = solve(problems, _HELD_OUT_STEPS, _HELD_OUT_TOLERANCE)
    loss, _ = huber(fit.values - problems.y, problems.delta)
    loss = np.where(seen[:, None], 0.0, loss.reshape(count, t, -1)).sum(axis=0)
    return (ready.weight * loss).sum(axis=1) / ready.weight.sum(axis=1)


def _prepare(runs: Observations) -> _Prepared:
    y, weight, scale = in_spread_units(runs.losses)
    levels = Levels.of(y, weight)
    helpful = np.argsort(covariance_with_domains(runs.p, y, weight, levels), axis=1, kind="stable")
    return _Prepared(runs.p, y, weight, scale, levels, huber_threshold(scale), helpful)


def huber_threshold(scale: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """The published threshold in units of the targets' spreads ``scale``."""
    return np.clip(HUBER_DELTA / scale, *_DELTA_RANGE)


def covariance_with_domains(
    p: Float[np.ndarray, "n k"], y: Float[np.ndarray, "t n"], weight: Float[np.ndarray, "t n"], levels: Levels
) -> Float[np.ndarray, "t k"]:
    """Of each target with each weight, up to a factor; negative for a domain that lowers the loss."""
    middle = levels.middle[:, None]
    capped = np.clip(y, middle - OUTLIER, middle + OUTLIER)
    count = weight.sum(axis=1, keepdims=True)
    return (weight * (capped - (weight * capped).sum(axis=1, keepdims=True) / count)) @ p


def span(levels: Levels) -> Float[np.ndarray, " t"]:
    """What c may use, from its floor to the largest loss."""
    return np.maximum(levels.high - levels.floor, 1e-9)


def _start(ready: _Prepared, terms: int, share: float) -> np.ndarray:
    """theta (t, 1 + m + m k): equal terms, each lowered by another domain; later rounds by two domains at once."""
    t, k = ready.helpful.shape
    levels = ready.levels
    floor = levels.floor + share * (levels.low - levels.floor)
    theta = np.zeros((t, 1 + terms + terms * k))
    theta[:, 0] = (floor - levels.floor) / span(levels)
    theta[:, 1 : 1 + terms] = np.log(np.maximum(levels.middle - floor, 1e-6) / terms)[:, None]
    slopes = theta[:, 1 + terms :].reshape(t, terms, k)
    rows = np.arange(t)
    for m in range(terms):
        slopes[rows, m, ready.helpful[:, m % k]] += OWN_SLOPE
        if m >= k:
            slopes[rows, m, ready.helpful[:, (m + 1) % k]] += OWN_SLOPE
    slopes -= slopes.mean(axis=2, keepdims=True)
    return theta


def _problems(ready: _Prepared, starts: np.ndarray) -> LeastSquares:
    """The problems of every start (outermost) and target; theta = (share of c, a (m), t (m k))."""
    s, t, size = starts.shape
    n, k = ready.p.shape
    terms = (size - 1) // (k + 1)
    offset, width = ready.levels.floor, span(ready.levels)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = index % t
        slopes = theta[:, 1 + terms :].reshape(-1, terms, k)
        exponent = theta[:, 1 : 1 + terms, None] + slopes @ ready.p.T
        grown = np.exp(np.minimum(exponent, MAX_EXPONENT)).transpose(0, 2, 1)  # (b, n, m)
        jacobian = np.empty((len(theta), n, size))
        jacobian[:, :, 0] = width[target, None]
        jacobian[:, :, 1 : 1 + terms] = grown
        by_slope = grown[:, :, :, None] * ready.p[:, None, :]
        jacobian[:, :, 1 + terms :] = by_slope.reshape(len(theta), n, terms * k)
        return offset[target, None] + width[target, None] * theta[:, :1] + grown.sum(axis=2), jacobian

    # The noise of a run, in spread units, turns the prior's standard deviations into penalties.
    variance = (ready.delta / 2) ** 2
    precision = np.concatenate(
        [
            np.full((t, 1), 1e-8),
            np.repeat(variance[:, None] / LOG_WEIGHT_STD**2, terms, axis=1),
            np.repeat(variance[:, None] / SLOPE_STD**2, terms * k, axis=1),
        ],
        axis=1,
    )
    middle = _start(ready, terms, _FLOOR_STARTS[1])
    centre = np.concatenate([middle[:, : 1 + terms], np.zeros((t, terms * k))], axis=1)
    bound = np.full(size - 1, MAX_EXPONENT)
    return LeastSquares(
        model,
        np.tile(ready.y, (s, 1)),
        np.tile(ready.weight, (s, 1)),
        starts.reshape(s * t, size),
        np.concatenate([[0.0], -bound]),
        np.concatenate([[1.0], bound]),
        np.tile(centre, (s, 1)),
        np.tile(precision, (s, 1)),
        np.tile(ready.delta, s),
    )
