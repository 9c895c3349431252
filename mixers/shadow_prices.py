"""What each active constraint costs: the multipliers of the optimality conditions at a solution.

At an optimum p of F under active constraints with outward normals n_a there are multipliers m_a >= 0 and a nu with

    grad F(p) + sum_a m_a n_a + nu 1 = 0          (Karush, Kuhn & Tucker)

and relaxing the limit of constraint a by d lowers the optimum by m_a d. They are found by bounded least squares on the
constraints that are active at p, whatever solver found p; what is left of the equation is the KKT residual. For an
epoch cap p_j <= e U_j / R, one more token of the domain is worth m_j e / R. The prior stays as it is: the price does
not count that new tokens would change the natural mixture too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import lsq_linear

from mixers.constraints import ConstraintKind
from mixers.laws.base import Form
from mixers.objectives import Objective
from mixers.simplex import FeasibleSet

TARGET_LIMIT = "target_limit"
REPETITION = "repetition"
# A constraint this close to its limit is active: in weight, and of the unit for limits on targets.
_ACTIVE = 1e-6
# Prices below this are rounding, in units of the objective per unit of weight.
_ZERO = 1e-9
_BILLION = 1e9


@dataclass(frozen=True)
class ShadowPrice:
    """What relaxing one active constraint is worth.

    Args:
        kind: a ``ConstraintKind``, ``target_limit``, or ``repetition`` (the soft price of repeated tokens).
        subject: the domain, group or limit that it belongs to.
        multiplier: decrease of the minimised objective per unit of the limit (a weight of 1, a loss of 1, a token).
        value: decrease of the objective per ``unit``.
        unit: ``billion tokens``, ``percentage point`` of weight, or ``0.01 of the target``.
    """

    kind: str
    subject: str
    limit: float
    at_least: bool
    multiplier: float
    value: float
    unit: str


@dataclass(frozen=True)
class Prices:
    """The prices that are not 0, dearest first, and what the optimality conditions miss (largest entry)."""

    prices: tuple[ShadowPrice, ...]
    residual: float


@dataclass(frozen=True)
class _Active:
    """An active constraint: its price without value, its normal (k,), and whether its multiplier may be negative."""

    kind: str
    subject: str
    limit: float
    at_least: bool
    per_unit: float
    unit: str
    normal: np.ndarray
    equal: bool = False


def shadow_prices(objective: Objective, feasible: FeasibleSet, p: Float[np.ndarray, " k"]) -> Prices:
    """The prices at a solution ``p``; none, with a residual of NaN, for a law that has no gradient."""
    if objective.law.form == Form.STEPS:
        return Prices((), float("nan"))
    y, by_p = objective.law.value_and_gradient(p, objective.scale)
    active = [*_bounds(feasible, p), *_groups(feasible, p), *_total_change(feasible, p), *_limits(objective, y, by_p)]
    rows = _rows(feasible, p)
    slope, shares = _slope(objective, y, by_p, p)
    columns = [np.ones(len(p)), *shares, *[one.normal for one in active]]
    low = [-np.inf, *[0.0] * len(shares), *[-np.inf if one.equal else 0.0 for one in active]]
    matrix, right = np.stack(columns, axis=1)[rows], -slope[rows]
    if shares:  # the multipliers of the rows of a worst excess sum to 1
        total = np.concatenate([[0.0], np.ones(len(shares)), np.zeros(len(active))])
        matrix, right = np.vstack([matrix, total]), np.append(right, 1.0)
    if len(matrix) == 0:
        return Prices(tuple(_repetition(objective, feasible, p)), 0.0)
    found = lsq_linear(matrix, right, (np.array(low), np.full(len(columns), np.inf)), method="bvls", tol=1e-14)
    residual = float(np.abs(matrix @ found.x - right).max())
    multipliers = found.x[1 + len(shares) :]
    prices = [_price(one, float(m)) for one, m in zip(active, multipliers, strict=True) if abs(m) > _ZERO]
    prices += _repetition(objective, feasible, p)
    return Prices(tuple(sorted(prices, key=lambda price: -price.value)), residual)


def _price(one: _Active, multiplier: float) -> ShadowPrice:
    # Of an equality, the side that is worth relaxing.
    at_least = one.at_least if multiplier > 0 else not one.at_least
    worth = abs(multiplier)
    return ShadowPrice(one.kind, one.subject, one.limit, at_least, worth, worth * one.per_unit, one.unit)


def _slope(objective: Objective, y: np.ndarray, by_p: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The gradient of F (k,) without the worst excess, and the gradients of its rows that are worst."""
    extra, worst = objective.extra_gradient(p), objective.worst
    if worst is None:
        return by_p.T @ objective.weights + extra, []
    excess = worst.matrix @ y - worst.offset
    rows = np.flatnonzero(excess >= excess.max() - _ACTIVE * max(1.0, float(np.abs(excess).max())))
    return worst.tie_break * (by_p.T @ objective.weights) + extra, [by_p.T @ worst.matrix[r] for r in rows]


def _rows(feasible: FeasibleSet, p: np.ndarray) -> np.ndarray:
    """The domains whose condition is an equation: not at the plain bound of 0, not where the change has its kink."""
    equation = (p > _ACTIVE) | (feasible.lower > 0)
    if feasible.change is not None:
        spent = np.abs(p - feasible.change.current).sum() / 2 >= feasible.change.at_most - _ACTIVE
        equation &= ~spent | (np.abs(p - feasible.change.current) > _ACTIVE)
    return np.flatnonzero(equation)


def _bounds(feasible: FeasibleSet, p: np.ndarray) -> list[_Active]:
    active = []
    eye = np.eye(len(p))
    for j in range(len(p)):
        low, high = feasible.binding(j, True), feasible.binding(j, False)
        at_low = low is not None and bool(p[j] <= feasible.lower[j] + _ACTIVE)
        if high is not None and p[j] >= feasible.upper[j] - _ACTIVE:
            cap = high.kind is ConstraintKind.EPOCH_CAP
            per, unit = (high.per_token * _BILLION, "billion tokens") if cap else (0.01, "percentage point")
            active.append(_Active(high.kind, high.subject, high.limit, False, per, unit, eye[j], at_low))
        elif low is not None and at_low:
            active.append(_Active(low.kind, low.subject, low.limit, True, 0.01, "percentage point", -eye[j]))
    return active


def _groups(feasible: FeasibleSet, p: np.ndarray) -> list[_Active]:
    if feasible.groups is None:
        return []
    active = []
    of = zip(
        feasible.groups.names,
        feasible.groups.members.astype(float),
        feasible.groups.lower.tolist(),
        feasible.groups.upper.tolist(),
        strict=True,
    )
    for name, members, low, high in of:
        share = float(members @ p)
        if share >= high - _ACTIVE and high < 1:
            same = high - low <= _ACTIVE
            active.append(_Active(ConstraintKind.MAX_GROUP, name, high, False, 0.01, "percentage point", members, same))
        elif share <= low + _ACTIVE and low > 0:
            active.append(_Active(ConstraintKind.MIN_GROUP, name, low, True, 0.01, "percentage point", -members))
    return active


def _total_change(feasible: FeasibleSet, p: np.ndarray) -> list[_Active]:
    if feasible.change is None:
        return []
    away = p - feasible.change.current
    if np.abs(away).sum() / 2 < feasible.change.at_most - _ACTIVE:
        return []
    normal = np.where(np.abs(away) > _ACTIVE, np.sign(away), 0.0) / 2
    limit = feasible.change.at_most
    return [_Active(ConstraintKind.TOTAL_CHANGE, "", limit, False, 0.01, "percentage point", normal)]


def _limits(objective: Objective, y: np.ndarray, by_p: np.ndarray) -> list[_Active]:
    limits = objective.limits
    if limits is None:
        return []
    excess = limits.matrix @ y - limits.at_most
    near = np.flatnonzero(excess >= -_ACTIVE * np.maximum(1.0, np.abs(limits.at_most)))
    return [
        _Active(
            TARGET_LIMIT,
            limits.names[e],
            float(limits.at_most[e]),
            False,
            0.01,
            "0.01 of the target",
            by_p.T @ limits.matrix[e],
        )
        for e in near
    ]


def _repetition(objective: Objective, feasible: FeasibleSet, p: np.ndarray) -> list[ShadowPrice]:
    if objective.repetition is None:
        return []
    worth = objective.repetition.value_per_token(p)
    tokens = objective.repetition.available_tokens
    return [
        ShadowPrice(
            REPETITION,
            feasible.domains.names[j],
            float(tokens[j]),
            False,
            float(worth[j]),
            float(worth[j]) * _BILLION,
            "billion tokens",
        )
        for j in np.flatnonzero(worth > 0)
    ]
