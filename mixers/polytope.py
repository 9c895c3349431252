"""The feasible set as linear rows over lifted variables x = (p, u), with its hidden equalities found.

A bound on the total change is lifted: u_j >= |p_j - current_j|, sum u <= 2 at_most. Interior-point methods need a point
at which every inequality is slack. One linear program finds it, together with the inequalities that are never slack
(Freund, Roundy & Todd 1985):

    max sum t - alpha * trace   with   A x + t <= alpha b,  E x = alpha e,  0 <= t <= 1,  alpha >= 1

has t_i = 1 exactly for the inequalities that can be slack; x / alpha is a point where all of them are, by 1 / alpha.
The trace keeps alpha small, so that the point is well inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog

from mixers.errors import Infeasible
from mixers.infeasibility import lifting
from mixers.simplex import FeasibleSet

# Bounds closer than this leave a weight no room.
_ROOM = 1e-9
# Slack of less than 1 / alpha is taken for none. The trace is far above the solver's tolerance (1e-7), and times alpha
# still no more than what one t is worth.
_LARGEST_ALPHA, _TRACE, _WORTH = 1e6, 1e-3, 1e3


@dataclass(frozen=True)
class Polytope:
    """lower <= x <= upper, rows x <= most, equal x = to; strictly inside at ``interior``.

    Args:
        fixed: the variables that have one value only, that of ``interior``.
    """

    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    rows: Float[np.ndarray, "r n"]
    most: Float[np.ndarray, " r"]
    equal: Float[np.ndarray, "q n"]
    to: Float[np.ndarray, " q"]
    interior: Float[np.ndarray, " n"]
    fixed: Bool[np.ndarray, " n"]


def polytope(feasible: FeasibleSet) -> Polytope:
    """The rows of a feasible set."""
    k = len(feasible.domains)
    if feasible.plain:
        return _box(feasible)
    b, d, same = feasible.inequalities()
    rows, most = lifting(k, feasible.change)
    more = rows.shape[1] - k
    b = np.hstack([b, np.zeros((len(b), more))])
    if feasible.change is not None:
        rows = np.vstack([rows, np.append(np.zeros(k), np.ones(k))])
        most = np.append(most, 2 * feasible.change.at_most)
    equal = np.vstack([np.append(np.ones(k), np.zeros(more)), b[same]])
    to = np.append(1.0, d[same])
    rows, most = np.vstack([b[~same], rows]), np.append(d[~same], most)
    lower = np.append(feasible.lower, np.full(more, -np.inf))
    upper = np.append(feasible.upper, np.full(more, np.inf))
    return _with_hidden_equalities(lower, upper, rows, most, equal, to)


def _box(feasible: FeasibleSet) -> Polytope:
    lower, upper = feasible.lower, feasible.upper
    room = upper - lower
    left = 1 - lower.sum()
    # All weights go the same way between their bounds; at an end of it only one mixture is left.
    along = min(max(left / max(room.sum(), 1e-300), 0.0), 1.0)
    interior = lower + along * room
    single = min(left, upper.sum() - 1) <= _ROOM
    fixed = (room <= _ROOM) | single
    k = len(lower)
    return Polytope(lower, upper, np.zeros((0, k)), np.zeros(0), np.ones((1, k)), np.ones(1), interior, fixed)


def _with_hidden_equalities(
    lower: np.ndarray, upper: np.ndarray, rows: np.ndarray, most: np.ndarray, equal: np.ndarray, to: np.ndarray
) -> Polytope:
    n = len(lower)
    below, above = np.flatnonzero(np.isfinite(lower)), np.flatnonzero(np.isfinite(upper))
    eye = np.eye(n)
    a = np.vstack([rows, -eye[below], eye[above]])
    b = np.concatenate([most, -lower[below], upper[above]])
    m = len(b)
    result = linprog(
        np.concatenate([np.zeros(n), -np.full(m, _WORTH), [_TRACE]]),
        np.hstack([a, np.eye(m), -b[:, None]]),
        np.zeros(m),
        np.hstack([equal, np.zeros((len(to), m)), -to[:, None]]),
        np.zeros(len(to)),
        [(None, None)] * n + [(0, 1)] * m + [(1, _LARGEST_ALPHA)],
        method="highs",
    )
    if result.x is None:
        raise Infeasible(f"no mixture satisfies all constraints: {result.message}")
    alpha = result.x[-1]
    interior = result.x[:n] / alpha
    tight = b - a @ interior <= _ROOM
    on_row, on_lower, on_upper = np.split(tight, [len(most), len(most) + len(below)])
    fixed = np.zeros(n, dtype=bool)
    fixed[below[on_lower]] = True
    fixed[above[on_upper]] = True
    interior[below[on_lower]] = lower[below[on_lower]]
    interior[above[on_upper]] = upper[above[on_upper]]
    return Polytope(
        lower,
        upper,
        rows[~on_row],
        most[~on_row],
        np.vstack([equal, rows[on_row]]),
        np.append(to, most[on_row]),
        interior,
        fixed,
    )
