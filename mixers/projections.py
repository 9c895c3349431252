"""Projections onto {p : lower <= p <= upper, sum p = 1}, and onto that set cut by groups and by a total change.

Bounds alone: water-filling, clip(curve(s)) with the s where it sums to 1, by bisection. With more, the dual: for
multipliers z of the rows B p <= d and tau of the total change, the inner minimum is separable,

    p_j(z, tau) = clip( median( g(w_j - tau), current_j, g(w_j + tau) ), lower_j, upper_j ),    w = w_0 - B' z

with g = exp and w_0 = log q for KL(p || q), g = identity and w_0 = q for the Euclidean distance. The dual is convex and
once differentiable, its gradient is what the rows miss, and it is minimised by damped Newton steps on the multipliers
that their signs leave free (Bertsekas 1982 for the projected step), on many points at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# Keeps a division defined where nothing has room.
_TINY = 1e-12
_ITERATIONS = 400
# The longest step of a multiplier, in nats or weight.
_LONGEST = 8.0
# What the rows may miss of their limits, in weight.
_TOLERANCE = 1e-12


def water_fill(
    curve: Callable[[np.ndarray], np.ndarray],
    low: Float[np.ndarray, " m"],
    high: Float[np.ndarray, " m"],
    lower: Float[np.ndarray, " k"],
    upper: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "m k"]:
    """clip(curve(s)) for the s (m,) where each row sums to 1; ``curve`` grows in every entry with s."""
    for _ in range(200):
        middle = (low + high) / 2
        if ((middle == low) | (middle == high)).all():
            break
        short = np.clip(curve(middle), lower, upper).sum(axis=1) < 1
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    p = np.clip(curve(high), lower, upper)
    # What rounding left is spread over the entries that have room, in proportion to their room.
    rest = 1 - p.sum(axis=1, keepdims=True)
    room = np.where(rest > 0, upper - p, p - lower)
    return np.clip(p + rest * room / np.maximum(room.sum(axis=1, keepdims=True), _TINY), lower, upper)


@dataclass(frozen=True)
class Rows:
    """The set to project onto: bounds (k,), rows B (r, k) with B p <= d, of which ``equal`` hold as equalities.

    Args:
        current: shape (k,), the centre of the total change; ``at_most`` is its bound in L1, infinite for none.
    """

    lower: Float[np.ndarray, " k"]
    upper: Float[np.ndarray, " k"]
    b: Float[np.ndarray, "r k"]
    d: Float[np.ndarray, " r"]
    equal: Bool[np.ndarray, " r"]
    current: Float[np.ndarray, " k"]
    at_most: float


@dataclass
class _Dual:
    """The dual at multipliers z (m, r + 1), the last of them tau: value (m,), gradient, curvature, and p (m, k)."""

    value: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray
    p: np.ndarray


def project_rows(rows: Rows, w: Float[np.ndarray, "m k"], entropy: bool) -> Float[np.ndarray, "m k"]:
    """The nearest points, in KL divergence with w = log q, or in Euclidean distance with w = q."""
    free = np.append(rows.equal, False)
    z = np.zeros((len(w), len(free)))
    damping = np.full(len(w), 1e-6)
    at = _dual(rows, w, z, entropy)
    result = at.p.copy()
    index = np.arange(len(w))
    for _ in range(_ITERATIONS):
        stuck = ~free & (z <= 0) & (at.gradient > 0)
        slope = np.where(stuck, 0.0, at.gradient)
        result[index] = at.p
        open_ = np.abs(slope).max(axis=1) > _TOLERANCE
        if not open_.any():
            break
        if not open_.all():
            index, w, z, damping = index[open_], w[open_], z[open_], damping[open_]
            slope, stuck = slope[open_], stuck[open_]
            at = _Dual(at.value[open_], at.gradient[open_], at.curvature[open_], at.p[open_])
        new_z = z - _newton_step(at.curvature, slope, stuck, damping)
        new_z = np.where(free, new_z, np.maximum(new_z, 0.0))
        new = _dual(rows, w, new_z, entropy)
        new_slope = np.where(~free & (new_z <= 0) & (new.gradient > 0), 0.0, new.gradient)
        promised = (at.gradient * (new_z - z)).sum(axis=1)
        falls = new.value <= at.value + 1e-4 * promised
        # Near the end the values differ by rounding only; then what the rows miss must shrink.
        rounding = np.abs(promised) <= 1e-11 * (1 + np.abs(at.value))
        good = falls | (rounding & (np.abs(new_slope).max(axis=1) < np.abs(slope).max(axis=1)))
        damping = np.clip(np.where(good, damping * 0.1, damping * 10), 1e-12, 1e8)
        z = np.where(good[:, None], new_z, z)
        at = _Dual(
            np.where(good, new.value, at.value),
            np.where(good[:, None], new.gradient, at.gradient),
            np.where(good[:, None, None], new.curvature, at.curvature),
            np.where(good[:, None], new.p, at.p),
        )
    return result


def _newton_step(curvature: np.ndarray, slope: np.ndarray, stuck: np.ndarray, damping: np.ndarray) -> np.ndarray:
    either = stuck[:, :, None] | stuck[:, None, :]
    eye = np.eye(slope.shape[1])
    matrix = np.where(either, 0.0, curvature) + eye * (damping[:, None, None] + stuck[:, :, None])
    step = np.linalg.solve(matrix, slope[..., None])[..., 0]
    # Where every weight is at a bound the dual is flat or linear, and a Newton step would fly away.
    return step * np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), _TINY))


def _dual(rows: Rows, w: np.ndarray, z: np.ndarray, entropy: bool) -> _Dual:
    """psi(z) = d.z + at_most tau + sum_j max_p [ w_j p - phi(p) - tau |p - current_j| ], and its derivatives."""
    tau = z[:, -1:]
    w = w - z[:, :-1] @ rows.b
    if entropy:
        # A weight is at most 1, so nothing is lost where the exponent is clipped.
        below, above = np.exp(np.minimum(w - tau, 1.0)), np.exp(np.minimum(w + tau, 1.0))
    else:
        below, above = w - tau, w + tau
    pulled = np.clip(rows.current, below, above) if np.isfinite(rows.at_most) else below
    p = np.clip(pulled, rows.lower, rows.upper)
    phi = p * np.log(np.maximum(p, 1e-300)) - p if entropy else p**2 / 2
    away = p - rows.current
    bounded = rows.at_most if np.isfinite(rows.at_most) else 0.0
    value = z[:, :-1] @ rows.d + bounded * tau[:, 0] + (w * p - phi - tau * np.abs(away)).sum(axis=1)
    missed = rows.d - p @ rows.b.T
    spare = rows.at_most - np.abs(away).sum(axis=1) if np.isfinite(rows.at_most) else np.ones(len(p))
    moving = (p > rows.lower) & (p < rows.upper) & ((pulled != rows.current) | ~np.isfinite(rows.at_most))
    weight = np.where(moving, p if entropy else 1.0, 0.0)
    both = np.concatenate([np.broadcast_to(rows.b, (len(p), *rows.b.shape)), np.sign(away)[:, None]], axis=1)
    curvature = (both * weight[:, None]) @ both.transpose(0, 2, 1)
    return _Dual(value, np.concatenate([missed, spare[:, None]], axis=1), curvature, p)
