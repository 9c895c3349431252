"""A fitted law whose standard deviations were checked on runs that it had not seen.

Out of fold each target has standardised residuals z = (y - mean) / std. The law's own std is multiplied by the factor

    f_i = q / 1.6449,     q = the 90 % quantile of |z_i| with the (n + 1) correction of split conformal prediction

so that nominal 90 % intervals cover 90 % of new runs (Lei et al. 2018, arXiv 1604.04173, with a locally scaled score).
Runs of one mixture err together, so G mixtures tell little about a target when G is small: its factor is drawn, in the
logarithm, towards that of all targets together, by 20 / (G + 20).
For a weighted mean of targets the errors are correlated; the correlation of the z is kept, and with it

    var( sum_i w_i y_i ) = sum_ij w_i w_j s_i s_j R_ij
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.base import FittedLaw, Form
from mixers.types import Prediction, Scale

NOMINAL = 0.9
# Standard deviations from the mean to the edge of a two-sided 90 % interval of a normal distribution.
Z90 = 1.6448536269514722
# So many mixtures make a target's own residuals count as much as those of all targets.
_POOLED_MIXTURES = 20


@dataclass(frozen=True)
class CalibratedLaw(FittedLaw):
    """``inner`` with factors (t,) on its standard deviations and the correlation (t, t) of its errors."""

    law: ClassVar[str] = "calibrated"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    inner: FittedLaw
    factor: Float[np.ndarray, " t"]
    correlation: Float[np.ndarray, "t t"]

    @property
    def form(self) -> Form:
        return self.inner.form

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        plain = self.inner.predict(p, scale)
        return Prediction(plain.mean, plain.std * self.factor)

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Those of the inner law, whose means are left as they are."""
        return self.inner.value_and_gradient(p, scale)

    def weighted_std(
        self, std: Float[np.ndarray, "*batch t"], weights: Float[np.ndarray, " t"]
    ) -> Float[np.ndarray, "*batch"]:
        """Standard deviation of the weighted sum of targets that have standard deviations ``std``."""
        scaled = std * weights
        return np.asarray(np.sqrt(np.maximum(((scaled @ self.correlation) * scaled).sum(axis=-1), 0.0)))


def conformal_factor(z: Float[np.ndarray, "n t"], mixtures: int) -> Float[np.ndarray, " t"]:
    """The factor on the standard deviations of each target, from residuals of so many different mixtures.

    1 where fewer than 5 residuals say anything.
    """
    own = np.array([_factor(z[:, j]) for j in range(z.shape[1])])
    trust = mixtures / (mixtures + _POOLED_MIXTURES)
    return np.asarray(np.exp(trust * np.log(own) + (1 - trust) * np.log(_factor(z.reshape(-1)))))


def _factor(z: np.ndarray) -> float:
    size = np.sort(np.abs(z[~np.isnan(z)]))
    if len(size) < 5:
        return 1.0
    rank = min(int(np.ceil(NOMINAL * (len(size) + 1))), len(size)) - 1
    return max(float(size[rank]) / Z90, 1e-6)


def error_correlation(z: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "t t"]:
    """Second moments of the residuals around 0, scaled to a diagonal of 1; pairs that were not measured count as 0."""
    filled = np.nan_to_num(z)
    moments = filled.T @ filled
    size = np.sqrt(np.diag(moments))
    size = np.where(size > 0, size, 1.0)
    correlation = np.clip(moments / size[:, None] / size[None], -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return np.round(correlation, 6)
