"""How a model divides its capacity between the domains that it learns (arXiv 2606.08167), by water-filling.

    x* = argmin sum_j h_j c_j x_j^-b_j    subject to    sum_j x_j = N + (k - 1) H,    x_j >= H
       = max(H, (h_j b_j c_j / lambda)^(1 / (1 + b_j)))

With q = log lambda the total is a falling, convex function of q. Newton's method from a q that is too small therefore
climbs to the root without ever passing it; from the q where one domain alone would use all of N it needs a few steps.

Derivatives follow from the conditions of the optimum. Where x_j > H,

    dx_j = m_j (dg_j - log x_j db_j - dq),    m_j = x_j / (1 + b_j),    g_j = log(h_j b_j c_j)

and the sum of all dx is that of N + (k - 1) H, which gives dq.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_MAX_STEPS = 100
# Of the total: the error of the sum at which the search ends; one more step follows, which squares it.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Allocation:
    """m rows of capacities.

    Args:
        x: shape (m, k). log_x: its logarithm. free: whether x_j is above H. ease: m_j, 0 where not free.
    """

    x: Float[np.ndarray, "m k"]
    log_x: Float[np.ndarray, "m k"]
    free: Bool[np.ndarray, "m k"]
    ease: Float[np.ndarray, "m k"]

    def pull_back(self, by_x: Float[np.ndarray, "m q k"]) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of q outputs by g_j (m, q, k) and by H (m, q), from those by x at fixed x.

        The derivative by b_j at fixed g is -log x_j times that by g_j; that by N is not needed here.
        """
        ease = self.ease[:, None, :]
        total = np.maximum(ease.sum(axis=2), 1e-300)
        price = (by_x * ease).sum(axis=2) / total
        by_gain = ease * (by_x - price[:, :, None])
        held = (by_x * ~self.free[:, None, :]).sum(axis=2)
        return by_gain, held + price * (self.free.sum(axis=1)[:, None] - 1)


def allocate(
    log_gain: Float[np.ndarray, "m k"],
    b: Float[np.ndarray, " k"],
    size: Float[np.ndarray, " m"],
    least: Float[np.ndarray, " m"],
) -> Allocation:
    """The best capacities of each row.

    Args:
        log_gain: g = log(h b c), -inf for a domain without a share; one of each row is finite.
        size: N. least: H, at most N. Both in the same unit as x.
    """
    slope = 1 / (1 + b)
    total = size + (len(b) - 1) * least
    q = (log_gain - (1 + b) * np.log(size)[:, None]).max(axis=1)
    log_least = np.log(least)[:, None]
    active = np.arange(len(q))
    for _ in range(_MAX_STEPS):
        log_x = np.maximum((log_gain[active] - q[active, None]) * slope, log_least[active])
        x = np.exp(log_x)
        excess = x.sum(axis=1) - total[active]
        ease = np.where(log_x > log_least[active], x * slope, 0.0).sum(axis=1)
        q[active] += excess / np.maximum(ease, 1e-300) * (ease > 0)
        active = active[(excess > _TOLERANCE * total[active]) & (ease > 0)]
        if len(active) == 0:
            break
    log_x = np.maximum((log_gain - q[:, None]) * slope, log_least)
    free = log_x > log_least
    x = np.exp(log_x)
    return Allocation(x, log_x, free, np.where(free, x * slope, 0.0))
