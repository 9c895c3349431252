"""Fitting the additive and the joint scaling law: all targets and starts in one batch, robustly.

Parameters of one target, in spread units (see parametric.py):

    theta = e, log C_1 .. log C_k, gamma_1 .. gamma_k, A, alpha, B, beta            (additive)
            and u_1 .. u_k, v_1 .. v_k, gamma_A, gamma_B                            (joint)

e runs from 0 to 1 between the lowest and the highest constant that the target may have. First the ridge strength of
each target is chosen by leave-one-out error. The residuals then tell the noise, which is far smaller than the spread
where N and D vary; a last pass takes the Huber threshold from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mixers.fitting import Fit, LeastSquares, solve
from mixers.laws.levels import Levels
from mixers.laws.noise import residual_std
from mixers.laws.parametric import HUBER_DELTA, OUTLIER, Problem, fit_penalised, in_spread_units
from mixers.laws.scale_terms import PowerTerms, ScaleAxes, falling_power
from mixers.laws.shares import ShareCurves, share_floor, share_power
from mixers.types import Observations

# Starting values of the share of the lowest loss that nothing removes, and of gamma.
_STARTS = ((0.3, 0.5), (0.8, 1.0))
# gamma <= 1 keeps the law convex. The ridge draws it to 1, where equal domains make a constant law.
_MIN_GAMMA, _MAX_GAMMA = 0.02, 1.0
_MIN_ALPHA, _MID_ALPHA, _MAX_ALPHA = 0.02, 0.4, 2.0
# Bound of log C in spread units: beyond it a domain does nothing, or all.
_MAX_LOG_C = 50.0
_MAX_AMPLITUDE = 1e4
# Keeps 1/M defined where all domains are worthless.
_LEAST_M = 1e-9
# Residuals beyond 1.345 standard deviations count linearly in the last pass: 95 % efficient for normal errors.
_HUBER_SIGMAS = 1.345
# Holds what the runs do not, without bending what they do.
_WEAK = 1e-8
_ALPHA_PRECISION = 1e-3
# What is known of the exponents of N and D without any run.
_ALPHA_STD = 0.3
_POWER_PRECISION = 1e-2
# Bounds of the log worth of a domain for an amplitude of the joint law, and of the power of their sum: from 1 on the
# amplitude is convex in the weights, and the public tables do not ask for less.
_MAX_LOG_WORTH = 10.0
_MIN_POWER, _MAX_POWER = 1.0, 4.0
# Amplitudes below this are as good as none when the ridge on the worths is set.
_LEAST_AMPLITUDE = 1e-3


@dataclass(frozen=True)
class ScalingData:
    """Runs in the form in which a scaling law is fitted to them.

    Args:
        floor: of the shares. log_ratio: log N / N_ref and log D / D_ref of the runs.
        y, weight, spread: see parametric.in_spread_units. levels: of y.
        used: whether each target was measured at several N, at several D.
    """

    p: Float[np.ndarray, "n k"]
    floor: Float[np.ndarray, " k"]
    axes: ScaleAxes
    log_ratio: Float[np.ndarray, "n 2"]
    y: Float[np.ndarray, "t n"]
    weight: Float[np.ndarray, "t n"]
    spread: Float[np.ndarray, " t"]
    levels: Levels
    used: Bool[np.ndarray, "t 2"]

    @classmethod
    def of(cls, runs: Observations) -> ScalingData:
        y, weight, spread = in_spread_units(runs.losses)
        axes = ScaleAxes.of(runs)
        log_ratio = axes.log_ratios(runs.scale, (len(runs),))
        used = axes.vary_where(log_ratio, weight > 0)
        return cls(runs.p, share_floor(runs.p), axes, log_ratio, y, weight, spread, Levels.of(y, weight), used)

    @property
    def columns(self) -> slice:
        """Where A, alpha, B, beta stand in theta."""
        first = 1 + 2 * self.p.shape[1]
        return slice(first, first + 4)

    @property
    def span(self) -> Float[np.ndarray, " t"]:
        """The highest constant less the lowest."""
        return np.maximum(self.levels.high - self.levels.floor, 1e-9)

    def constant(self, theta: Float[np.ndarray, "t m"]) -> Float[np.ndarray, " t"]:
        """E in loss units."""
        return (self.levels.floor + self.span * theta[:, 0]) * self.spread

    def worth(self, theta: Float[np.ndarray, "t m"]) -> tuple[np.ndarray, np.ndarray]:
        """log C in inverse loss units, and gamma; shape (t, k) each."""
        k = self.p.shape[1]
        return theta[:, 1 : 1 + k] - np.log(self.spread)[:, None], theta[:, 1 + k : 1 + 2 * k]

    def amplitude_worth(self, theta: Float[np.ndarray, "t m"]) -> tuple[np.ndarray, np.ndarray]:
        """exp(u), exp(v) (t, 2, k), scaled to a factor of 1 at the mean mixture, and gamma_A, gamma_B (t, 2)."""
        k = self.p.shape[1]
        more = theta[:, self.columns.stop :]
        if more.shape[1] == 0:  # the additive law
            return np.ones((len(theta), 2, k)), np.ones((len(theta), 2))
        worth = np.exp(more[:, : 2 * k]).reshape(-1, 2, k)
        return worth / (worth @ self.p.mean(axis=0))[:, :, None], more[:, 2 * k :].copy()

    def power_terms(self, found: ScalingFit) -> PowerTerms:
        """A, alpha, B, beta in loss units, with their covariance when all other parameters are unknown too."""
        four = found.fit.theta[:, self.columns]
        if not self.used.any():
            return PowerTerms(np.zeros_like(four[:, ::2]), four[:, 1::2].copy(), np.zeros((len(four), 4, 4)), 0 * four)
        variance = self._residual_std(found.fit)[:, None] ** 2
        # What the fit needed as a penalty may be far weaker than what is known of an exponent beforehand.
        precision = found.precision.copy()
        precision[:, self.columns][:, 1::2] = np.maximum(precision[:, self.columns][:, 1::2], variance / _ALPHA_STD**2)
        inverse = np.linalg.pinv(
            found.fit.curvature + precision[:, :, None] * np.eye(len(precision[0])), hermitian=True
        )
        size = self.spread[:, None] * self.used
        unit = np.stack([size, self.used], axis=2).reshape(-1, 4)
        covariance = inverse[:, self.columns, self.columns] * unit[:, :, None] * unit[:, None, :] * variance[:, :, None]
        terms = PowerTerms(four[:, ::2] * size, four[:, 1::2].copy(), covariance, np.zeros(four.shape))
        return terms.centred(self.log_ratio, self.weight)

    def residual_std(self, fit: Fit) -> Float[np.ndarray, " t"]:
        """In loss units, outliers cut."""
        return self._residual_std(fit) * self.spread

    def _residual_std(self, fit: Fit) -> Float[np.ndarray, " t"]:
        residual = np.where(self.weight > 0, fit.values - self.y, np.nan).T
        return residual_std(np.clip(residual, -OUTLIER, OUTLIER), fit.freedom)


@dataclass(frozen=True)
class ScalingFit:
    """The solution, and the precision (t, P) of the penalty that it was found with."""

    fit: Fit
    precision: Float[np.ndarray, "t m"]


def fit_additive(data: ScalingData) -> ScalingFit:
    """The additive law of every target."""
    return _in_two_passes(additive_problem(data))


def fit_joint(data: ScalingData) -> ScalingFit:
    """The joint law of every target, from the additive one; where no target has a term in N or D it is that one."""
    additive = fit_additive(data)
    return _in_two_passes(joint_problem(data, additive.fit.theta)) if data.used.any() else additive


def _in_two_passes(problem: Problem) -> ScalingFit:
    """Strengths by PRESS; then once more from there, with a Huber threshold that fits the residuals."""
    first = fit_penalised(problem)
    deviation = np.array([_deviation(problem, first.theta, i) for i in range(len(problem.y))])
    precision = first.strength[:, None] * problem.penalty
    delta = np.clip(_HUBER_SIGMAS * deviation, 1e-6, HUBER_DELTA)
    parts = (problem.y, problem.weight, first.theta, problem.lower, problem.upper, problem.centre, precision, delta)
    return ScalingFit(solve(LeastSquares(problem.model, *parts)), precision)


def _deviation(problem: Problem, theta: Float[np.ndarray, "t m"], target: int) -> float:
    """1.4826 times the median absolute residual of one target: one, as the Jacobians come along with the values."""
    values, _ = problem.model(theta[target : target + 1], np.array([target]))
    away = np.abs(values[0] - problem.y[target])
    return 1.4826 * float(np.median(away[problem.weight[target] > 0]))


# As fitting.Model, with the Jacobian written out: (theta (B, P), target (B,)) -> (B, n), (B, n, P)
_Dense = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def additive_problem(data: ScalingData) -> Problem:
    """The additive law in the form that parametric.fit_penalised takes."""
    k, t = data.p.shape[1], len(data.y)
    starts = np.stack([_start(data, share, gamma) for share, gamma in _STARTS])
    centre = _start(data, float(np.mean([share for share, _ in _STARTS])), _MAX_GAMMA)
    lower = np.concatenate([[0.0], np.full(k, -_MAX_LOG_C), np.full(k, _MIN_GAMMA), [0.0, _MIN_ALPHA] * 2])
    upper = np.concatenate([[1.0], np.full(k, _MAX_LOG_C), np.full(k, _MAX_GAMMA), [_MAX_AMPLITUDE, _MAX_ALPHA] * 2])
    # At unit strength: differences between domains that explain the whole spread when shared evenly over them.
    level = np.exp(-centre[:, 1])
    per_domain = np.repeat(_variation(data) * level[:, None] ** 2, 2 * k, axis=1)
    four = np.tile([_WEAK, _ALPHA_PRECISION] * 2, (t, 1))
    penalty = np.concatenate([np.full((t, 1), _WEAK), per_domain, four], axis=1)
    return Problem(_additive_model(data), data.y, data.weight, starts, lower, upper, centre, penalty)


def joint_problem(data: ScalingData, additive: Float[np.ndarray, "t m"]) -> Problem:
    """The joint law, started where its amplitudes do not depend on the mixture: u = v = 0, powers 1.

    A is the amplitude at the mean mixture of the runs, so that (A, u + constant) are not two names of one law.
    """
    plain = additive_problem(data)
    t, k = len(additive), data.p.shape[1]
    more = np.tile(np.concatenate([np.zeros(2 * k), np.ones(2)]), (t, 1))
    start, centre = np.concatenate([additive, more], axis=1), np.concatenate([plain.centre, more], axis=1)
    lower = np.concatenate([plain.lower, np.full(2 * k, -_MAX_LOG_WORTH), np.full(2, _MIN_POWER)])
    upper = np.concatenate([plain.upper, np.full(2 * k, _MAX_LOG_WORTH), np.full(2, _MAX_POWER)])
    amplitude = np.maximum(additive[:, data.columns][:, ::2], _LEAST_AMPLITUDE)
    per_domain = np.repeat(_variation(data) * amplitude**2, k, axis=1)
    penalty = np.concatenate([plain.penalty, per_domain, np.full((t, 2), _POWER_PRECISION)], axis=1)
    return Problem(_joint_model(data), data.y, data.weight, start[None], lower, upper, centre, penalty)


def _variation(data: ScalingData) -> float:
    """The variance of the weights over the runs, summed over the domains."""
    return max(float(data.p.var(axis=0).sum()), 1e-9)


def _start(data: ScalingData, share: float, gamma: float) -> np.ndarray:
    """Equal domains, and a quarter of what lies above the constant for each term in N or D that is used."""
    (n, k), t, levels = data.p.shape, len(data.y), data.levels
    constant = levels.floor + share * (levels.low - levels.floor)
    rest = np.maximum(levels.middle - constant, 1e-6)
    four = np.full((t, 4), _MID_ALPHA)
    four[:, ::2] = np.where(data.used, rest[:, None] / 4, 0.0)
    level = rest - four[:, ::2].sum(axis=1)
    shares, _, _ = share_power(data.p, data.floor, np.full(k, -gamma))
    log_c = np.repeat(-np.log(level * np.sum(shares) / n)[:, None], k, axis=1)
    e = (constant - levels.floor) / data.span
    return np.concatenate([e[:, None], log_c, np.full((t, k), gamma), four], axis=1)


def _additive_model(data: ScalingData) -> _Dense:
    n, k = data.p.shape
    curves = ShareCurves.of(data.p, data.floor)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_c, gamma, four = theta[:, 1 : 1 + k], theta[:, 1 + k : 1 + 2 * k], theta[:, data.columns]
        power, by_alpha = curves.power_and_by_alpha(-gamma[:, None, :])
        weight = np.exp(log_c)[:, None, :]
        m = np.maximum((weight * power).sum(axis=2), _LEAST_M)
        slope = -weight / (m**2)[:, :, None]
        jacobian = np.empty((len(theta), n, 5 + 2 * k))
        jacobian[:, :, 0] = data.span[index, None]
        np.multiply(slope, power, out=jacobian[:, :, 1 : 1 + k])
        np.multiply(slope, -by_alpha, out=jacobian[:, :, 1 + k : 1 + 2 * k])
        value = data.levels.floor[index, None] + data.span[index, None] * theta[:, :1] + 1 / m
        for axis in range(2):
            amplitude, exponent = four[:, 2 * axis, None], four[:, 2 * axis + 1, None]
            ratio = data.log_ratio[:, axis]
            falling = falling_power(exponent, ratio) * data.used[index, axis, None]
            value = value + amplitude * falling
            jacobian[:, :, 1 + 2 * k + 2 * axis] = falling
            jacobian[:, :, 2 + 2 * k + 2 * axis] = -amplitude * ratio * falling
        return value, jacobian

    return model


def _joint_model(data: ScalingData) -> _Dense:
    k, first = data.p.shape[1], data.columns.stop
    additive, middle = _additive_model(data), data.p.mean(axis=0)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, before = additive(theta[:, :first], index)
        jacobian = np.zeros((*before.shape[:2], theta.shape[1]))
        jacobian[:, :, :first] = before
        for axis in range(2):
            at, here = first - 4 + 2 * axis, slice(first + axis * k, first + (axis + 1) * k)
            worth, power = np.exp(theta[:, here]), theta[:, first + 2 * k + axis, None]
            total, centre = worth @ data.p.T, (worth @ middle)[:, None]
            plain = theta[:, at, None] * before[:, :, at]
            factor = (total / centre) ** power
            term = plain * factor
            value = value + term - plain
            jacobian[:, :, at : at + 2] *= factor[:, :, None]
            lean = data.p / total[:, :, None] - (middle / centre)[:, None, :]
            np.multiply((term * power)[:, :, None] * worth[:, None, :], lean, out=jacobian[:, :, here])
            jacobian[:, :, first + 2 * k + axis] = term * np.log(total / centre)
        return value, jacobian

    return model
