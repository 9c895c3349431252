"""The best amounts under a loss that adds up one power law a domain, in closed form.

    min_x sum_j F_j (x_j + a_j)^-b_j    subject to    sum_j x_j = total,    lower_j <= x_j <= upper_j

Every domain inside its bounds has the same price, F_j b_j (x_j + a_j)^(-b_j - 1) = lambda (AutoScale, arXiv 2407.20177;
with a = 0 the optimum of BiMix, arXiv 2405.14908, and of effective data without transfer). The amounts fall as lambda
rises, so that one bisection finds it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mixers.errors import Infeasible, InvalidInput

# A sum of bounds this close to the total, relative to it, is taken as equal.
_SLACK = 1e-9
_BISECTIONS = 200


def autoscale_optimum(
    front: Float[np.ndarray, " k"],
    exponent: Float[np.ndarray, " k"],
    equivalent: Float[np.ndarray, " k"],
    total: float = 1.0,
    lower: Float[np.ndarray, " k"] | None = None,
    upper: Float[np.ndarray, " k"] | None = None,
) -> Float[np.ndarray, " k"]:
    """The amounts x (k,) that solve the problem above.

    Args:
        front: F, 0 or more. exponent: b, positive. equivalent: a, 0 or more, in the unit of x.
        lower, upper: bounds of x; 0 and ``total`` when left out.

    Raises:
        InvalidInput: a parameter outside of what it may be. Infeasible: bounds that cannot sum to ``total``.
    """
    k = len(front)
    low = np.zeros(k) if lower is None else lower
    high = np.full(k, total) if upper is None else upper
    if not ((front >= 0).all() and (front > 0).any() and (exponent > 0).all() and (equivalent >= 0).all()):
        raise InvalidInput("fronts and equivalent data must be 0 or more, one front and all exponents positive")
    if low.sum() > total * (1 + _SLACK) or high.sum() < total * (1 - _SLACK):
        raise Infeasible(f"the bounds allow {low.sum():.6g} to {high.sum():.6g} in all, not {total:.6g}")
    with np.errstate(divide="ignore"):
        log_gain = np.log(front * exponent)

    def amounts(log_price: float) -> np.ndarray:
        return np.clip(np.exp((log_gain - log_price) / (1 + exponent)) - equivalent, low, high)

    dear, cheap = 700.0, -700.0  # exp of less or more is not a number; the true price lies between
    for _ in range(_BISECTIONS):
        middle = (dear + cheap) / 2
        if amounts(middle).sum() > total:
            cheap = middle
        else:
            dear = middle
    x = amounts(dear)
    rest = total - x.sum()
    room = high - x
    return x + rest * room / room.sum() if room.sum() > 0 and rest > 0 else x


def extrapolate_amounts(
    first: Float[np.ndarray, " k"], second: Float[np.ndarray, " k"], steps: float
) -> Float[np.ndarray, " k"]:
    """The best amounts of each domain ``steps`` scales after ``first``, from those of two scales (AutoScale).

        N_j(s) = N_j^(1) (N_j^(2) / N_j^(1))^s

    s = 0 is ``first``, s = 1 ``second``; s = 2 is the published step N^(3) = N^(2) N^(2) / N^(1). The sum is the token
    count that these amounts are the best for; it need not be a multiple of the others.
    """
    if not ((first > 0).all() and (second > 0).all()):
        raise InvalidInput("amounts must be positive: a power law through 0 does not exist")
    return first * (second / first) ** steps
