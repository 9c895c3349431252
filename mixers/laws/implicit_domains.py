"""Data Mixing Laws for losses whose domains are not known (Ye et al. 2025, arXiv 2403.16952, Eq. 8).

A validation loss is a mean over M hidden domains, each with an exponential law of its own:

    L(r) = sum_m s_m [c_m + k_m exp(t_m . r)],       s on the simplex
         = c + sum_m w_m exp(t_m . r),               c = sum_m s_m c_m,  w_m = s_m k_m >= 0

Runs see the second line only, so it is what is fitted: M = 1 is ``data_mixing_law`` itself. A sum of convex
exponentials is convex. M is chosen by held-out mixtures, for each target, half of the score averaged over all of them:
the published tables of errors fall with M up to 30 because they are of mixtures that the fit has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from mixers.folds import fold_by_mixture
from mixers.laws.base import MixingLaw, Needs
from mixers.laws.data_mixing_law import FittedDataMixingLaw
from mixers.laws.exponential_sum import fit_exponential_sum, held_out_loss, relative_score
from mixers.laws.noise import Noise
from mixers.types import Observations

# Numbers of hidden domains that are tried, as long as more of them helped.
_TRIED = (1, 2, 3, 5, 10)
# Parameters a run, at most; and parameters in all, as the cost of a fit grows with their square.
_PARAMETERS_A_RUN = 2 / 3
_PARAMETERS = 100
_FOLDS = 5


@dataclass(frozen=True)
class FittedImplicitDomains(FittedDataMixingLaw):
    """As of ``data_mixing_law``; k is 0 for the hidden domains that a target does without."""

    law: ClassVar[str] = "data_mixing_law_implicit"


@dataclass(frozen=True)
class ImplicitDomains(MixingLaw):
    """A sum of exponentials a target, one a hidden domain."""

    name: ClassVar[str] = "data_mixing_law_implicit"
    summary: ClassVar[str] = "a sum of exponentials, one a hidden domain (Data Mixing Laws)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 1, 4), "its offset, level and slopes must all be held by data")

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedImplicitDomains:
        self.check_enough(runs)
        chosen = _choose_terms(runs, _affordable(runs), rng)
        targets, most = len(chosen), int(chosen.max())
        c, std, k = np.empty(targets), np.empty(targets), np.zeros((targets, most))
        t = np.zeros((targets, most, len(runs.domains)))
        for terms in np.unique(chosen):
            fitted, mine = fit_exponential_sum(runs, int(terms)), np.flatnonzero(chosen == terms)
            c[mine], std[mine] = fitted.c[mine], fitted.residual_std[mine]
            k[mine, :terms], t[mine, :terms] = np.exp(fitted.log_weight[mine]), fitted.slopes[mine]
        return FittedImplicitDomains(runs.domains.names, runs.targets.names, c, k, t, Noise.of(runs.p, std))


def _affordable(runs: Observations) -> list[int]:
    """The numbers of hidden domains that these runs can hold; always 1."""
    measured = int((~np.isnan(runs.losses)).sum(axis=0).min())
    most = min(_PARAMETERS_A_RUN * measured, _PARAMETERS)
    return [m for m in _TRIED if m == 1 or m * (len(runs.domains) + 1) <= most]


def _choose_terms(runs: Observations, tried: list[int], rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    """The number of hidden domains of each target."""
    fold = fold_by_mixture(runs, _FOLDS, rng)
    losses: list[np.ndarray] = []
    if len(tried) > 1 and fold.max() > 0:
        for terms in tried:
            losses.append(held_out_loss(runs, terms, fold))
            if _best(losses).max() < len(losses) - 1:  # no target gained by the last step
                break
    return np.array(tried)[_best(losses)] if losses else np.ones(len(runs.targets), dtype=np.int64)


def _best(losses: list[np.ndarray]) -> np.ndarray:
    """The index (t,) of each target's least held-out loss."""
    return np.argmin(relative_score(np.stack(losses)), axis=0)
