"""Stacking: the non-negative combination of all laws with the least error out of fold (Breiman 1996; Wolpert 1992).

For each target the shares minimise w' (Q_i + mean_i Q_i) / 2 w over the simplex, with Q of residuals.py: half of the
evidence is the target's own, half that of all targets, because with few runs a target's own errors are too noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.base import MixingLaw
from mixers.laws.calibrated import conformal_factor
from mixers.laws.combination import Combination, Evidence, Shares
from mixers.laws.residuals import Errors, best_shares, errors_of

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
    """The shares of every member in every target."""
    q = errors.mean_square()
    # Targets are made comparable by the error of their own best member.
    relative = q / np.maximum(np.einsum("tmm->tm", q).min(axis=1), 1e-12)[:, None, None]
    found = best_shares((relative + relative.mean(axis=0)) / 2)
    found = np.where(found < _LEAST_SHARE, 0.0, found)
    return (found / found.sum(axis=1, keepdims=True)).T


def factors(evidence: Evidence) -> Float[np.ndarray, "m t"]:
    """The conformal factor of every member for every target."""
    losses = evidence.runs.losses
    return np.stack([conformal_factor((losses - g.mean) / np.maximum(g.std, 1e-12)) for g in evidence.guesses])


def share_sentence(names: tuple[str, ...], share: Float[np.ndarray, " m"]) -> str:
    """``a 60 %, b 40 %``, the largest first."""
    order = [m for m in np.argsort(-share, kind="stable") if share[m] > 0]
    return ", ".join(f"{names[m]} {100 * share[m]:.0f} %" for m in order)
