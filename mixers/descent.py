"""A local optimum of a smooth objective that need not be convex.

Under bounds on single domains: proximal mirror descent. With the entropy as its distance a step has the closed form

    p+ = KL-projection of  ( prior^(lambda s) p exp(-s grad f) )^(1 / (1 + lambda s))

where f is the law's part and the cost, and the KL term is kept exact (Nemirovski; Bauschke, Bolte & Teboulle 2017 for
the relative smoothness that makes the step size independent of the boundary). What mirror descent leaves, and
everything under groups, changes, limits or a worst excess, is left to SLSQP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from mixers.candidate_search import LIMIT_TOLERANCE
from mixers.objectives import PRIOR_FLOOR, Objective
from mixers.programs import At, Program
from mixers.simplex import FeasibleSet


def descend(
    objective: Objective, feasible: FeasibleSet, program: Program, start: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """A feasible mixture that no small step improves, reached from ``start``."""
    if feasible.plain and objective.worst is None and objective.limits is None:
        start = _mirror_descent(objective, feasible, start)
    return polish(objective, feasible, program, start)


@dataclass
class _Descent:
    """Where the mirror descent stands."""

    p: np.ndarray
    value: float
    gradient: np.ndarray
    step: float = 1.0


def _mirror_descent(objective: Objective, feasible: FeasibleSet, start: np.ndarray, steps: int = 300) -> np.ndarray:
    at = _Descent(start, *_smooth(objective, start))
    for _ in range(steps):
        if not _mirror_step(objective, feasible, at):
            break
    return at.p


def _smooth(objective: Objective, p: np.ndarray) -> tuple[float, np.ndarray]:
    value, gradient = objective.law_value_and_gradient(p)
    if objective.repetition is None:
        return value, gradient
    return value + float(objective.repetition.cost(p)), gradient + objective.repetition.gradient(p)


def _mirror_step(objective: Objective, feasible: FeasibleSet, at: _Descent) -> bool:
    """One backtracked step; False when no step improves any more."""
    log_p = np.log(np.maximum(at.p, PRIOR_FLOOR))
    log_prior = np.log(np.maximum(objective.prior, PRIOR_FLOOR))
    for _ in range(40):
        shrink = 1 / (1 + objective.kl * at.step)
        mirrored = (log_p + objective.kl * at.step * log_prior - at.step * at.gradient) * shrink
        p = feasible.kl_project(np.exp(mirrored - mirrored.max()))
        value, gradient = _smooth(objective, p)
        moved = p - at.p
        distance = float((p * (np.log(np.maximum(p, PRIOR_FLOOR)) - log_p) - moved).sum())
        # Sufficient decrease of the law's part under its model; the KL part is exact.
        if value <= at.value + float(at.gradient @ moved) + distance / at.step + 1e-15 * abs(at.value):
            progress = float(np.abs(moved).max())
            at.p, at.value, at.gradient = p, value, gradient
            at.step = min(at.step * 1.5, 1e8)
            return progress > 1e-9
        at.step /= 2
    return False


def polish(
    objective: Objective, feasible: FeasibleSet, program: Program, p: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """SLSQP from ``p``; its end is kept only when it is better."""
    if len(program.free) == 0:
        return p
    # The slope of KL has no end at a weight of 0.
    inside = np.where(program.lower == 0, PRIOR_FLOOR, program.lower)
    seen: dict[bytes, At] = {}

    def at(x: np.ndarray) -> At:
        """SLSQP asks for value, limits and Jacobian one by one at the same x; the law is asked once."""
        key = x.tobytes()
        if key not in seen:
            seen.clear()
            seen[key] = program.at(np.maximum(x, inside))
        return seen[key]

    constraints = [{"type": "eq", "fun": lambda x: program.equal @ x - program.to, "jac": lambda _: program.equal}]
    if program.count:
        constraints.append({"type": "ineq", "fun": lambda x: -at(x).limits, "jac": lambda x: -at(x).jacobian})
    if len(program.most):
        constraints.append(
            {"type": "ineq", "fun": lambda x: program.most - program.rows @ x, "jac": lambda _: -program.rows}
        )
    result = minimize(
        lambda x: (at(x).value, at(x).gradient),
        program.start(p),
        jac=True,
        bounds=list(zip(program.lower, program.upper, strict=True)),
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-14},
    )
    q = feasible.project(program.weights(np.nan_to_num(result.x)))
    return q if rank(objective, q) < rank(objective, p) else p


def rank(objective: Objective, p: Float[np.ndarray, " k"]) -> tuple[float, float]:
    """What a mixture misses of the limits on targets, then its objective: less is better."""
    missed = float(objective.excess(p))
    return (0.0 if missed <= 10 * LIMIT_TOLERANCE else missed), float(objective.value(p))
