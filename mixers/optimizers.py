"""The best weights under an objective and a feasible set.

Convex and smooth: proximal mirror descent. With the entropy as its distance a step has the closed form

    p+ = KL-projection of  ( prior^(lambda s) p exp(-s grad f) )^(1 / (1 + lambda s))

where f is the law's part and the KL term is kept exact (Nemirovski; Bauschke, Bolte & Teboulle 2017 for the relative
smoothness that makes the step size independent of the boundary). It ends when the duality gap

    gap(p) = F(p) - min over feasible q of [ f(p) + grad f(p) . (q - p) + lambda KL(q || prior) ]   >=   F(p) - min F

is small: a certificate, not a guess. The inner minimum is a KL-projection too, or a vertex when lambda is 0. What
mirror descent leaves, SLSQP polishes. Smooth but not convex: the same from many starts. Trees: candidates, drawn again
and again around the best (RegMix; Olmix's simulation proposer).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import LinearConstraint, minimize

from mixers.laws.base import Form
from mixers.objectives import PRIOR_FLOOR, Objective
from mixers.simplex import FeasibleSet
from mixers.types import Solution, SolveStatus

# Relative to the scale of the objective: what counts as solved.
GAP = 1e-7
_STARTS = 12
# Candidates: rounds of draws around the best so far, and how many of the best are averaged (RegMix: 128 of 100,000).
_CANDIDATES, _ROUNDS, _AVERAGED = 5_000, 4, 32
# Weights below this do not reach a trainer; they are set to 0 where the bounds allow it.
_TRACE = 1e-7


def minimize_objective(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> Solution:
    """The feasible weights with the least objective, by the method that the law allows."""
    if objective.law.form == Form.STEPS:
        return _by_candidates(objective, feasible, rng)
    start = feasible.kl_project(np.maximum(objective.prior, 1 / (100 * len(objective.prior))))
    if objective.law.form == Form.CONVEX:
        return _solution(_descend(objective, feasible, start), objective, feasible, certified=True)
    starts = [start, *feasible.sample(_STARTS - 1, np.ones(len(start)), rng)]
    ends = [_descend(objective, feasible, p) for p in starts]
    best = min(ends, key=lambda p: float(objective.value(p)))
    return _solution(best, objective, feasible, certified=False)


def duality_gap(objective: Objective, feasible: FeasibleSet, p: Float[np.ndarray, " k"]) -> float:
    """For a convex objective an upper bound on how far F(p) is above its minimum: the module's gap(p)."""
    _, gradient = objective.law_value_and_gradient(p)
    if objective.kl == 0:
        return float(gradient @ (p - feasible.best_vertex(gradient)))
    tilt = -(gradient - gradient.min()) / objective.kl
    q = feasible.kl_project(np.maximum(objective.prior, PRIOR_FLOOR) * np.exp(tilt))
    return float(gradient @ (p - q) + objective.pull(p) - objective.pull(q))


def _log_ratio(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, PRIOR_FLOOR) / np.maximum(prior, PRIOR_FLOOR))


@dataclass
class _Descent:
    """Where the mirror descent stands."""

    p: np.ndarray
    value: float
    gradient: np.ndarray
    step: float = 1.0


def _descend(objective: Objective, feasible: FeasibleSet, start: np.ndarray, steps: int = 600) -> np.ndarray:
    value, gradient = objective.law_value_and_gradient(start)
    at = _Descent(start, value, gradient)
    wanted = GAP * _unit(objective, start)
    for i in range(steps):
        if not _mirror_step(objective, feasible, at):
            break
        if i % 5 == 4 and duality_gap(objective, feasible, at.p) <= wanted:
            return at.p
    return _polish(objective, feasible, at.p)


def _mirror_step(objective: Objective, feasible: FeasibleSet, at: _Descent) -> bool:
    """One backtracked step; False when no step improves any more."""
    log_p = np.log(np.maximum(at.p, PRIOR_FLOOR))
    log_prior = np.log(np.maximum(objective.prior, PRIOR_FLOOR))
    for _ in range(40):
        shrink = 1 / (1 + objective.kl * at.step)
        mirrored = (log_p + objective.kl * at.step * log_prior - at.step * at.gradient) * shrink
        p = feasible.kl_project(np.exp(mirrored - mirrored.max()))
        value, gradient = objective.law_value_and_gradient(p)
        moved = p - at.p
        distance = float((p * (np.log(np.maximum(p, PRIOR_FLOOR)) - log_p) - moved).sum())
        # Sufficient decrease of the law's part under its model; the KL part is exact.
        if value <= at.value + float(at.gradient @ moved) + distance / at.step + 1e-15 * abs(at.value):
            progress = float(np.abs(moved).max())
            at.p, at.value, at.gradient = p, value, gradient
            at.step = min(at.step * 1.5, 1e8)
            return progress > 1e-15
        at.step /= 2
    return False


def _polish(objective: Objective, feasible: FeasibleSet, p: np.ndarray) -> np.ndarray:
    """SLSQP from where mirror descent stands; kept only when it is better."""

    def value_and_gradient(q: np.ndarray) -> tuple[float, np.ndarray]:
        q = np.maximum(q, 0.0)
        value, gradient = objective.law_value_and_gradient(q)
        slope = gradient + objective.kl * (_log_ratio(q, objective.prior) + 1)
        return value + float(objective.pull(q)), slope

    bounds = list(zip(np.maximum(feasible.lower, 0.0), feasible.upper, strict=True))
    total = LinearConstraint(np.ones((1, len(p))), 1.0, 1.0)
    result = minimize(
        value_and_gradient,
        p,
        jac=True,
        bounds=bounds,
        constraints=[total],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-15},
    )
    q = feasible.project(np.nan_to_num(result.x))
    return q if float(objective.value(q)) < float(objective.value(p)) else p


def _unit(objective: Objective, p: np.ndarray) -> float:
    return max(1.0, abs(float(objective.predicted(p))))


def _without_traces(p: np.ndarray, feasible: FeasibleSet) -> np.ndarray:
    cut = np.where((p < _TRACE) & (feasible.lower <= 0), 0.0, p)
    moved = cut / cut.sum()
    return moved if feasible.contains(moved, 1e-12) else p


def _solution(p: np.ndarray, objective: Objective, feasible: FeasibleSet, certified: bool) -> Solution:
    p = _without_traces(p, feasible)
    value = float(objective.value(p))
    if not certified:
        message = f"the best of {_STARTS} descents; the objective is not convex, so a better mixture may exist"
        return Solution(p, value, SolveStatus.CONVERGED, float("nan"), message)
    gap = max(duality_gap(objective, feasible, p), 0.0)
    if gap <= 1e-6 * _unit(objective, p):
        message = f"the optimum of the law: no feasible mixture is better by more than {gap:.1e}"
        return Solution(p, value, SolveStatus.OPTIMAL, gap, message)
    message = f"the search ended early: a feasible mixture may be better by up to {gap:.1e}"
    return Solution(p, value, SolveStatus.BEST_FOUND, gap, message)


def _by_candidates(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator) -> Solution:
    """Draw around a centre, average the best, move the centre there; concentrations from wide to narrow."""
    k = len(objective.prior)
    centre = np.maximum(objective.prior, 0.1 / k)
    best_p, best = None, np.inf
    for round_ in range(_ROUNDS):
        strength = rng.uniform(np.log(1), np.log(10 * 4**round_), size=_CANDIDATES)
        alpha = np.exp(strength)[:, None] * (centre / centre.sum()) * k / 2
        candidates = feasible.sample(_CANDIDATES, alpha, rng)
        value = objective.value(candidates)
        order = np.argsort(value, kind="stable")[:_AVERAGED]
        # Trees are flat in steps: the mean of the best lies inside the good region, a single draw on its edge.
        mean = candidates[order].mean(axis=0)
        for p in (mean, candidates[order[0]]):
            here = float(objective.value(p[None])[0])
            if here < best:
                best_p, best = p, here
        centre = np.maximum((mean + centre / centre.sum()) / 2, 1e-4 / k)
    assert best_p is not None  # the value of a candidate is finite, and the first round always sets it
    message = f"the best of {_CANDIDATES * _ROUNDS:,} candidate mixtures; the law has no gradient"
    return Solution(best_p, best, SolveStatus.BEST_FOUND, float("nan"), message)
