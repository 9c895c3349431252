"""How far a mixture can be from the optimum of a convex problem: a duality gap that no solver has to be trusted for.

For multipliers pi >= 0 of the rows of a worst excess (sum pi = 1) and mu >= 0 of the limits on targets,

    L(q) = (own weights + pi' M + mu' E) . y(q) - pi . o - mu . b + lambda KL(q || prior) + cost(q)   <=   F(q)

wherever the limits hold. L is convex, so over the feasible set it lies above its linearisation at p with the KL part
kept exact, whose minimum is a KL projection, or a vertex when lambda is 0:

    gap(p) = F(p) - L(p) - min over q of [ grad . (q - p) + lambda KL(q || prior) - lambda KL(p || prior) ]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mixers.objectives import PRIOR_FLOOR, Objective
from mixers.simplex import FeasibleSet


def duality_gap(
    objective: Objective,
    feasible: FeasibleSet,
    p: Float[np.ndarray, " k"],
    worst: Float[np.ndarray, " r"] | None = None,
    limits: Float[np.ndarray, " e"] | None = None,
) -> float:
    """For a convex objective an upper bound on how far F(p) is above its minimum.

    Args:
        worst, limits: multipliers pi and mu of 0 or more; left out, the row that is worst at p, and zeros.
    """
    y, by_p = objective.law.value_and_gradient(p, objective.scale)
    of_targets = objective.gradient_rows(y)
    below = float(objective.aggregate(y))
    lagrangian = below
    if objective.worst is not None and worst is not None:
        share = np.maximum(worst, 0.0) / max(float(np.maximum(worst, 0.0).sum()), 1e-300)
        of_targets = share @ objective.worst.matrix + objective.worst.tie_break * objective.weights
        lagrangian = float(of_targets @ y - share @ objective.worst.offset)
    if objective.limits is not None and limits is not None:
        push = np.maximum(limits, 0.0)
        of_targets = of_targets + push @ objective.limits.matrix
        lagrangian += float(push @ (objective.limits.matrix @ y - objective.limits.at_most))
    gradient = by_p.T @ of_targets
    if objective.repetition is not None:
        gradient = gradient + objective.repetition.gradient(p)
    return below - lagrangian + _room(objective, feasible, p, gradient)


def _room(objective: Objective, feasible: FeasibleSet, p: np.ndarray, gradient: np.ndarray) -> float:
    """How much the linearised problem improves on p."""
    if objective.kl == 0:
        return float(gradient @ (p - feasible.best_vertex(gradient)))
    tilt = -(gradient - gradient.min()) / objective.kl
    q = feasible.kl_project(np.maximum(objective.prior, PRIOR_FLOOR) * np.exp(tilt))
    return float(gradient @ (p - q) + objective.pull(p) - objective.pull(q))
