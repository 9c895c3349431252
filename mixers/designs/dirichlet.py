"""The swarm of RegMix (arXiv 2407.01492, section 3.1): Dirichlet draws around the tempered prior.

The concentration of each draw is one of 15 strengths, log-spaced from 0.1 (nearly one-hot) to 5 (near the prior), so
that a swarm holds both corners and centre. The prior is tempered by tau = 0.5, which lifts small domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixers.designs.base import Design, Proposal
from mixers.priors import temperature
from mixers.simplex import FeasibleSet
from mixers.types import Observations, Scale

# Weights below this are set to 0, as in RegMix's generator: a trace of a domain costs a shard and teaches nothing.
MINIMUM_WEIGHT = 2e-4
# Mixtures closer than this in L1 count as the same.
DUPLICATE_DISTANCE = 1e-3


@dataclass(frozen=True)
class Dirichlet(Design):
    """Dirichlet draws around the tempered prior, of many strengths."""

    name: ClassVar[str] = "dirichlet"
    summary: ClassVar[str] = "Dirichlet draws around the tempered prior, from nearly one-hot to near the prior"
    tau: float = 0.5
    min_strength: float = 0.1
    max_strength: float = 5.0
    strengths: int = 15

    def suggest(
        self,
        count: int,
        feasible: FeasibleSet,
        runs: Observations | None,
        budget: float | None,
        rng: np.random.Generator,
    ) -> list[Proposal]:
        del budget  # the number of runs is the budget of a design that does not look at costs
        prior = temperature(feasible.domains, self.tau)
        grid = np.geomspace(self.min_strength, self.max_strength, self.strengths)
        known = 0 if runs is None else len(runs)
        kept = np.empty((known + count, len(prior)))  # what was measured, then what is proposed
        if runs is not None:
            kept[:known] = runs.p
        proposals: list[Proposal] = []
        # Duplicates are rare unless the bounds leave almost no room; then the rounds end and repeats are allowed.
        for allow_repeats in (False,) * 20 + (True,):
            missing = count - len(proposals)
            if missing == 0:
                break
            strength = rng.choice(grid, size=missing)
            for p, s in zip(feasible.sample(missing, strength[:, None] * prior, rng), strength, strict=True):
                p = _without_traces(p, feasible)
                at = known + len(proposals)
                if not allow_repeats and (np.abs(kept[:at] - p).sum(axis=1) < DUPLICATE_DISTANCE).any():
                    continue
                kept[at] = p
                why = f"Dirichlet draw of strength {s:.2g} x prior^{self.tau:g}"
                proposals.append(Proposal(p, Scale.unknown(), 0, why))
        return proposals


def _without_traces(p: np.ndarray, feasible: FeasibleSet) -> np.ndarray:
    cut = np.where(p < MINIMUM_WEIGHT, 0.0, p)
    cut = cut / cut.sum()
    return cut if feasible.contains(cut) else p
