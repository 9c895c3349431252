"""How flat the optimum is: how far each weight can move while the objective stays within a margin of the best.

    low_j, high_j = min, max of p_j   over feasible p with F(p) <= F* + margin

For a convex law and few domains the other weights follow as is best: the mixtures on the edge of the margin are those
that minimise F(p) + theta p_j (or - theta p_j), and theta is searched until F* + margin is nearly reached. Otherwise
the other weights keep their proportions as far as the constraints allow, which is cheap and can only make the range
too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from mixers.candidate_search import look_at
from mixers.errors import InvalidInput
from mixers.interior_point import interior_point
from mixers.laws.base import Form
from mixers.objectives import Objective
from mixers.programs import Program
from mixers.simplex import FeasibleSet

# Above this many domains a search a domain costs more than the answer is worth.
_SOLVED_DOMAINS = 20
# The search for theta: a first guess of the reach, how much of the margin is aimed at and is enough, and its trials.
_FIRST_REACH, _AIM, _ENOUGH, _TRIALS = 0.1, 0.985, 0.97, 10
# Weights that are tried on each side of the optimum when the others keep their proportions.
_TRIED = 24
_ACTIVE = 1e-6


class Method(StrEnum):
    """How the ranges were found."""

    SOLVED = "the other weights re-optimised"
    IN_PROPORTION = "the other weights in proportion"


@dataclass(frozen=True)
class Sensitivity:
    """The range of each weight, shapes (k,), within ``margin`` of the optimum in units of the objective."""

    margin: float
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    method: Method


def sensitivity(objective: Objective, feasible: FeasibleSet, p: Float[np.ndarray, " k"], margin: float) -> Sensitivity:
    """The ranges around a solution ``p``."""
    if not (np.isfinite(margin) and margin > 0):
        raise InvalidInput(f"the margin of the sensitivity is {margin}; it must be a positive number")
    if objective.law.form == Form.CONVEX and len(p) <= _SOLVED_DOMAINS:
        return _solved(objective, feasible, p, margin)
    return _in_proportion(objective, feasible, p, margin)


def _solved(objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float) -> Sensitivity:
    low, high = p.copy(), p.copy()
    for j in Program(objective, feasible).free:
        low[j] = min(low[j], _end(objective, feasible, p, margin, int(j), 1.0))
        high[j] = max(high[j], _end(objective, feasible, p, margin, int(j), -1.0))
    return Sensitivity(margin, low, high, Method.SOLVED)


def _end(objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float, j: int, sign: float) -> float:
    """The furthest weight of domain ``j`` within the margin, downwards for a sign of 1."""
    level = float(objective.value(p))
    inner, outer = (float(p[j]), 0.0, 0.0), None  # (weight, loss, theta) on both sides of the margin
    theta = 2 * margin / _FIRST_REACH
    for _ in range(_TRIALS):
        tilt = np.zeros(len(p))
        tilt[j] = sign * theta
        program = Program(objective, feasible, tilt)
        there = feasible.project(program.weights(interior_point(program, program.start(), 1e-8).x))
        found = (float(there[j]), float(objective.value(there)) - level, theta)
        if found[1] > margin:
            outer = found
        else:
            inner = found
            at_end = there[j] <= feasible.lower[j] + _ACTIVE if sign > 0 else there[j] >= feasible.upper[j] - _ACTIVE
            if at_end or found[1] >= _ENOUGH * margin:
                return inner[0]
        theta = _next_theta(inner, outer, margin)
    if outer is None:
        return inner[0]
    # F is convex: between the two mixtures it is at most linear, so this one is within the margin too.
    share = (margin - inner[1]) / (outer[1] - inner[1])
    return inner[0] + share * (outer[0] - inner[0])


def _next_theta(inner: tuple[float, float, float], outer: tuple[float, float, float] | None, margin: float) -> float:
    """The theta at which the margin is reached if the loss is a power of theta between what is known."""
    least = 1e-6 * margin
    if outer is None:  # to second order the loss grows with the square of theta
        return inner[2] * min(float(np.sqrt(_AIM * margin / max(inner[1], least))), 10.0)
    if inner[2] == 0:
        return outer[2] * max(float(np.sqrt(_AIM * margin / outer[1])), 0.1)
    low, high = np.log(max(inner[1], least)), np.log(outer[1])
    share = float(np.clip((np.log(_AIM * margin) - low) / max(high - low, 1e-12), 0.1, 0.9))
    return float(inner[2] * (outer[2] / inner[2]) ** share)


def _in_proportion(objective: Objective, feasible: FeasibleSet, p: np.ndarray, margin: float) -> Sensitivity:
    k = len(p)
    share = np.linspace(0.0, 1.0, _TRIED + 1)[1:] ** 2  # denser next to the optimum
    tried = np.concatenate(
        [p[:, None] + share * (feasible.upper - p)[:, None], p[:, None] + share * (feasible.lower - p)[:, None]], axis=1
    )
    rest = (1 - tried) / np.maximum(1 - p[:, None], 1e-12)
    rows = rest[:, :, None] * p
    rows[np.arange(k), :, np.arange(k)] = tried
    moved = feasible.kl_project(np.maximum(rows, 1e-12).reshape(-1, k))
    looked = look_at(objective, np.vstack([p, moved]))
    good = (looked.value <= looked.value[0] + margin) & (looked.missed <= 0)
    good[0] = True
    return Sensitivity(margin, looked.p[good].min(axis=0), looked.p[good].max(axis=0), Method.IN_PROPORTION)
