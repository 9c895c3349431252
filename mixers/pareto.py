"""The Pareto front over target families: mixtures of which none is predicted better in one family and worse in none.

Each point minimises the augmented weighted Chebyshev distance to the ideal (Steuer & Choo 1983)

    max_f lean_f (v_f(p) - ideal_f) / range_f  +  rho sum_f (v_f(p) - ideal_f) / range_f

over a lattice of leans. Unlike a sweep of weighted means it reaches points in the concave parts of a front too, and rho
keeps out mixtures that only tie. Values are predicted ones: no pull to a prior, no price of repetition; the limits on
targets and all constraints hold. For laws without a gradient the points are taken from candidates. For smooth laws one
prediction of many candidates says where each lean has its basins: a few descents from there find what many from random
starts do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float

from mixers.candidate_search import Candidates, look_at
from mixers.errors import InvalidInput
from mixers.laws.base import Form
from mixers.objectives import Objective, WorstExcess, family_matrix, family_names
from mixers.optimizers import Solved, solve
from mixers.simplex import FeasibleSet
from mixers.types import Targets

_RHO = 1e-3
# The least lean: a family with none at all could be given up without need.
_LEAST_LEAN = 1e-3
# Of smooth laws: mixtures that are predicted once for all leans, how many of the best a lean is descended from, and
# the L1 distance between those: the very best lie in one basin.
_SCREENED, _DESCENTS, _APART = 2_000, 3, 0.2


@dataclass(frozen=True)
class ParetoPoint:
    """One mixture (k,), its predicted family values (f,), and the leans (f,) that it was found for."""

    weights: Float[np.ndarray, " k"]
    values: Float[np.ndarray, " f"]
    lean: Float[np.ndarray, " f"]


@dataclass(frozen=True)
class ParetoFront:
    """Points that do not dominate each other, ordered by the first family; ideal (f,) is the best of each family."""

    families: tuple[str, ...]
    ideal: Float[np.ndarray, " f"]
    points: tuple[ParetoPoint, ...]


def pareto_front(
    objective: Objective, targets: Targets, feasible: FeasibleSet, rng: np.random.Generator, count: int = 21
) -> ParetoFront:
    """About ``count`` points of the front over the families of ``targets`` (see ``family_names``).

    Raises:
        InvalidInput: fewer than two families.
    """
    names = family_names(targets)
    if len(names) < 2:
        raise InvalidInput(f"a Pareto front needs at least two families of targets; there is only {''.join(names)!r}")
    rows = family_matrix(targets)
    plain = replace(objective, kl=0.0, repetition=None, worst=None)
    smooth = plain.law.form == Form.SMOOTH
    pool = [look_at(plain, feasible.sample(_SCREENED, np.ones(len(plain.prior)), rng))] if smooth else []
    ends = [_solved(replace(plain, weights=row), feasible, rng, pool) for row in rows]
    p = np.stack([end.solution.weights for end in ends])
    values = _values(plain, rows, p)
    ideal = values.min(axis=0)
    extent = np.maximum(values.max(axis=0) - ideal, 1e-9 * np.maximum(1.0, np.abs(ideal)))
    pool += [look_at(plain, p)] if smooth else [end.candidates for end in ends if end.candidates is not None]
    found = [ParetoPoint(q, v, lean) for q, v, lean in zip(p, values, np.eye(len(names)), strict=True)]
    for lean in lean_lattice(len(names), count):
        found.append(_point(plain, rows, ideal, extent, lean, feasible, rng, pool))
        if smooth:  # the next lean begins near this one's end
            pool.append(look_at(plain, found[-1].weights[None]))
    keep = non_dominated(np.stack([point.values for point in found]))
    points = sorted((point for point, good in zip(found, keep, strict=True) if good), key=lambda o: tuple(o.values))
    return ParetoFront(names, ideal, tuple(points))


def _values(objective: Objective, rows: np.ndarray, p: np.ndarray) -> np.ndarray:
    return objective.law.predict(p, objective.scale).mean @ rows.T


def _point(
    plain: Objective,
    rows: np.ndarray,
    ideal: np.ndarray,
    extent: np.ndarray,
    lean: np.ndarray,
    feasible: FeasibleSet,
    rng: np.random.Generator,
    pool: list[Candidates],
) -> ParetoPoint:
    share = (np.maximum(lean, _LEAST_LEAN) / extent)[:, None]
    total = (rows / extent[:, None]).sum(axis=0)
    worst = WorstExcess(share * rows, share[:, 0] * ideal, _RHO * float(total.sum()))
    chebyshev = replace(plain, worst=worst, weights=total)
    if plain.law.form == Form.STEPS:
        p = _best_candidates(chebyshev, pool)[0]
    else:
        p = _solved(chebyshev, feasible, rng, pool).solution.weights
    return ParetoPoint(p, _values(plain, rows, p[None])[0], lean)


def _solved(objective: Objective, feasible: FeasibleSet, rng: np.random.Generator, pool: list[Candidates]) -> Solved:
    """The optimum, of smooth laws from the best basins of the pool."""
    smooth = objective.law.form == Form.SMOOTH
    return solve(objective, feasible, rng, _spread(_best_candidates(objective, pool)) if smooth else None)


def _best_candidates(chebyshev: Objective, pool: list[Candidates]) -> np.ndarray:
    """All candidates (m, k), the best first."""
    p = np.concatenate([candidates.p for candidates in pool])
    y = np.concatenate([candidates.targets for candidates in pool])
    missed = np.concatenate([candidates.missed for candidates in pool])
    return p[np.lexsort((chebyshev.aggregate(y), missed))]


def _spread(ranked: np.ndarray) -> list[np.ndarray]:
    """The first of the ranked mixtures (m, k), and the next ones that lie apart from those before."""
    chosen = [ranked[0]]
    for p in ranked[1:]:
        if len(chosen) == _DESCENTS:
            break
        if min(float(np.abs(p - q).sum()) for q in chosen) >= _APART:
            chosen.append(p)
    return chosen


def lean_lattice(families: int, count: int) -> Float[np.ndarray, "m f"]:
    """Leans strictly inside of a simplex lattice (Das & Dennis 1998), at most ``count``; at least the middle."""
    steps = families
    while comb(steps, families - 1) <= count:  # interior points of the lattice with steps + 1
        steps += 1
    cuts = combinations(range(1, steps), families - 1)
    return np.array([np.diff([0, *cut, steps]) / steps for cut in cuts])


def non_dominated(values: Float[np.ndarray, "m f"]) -> Bool[np.ndarray, " m"]:
    """Rows that no other row equals or beats everywhere and beats somewhere; of equal rows the first."""
    keep = np.ones(len(values), dtype=bool)
    for i, row in enumerate(values):
        better = (values <= row).all(axis=1) & (values < row).any(axis=1)
        same = (values[:i] == row).all(axis=1)
        keep[i] = not better.any() and not same.any()
    return keep
