"""Fitting the capacity law: one search over the curves of all domains, with what is linear solved inside of it.

For given curves the constants E and the weights W of each target are a small least-squares problem with bounds. What
remains is a function of the 4k + 1 parameters of the curves, and its gradient is the partial one at the best E and W
(variable projection with the envelope theorem). L-BFGS-B searches it from a few starts that treat all domains alike,
so that the order of the domains does not matter. Runs far from the curves are then weighted down as by a Huber loss,
and the search goes on from the best point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from mixers.laws.capacity_curves import CurvePoints, Curves
from mixers.laws.levels import Levels
from mixers.non_negative import non_negative

# Starting values of the exponents b and a, and of H in shares of the smallest N / k.
_STARTS = ((0.3, 0.3, 0.03), (0.3, 0.3, 0.7), (0.8, 0.3, 0.2), (0.8, 0.1, 0.7))
_FIRST_STEPS, _LAST_STEPS = 60, 150
# Searches with new weights against outliers after the first.
_REWEIGHTINGS = 2
_HUBER_SIGMAS = 1.345
# Before any curve is known: losses further than this many spreads from the median count less.
_FIRST_HUBER = 3.0
_MIN_EXPONENT, _MAX_B, _MAX_A = 0.02, 4.0, 2.0
# Bound of the logarithms of amplitudes, from their start; and the lowest H, in shares of the smallest N / k. The
# highest is N / k: no domain is ensured more than an equal share of the smallest model.
_MAX_LOG_STEP, _MIN_LEAST = 8.0, 1e-3
# What is known beforehand of log c, b, log A, a and log H: their standard deviations; and the residual variance, in
# squared spreads, at which the fit weighs that against the runs.
PRIOR_STD = (2.0, 0.5, 2.0, 0.3, 1.0)
_PRIOR_NOISE = 2.5e-3
# Ridge on the weights of targets that are no domain, in units of the curves' size at the start.
_WEIGHT_RIDGE = 1e-3
# Keeps the normal equations positive definite in float64 where two curves are one, in units of their diagonal.
_RELATIVE_RIDGE = 1e-12


@dataclass(frozen=True)
class CapacityData:
    """Runs, with losses y (t, n) in spread units and 0 where ``weight`` is 0.

    Args:
        own: the domain that each target is named after, -1 where there is none. levels: of y.
    """

    p: Float[np.ndarray, "n k"]
    log_ratio: Float[np.ndarray, "n 2"]
    share_floor: Float[np.ndarray, " k"]
    y: Float[np.ndarray, "t n"]
    weight: Float[np.ndarray, "t n"]
    spread: Float[np.ndarray, " t"]
    own: Int[np.ndarray, " t"]
    levels: Levels

    def reordered(self, order: Int[np.ndarray, " k"]) -> CapacityData:
        """With the domains in another order."""
        own = np.where(self.own >= 0, np.argsort(order)[self.own], -1)
        return replace(self, p=np.ascontiguousarray(self.p[:, order]), share_floor=self.share_floor[order], own=own)

    def curves(self, theta: Float[np.ndarray, " m"]) -> Curves:
        """From theta = log c, b, log A, a (k each), log H. The capacities of the runs are all believed."""
        k = self.p.shape[1]
        log_c, b, log_a, a = theta[: 4 * k].reshape(4, k)
        return Curves(log_c, b, log_a, a, float(np.exp(theta[-1])), self.share_floor, np.full(k, 1e-300))


@dataclass(frozen=True)
class Linear:
    """E (t,) and W (t, k) in spread units."""

    constant: Float[np.ndarray, " t"]
    weights: Float[np.ndarray, "t k"]


@dataclass(frozen=True)
class CapacityFit:
    """The best point, and the weights (t, n) of the runs there, 0 where not measured."""

    theta: Float[np.ndarray, " m"]
    linear: Linear
    points: CurvePoints
    weight: Float[np.ndarray, "t n"]
    residual: Float[np.ndarray, "t n"]


def fit_capacity(data: CapacityData, order: Int[np.ndarray, " k"]) -> CapacityFit:
    """The capacity law of all targets. Deterministic.

    Args:
        order: of the domains during the search, by something that is theirs, such as their names. Sums that are
            rounded in another order lead a long search elsewhere; so the answer does not depend on that of the columns.
    """
    theta, weight = _search_all(data.reordered(order))
    back = np.argsort(order)
    theta = np.append(theta[:-1].reshape(4, -1)[:, back], theta[-1])
    search = _Search(data, weight)
    points = data.curves(theta).at(data.p, data.log_ratio)
    return CapacityFit(theta, search.linear(points), points, weight, search.residual(theta))


def _search_all(data: CapacityData) -> tuple[np.ndarray, np.ndarray]:
    """The best parameters of the curves, and the weights of the runs in the end."""
    away = np.abs(data.y - data.levels.middle[:, None])
    search = _Search(data, data.weight * np.minimum(1.0, _FIRST_HUBER / np.maximum(away, _FIRST_HUBER)))
    runs = [search.run(search.start(*start), _FIRST_STEPS) for start in _STARTS]
    theta = min(runs, key=lambda found: found[1])[0]
    for _ in range(1 + _REWEIGHTINGS):
        theta, _ = search.run(theta, _LAST_STEPS)
        search = _Search(data, data.weight * _huber_weight(search.residual(theta), data.weight))
    return theta, search.weight


def _huber_weight(residual: np.ndarray, measured: np.ndarray) -> np.ndarray:
    size = np.abs(residual)
    deviation = 1.4826 * np.nanmedian(np.where(measured > 0, size, np.nan), axis=1, keepdims=True)
    edge = np.maximum(_HUBER_SIGMAS * deviation, 1e-6)
    return np.minimum(1.0, edge / np.maximum(size, edge))


class _Search:
    """The objective for given weights of the runs, and the search for its least value."""

    def __init__(self, data: CapacityData, weight: np.ndarray) -> None:
        self.data, self.weight = data, weight
        k = data.p.shape[1]
        self.smallest = float(np.exp(data.log_ratio[:, 0].min()))
        level = self._level()
        self.size = float(np.median(level * data.spread))
        self.centre = np.mean([self.start(*start) for start in _STARTS], axis=0)
        self.precision = _PRIOR_NOISE / np.concatenate([np.repeat(PRIOR_STD[:4], k), PRIOR_STD[4:]]) ** 2
        log_c, log_a = self.centre[:k], self.centre[2 * k : 3 * k]
        step, one = np.full(k, _MAX_LOG_STEP), np.ones(k)
        last = np.log(self.smallest / k * np.array([_MIN_LEAST, 1.0]))
        lower = np.concatenate([log_c - step, _MIN_EXPONENT * one, log_a - step, _MIN_EXPONENT * one, last[:1]])
        upper = np.concatenate([log_c + step, _MAX_B * one, log_a + step, _MAX_A * one, last[1:]])
        self.bounds = list(zip(lower, upper, strict=True))

    def _level(self) -> np.ndarray:
        """What of a target's loss its curve explains at the start, in spread units, shape (t,)."""
        levels = self.data.levels
        return np.maximum(levels.middle - (levels.floor + levels.low) / 2, 1e-3)

    def start(self, b: float, a: float, least: float) -> Float[np.ndarray, " m"]:
        """Two thirds of each domain's level from capacity, one from tokens, at equal shares."""
        data, k = self.data, self.data.p.shape[1]
        level = np.full(k, self.size)
        for i, j in enumerate(data.own):
            if j >= 0:
                level[j] = (self._level() * data.spread)[i]
        log_c, log_a = np.log(level * 2 / 3) - b * np.log(k), np.log(level / 3) - a * np.log(k)
        return np.concatenate([log_c, np.full(k, b), log_a, np.full(k, a), [np.log(least * self.smallest / k)]])

    def run(self, theta: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
        options = {"maxiter": steps, "ftol": 1e-13, "gtol": 1e-7, "maxcor": 10}
        found = minimize(self._objective, theta, jac=True, method="L-BFGS-B", bounds=self.bounds, options=options)
        return np.asarray(found.x), float(found.fun)

    def residual(self, theta: np.ndarray) -> Float[np.ndarray, "t n"]:
        points = self.data.curves(theta).at(self.data.p, self.data.log_ratio)
        return self._residual(points, self.linear(points))

    def _residual(self, points: CurvePoints, linear: Linear) -> np.ndarray:
        values = linear.constant[:, None] + linear.weights @ points.losses.T
        return np.where(self.data.weight > 0, values - self.data.y, 0.0)

    def _objective(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        points = self.data.curves(theta).at(self.data.p, self.data.log_ratio)
        linear = self.linear(points)
        residual = self._residual(points, linear)
        weighted = self.weight * residual
        pull = theta - self.centre
        free = linear.weights[self.data.own < 0]
        value = (weighted * residual).sum() + (self.precision * pull**2).sum() + self._ridge * (free**2).sum()
        gradient = points.by_parameters((weighted.T @ linear.weights)[:, None, :]).sum(axis=0)[0]
        return value / 2, gradient + self.precision * pull

    @property
    def _ridge(self) -> float:
        return _WEIGHT_RIDGE * self.size**2

    def linear(self, points: CurvePoints) -> Linear:
        """The best E >= floor and W >= 0; a target named after a domain has that domain's curve, once."""
        data, curves = self.data, points.losses
        t, k = len(data.y), data.p.shape[1]
        constant, weights = np.empty(t), np.zeros((t, k))
        for i in range(t):
            floor, weight = data.levels.floor[i], self.weight[i]
            if data.own[i] >= 0:
                weights[i, data.own[i]] = 1 / data.spread[i]
                rest = data.y[i] - weights[i, data.own[i]] * curves[:, data.own[i]]
                constant[i] = max(float(weight @ rest / weight.sum()), floor)
            else:
                above, weights[i] = self._combination(curves, data.y[i] - floor, weight)
                constant[i] = floor + above
        return Linear(constant, weights)

    def _combination(self, curves: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
        """Non-negative least squares of y on a constant and the curves, by the normal equations."""
        design = np.concatenate([np.ones((len(y), 1)), curves], axis=1)
        weighted = design * weight[:, None]
        normal = weighted.T @ design
        normal[np.diag_indices(len(normal))] += np.append(1e-9 * weight.sum(), np.full(curves.shape[1], self._ridge))
        # In units in which the diagonal is 1, a curve that explodes at a small share does not drown the others.
        size = np.sqrt(np.diag(normal))
        scaled = normal / size / size[:, None]
        scaled[np.diag_indices(len(scaled))] += _RELATIVE_RIDGE
        root = np.linalg.cholesky(scaled)
        found = non_negative(root.T, np.linalg.solve(root, weighted.T @ y / size)) / size
        return float(found[0]), found[1:]
