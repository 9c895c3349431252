"""How far from the runs a mixture lies, and what that does to the standard deviation of a prediction.

For laws without a posterior of their own the standard deviation of target i at mixture p is

    std_i(p) = s_i sqrt(1 + h(p)),      h(p) = (p - m)' (X'X + ridge I)^-1 (p - m) + 1 / n

with s_i the residual standard deviation over the degrees of freedom that are left, X the centred weights of the runs
and m their mean: the predictive variance of a linear model. Inside the swarm h is about k / n; where no run has been it
grows with the square of the distance. The scale of it is calibrated out of fold (see fidelity.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.laws.json_record import JsonRecord

# Of the total variance of the weights: keeps a direction that no run explored from counting as infinitely far.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Noise(JsonRecord):
    """Residual standard deviations (t,), the mean (k,) of the runs, the inverse (k, k) of their scatter, and n."""

    residual_std: Float[np.ndarray, " t"]
    centre: Float[np.ndarray, " k"]
    precision: Float[np.ndarray, "k k"]
    runs: int

    @classmethod
    def of(cls, p: Float[np.ndarray, "n k"], residual_std: Float[np.ndarray, " t"]) -> Noise:
        """From the mixtures of the runs and the residual standard deviation of each target."""
        centre = p.mean(axis=0)
        scatter = (p - centre).T @ (p - centre)
        ridge = _RIDGE * max(float(np.trace(scatter)), 1e-9)
        precision = np.linalg.inv(scatter + ridge * np.eye(p.shape[1]))
        return cls(residual_std, centre, (precision + precision.T) / 2, len(p))

    def std(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch t"]:
        """Standard deviation of a new measurement at ``p``."""
        away = p - self.centre
        distance = np.maximum(((away @ self.precision) * away).sum(axis=-1), 0.0) + 1 / self.runs
        return np.sqrt(1 + distance)[..., None] * self.residual_std


def residual_std(
    residual: Float[np.ndarray, "n t"], freedom: Float[np.ndarray, " t"] | float
) -> Float[np.ndarray, " t"]:
    """sqrt(RSS / (n - freedom)) of each target, NaN residuals left out; at least one degree of freedom is kept."""
    measured = (~np.isnan(residual)).sum(axis=0)
    left = np.maximum(measured - freedom, 1.0)
    return np.sqrt(np.nansum(residual**2, axis=0) / left)
