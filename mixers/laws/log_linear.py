"""The log-linear law (Olmix, arXiv 2602.12237; Data Mixing Laws, arXiv 2403.16952, without its gauge freedom).

    y_i(p) = c_i + g(a_i + b_i . p),          c_i >= 0 for losses, free for negated metrics
    g(u) = exp(u) up to a little more than the largest u_i of the runs, and its tangent beyond

Because the weights sum to 1, a constant added to b_i equals one added to a_i: the ridge on b_i removes that freedom,
and a_i stays free. The ridge is what keeps the law finite on few or sparse runs, where the published fit explodes. Each
target is convex in p. The tangent keeps it so, and keeps a mixture far from every run from an exponential mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.jacobians import Design, Scaled
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.levels import Levels
from mixers.laws.noise import Noise
from mixers.laws.parametric import STRENGTHS, Problem, fit_penalised, in_spread_units
from mixers.types import Observations, Prediction, Scale

# Starting values of the share of the loss that no mixture removes.
_FLOOR_STARTS = (0.3, 0.8)
# How far beyond the runs the curve is believed, in ranges of their exponents.
_REACH = 0.25
# Large swarms, and sparse ones with little noise, deserve weaker ridges than most.
_STRENGTHS = (1e-5, 1e-4, *STRENGTHS)
# exp() beyond this is no loss any more; the clip keeps far extrapolation finite.
_MAX_EXPONENT = 50.0


@dataclass(frozen=True)
class FittedLogLinear(FittedLaw):
    """c (t,), a (t,), b (t, k), and edge (t,): the exponent from which on the tangent is followed."""

    law: ClassVar[str] = "log_linear"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    c: Float[np.ndarray, " t"]
    a: Float[np.ndarray, " t"]
    b: Float[np.ndarray, "t k"]
    edge: Float[np.ndarray, " t"]
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        del scale  # fitted within one scale
        exponent = self.a + p @ self.b.T
        inside = np.minimum(exponent, self.edge)
        return Prediction(self.c + np.exp(inside) * (1 + exponent - inside), self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives b_ij g'(a_i + b_i.p)."""
        del scale
        exponent = self.a + self.b @ p
        inside = np.minimum(exponent, self.edge)
        slope = np.exp(inside)
        return self.c + slope * (1 + exponent - inside), slope[:, None] * self.b


@dataclass(frozen=True)
class LogLinear(MixingLaw):
    """One convex exponential a target, with a ridge whose strength is chosen by leave-one-out error."""

    name: ClassVar[str] = "log_linear"
    summary: ClassVar[str] = "c + exp(a + b.p), one convex exponential a target (Olmix)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 1, 4), "its offset, level and slopes must all be held by data")
    robust: ClassVar[int] = 3

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedLogLinear:
        del rng  # the starts are fixed
        self.check_enough(runs)
        y, weight, scale = in_spread_units(runs.losses)
        levels = Levels.of(y, weight)
        fitted = fit_penalised(log_linear_problem(runs.p, y, weight, levels), _STRENGTHS)
        c, a, b = levels.floor + _span(levels) * fitted.theta[:, 0], fitted.theta[:, 1], fitted.theta[:, 2:]
        noise = Noise.of(runs.p, fitted.residual_std * scale)
        a = a + np.log(scale)
        edge = _edge(a[:, None] + b @ runs.p.T, weight > 0)
        return FittedLogLinear(runs.domains.names, runs.targets.names, c * scale, a, b, edge, noise)


def _edge(exponent: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The largest exponent (t,) at which the curve is believed, from those of the runs (t, n)."""
    high = np.max(np.where(measured, exponent, -np.inf), axis=1)
    low = np.min(np.where(measured, exponent, np.inf), axis=1)
    return high + _REACH * (high - low)


def _exp(exponent: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(exponent, _MAX_EXPONENT))


def log_linear_problem(
    p: Float[np.ndarray, "n k"], y: Float[np.ndarray, "t n"], weight: Float[np.ndarray, "t n"], levels: Levels
) -> Problem:
    """What is to be fitted to losses in spread units (see parametric.in_spread_units) that lie at ``levels``.

    theta = (share of c, a, b_1 .. b_k), c running from 0 to 1 between each target's own limits.
    """
    n, k = p.shape
    span = _span(levels)
    design = Design(np.concatenate([np.ones((n, 1)), p], axis=1))

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, Scaled]:
        grown = _exp(theta[:, 1:] @ design.rows.T)
        own = np.broadcast_to(span[index, None, None], (*grown.shape, 1))
        return levels.floor[index, None] + span[index, None] * theta[:, :1] + grown, Scaled(own, grown, design)

    starts = np.stack([_start(levels, share, k) for share in _FLOOR_STARTS])
    lower = np.concatenate([[0.0], np.full(k + 1, -_MAX_EXPONENT)])
    upper = np.concatenate([[1.0], np.full(k + 1, _MAX_EXPONENT)])
    # At unit strength: slopes exp(a) b that explain the whole spread when shared evenly over the domains.
    variation = max(float(p.var(axis=0).sum()), 1e-9)
    level = levels.middle - levels.floor - span * starts[:, :, 0].mean(axis=0)
    penalty = np.concatenate([np.full((len(y), 2), 1e-8), np.repeat(variation * level[:, None] ** 2, k, axis=1)], 1)
    centre = np.concatenate([starts[0, :, :2], np.zeros((len(y), k))], axis=1)
    return Problem(model, y, weight, starts, lower, upper, centre, penalty, jacobian_size=n)


def _span(levels: Levels) -> np.ndarray:
    return np.maximum(levels.high - levels.floor, 1e-9)


def _start(levels: Levels, share: float, k: int) -> np.ndarray:
    """The law without slopes (t, 2 + k), its constant at a share of the least loss."""
    c = levels.floor + share * (levels.low - levels.floor)
    level = np.log(np.maximum(levels.middle - c, 1e-6))
    return np.concatenate([np.stack([(c - levels.floor) / _span(levels), level], axis=1), np.zeros((len(c), k))], 1)
