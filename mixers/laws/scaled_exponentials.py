"""The fit of the nested scaling law: exponentials of the weights, all but the first times a power of N or D.

    y_i(p, N, D) = c_i + sum_s exp(a_is + t_is . p - alpha_is x_s),     x_0 = 0,  x_s = log(N / N_ref) or log(D / D_ref)

Without a second scale it is the sum of exponential_sum.py with one term, and c, a_0 and t_0 have that one's priors. In
addition

    t_isj ~ N(0, 1)  for s > 0,        log alpha_is ~ N(log 0.45, 0.4^2)

An e-fold between domains in what size or tokens are worth is much. Published exponents lie between 0.28 (Hoffmann et
al. 2022) and 0.9 (Ye et al. 2025). Rows of one mixture share an offset, see mixture_offsets.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mixers.fitting import Fit, LeastSquares, keep_best, solve
from mixers.folds import mixture_labels
from mixers.laws.exponential_sum import (
    LOG_WEIGHT_STD,
    MAX_EXPONENT,
    OWN_SLOPE,
    SLOPE_STD,
    covariance_with_domains,
    huber_threshold,
    span,
)
from mixers.laws.levels import Levels
from mixers.laws.mixture_offsets import MixtureOffsets
from mixers.laws.parametric import OUTLIER, in_spread_units
from mixers.laws.scale_terms import ScaleAxes
from mixers.types import Observations

# Variance of a mixture's offset over that of a checkpoint. Of 0, .3, 1, 3 and 10, .3 ranks unseen mixtures of public
# tables best: more takes too much of what tells mixtures apart for offsets, less counts every checkpoint in full.
_OFFSET_VARIANCE = 0.3
# Of the Huber threshold: the noise that the prior expects. Half of that at one scale, as scales agree on a mixture.
_NOISE = 0.25
# A term in N or D may be next to nothing: its size is all but free.
_LOG_FRONT_STD, _FRONT_SLOPE_STD = 100.0, 1.0
_EXPONENT, _LOG_EXPONENT_STD = 0.45, 0.4
_EXPONENT_RANGE = (0.05, 2.0)
_FLOOR_STARTS = (0.3, 0.8)
_SCREENING_STEPS = 8
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ScaledExponentials:
    """c (t,), slopes t (t, s, k) with mean 0 and exponents alpha (t, s - 1).

    Args:
        log_front: a of the first term; of the others log of what they are at the middle of the mixtures; shape (t, s).
        covariance: of (log front, log alpha) of these others in turn, shape (t, 2 (s - 1), 2 (s - 1)).
        residual_std: shape (t,), of a run.
    """

    c: Float[np.ndarray, " t"]
    log_front: Float[np.ndarray, "t s"]
    slopes: Float[np.ndarray, "t s k"]
    exponents: Float[np.ndarray, "t x"]
    covariance: Float[np.ndarray, "t d d"]
    residual_std: Float[np.ndarray, " t"]


@dataclass(frozen=True)
class ScaledRows:
    """Runs sorted by mixture.

    Args:
        x: log N / N_ref and log D / D_ref, of the axes that vary. used: whether they vary where a target was measured.
        y, weight, spread: see parametric.in_spread_units. levels: of y.
        own: the domain that lowers each target most, within scales.
    """

    p: Float[np.ndarray, "n k"]
    x: Float[np.ndarray, "x n"]
    used: Bool[np.ndarray, "t x"]
    y: Float[np.ndarray, "t n"]
    weight: Float[np.ndarray, "t n"]
    spread: Float[np.ndarray, " t"]
    levels: Levels
    offsets: MixtureOffsets
    own: Int[np.ndarray, " t"]

    @classmethod
    def of(cls, runs: Observations, axes: ScaleAxes) -> ScaledRows:
        label = mixture_labels(runs)
        runs = runs.rows(np.argsort(label, kind="stable"))
        y, weight, spread = in_spread_units(runs.losses)
        ratio = axes.log_ratios(runs.scale, (len(runs),))
        used = axes.vary_where(ratio, weight > 0)[:, axes.varies]
        offsets = MixtureOffsets.of(np.sort(label), weight, _OFFSET_VARIANCE)
        own = _own_domains(runs.p, y, weight, runs.scale_groups)
        return cls(runs.p, ratio[:, axes.varies].T, used, y, weight, spread, Levels.of(y, weight), offsets, own)

    @property
    def terms(self) -> int:
        """One, and one an axis."""
        return 1 + len(self.x)

    @property
    def size(self) -> int:
        """Of theta = (share of c, a (s), log alpha (s - 1), t (s k))."""
        return 2 * self.terms + self.terms * self.p.shape[1]

    @property
    def middle(self) -> Float[np.ndarray, " k"]:
        """The mean of the mixtures."""
        return self.p[self.offsets.starts].mean(axis=0)

    @property
    def delta(self) -> Float[np.ndarray, " t"]:
        """Where the Huber loss turns linear."""
        return huber_threshold(self.spread)


def fit_scaled_exponentials(rows: ScaledRows) -> ScaledExponentials:
    """Fit every target. Deterministic."""
    starts = np.stack([_start(rows, share) for share in _FLOOR_STARTS])
    screened = keep_best(solve(_problems(rows, starts), _SCREENING_STEPS), len(starts))
    return _unpack(rows, solve(_problems(rows, screened.theta[None]), tolerance=_TOLERANCE))


def _own_domains(p: np.ndarray, y: np.ndarray, weight: np.ndarray, group: np.ndarray) -> np.ndarray:
    covariance = np.zeros((len(y), p.shape[1]))
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        measured = weight[:, rows].any(axis=1)
        here = y[measured][:, rows], weight[measured][:, rows]
        covariance[measured] += covariance_with_domains(p[rows], *here, Levels.of(*here))
    return np.argmin(covariance, axis=1)


def _start(rows: ScaledRows, share: float) -> np.ndarray:
    """theta (t, P): all terms equal, the first lowered by the own domain."""
    t, k, terms, levels = len(rows.y), rows.p.shape[1], rows.terms, rows.levels
    floor = levels.floor + share * (levels.low - levels.floor)
    theta = np.zeros((t, rows.size))
    theta[:, 0] = (floor - levels.floor) / span(levels)
    theta[:, 1 : 1 + terms] = np.log(np.maximum(levels.middle - floor, 1e-6) / terms)[:, None]
    theta[:, 1 + terms : 2 * terms] = np.log(_EXPONENT)
    first = theta[:, 2 * terms : 2 * terms + k]
    first[np.arange(t), rows.own] = OWN_SLOPE
    first -= first.mean(axis=1, keepdims=True)
    return theta


def _problems(rows: ScaledRows, starts: np.ndarray) -> LeastSquares:
    """The problems of every start (outermost) and target, on quasi-demeaned rows."""
    s, t, size = starts.shape
    terms, x, k = rows.terms, len(rows.x), rows.p.shape[1]

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = index % t
        values, jacobian = _values(rows, theta, target)
        return rows.offsets.demean(values, target), rows.offsets.demean(jacobian, target)

    centre = _start(rows, _FLOOR_STARTS[-1])
    centre[:, 2 * terms :] = 0
    low, high = np.log(_EXPONENT_RANGE)
    lower = np.concatenate([[0.0], np.full(terms, -MAX_EXPONENT), np.full(x, low), np.full(terms * k, -MAX_EXPONENT)])
    upper = np.concatenate([[1.0], np.full(terms, MAX_EXPONENT), np.full(x, high), np.full(terms * k, MAX_EXPONENT)])
    return LeastSquares(
        model,
        np.tile(rows.offsets.demean(rows.y, np.arange(t)), (s, 1)),
        np.tile(rows.weight, (s, 1)),
        starts.reshape(s * t, size),
        lower,
        upper,
        np.tile(centre, (s, 1)),
        np.tile(_precision(rows), (s, 1)),
        np.tile(rows.delta, s),
    )


def _values(rows: ScaledRows, theta: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The law (b, n) and its Jacobian (b, n, P)."""
    b, n, k, terms = len(theta), *rows.p.shape, rows.terms
    width = span(rows.levels)[target, None]
    exponents = np.exp(theta[:, 1 + terms : 2 * terms])
    exponent = theta[:, 1 : 1 + terms, None] + theta[:, 2 * terms :].reshape(b, terms, k) @ rows.p.T
    exponent[:, 1:] -= exponents[:, :, None] * rows.x
    grown = np.exp(np.minimum(exponent, MAX_EXPONENT)).transpose(0, 2, 1)  # (b, n, s)
    grown[:, :, 1:] *= rows.used[target][:, None]
    jacobian = np.empty((b, n, rows.size))
    jacobian[:, :, 0] = width
    jacobian[:, :, 1 : 1 + terms] = grown
    jacobian[:, :, 1 + terms : 2 * terms] = -grown[:, :, 1:] * rows.x.T * exponents[:, None, :]
    jacobian[:, :, 2 * terms :] = (grown[:, :, :, None] * rows.p[:, None, :]).reshape(b, n, terms * k)
    return rows.levels.floor[target, None] + width * theta[:, :1] + grown.sum(axis=2), jacobian


def _precision(rows: ScaledRows) -> np.ndarray:
    """The penalties (t, P) that the prior's standard deviations amount to, when each mixture counts as often as it
    does after the offsets."""
    mixtures = (np.add.reduceat(rows.weight, rows.offsets.starts, axis=1) > 0).sum(axis=1)
    variance = (_NOISE * rows.delta) ** 2 * rows.offsets.row_worth.sum(axis=1) / mixtures
    k, x = rows.p.shape[1], len(rows.x)
    fronts = [LOG_WEIGHT_STD] + [_LOG_FRONT_STD] * x + [_LOG_EXPONENT_STD] * x
    std = np.array(fronts + [SLOPE_STD] * k + [_FRONT_SLOPE_STD] * (x * k))
    return np.concatenate([np.full((len(variance), 1), 1e-8), variance[:, None] / std**2], axis=1)


def _unpack(rows: ScaledRows, fit: Fit) -> ScaledExponentials:
    t, terms, theta = len(rows.y), rows.terms, fit.theta
    slopes = theta[:, 2 * terms :].reshape(t, terms, -1)
    centre = slopes.mean(axis=2)
    log_front = theta[:, 1 : 1 + terms] + np.log(rows.spread)[:, None]
    log_front[:, 0] += centre[:, 0]
    log_front[:, 1:] += slopes[:, 1:] @ rows.middle
    residual = np.clip(_values(rows, theta, np.arange(t))[0] - rows.y, -OUTLIER, OUTLIER)
    worth = rows.offsets.row_worth
    left = np.maximum(worth.sum(axis=1) - fit.freedom, 1.0)
    deviation = np.sqrt((worth * residual**2).sum(axis=1) / left)
    return ScaledExponentials(
        (rows.levels.floor + span(rows.levels) * theta[:, 0]) * rows.spread,
        log_front,
        slopes - centre[:, :, None],
        np.exp(theta[:, 1 + terms : 2 * terms]),
        _covariance(rows, fit) * (deviation**2)[:, None, None],
        deviation * rows.spread,
    )


def _covariance(rows: ScaledRows, fit: Fit) -> np.ndarray:
    """Of (a_s + t_s . middle, log alpha_s) for the axes s in turn, when all else is unknown too and the noise is 1."""
    terms, k = rows.terms, rows.p.shape[1]
    wanted = np.zeros((2 * (terms - 1), rows.size))
    for s in range(1, terms):
        wanted[2 * s - 2, 1 + s] = 1
        wanted[2 * s - 2, 2 * terms + s * k : 2 * terms + (s + 1) * k] = rows.middle
        wanted[2 * s - 1, terms + s] = 1
    hessian = fit.curvature + _precision(rows)[:, :, None] * np.eye(rows.size)
    return wanted @ np.linalg.pinv(hessian, hermitian=True) @ wanted.T
