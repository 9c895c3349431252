"""What the laws that know both N and D share: relative scales, power-law terms, and how unsure these are.

N and D enter relative to a reference, the geometric means of the runs, so that amplitudes are in loss units and hardly
correlated with exponents. An axis that does not vary in the runs, or that some run does not tell, is left out: its
share is part of the law's constant, and a prediction at another value of it stays where it is instead of following an
exponent that nothing has measured. Where N or D is not known at prediction, the reference stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from mixers.laws.json_record import JsonRecord
from mixers.laws.noise import Noise
from mixers.types import Observations, Scale

# Below this spread of log N or log D an exponent in it means nothing.
_LEAST_SPREAD = 1e-6
# exp() beyond this is no loss any more; the clip keeps absurd scales finite.
_MAX_EXPONENT = 50.0


@dataclass(frozen=True)
class ScaleAxes(JsonRecord):
    """Reference N (parameters) and D (tokens), shape (2,), and whether the runs vary in each."""

    reference: Float[np.ndarray, " 2"]
    varies: Bool[np.ndarray, " 2"]

    @classmethod
    def of(cls, runs: Observations) -> ScaleAxes:
        """From the scales of the runs; the reference of an axis that some run does not tell is 1."""
        logs = np.log(np.stack([runs.model_params, runs.train_tokens]))
        told = np.isfinite(logs).all(axis=1)
        logs = np.where(np.reshape(told, (2, 1)), logs, 0.0)
        return cls(np.exp(logs.mean(axis=1)), told & (np.ptp(logs, axis=1) > _LEAST_SPREAD))

    def log_ratios(self, scale: Scale, shape: tuple[int, ...]) -> Float[np.ndarray, "*batch 2"]:
        """log(N / N_ref), log(D / D_ref) of ``shape`` + (2,); 0 where not known and on an axis that does not vary."""
        logs = np.log(np.stack(scale.broadcast(shape), axis=-1) / self.reference)
        return np.where(self.varies & ~np.isnan(logs), logs, 0.0)

    def vary_where(self, log_ratio: Float[np.ndarray, "n 2"], measured: Bool[np.ndarray, "t n"]) -> np.ndarray:
        """Whether each axis varies among the runs where each target was measured, shape (t, 2)."""
        rows = measured[:, :, None]
        high = np.where(rows, log_ratio, -np.inf).max(axis=1)
        return high - np.where(rows, log_ratio, np.inf).min(axis=1) > _LEAST_SPREAD


def falling_power(exponent: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """ratio^-exponent (broadcast)."""
    return np.exp(np.clip(-exponent * log_ratio, -_MAX_EXPONENT, _MAX_EXPONENT))


@dataclass(frozen=True)
class PowerTerms(JsonRecord):
    """A (N / N_ref)^-alpha + B (D / D_ref)^-beta of each target, and how well the runs hold the four numbers.

    Args:
        amplitude: A, B in loss units, 0 for an axis that is left out; shape (t, 2). exponent: alpha, beta.
        covariance: of (A, alpha, B, beta), shape (t, 4, 4); 0 for what is left out.
        middle: the mean over the runs of the terms' derivatives by these four, shape (t, 4).
    """

    amplitude: Float[np.ndarray, "t 2"]
    exponent: Float[np.ndarray, "t 2"]
    covariance: Float[np.ndarray, "t 4 4"]
    middle: Float[np.ndarray, "t 4"]

    def values(self, log_ratio: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch t 2"]:
        """The two terms of each target."""
        return self.amplitude * falling_power(self.exponent, log_ratio[..., None, :])

    def slopes(self, log_ratio: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch t 4"]:
        """Derivatives of the terms by A, alpha, B, beta."""
        ratio = log_ratio[..., None, :]
        power = falling_power(self.exponent, ratio)
        slopes = np.stack([power, -self.amplitude * ratio * power], axis=-1)
        return slopes.reshape(*slopes.shape[:-2], 4)

    def centred(self, log_ratio: Float[np.ndarray, "n 2"], weight: Float[np.ndarray, "t n"]) -> PowerTerms:
        """With the middle of these runs; rows count by their weight for each target."""
        mean = np.einsum("tn,ntm->tm", weight, self.slopes(log_ratio)) / weight.sum(axis=1, keepdims=True)
        return replace(self, middle=mean)

    def variance(
        self, log_ratio: Float[np.ndarray, "*batch 2"], factor: np.ndarray | float = 1.0
    ) -> Float[np.ndarray, "*batch t"]:
        """Variance that the four numbers add to a prediction at this scale (delta method).

        With their covariance C it is j' C j, where j are their slopes less the mean over the runs: in the middle of the
        runs the error of the level is that of the mixture (see noise.py), and from there on it grows.

        Args:
            factor: by which the amplitudes are multiplied, shape (*batch, t, 2) or broadcast against it.
        """
        away = (self.slopes(log_ratio) - self.middle).reshape(*log_ratio.shape[:-1], -1, 2, 2)
        away = (away * np.asarray(factor)[..., None]).reshape(*away.shape[:-2], 4)
        return np.maximum(((away[..., None, :] @ self.covariance)[..., 0, :] * away).sum(axis=-1), 0.0)


def predictive_std(
    noise: Noise, p: Float[np.ndarray, "*batch k"], scale_variance: Float[np.ndarray, "*batch t"]
) -> Float[np.ndarray, "*batch t"]:
    """Standard deviation of a new measurement: that of the mixture, and that of the terms in N and D."""
    return np.sqrt(noise.std(p) ** 2 + scale_variance)
