"""RegMix's linear baseline (arXiv 2407.01492, section 3.3): ordinary least squares on the weights.

    y_i(p) = a_i + b_i . p

The weights sum to 1, so the intercept and the slopes are tied; the fit is scikit-learn's minimum-norm solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LinearRegression

from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.noise import Noise, residual_std
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class FittedLinear(FittedLaw):
    """Intercepts (t,) and slopes (t, k)."""

    law: ClassVar[str] = "regmix_linear"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    intercept: Float[np.ndarray, " t"]
    slope: Float[np.ndarray, "t k"]
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        del scale  # fitted within one scale
        return Prediction(self.intercept + p @ self.slope.T, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and the slopes."""
        del scale
        return self.intercept + self.slope @ p, self.slope.copy()


@dataclass(frozen=True)
class RegMixLinear(MixingLaw):
    """Ordinary least squares on the weights."""

    name: ClassVar[str] = "regmix_linear"
    summary: ClassVar[str] = "ordinary least squares on the weights (RegMix's baseline)"
    needs: ClassVar[Needs] = Needs(lambda k: k + 1, "with fewer its slopes are not determined")

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedLinear:
        del rng
        self.check_enough(runs)
        t, k = len(runs.targets), len(runs.domains)
        intercept, slope = np.empty(t), np.empty((t, k))
        for j in range(t):
            rows = ~np.isnan(runs.losses[:, j])
            model = LinearRegression().fit(runs.p[rows], runs.losses[rows, j])
            intercept[j], slope[j] = model.intercept_, model.coef_
        residual = runs.losses - (intercept + runs.p @ slope.T)
        noise = Noise.of(runs.p, residual_std(residual, float(k)))  # k, not k + 1: the weights sum to 1
        return FittedLinear(runs.domains.names, runs.targets.names, intercept, slope, noise)
