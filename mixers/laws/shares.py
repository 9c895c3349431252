"""Powers of a domain's share that stay finite, and bend the same way, down to a share of 0.

Laws in which a share enters as h^g have no gradient (0 < g < 1) or no value (g < 0) at 0, where no run ever was.
Below a floor, half of the smallest positive share that was trained, the power goes on along its tangent: it keeps its
value and slope at the floor, and what was convex or concave stays so.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def share_floor(p: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"]:
    """Half of the smallest positive share of each domain; 1/2 for a domain that was in no run."""
    positive = np.where(p > 0, p, np.inf).min(axis=0)
    return np.where(np.isfinite(positive), positive, 1.0) / 2


def share_power(share: np.ndarray, floor: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r^-alpha, continued along its tangent below the floor, and its derivatives by r and by alpha (all broadcast)."""
    below = share < floor
    base = np.where(below, floor, share)
    power = base**-alpha
    depth = np.where(below, 1 - share / floor, 0.0)
    value = power * (1 + alpha * depth)
    return value, -alpha * power / base, power * depth - np.log(base) * value
