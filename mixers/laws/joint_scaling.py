"""The joint scaling law (Scaling Laws for Optimal Data Mixtures, arXiv 2507.09404): the best mixture moves with scale.

    L_i(N, D, h) = E_i + 1 / M_i(h) + A_i(h) N^-alpha_i + B_i(h) D^-beta_i
    A_i(h) = (sum_j CA_ij h_j)^gA_i,        B_i(h) = (sum_j CB_ij h_j)^gB_i

The additive law with amplitudes that depend on the mixture; with gA = gB = 1 and equal CA, equal CB it is the additive
law. A fit holds CA_ij = A_i^(1/gA_i) exp(u_ij), with a ridge on u that draws it to the additive law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.additive_scaling import MixtureTerm, mixture_term
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.noise import Noise
from mixers.laws.scale_terms import PowerTerms, ScaleAxes, predictive_std
from mixers.laws.scaling_fit import ScalingData, fit_joint
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class FittedJointScaling(FittedLaw):
    """The parts of the additive law, and worth (t, 2, k) = exp(u), exp(v) and power (t, 2) = gA, gB."""

    law: ClassVar[str] = "joint_scaling"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    constant: Float[np.ndarray, " t"]
    mixture: MixtureTerm
    terms: PowerTerms
    worth: Float[np.ndarray, "t 2 k"]
    power: Float[np.ndarray, "t 2"]
    axes: ScaleAxes
    noise: Noise

    @property
    def form(self) -> Form:
        """Convex where it can be proved: a power of 1 or more of a non-negative sum is convex, a lower one is not."""
        bent = (self.terms.amplitude > 0) & (self.power < 1)
        return Form.SMOOTH if bent.any() else Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        ratio = self.axes.log_ratios(scale, p.shape[:-1])
        total = p @ self.worth.reshape(-1, p.shape[-1]).T
        factor = total.reshape(*p.shape[:-1], -1, 2) ** self.power
        mean = self.constant + self.mixture.value(p) + (factor * self.terms.values(ratio)).sum(axis=-1)
        return Prediction(mean, predictive_std(self.noise, p, self.terms.variance(ratio, factor)))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives."""
        value, gradient = self.mixture.value_and_gradient(p)
        total = self.worth @ p
        terms = total**self.power * self.terms.values(self.axes.log_ratios(scale, ()))
        slope = (terms * self.power / total)[:, :, None] * self.worth
        return self.constant + value + terms.sum(axis=1), gradient + slope.sum(axis=1)


@dataclass(frozen=True)
class JointScaling(MixingLaw):
    """The additive law with amplitudes of N and D that depend on the mixture, each target by itself."""

    name: ClassVar[str] = "joint_scaling"
    summary: ClassVar[str] = "the additive scaling law with A(h) and B(h): the best mixture moves with the scale"
    needs: ClassVar[Needs] = Needs(
        lambda k: min(k + 1, 4), "without a spread of N or D it is the additive law, which is there too", min_scales=2
    )
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedJointScaling:
        del rng  # the starts are fixed
        self.check_enough(runs)
        data = ScalingData.of(runs)
        found = fit_joint(data)
        fit = found.fit
        worth, power = data.amplitude_worth(fit.theta)
        return FittedJointScaling(
            runs.domains.names,
            runs.targets.names,
            data.constant(fit.theta),
            mixture_term(data, fit.theta),
            data.power_terms(found),
            worth,
            power,
            data.axes,
            Noise.of(runs.p, data.residual_std(fit)),
        )
