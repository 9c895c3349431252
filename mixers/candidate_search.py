"""Search over candidate mixtures, for laws without a gradient (RegMix; Olmix's simulation proposer).

Candidates are drawn around a centre, the best are averaged, the centre moves there; concentrations go from wide to
narrow. Every candidate lies inside of the feasible set. One that misses a limit on targets loses to any that does not,
and among those that miss, the one that misses least wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.objectives import Objective
from mixers.simplex import FeasibleSet

# Rounds of draws around the best so far, and how many of the best are averaged (RegMix: 128 of 100,000).
CANDIDATES, ROUNDS, AVERAGED = 5_000, 4, 32
# What a limit on targets may be missed by.
LIMIT_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Candidates:
    """Mixtures (m, k) that were looked at, their predicted targets (m, t), objective (m,), and what they miss (m,)."""

    p: Float[np.ndarray, "m k"]
    targets: Float[np.ndarray, "m t"]
    value: Float[np.ndarray, " m"]
    missed: Float[np.ndarray, " m"]

    def order(self) -> np.ndarray:
        """Indices from the best to the worst."""
        return np.lexsort((self.value, np.maximum(self.missed, 0.0)))


def look_at(objective: Objective, p: Float[np.ndarray, "m k"]) -> Candidates:
    """The mixtures ``p`` under the objective, with one prediction each."""
    y = objective.law.predict(p, objective.scale).mean
    missed = np.zeros(len(p))
    if objective.limits is not None:
        missed = (y @ objective.limits.matrix.T - objective.limits.at_most).max(axis=1)
        missed = np.where(missed <= LIMIT_TOLERANCE, 0.0, missed)
    return Candidates(p, y, objective.aggregate(y) + objective.extra(p), missed)


def search(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> tuple[np.ndarray, Candidates]:
    """The best mixture (k,), and all candidates."""
    k = len(objective.prior)
    centre = np.maximum(objective.prior, 0.1 / k)
    known = objective.limits.witness if objective.limits is not None else None
    pools: list[Candidates] = []
    if known is not None and feasible.contains(known):
        pools.append(look_at(objective, known[None]))
    for round_ in range(ROUNDS):
        strength = rng.uniform(np.log(1), np.log(10 * 4**round_), size=CANDIDATES)
        alpha = np.exp(strength)[:, None] * (centre / centre.sum()) * k / 2
        drawn = look_at(objective, feasible.sample(CANDIDATES, alpha, rng))
        # Trees are flat in steps: the mean of the best lies inside the good region, a single draw on its edge.
        mean = drawn.p[drawn.order()[:AVERAGED]].mean(axis=0)
        pools += [drawn, look_at(objective, mean[None])]
        centre = np.maximum((mean + centre / centre.sum()) / 2, 1e-4 / k)
    parts = [[getattr(pool, name) for pool in pools] for name in ("p", "targets", "value", "missed")]
    everything = Candidates(*(np.concatenate(part) for part in parts))
    return everything.p[everything.order()[0]], everything
