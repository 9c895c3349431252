"""The worst mixture that the constraints allow: train it too, and a law that is wrong about it is falsified cheaply.

The predicted objective, without pull and cost, is maximised. From the worst of many draws a law with a gradient climbs
along  p <- p + s (v - p)  with v the vertex that the gradient points to (Frank & Wolfe 1956); for a convex law that
ends at a vertex. It is a local maximum: the law's worst mixture may be worse still.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mixers.laws.base import Form
from mixers.objectives import Objective
from mixers.simplex import FeasibleSet

_DRAWS, _CLIMBS, _STEPS = 4_000, 6, 60


def worst_mixture(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> Float[np.ndarray, " k"]:
    """The feasible weights with the largest predicted objective that was found."""
    k = len(objective.prior)
    strength = np.exp(rng.uniform(np.log(0.05), np.log(2.0), size=_DRAWS))
    drawn = feasible.sample(_DRAWS, np.repeat(strength[:, None], k, axis=1), rng)
    value = objective.predicted(drawn)
    order = np.argsort(-value, kind="stable")
    if objective.law.form == Form.STEPS:
        return drawn[order[0]]
    ends = [_climb(objective, feasible, drawn[i]) for i in order[:_CLIMBS]]
    return max(ends, key=lambda p: float(objective.predicted(p)))


def _climb(objective: Objective, feasible: FeasibleSet, p: np.ndarray) -> np.ndarray:
    value, gradient = objective.law_value_and_gradient(p)
    for _ in range(_STEPS):
        towards = feasible.best_vertex(-gradient) - p
        step = 1.0
        while step > 1e-6:
            there = p + step * towards
            new, slope = objective.law_value_and_gradient(there)
            if new > value + 1e-12 * abs(value):
                break
            step /= 2
        else:
            return p
        p, value, gradient = there, new, slope
    return p
