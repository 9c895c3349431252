"""The best weights under an objective and a feasible set, by the method that the form of the law allows.

    convex   an interior-point method, certified by a duality gap           interior_point.py, certificates.py
    smooth   mirror descent and SLSQP from many starts                      descent.py
    steps    candidates, drawn again and again around the best              candidate_search.py

Limits on targets that no mixture satisfies are an error that says by how much the best mixture misses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mixers.candidate_search import CANDIDATES, LIMIT_TOLERANCE, ROUNDS, Candidates, search
from mixers.certificates import duality_gap
from mixers.descent import descend, polish, rank
from mixers.errors import Infeasible
from mixers.interior_point import interior_point
from mixers.laws.base import Form
from mixers.objectives import Objective, WorstExcess
from mixers.programs import Program
from mixers.simplex import FeasibleSet
from mixers.types import Solution, SolveStatus

# Of the scale of the objective: a duality gap below it counts as solved.
GAP = 1e-6
_STARTS = 12
# Weights below this do not reach a trainer; they are set to 0 where the constraints allow it.
_TRACE = 1e-7


@dataclass(frozen=True)
class Solved:
    """A solution with what the search learned on the way.

    Args:
        worst: multipliers of the rows of the worst excess; limits: of the limits on targets. Empty without them, and
            for laws that are not convex.
        candidates: what was looked at, where the law has no gradient.
    """

    solution: Solution
    worst: Float[np.ndarray, " r"]
    limits: Float[np.ndarray, " e"]
    candidates: Candidates | None = None


def minimize_objective(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> Solution:
    """The feasible weights with the least objective.

    Raises:
        Infeasible: no mixture satisfies the limits on targets, saying what the best one misses.
    """
    return solve(objective, feasible, rng).solution


def solve(
    objective: Objective,
    feasible: FeasibleSet,
    rng: np.random.Generator,
    starts: Sequence[Float[np.ndarray, " k"]] | None = None,
) -> Solved:
    """:func:`minimize_objective`, with what else was learned.

    Args:
        starts: feasible mixtures that a smooth law is descended from, instead of the prior and random ones; laws of
            other forms have no use for them.
    """
    if objective.law.form == Form.STEPS:
        return _by_candidates(objective, feasible, rng)
    if objective.law.form == Form.CONVEX:
        _check_limits(objective, feasible)
        return _convex(objective, feasible)
    return _by_descents(objective, feasible, _starts(objective, feasible, rng) if starts is None else starts)


def _convex(objective: Objective, feasible: FeasibleSet) -> Solved:
    program = Program(objective, feasible)
    if len(program.free) == 0:
        p, worst, limits = feasible.project(program.weights(program.start())), np.zeros(0), np.zeros(0)
        return Solved(_only(p, objective), worst, limits)
    end = interior_point(program, program.start())
    worst, limits = end.z[: program.worst_rows], program.limit_multipliers(end.z)
    p = feasible.project(program.weights(end.x))
    gap = duality_gap(objective, feasible, p, worst, limits)
    if not gap <= GAP * _unit(objective, p):  # a second opinion; its gap decides
        other = polish(objective, feasible, program, p)
        p = min((p, other), key=lambda q: duality_gap(objective, feasible, q, worst, limits))
    p = _without_traces(p, objective, feasible)
    gap = max(duality_gap(objective, feasible, p, worst, limits), 0.0)
    return Solved(_certified(p, objective, gap), worst, limits)


def _certified(p: np.ndarray, objective: Objective, gap: float) -> Solution:
    value = float(objective.value(p))
    if gap <= GAP * _unit(objective, p):
        message = f"the optimum of the law: no feasible mixture is better by more than {gap:.1e}"
        return Solution(p, value, SolveStatus.OPTIMAL, gap, message)
    message = f"the search ended early: a feasible mixture may be better by up to {gap:.1e}"
    return Solution(p, value, SolveStatus.BEST_FOUND, gap, message)


def _only(p: np.ndarray, objective: Objective) -> Solution:
    return Solution(p, float(objective.value(p)), SolveStatus.OPTIMAL, 0.0, "the only mixture that is allowed")


def _starts(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> list[np.ndarray]:
    """The prior and random mixtures, and the one that is known to satisfy the limits."""
    start = feasible.kl_project(np.maximum(objective.prior, 1 / (100 * len(objective.prior))))
    starts = [start, *feasible.sample(_STARTS - 1, np.ones(len(start)), rng)]
    known = objective.limits.witness if objective.limits is not None else None
    if known is not None and feasible.contains(known):
        starts.append(known)
    return starts


def _by_descents(objective: Objective, feasible: FeasibleSet, starts: Sequence[np.ndarray]) -> Solved:
    program = Program(objective, feasible)
    ends = [descend(objective, feasible, program, p) for p in starts]
    best = min(ends, key=lambda p: rank(objective, p))
    if objective.limits is not None and rank(objective, best)[0] > 0:
        raise Infeasible(missed_limits(objective, best, f"the best mixture of {len(starts)} descents"))
    p = _without_traces(best, objective, feasible)
    message = f"the best of {len(starts)} descents; the objective is not convex, so a better mixture may exist"
    solution = Solution(p, float(objective.value(p)), SolveStatus.CONVERGED, float("nan"), message)
    return Solved(solution, np.zeros(0), np.zeros(0))


def _by_candidates(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> Solved:
    best, candidates = search(objective, feasible, rng)
    if objective.limits is not None and float(objective.excess(best)) > LIMIT_TOLERANCE:
        raise Infeasible(missed_limits(objective, best, f"the best of {len(candidates.p):,} candidate mixtures"))
    message = f"the best of {CANDIDATES * ROUNDS:,} candidate mixtures; the law has no gradient"
    solution = Solution(best, float(objective.value(best)), SolveStatus.BEST_FOUND, float("nan"), message)
    return Solved(solution, np.zeros(0), np.zeros(0), candidates)


def _check_limits(objective: Objective, feasible: FeasibleSet) -> None:
    """Refuse limits that no mixture satisfies: the least possible largest miss is a convex problem itself."""
    limits = objective.limits
    if limits is None or (
        limits.witness is not None
        and feasible.contains(limits.witness)
        and float(objective.excess(limits.witness)) <= LIMIT_TOLERANCE
    ):
        return
    worst = WorstExcess(limits.matrix, limits.at_most)
    least = replace(objective, worst=worst, limits=None, kl=0.0, repetition=None)
    best = _convex(least, feasible).solution
    if best.value - best.residual > LIMIT_TOLERANCE:  # no mixture can miss less than that
        raise Infeasible(missed_limits(objective, best.weights, "the best mixture"))


def missed_limits(objective: Objective, p: Float[np.ndarray, " k"], who: str) -> str:
    """A sentence on the limits that ``p`` misses, the worst first."""
    limits = objective.limits
    assert limits is not None  # there is nothing to miss otherwise
    excess = limits.matrix @ objective.law.predict(p, objective.scale).mean - limits.at_most
    order = [int(e) for e in np.argsort(-excess) if excess[e] > LIMIT_TOLERANCE][:8]
    missed = ", ".join(f"{limits.names[e]} by {excess[e]:.3g} (at most {limits.at_most[e]:.6g})" for e in order)
    return f"no mixture satisfies all limits on targets within the constraints: {who} misses {missed}"


def _unit(objective: Objective, p: np.ndarray) -> float:
    return max(1.0, abs(float(objective.predicted(p))))


def _without_traces(p: np.ndarray, objective: Objective, feasible: FeasibleSet) -> np.ndarray:
    cut = np.where((p < _TRACE) & (feasible.lower <= 0), 0.0, p)
    moved = cut / cut.sum()
    good = feasible.contains(moved, 1e-10) and rank(objective, moved)[0] <= rank(objective, p)[0]
    return moved if good else p
