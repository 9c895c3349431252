"""From predicted targets to the one number that is minimised.

F(p) = sum_i w_i y_i(p) / sum_i w_i  +  lambda KL(p || prior),      KL(p || q) = sum_j p_j log(p_j / q_j)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw
from mixers.types import Scale

# A prior without any mass on a domain would forbid it; the floor of Olmix's proposer.
PRIOR_FLOOR = 1e-12


@dataclass(frozen=True)
class Objective:
    """The weighted mean of a law's targets at one scale, plus a pull towards a prior.

    Args:
        weights: importance of each target, shape (t,); only their ratios matter.
        kl: lambda, in units of the targets; 0 for none.
        prior: shape (k,).
    """

    law: FittedLaw
    scale: Scale
    weights: Float[np.ndarray, " t"]
    kl: float
    prior: Float[np.ndarray, " k"]

    def __post_init__(self) -> None:
        if not (self.kl >= 0 and np.isfinite(self.kl)):
            raise InvalidInput(f"the KL weight is {self.kl}; it must be 0 or more")
        object.__setattr__(self, "weights", self.weights / self.weights.sum())

    def predicted(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """The weighted mean of the predicted targets, without the pull."""
        return np.asarray(self.law.predict(p, self.scale).mean @ self.weights)

    def pull(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """lambda KL(p || prior)."""
        return np.asarray(self.kl * kl_divergence(p, self.prior))

    def value(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """F(p)."""
        return np.asarray(self.predicted(p) + self.pull(p))

    def law_value_and_gradient(self, p: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        """The law's part of F and its gradient; only for smooth laws."""
        value, gradient = self.law.value_and_gradient(p, self.scale)
        return float(value @ self.weights), gradient.T @ self.weights


def kl_divergence(p: Float[np.ndarray, "*batch k"], prior: Float[np.ndarray, " k"]) -> Float[np.ndarray, "*batch"]:
    """KL(p || prior) in nats; 0 log 0 = 0."""
    ratio = np.maximum(p, PRIOR_FLOOR) / np.maximum(prior, PRIOR_FLOOR)
    return np.asarray((p * np.log(ratio)).sum(axis=-1))
