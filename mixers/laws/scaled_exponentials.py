"""The fit of the nested scaling law: exponentials of the weights, all but the first times a power of N or D.

    y_i(p, N, D) = c_i + sum_s exp(a_is + t_is . p - alpha_is x_s),     x_0 = 0,  x_s = log(N / N_ref) or log(D / D_ref)

Without a second scale it is the sum of exponential_sum.py with one term, and that term has the prior and the bound
given there, the ranges taken within scales. In addition

    t_isj ~ N(0, 1)  for s > 0,        log alpha_is ~ N(log 0.45, 0.4^2)

An e-fold between domains in what size or tokens are worth is much. Published exponents lie between 0.28 (Hoffmann et
al. 2022) and 0.9 (Ye et al. 2025). Rows of one mixture share an offset, see mixture_offsets.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from mixers.fitting import Fit, LeastSquares, keep_best, solve
from mixers.folds import mixture_labels
from mixers.laws.exponential_sum import (
    MAX_EXPONENT,
    OWN_SLOPE,
    SLOPE_STD,
    covariance_with_domains,
    huber_threshold,
    most_exponent,
    span,
)
from mixers.laws.levels import Levels
from mixers.laws.mixture_offsets import MixtureOffsets
from mixers.laws.parametric import OUTLIER, in_spread_units
from mixers.laws.scale_terms import ScaleAxes
from mixers.types import Observations

# Variance of a mixture's offset over that of a checkpoint. On the public tables 0 and .3 rank unseen mixtures alike, 1
# and more worse, as they take what tells mixtures apart for offsets; 0 would count every checkpoint in full.
_OFFSET_VARIANCE = 0.3
# Of the Huber threshold: the noise that the prior expects. Half of that at one scale, as scales agree on a mixture.
_NOISE = 0.25
# A term in N or D may be next to nothing: its size is all but free.
_LOG_FRONT_STD, _FRONT_SLOPE_STD = 100.0, 1.0
_EXPONENT, _LOG_EXPONENT_STD = 0.45, 0.4
_EXPONENT_RANGE = (0.05, 2.0)
# Where the search starts: of what lies between the floor and the least loss, the share below c.
_FLOOR_STARTS = (0.3, 0.8)
# Log of the first term's share of the largest it may have, at most.
_START_BELOW_MOST = -1.5
_MAX_FRONT_SLOPE = 3.0
_SCREENING_STEPS = 8
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ScaledExponentials:
    """c, log k (t,), t (t, k) with mean 0: the mixing law. Of the x axes that vary:

    Args:
        log_front: log of the term at the mean mixture and the reference, shape (t, x). exponents: alpha, (t, x).
        lean: of that log with the mixture, with mean 0, shape (t, x, k).
        covariance: of (log front, log alpha) of the axes in turn, shape (t, 2 x, 2 x).
        residual_std: shape (t,), of a run.
    """

    c: Float[np.ndarray, " t"]
    log_k: Float[np.ndarray, " t"]
    slopes: Float[np.ndarray, "t k"]
    log_front: Float[np.ndarray, "t x"]
    exponents: Float[np.ndarray, "t x"]
    lean: Float[np.ndarray, "t x k"]
    covariance: Float[np.ndarray, "t d d"]
    residual_std: Float[np.ndarray, " t"]


@dataclass(frozen=True)
class ScaledRows:
    """Runs sorted by mixture.

    Args:
        x: log N / N_ref and log D / D_ref, of the axes that vary. used: whether they vary where a target was measured.
        y, weight, spread: see parametric.in_spread_units. levels: of y.
        own: the domain that lowers each target most, within scales.
        within: the largest range of each target among the runs of one scale.
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
    within: Float[np.ndarray, " t"]

    @classmethod
    def of(cls, runs: Observations, axes: ScaleAxes) -> ScaledRows:
        label = mixture_labels(runs)
        runs = runs.rows(np.argsort(label, kind="stable"))
        y, weight, spread = in_spread_units(runs.losses)
        ratio = axes.log_ratios(runs.scale, (len(runs),))
        used = axes.vary_where(ratio, weight > 0)[:, axes.varies]
        offsets = MixtureOffsets.of(np.sort(label), weight, _OFFSET_VARIANCE)
        own, within = _within_scales(runs.p, y, weight, runs.scale_groups)
        x = ratio[:, axes.varies].T
        return cls(runs.p, x, used, y, weight, spread, Levels.of(y, weight), offsets, own, within)

    @property
    def terms(self) -> int:
        """One, and one an axis."""
        return 1 + len(self.x)

    @property
    def parts(self) -> tuple[slice, slice, slice, slice]:
        """Of theta = (share of c, log fronts (x), log alpha (x), exponents of the pure mixtures in the first term (k),
        slopes of the others (x k)): all but the first."""
        x, k = len(self.x), self.p.shape[1]
        ends = np.cumsum([1, x, x, k, x * k]).tolist()
        fronts, alphas, pure, slopes = (slice(*pair) for pair in pairwise(ends))
        return fronts, alphas, pure, slopes

    @property
    def size(self) -> int:
        """Of theta."""
        return self.parts[3].stop

    @property
    def most(self) -> Float[np.ndarray, " t"]:
        """The largest exponent of a pure mixture in the first term; theta counts from it."""
        return most_exponent(self.within)

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


def _within_scales(
    p: np.ndarray, y: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The domain that lowers each target most, and the largest range of each target, among runs of one scale; (t,)."""
    covariance, within = np.zeros((len(y), p.shape[1])), np.zeros(len(y))
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        measured = weight[:, rows].any(axis=1)
        here = y[measured][:, rows], weight[measured][:, rows]
        levels = Levels.of(*here)
        covariance[measured] += covariance_with_domains(p[rows], *here, levels)
        within[measured] = np.maximum(within[measured], levels.high - levels.low)
    return np.argmin(covariance, axis=1), within


def _start(rows: ScaledRows, share: float) -> np.ndarray:
    """theta (t, P): all terms equal, as far as the first may be, which the own domain lowers."""
    levels = rows.levels
    floor = levels.floor + share * (levels.low - levels.floor)
    level = np.log(np.maximum(levels.middle - floor, 1e-6) / rows.terms)
    fronts, alphas, pure, _ = rows.parts
    theta = np.zeros((len(rows.y), rows.size))
    theta[:, 0] = (floor - levels.floor) / span(levels)
    theta[:, fronts] = level[:, None]
    theta[:, alphas] = np.log(_EXPONENT)
    theta[:, pure] = np.minimum(level - rows.most, _START_BELOW_MOST)[:, None]
    theta[np.arange(len(rows.y)), pure.start + rows.own] += OWN_SLOPE
    return theta


def _problems(rows: ScaledRows, starts: np.ndarray) -> LeastSquares:
    """The problems of every start (outermost) and target, on quasi-demeaned rows."""
    s, t, size = starts.shape
    _, alphas, pure, slopes = rows.parts

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = index % t
        values, jacobian = _values(rows, theta, target)
        return rows.offsets.demean(values, target), rows.offsets.demean(jacobian, target)

    centre = _start(rows, _FLOOR_STARTS[-1])
    centre[:, pure] = centre[:, pure].max(axis=1, keepdims=True)
    lower, upper = np.full(size, -2 * MAX_EXPONENT), np.full(size, MAX_EXPONENT)
    lower[0], upper[0], upper[pure] = 0.0, 1.0, 0.0
    lower[alphas], upper[alphas] = np.log(_EXPONENT_RANGE)
    lower[slopes], upper[slopes] = -_MAX_FRONT_SLOPE, _MAX_FRONT_SLOPE
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
    b, n, k, x = len(theta), *rows.p.shape, len(rows.x)
    fronts, alphas, pure, slopes = rows.parts
    width = span(rows.levels)[target, None]
    alpha = np.exp(theta[:, alphas])
    mixing = np.exp(theta[:, pure] @ rows.p.T + rows.most[target, None])  # (b, n)
    exponent = theta[:, fronts, None] + theta[:, slopes].reshape(b, x, k) @ rows.p.T - alpha[:, :, None] * rows.x
    scaled = np.exp(np.minimum(exponent, MAX_EXPONENT)).transpose(0, 2, 1) * rows.used[target][:, None]  # (b, n, x)
    jacobian = np.empty((b, n, rows.size))
    jacobian[:, :, 0] = width
    jacobian[:, :, fronts] = scaled
    jacobian[:, :, alphas] = -scaled * rows.x.T * alpha[:, None, :]
    jacobian[:, :, pure] = mixing[:, :, None] * rows.p
    jacobian[:, :, slopes] = (scaled[:, :, :, None] * rows.p[:, None, :]).reshape(b, n, x * k)
    return rows.levels.floor[target, None] + width * theta[:, :1] + mixing + scaled.sum(axis=2), jacobian


def _precision(rows: ScaledRows) -> np.ndarray:
    """The penalties (t, P) that the prior's standard deviations amount to, when each mixture counts as often as it
    does after the offsets."""
    mixtures = (np.add.reduceat(rows.weight, rows.offsets.starts, axis=1) > 0).sum(axis=1)
    variance = (_NOISE * rows.delta) ** 2 * rows.offsets.row_worth.sum(axis=1) / mixtures
    std = np.ones(rows.size)
    for part, value in zip(rows.parts, (_LOG_FRONT_STD, _LOG_EXPONENT_STD, SLOPE_STD, _FRONT_SLOPE_STD), strict=True):
        std[part] = value
    precision = variance[:, None] / std**2
    precision[:, 0] = 1e-8
    return precision


def _unpack(rows: ScaledRows, fit: Fit) -> ScaledExponentials:
    t, theta = len(rows.y), fit.theta
    fronts, alphas, pure, slopes = rows.parts
    lean = theta[:, slopes].reshape(t, len(rows.x), -1)
    residual = np.clip(_values(rows, theta, np.arange(t))[0] - rows.y, -OUTLIER, OUTLIER)
    worth = rows.offsets.row_worth
    left = np.maximum(worth.sum(axis=1) - fit.freedom, 1.0)
    deviation = np.sqrt((worth * residual**2).sum(axis=1) / left)
    centre = theta[:, pure].mean(axis=1)
    return ScaledExponentials(
        (rows.levels.floor + span(rows.levels) * theta[:, 0]) * rows.spread,
        centre + rows.most + np.log(rows.spread),
        theta[:, pure] - centre[:, None],
        theta[:, fronts] + lean @ rows.middle + np.log(rows.spread)[:, None],
        np.exp(theta[:, alphas]),
        lean - lean.mean(axis=2, keepdims=True),
        _covariance(rows, fit) * (deviation**2)[:, None, None],
        deviation * rows.spread,
    )


def _covariance(rows: ScaledRows, fit: Fit) -> np.ndarray:
    """Of (log front + lean . middle, log alpha) for the axes in turn, when all else is unknown too and the noise is
    1."""
    x, k = len(rows.x), rows.p.shape[1]
    fronts, alphas, _, slopes = rows.parts
    wanted = np.zeros((2 * x, rows.size))
    for axis in range(x):
        wanted[2 * axis, fronts.start + axis] = 1
        wanted[2 * axis, slopes.start + axis * k : slopes.start + (axis + 1) * k] = rows.middle
        wanted[2 * axis + 1, alphas.start + axis] = 1
    hessian = fit.curvature + _precision(rows)[:, :, None] * np.eye(rows.size)
    return wanted @ np.linalg.pinv(hessian, hermitian=True) @ wanted.T
