"""The nested scaling laws of Data Mixing Laws (Ye et al. 2025, arXiv 2403.16952, section 4) as one formula.

The paper fits three laws one after another: a step law L(D) = E + (D_0 / D)^beta for every run, with beta shared; a
size law of the same form in N on what the first predicts; and the exponential mixing law on what both predict for the
large model. Here they stand together,

    y_i(r, N, D) = c_i + k_i exp(t_i . r) + (N_i(r) / N)^alpha_i + (D_i(r) / D)^beta_i
    log N_i, log D_i linear in r

fitted at once: what a mixture does to the loss that remains (the mixing law), and to how fast size and tokens reduce
the rest. For one mixture it is the step law and the size law; for one scale a sum of exponentials, convex, the mixing
law. The difference from the published procedure: errors of a stage are not taken for data by the next one, runs need
not cover every mixture at every size, a single checkpoint counts, and every scale has its prediction. What a mixture
misses at all scales is partially pooled (mixture_offsets.py); the exponents of a target are shared by all mixtures.

Without N (or D) that varies, its term is part of the constant. At one scale nothing would be nested, and
``data_mixing_law`` is the law to use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.errors import TooFewRuns
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.noise import Noise
from mixers.laws.scale_terms import PowerTerms, ScaleAxes, predictive_std
from mixers.laws.scaled_exponentials import ScaledExponentials, ScaledRows, fit_scaled_exponentials
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class FittedNestedScaling(FittedLaw):
    """c (t,), k (t,), t (t, k), and the terms in N and D at the mean mixture ``noise.centre``.

    Args:
        lean: of the logs of these two terms with the mixture, shape (t, 2, k); 0 for an axis that is left out.
    """

    law: ClassVar[str] = "nested_scaling"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    c: Float[np.ndarray, " t"]
    k: Float[np.ndarray, " t"]
    t: Float[np.ndarray, "t k"]
    terms: PowerTerms
    lean: Float[np.ndarray, "t 2 k"]
    axes: ScaleAxes
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        ratio = self.axes.log_ratios(scale, p.shape[:-1])
        away = p - self.noise.centre
        factor = np.exp(np.stack([away @ self.lean[:, axis].T for axis in range(2)], axis=-1))
        mean = self.c + self.k * np.exp(p @ self.t.T) + (self.terms.values(ratio) * factor).sum(axis=-1)
        return Prediction(mean, predictive_std(self.noise, p, self.terms.variance(ratio, factor)))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means, and derivatives that depend on the scale as the last two terms do."""
        mixing = self.k * np.exp(self.t @ p)
        ratio = self.axes.log_ratios(scale, ())
        scaled = self.terms.values(ratio) * np.exp(self.lean @ (p - self.noise.centre))
        gradient = mixing[:, None] * self.t + (scaled[:, :, None] * self.lean).sum(axis=1)
        return self.c + mixing + scaled.sum(axis=1), gradient


@dataclass(frozen=True)
class NestedScaling(MixingLaw):
    """The mixing law, the step law and the size law, fitted together."""

    name: ClassVar[str] = "nested_scaling"
    summary: ClassVar[str] = "c + k exp(t.p) + (N0(p) / N)^alpha + (D0(p) / D)^beta (Data Mixing Laws, nested)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 2, 6), "a scaling law must be held on top of a mixing law", 2)
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedNestedScaling:
        del rng  # the starts are fixed
        self.check_enough(runs)
        axes = ScaleAxes.of(runs)
        if not axes.varies.any():  # scales that differ only in what is not known
            raise TooFewRuns(
                f"{self.name} needs model_params or train_tokens that vary and are known for every run because "
                f"{self.needs.why}; of these {len(runs)} runs neither is and does"
            )
        rows = ScaledRows.of(runs, axes)
        fitted = fit_scaled_exponentials(rows)
        terms, lean = _scale_terms(rows, fitted, axes)
        mixtures = rows.p[rows.offsets.starts]
        return FittedNestedScaling(
            runs.domains.names,
            runs.targets.names,
            fitted.c,
            np.exp(fitted.log_k),
            fitted.slopes,
            terms,
            lean,
            axes,
            Noise.of(mixtures, fitted.residual_std),
        )


def _scale_terms(
    rows: ScaledRows, fitted: ScaledExponentials, axes: ScaleAxes
) -> tuple[PowerTerms, Float[np.ndarray, "t 2 k"]]:
    """The terms of both axes, nothing where one is left out, and how they lean with the mixture (t, 2, k)."""
    t, k = len(rows.y), rows.p.shape[1]
    axis = np.flatnonzero(axes.varies)
    amplitude, exponent = np.zeros((t, 2)), np.full((t, 2), 1.0)
    lean, covariance = np.zeros((t, 2, k)), np.zeros((t, 4, 4))
    amplitude[:, axis] = np.exp(fitted.log_front) * rows.used
    exponent[:, axis] = fitted.exponents
    lean[:, axis] = fitted.lean * rows.used[:, :, None]
    # From the logs that were fitted to amplitude and exponent.
    unit = np.stack([amplitude, np.where(amplitude > 0, exponent, 0.0)], axis=2)[:, axis].reshape(t, -1)
    four = np.stack([2 * axis, 2 * axis + 1], axis=1).reshape(-1)
    scaled = fitted.covariance * unit[:, :, None] * unit[:, None]
    covariance[:, four[:, None], four[None]] = scaled
    terms = PowerTerms(amplitude, exponent, covariance, np.zeros((t, 4)))
    ratio = np.zeros((len(rows.p), 2))
    ratio[:, axis] = rows.x.T
    return terms.centred(ratio, rows.weight), lean
