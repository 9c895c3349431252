"""Which constraints cannot hold together, and by how much: an elastic linear program.

Every stated constraint may be missed by its own v_c >= 0 while the weights stay on the simplex; the program minimises
sum_c v_c. Where the minimum is 0 a mixture exists. Otherwise the v_c > 0 are the cheapest relaxation, and the
constraints with a multiplier are those that conflict: the multipliers combine them into the contradiction (Farkas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from mixers.constraints import ConstraintKind, GroupBounds, Stated, TotalChange

# What a mixture may miss of the constraints together and still count as one: constraints reach us as decimal text.
SLACK = 1e-9
_NAMED = 8
_HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True)
class Conflict:
    """The least total violation, what carries it (constraint, amount), and all constraints that conflict."""

    total: float
    relaxed: tuple[tuple[Stated, float], ...]
    conflicting: tuple[Stated, ...]

    def __str__(self) -> str:
        names = [str(stated) for stated in self.conflicting[:_NAMED]]
        if len(self.conflicting) > _NAMED:
            names.append(f"{len(self.conflicting) - _NAMED} more")
        alone = "cannot hold for weights that sum to 1" if len(names) == 1 else "cannot hold together"
        moves = ", ".join(f"{stated} by {amount:.3g}{stated.eased(amount)}" for stated, amount in self.relaxed[:_NAMED])
        return f"{' and '.join(names)} {alone}; they miss by {self.total:.3g} in all: it would do to relax {moves}"


def find_conflict(
    names: Sequence[str], stated: Sequence[Stated], groups: GroupBounds | None, change: TotalChange | None
) -> Conflict | None:
    """None when a mixture satisfies everything. Equal constraints may carry the violation in any proportion."""
    k = len(names)
    rows = [_coefficients(one, names, groups) for one in stated]
    lifted = k if change is not None else 0  # u_j >= |p_j - current_j|
    n = k + lifted
    # Variables: p, u, and one violation a constraint.
    a = np.zeros((len(stated), n + len(stated)))
    b = np.zeros(len(stated))
    for i, one in enumerate(stated):
        sign = -1.0 if one.at_least else 1.0
        if one.kind is ConstraintKind.TOTAL_CHANGE:
            a[i, k:n] = 0.5
        else:
            a[i, :k] = sign * rows[i]
        a[i, n + i] = -1.0
        b[i] = sign * one.limit
    cost = np.concatenate([np.zeros(n), np.ones(len(stated))])
    extra_a, extra_b = lifting(k, change, len(stated))
    total = np.concatenate([np.ones(k), np.zeros(lifted + len(stated))])[None]
    result = linprog(
        cost, np.vstack([a, extra_a]), np.concatenate([b, extra_b]), total, [1.0], method="highs", options=_HIGHS
    )
    if result.fun <= SLACK:
        return None
    violation = result.x[n:]
    force = -result.ineqlin.marginals[: len(stated)]
    relaxed = sorted(((one, float(v)) for one, v in zip(stated, violation, strict=True) if v > SLACK), key=_largest)
    conflicting = tuple(one for one, f in zip(stated, force, strict=True) if f > 1e-9)
    return Conflict(float(result.fun), tuple(relaxed), conflicting)


def lifting(
    k: int, change: TotalChange | None, more: int = 0
) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, " m"]]:
    """Rows p_j - u_j <= current_j and -p_j - u_j <= -current_j over (p, u, ``more`` others); none without a change."""
    if change is None:
        return np.zeros((0, k + more)), np.zeros(0)
    eye, nothing = np.eye(k), np.zeros((k, more))
    rows = np.vstack([np.hstack([eye, -eye, nothing]), np.hstack([-eye, -eye, nothing])])
    return rows, np.concatenate([change.current, -change.current])


def _largest(item: tuple[Stated, float]) -> float:
    return -item[1]


def _coefficients(one: Stated, names: Sequence[str], groups: GroupBounds | None) -> np.ndarray:
    if one.kind in (ConstraintKind.MIN_GROUP, ConstraintKind.MAX_GROUP):
        assert groups is not None  # a stated group bound comes from them
        return groups.members[groups.names.index(one.subject)].astype(float)
    return np.array([1.0 if name == one.subject else 0.0 for name in names])
