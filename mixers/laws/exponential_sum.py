"""A constant and a sum of exponentials of the weights, fitted under one weak prior that is the same for every table.

    y_i(p) = c_i + sum_m exp(a_im + t_im . p),        c_i >= 0 for losses, free for negated metrics

Data Mixing Laws (Ye et al. 2025, arXiv 2403.16952) with one term (Eq. 6) or one a hidden domain (Eq. 8). As the weights
sum to 1, (t + g, a - g) is the same law for every number g: the gauge. What does not depend on it are the exponents
v_imj = a_im + t_imj of the pure mixtures, so these are fitted; t is reported with a mean of 0. In loss units, with
sigma the noise that a run is expected to have (half of the Huber threshold),

    v_imj ~ N(log of what lies above c, shared by the terms; 3^2),      exp(v_imj) <= 5 ranges of the runs

Three e-folds between mixtures are much, and a domain that hardly varied keeps a slope near 0 instead of the -31.9 of
the published fit. The bound holds what the prior leaves to chance: where there are as many parameters as runs, or all
is noise, an exponential through every run has corners at thousands of nats. Strengths of the prior that each table
chooses by leave-one-out error were tried instead, and are worse on the tables with few runs.
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
# Standard deviation of the prior.
SLOPE_STD = 3.0
# A pure mixture may lie this many ranges of the runs above c, at most: what keeps the law from exploding where few or
# sparse runs say nothing, or where all that they say is noise.
_REACH = 5.0
# In spread units; a constant target has no range.
_LEAST_RANGE = 1e-3
# Where the search starts: ranges of the runs from c up to the least loss; and the slope of the domain that helps most.
_STARTS = (2.0, 0.7, 0.2)
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
    starts = np.stack([_start(ready, terms, below) for below in _STARTS])
    problems = _problems(ready, starts)
    screened = keep_best(solve(problems, max_steps=_SCREENING_STEPS), len(starts))
    best = solve(_problems(ready, screened.theta[None]))
    c = ready.levels.floor + span(ready.levels) * best.theta[:, 0]
    exponents = best.theta[:, 1:].reshape(t, terms, k)
    centre = exponents.mean(axis=2)
    log_weight = centre + (most_exponent(ready.levels.high - ready.levels.low) + np.log(ready.scale))[:, None]
    residual = np.where(ready.weight > 0, best.values - ready.y, np.nan).T
    deviation = residual_std(np.clip(residual, -OUTLIER, OUTLIER), best.freedom) * ready.scale
    return ExponentialSum(c * ready.scale, log_weight, exponents - centre[:, :, None], deviation)


def held_out_loss(runs: Observations, terms: int, fold: Int[np.ndarray, " n"]) -> Float[np.ndarray, " t"]:
    """The mean Huber loss, in spread units, of the runs of each fold under a law fitted to the other folds."""
    ready = _prepare(runs)
    t, count = len(ready.y), int(fold.max()) + 1
    seen = np.stack([fold != f for f in range(count)])  # (f, n)
    start = np.tile(_start(ready, terms, _STARTS[1]), (count, 1, 1))
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


def relative_score(losses: Float[np.ndarray, "f t"]) -> Float[np.ndarray, "f t"]:
    """To choose among f fits of t targets: each loss over that of the first fit, half of it averaged over targets, as
    with few runs a target's own is too noisy."""
    relative = losses / np.maximum(losses[0], 1e-12)
    return relative / 2 + relative.mean(axis=1, keepdims=True) / 2


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


def most_exponent(range_of_runs: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """The largest exponent that a pure mixture may have, from the range of the losses at one scale."""
    return np.log(_REACH * np.maximum(range_of_runs, _LEAST_RANGE))


def _start(ready: _Prepared, terms: int, below: float) -> np.ndarray:
    """theta (t, 1 + m k): equal terms, each lowered by another domain; later rounds by two domains at once."""
    t, k = ready.helpful.shape
    levels = ready.levels
    floor = np.maximum(levels.floor, levels.low - below * (levels.high - levels.low))
    exponents = np.zeros((t, terms, k))
    rows = np.arange(t)
    for m in range(terms):
        exponents[rows, m, ready.helpful[:, m % k]] += OWN_SLOPE
        if m >= k:
            exponents[rows, m, ready.helpful[:, (m + 1) % k]] += OWN_SLOPE
    exponents -= exponents.mean(axis=2, keepdims=True)
    level = np.log(np.maximum(levels.middle - floor, 1e-6) / terms) - most_exponent(levels.high - levels.low)
    exponents += level[:, None, None]
    return np.concatenate([((floor - levels.floor) / span(levels))[:, None], exponents.reshape(t, -1)], axis=1)


def _problems(ready: _Prepared, starts: np.ndarray) -> LeastSquares:
    """The problems of every start (outermost) and target; theta = (share of c, the exponents of the pure mixtures).

    The latter, a_m + t_mj, need no gauge. They are counted from the largest that a target may have, as the bounds of
    the solver are common to all targets.
    """
    s, t, size = starts.shape
    n, k = ready.p.shape
    terms = (size - 1) // k
    offset, width, most = ready.levels.floor, span(ready.levels), most_exponent(ready.levels.high - ready.levels.low)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = index % t
        exponent = theta[:, 1:].reshape(-1, terms, k) @ ready.p.T + most[target, None, None]
        grown = np.exp(np.minimum(exponent, MAX_EXPONENT)).transpose(0, 2, 1)  # (b, n, m)
        jacobian = np.empty((len(theta), n, size))
        jacobian[:, :, 0] = width[target, None]
        jacobian[:, :, 1:] = (grown[:, :, :, None] * ready.p[:, None, :]).reshape(len(theta), n, terms * k)
        return offset[target, None] + width[target, None] * theta[:, :1] + grown.sum(axis=2), jacobian

    # The noise of a run, in spread units, turns the prior's standard deviation into penalties.
    precision = np.repeat(((ready.delta / 2) / SLOPE_STD)[:, None] ** 2, size, axis=1)
    precision[:, 0] = 1e-8
    middle = _start(ready, terms, _STARTS[1])
    centre = np.repeat(middle[:, 1:].mean(axis=1)[:, None], size, axis=1)
    centre[:, 0] = middle[:, 0]
    return LeastSquares(
        model,
        np.tile(ready.y, (s, 1)),
        np.tile(ready.weight, (s, 1)),
        starts.reshape(s * t, size),
        np.concatenate([[0.0], np.full(size - 1, -2 * MAX_EXPONENT)]),
        np.concatenate([[1.0], np.zeros(size - 1)]),
        np.tile(centre, (s, 1)),
        np.tile(precision, (s, 1)),
        np.tile(ready.delta, s),
    )
