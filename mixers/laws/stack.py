"""Stacking: the non-negative combination of all laws with the least error out of fold (Breiman 1996; Wolpert 1992).

For each target the shares minimise over the simplex

    w' ( n_i Q_i + n0 (mean_i Q_i + Q_o) / 2 ) w,     n0 = 30,   every Q scaled to the same trace

with Q of residuals.py, Q_o that of the objective and n_i the runs behind Q_i: with few runs a target's own errors are
too noisy to go by, and the evidence of all targets counts for as much as thirty runs. Half of that is the objective's,
because errors that the targets share do not average out in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.folds import mixture_labels
from mixers.laws.base import MixingLaw
from mixers.laws.calibrated import conformal_factor
from mixers.laws.combination import Combination, Evidence, Shares
from mixers.laws.residuals import Errors, best_shares, errors_of

# The evidence of all targets together counts for as many runs.
POOLED_RUNS = 30
# Smaller shares only cost time.
_LEAST_SHARE = 0.02


class Stack(Combination):
    """All members that help, for each target in the proportions that help most."""

    name: ClassVar[str] = "stack"
    summary: ClassVar[str] = "the non-negative combination of the other laws with the least error out of fold"

    def __init__(self, members: Sequence[MixingLaw]) -> None:
        self.members = tuple(members)

    def weigh(self, evidence: Evidence) -> Shares:
        """Shares from the members' out-of-fold errors."""
        errors = errors_of(evidence.runs, [guess.mean for guess in evidence.guesses], evidence.fold)
        share = stacked(errors)
        names = tuple(law.name for law in evidence.members)
        reasons = tuple(share_sentence(names, column) for column in share.T)
        return Shares(names, share, factors(evidence), reasons)


def stacked(errors: Errors) -> Float[np.ndarray, "m t"]:
    """The shares of every member in every target, without the objective."""
    q = errors.mean_square()
    comparable = q / np.maximum(np.einsum("tmm->tm", q).mean(axis=1), 1e-12)[:, None, None]
    own = errors.count.sum(axis=0)[:-1, None, None]
    pooled = (comparable[:-1].mean(axis=0) + comparable[-1]) / 2
    found = best_shares((own * comparable[:-1] + POOLED_RUNS * pooled) / (own + POOLED_RUNS))
    found = np.where(found < _LEAST_SHARE, 0.0, found)
    return (found / found.sum(axis=1, keepdims=True)).T


def factors(evidence: Evidence) -> Float[np.ndarray, "m t"]:
    """The conformal factor of every member for every target."""
    losses, mixtures = evidence.runs.losses, int(mixture_labels(evidence.runs).max()) + 1
    errors = [(losses - guess.mean) / np.maximum(guess.std, 1e-12) for guess in evidence.guesses]
    return np.stack([conformal_factor(z, mixtures) for z in errors])


def share_sentence(names: tuple[str, ...], share: Float[np.ndarray, " m"]) -> str:
    """``a 60 %, b 40 %``, the largest first."""
    order = [m for m in np.argsort(-share, kind="stable") if share[m] > 0]
    return ", ".join(f"{names[m]} {100 * share[m]:.0f} %" for m in order)
