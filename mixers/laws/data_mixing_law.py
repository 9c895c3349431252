"""The exponential law of Data Mixing Laws with all its constants (Ye et al. 2025, arXiv 2403.16952, Eq. 6).

    y_i(r) = c_i + k_i exp(sum_j t_ij r_j),        k_i > 0;  c_i >= 0 for losses, free for negated metrics

As the weights sum to 1, (t + a, k e^-a) predicts the same for every number a. The constants are reported with
mean_j t_ij = 0: then log(k_i) + c_i describe the uniform mixture, and t_ij how a domain differs from the others.

It is the same family of curves as ``log_linear`` (k folded into the exponent). What differs is how it is held:

    here         the paper's Huber threshold of .02 nats, one weak prior for every table, no pure mixture more than 5
                 ranges of the runs above c, the curve believed everywhere
    log_linear   a ridge whose strength the runs choose by leave-one-out error, and a tangent beyond the runs

So this one costs few fits, its constants can be compared between targets, tables and the paper, and it reads strong
curvature out of few, widely spread runs, where a strength chosen by noisy scores flattens it. ``log_linear`` adapts to
tables that are mostly noise. The comparison out of fold says which holds on the data at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.exponential_sum import fit_exponential_sum
from mixers.laws.noise import Noise
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class FittedDataMixingLaw(FittedLaw):
    """c (t,), k (t, m), t (t, m, k): y_i = c_i + sum_m k_im exp(t_im . r), with one term here and one a hidden domain
    in implicit_domains.py."""

    law: ClassVar[str] = "data_mixing_law"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    c: Float[np.ndarray, " t"]
    k: Float[np.ndarray, "t m"]
    t: Float[np.ndarray, "t m k"]
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        del scale  # fitted within one scale
        mean = np.broadcast_to(self.c, (*p.shape[:-1], len(self.c))).copy()
        for m in range(self.k.shape[1]):
            mean += self.k[:, m] * np.exp(p @ self.t[:, m].T)
        return Prediction(mean, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means, and their derivatives sum_m k_im exp(t_im . r) t_imj."""
        del scale
        grown = self.k * np.exp(self.t @ p)
        return self.c + grown.sum(axis=1), (grown[:, :, None] * self.t).sum(axis=1)


@dataclass(frozen=True)
class DataMixingLaw(MixingLaw):
    """One exponential a target under one weak prior."""

    name: ClassVar[str] = "data_mixing_law"
    summary: ClassVar[str] = "c + k exp(t.p) as published, under one weak prior (Data Mixing Laws)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 1, 4), "its offset, level and slopes must all be held by data")

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedDataMixingLaw:
        del rng  # the starts are fixed
        self.check_enough(runs)
        fitted = fit_exponential_sum(runs, terms=1)
        noise = Noise.of(runs.p, fitted.residual_std)
        k = np.exp(fitted.log_weight)
        return FittedDataMixingLaw(runs.domains.names, runs.targets.names, fitted.c, k, fitted.slopes, noise)
