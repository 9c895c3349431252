"""The additive scaling law (Scaling Laws for Optimal Data Mixtures, arXiv 2507.09404): mixture, parameters and tokens.

    L_i(N, D, h) = E_i + 1 / M_i(h) + A_i N^-alpha_i + B_i D^-beta_i,        M_i(h) = sum_j C_ij h_j^gamma_ij

N and D are taken relative to a reference (see scale_terms.py); an axis that does not vary in the runs of a target is
part of E. The best mixture is the same at every scale.

Each target is convex in h: with 0 < gamma <= 1 every power is concave, also below the floor of the shares where it
follows its tangent (see shares.py), so M is concave, and 1/M falls and is convex. Where M is a little lower than at any
run, 1/M goes on along its tangent: convex again, and no domain that the fit found worthless costs an infinite loss.

E >= 0 for losses; for negated metrics it may lie a few ranges below the data. C is fitted as its logarithm, with a
ridge towards equal domains whose strength leave-one-out error chooses; the exponents are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.json_record import JsonRecord
from mixers.laws.noise import Noise
from mixers.laws.scale_terms import PowerTerms, ScaleAxes, predictive_std
from mixers.laws.scaling_fit import ScalingData, fit_additive
from mixers.laws.shares import ShareCurves, share_power
from mixers.types import Observations, Prediction, Scale

# How far beyond the runs 1/M is believed, in ranges of theirs.
_REACH = 0.25
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class MixtureTerm(JsonRecord):
    """1 / M(h) of each target. log_c, gamma (t, k); floor (k,) of the shares; most (t,) = where the tangent begins."""

    log_c: Float[np.ndarray, "t k"]
    gamma: Float[np.ndarray, "t k"]
    floor: Float[np.ndarray, " k"]
    most: Float[np.ndarray, " t"]

    def value(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch t"]:
        """1/M, and its tangent where it exceeds ``most``; a few rows and one target at a time stay in the cache."""
        rows = p.reshape(-1, p.shape[-1])
        m = np.empty((len(rows), len(self.most)))
        weight = np.exp(self.log_c)
        for first in range(0, len(rows), _CHUNK_ROWS):
            here = slice(first, first + _CHUNK_ROWS)
            curves = ShareCurves.of(rows[here], self.floor)
            for i, gamma in enumerate(self.gamma):
                # h^gamma = 1 - gamma G(h; -gamma), see shares.py
                m[here, i] = weight[i].sum() - curves.value(-gamma) @ (weight[i] * gamma)
        return self._bent(m.reshape(*p.shape[:-1], -1))[0]

    def value_and_gradient(self, p: Float[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (t,) and (t, k)."""
        power, by_share, _ = share_power(p, self.floor, -self.gamma)
        weight = np.exp(self.log_c)
        value, slope = self._bent((weight * power).sum(axis=1))
        return value, slope[:, None] * weight * by_share

    def _bent(self, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1/m and its slope; from m = 1 / most downwards the tangent there."""
        inside = np.maximum(m, 1 / self.most)
        slope = -1 / inside**2
        return 1 / inside + slope * (m - inside), slope


@dataclass(frozen=True)
class FittedAdditiveScaling(FittedLaw):
    """E (t,), the mixture term, and the power laws in N and D."""

    law: ClassVar[str] = "additive_scaling"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    constant: Float[np.ndarray, " t"]
    mixture: MixtureTerm
    terms: PowerTerms
    axes: ScaleAxes
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        ratio = self.axes.log_ratios(scale, p.shape[:-1])
        mean = self.constant + self.mixture.value(p) + self.terms.values(ratio).sum(axis=-1)
        return Prediction(mean, predictive_std(self.noise, p, self.terms.variance(ratio)))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means, and derivatives that are the same at every scale."""
        value, gradient = self.mixture.value_and_gradient(p)
        level = self.constant + self.terms.values(self.axes.log_ratios(scale, ())).sum(axis=-1)
        return level + value, gradient


@dataclass(frozen=True)
class AdditiveScaling(MixingLaw):
    """A harmonic term in the mixture plus power laws in N and in D, each target by itself."""

    name: ClassVar[str] = "additive_scaling"
    summary: ClassVar[str] = "E + 1 / sum C h^gamma + A / N^alpha + B / D^beta (scaling laws for optimal mixtures)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 1, 4), "its constant and the worth of the domains must be held")
    robust: ClassVar[int] = 5
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedAdditiveScaling:
        del rng  # the starts are fixed
        self.check_enough(runs)
        data = ScalingData.of(runs)
        found = fit_additive(data)
        fit = found.fit
        return FittedAdditiveScaling(
            runs.domains.names,
            runs.targets.names,
            data.constant(fit.theta),
            mixture_term(data, fit.theta),
            data.power_terms(found),
            data.axes,
            Noise.of(runs.p, data.residual_std(fit)),
        )


def mixture_term(data: ScalingData, theta: Float[np.ndarray, "t m"]) -> MixtureTerm:
    """The fitted 1/M in loss units, believed up to a little more than the largest value among each target's runs."""
    log_c, gamma = data.worth(theta)
    term = MixtureTerm(log_c, gamma, data.floor, np.full(len(log_c), np.inf))
    inverse = term.value(data.p).T
    high = np.where(data.weight > 0, inverse, -np.inf).max(axis=1)
    low = np.where(data.weight > 0, inverse, np.inf).min(axis=1)
    return replace(term, most=high + _REACH * (high - low))
