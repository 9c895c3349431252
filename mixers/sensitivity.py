"""How flat the optimum is: how far each weight can move while the objective stays within a margin of the best.

    low_j, high_j = min, max of p_j   over feasible p with F(p) <= F* + margin,   the other weights free to follow

For a convex law and few domains each end is a convex problem of its own and is solved. For many domains it is read off
the second-order expansion on the active constraints, p_j +- sqrt(2 margin [Z (Z'HZ)^-1 Z']_jj), clipped to the bounds.
For other laws it is the range among candidates that stay within the margin, which can only be too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space

from mixers.candidate_search import look_at
from mixers.errors import InvalidInput
from mixers.interior_point import interior_point
from mixers.laws.base import Form
from mixers.objectives import Objective
from mixers.programs import Goal, Program
from mixers.simplex import FeasibleSet

# Above this many domains two convex problems a domain cost more than the answer is worth.
_SOLVED_DOMAINS = 24
_DRAWS = 4_000
_ACTIVE = 1e-6


class Method(StrEnum):
    """How the ranges were found."""

    SOLVED = "solved"
    EXPANDED = "second-order expansion"
    CANDIDATES = "candidates"


@dataclass(frozen=True)
class Sensitivity:
    """The range of each weight, shapes (k,), within ``margin`` of the optimum in units of the objective."""

    margin: float
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    method: Method


def sensitivity(
    objective: Objective,
    feasible: FeasibleSet,
    p: Float[np.ndarray, " k"],
    margin: float,
    rng: np.random.Generator,
) -> Sensitivity:
    """The ranges around a solution ``p``."""
    if not (np.isfinite(margin) and margin > 0):
        raise InvalidInput(f"the margin of the sensitivity is {margin}; it must be a positive number")
    if objective.law.form == Form.CONVEX and len(p) <= _SOLVED_DOMAINS:
        return _solved(objective, feasible, p, margin)
    if objective.law.form == Form.CONVEX and objective.worst is None and objective.limits is None:
        return _expanded(objective, feasible, p, margin)
    return _among_candidates(objective, feasible, p, margin, rng)


def _solved(objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float) -> Sensitivity:
    level = float(objective.value(p)) + margin
    low, high = p.copy(), p.copy()
    for j in Program(objective, feasible).free:
        for sign, end in ((1.0, low), (-1.0, high)):
            direction = np.zeros(len(p))
            direction[j] = sign
            program = Program(objective, feasible, Goal(direction, level))
            there = feasible.project(program.weights(interior_point(program, program.start()).x))
            # Where the search failed the end that is known stays: an answer that breaks the margin is none.
            if float(objective.value(there)) <= level + 1e-3 * margin and sign * (there[j] - end[j]) < 0:
                end[j] = there[j]
    return Sensitivity(margin, low, high, Method.SOLVED)


def _expanded(objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float) -> Sensitivity:
    program = Program(objective, feasible)
    inside = (p > feasible.lower + _ACTIVE) & (p < feasible.upper - _ACTIVE)
    x = program.start(np.maximum(p, 1e-12))
    h = program.hessian(x, np.zeros(program.count))[: len(program.free), : len(program.free)]
    rows = [np.ones(len(p))]
    b, d, equal = feasible.inequalities()
    rows += [row for row, most, same in zip(b, d, equal, strict=True) if same or row @ p >= most - _ACTIVE]
    keep = inside[program.free]
    z = null_space(np.array(rows)[:, program.free[keep]])
    reach = np.zeros(len(p))
    if z.shape[1]:
        curvature = z.T @ h[np.ix_(keep, keep)] @ z
        flat = np.linalg.pinv(curvature + 1e-12 * np.trace(curvature) * np.eye(len(curvature)))
        reach[program.free[keep]] = np.sqrt(2 * margin * np.maximum(np.diag(z @ flat @ z.T), 0.0))
    low, high = np.maximum(p - reach, feasible.lower), np.minimum(p + reach, feasible.upper)
    return Sensitivity(margin, low, high, Method.EXPANDED)


def _among_candidates(
    objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float, rng: np.random.Generator
) -> Sensitivity:
    strength = np.exp(rng.uniform(np.log(2.0), np.log(5e3), size=_DRAWS))
    around = feasible.sample(_DRAWS, strength[:, None] * np.maximum(p, 1e-3), rng)
    looked = look_at(objective, np.vstack([p, around]))
    good = (looked.value <= looked.value[0] + margin) & (looked.missed <= 0)
    good[0] = True
    return Sensitivity(margin, looked.p[good].min(axis=0), looked.p[good].max(axis=0), Method.CANDIDATES)
