"""Powers of shares of data that stay finite where a share is 0.

    S(r; alpha) = r^-alpha                                  r >= floor
                  floor^-alpha (1 + alpha (1 - r / floor))  below: the tangent at the floor

Convex and falling for alpha > 0, concave and rising for -1 <= alpha < 0; the slope is continuous. The floor of a domain
is half of the smallest share of it that was trained; shares below a millionth count as that, as they are no training.

    G(r; alpha) = (S(r; alpha) - 1) / alpha,      -log r at alpha = 0 (Box & Cox 1964, with the opposite sign)

is the same curve with slope -1 at r = 1 whatever alpha is: convex and falling for every alpha > -1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Nearer to 0 than this an exponent counts as this: G and its derivative by alpha divide by alpha and its square.
_LEAST_ALPHA = 1e-3
# Of a billion tokens a document. Powers of shares that a sampler drew far below it, 1e-200 say, overflow.
_LEAST_SHARE = 1e-6


def share_floor(p: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"]:
    """Half of the smallest positive share of each domain, taken as at least a millionth; 1/2 for a domain that is 0 in
    every run."""
    positive = np.where(p > 0, np.maximum(p, _LEAST_SHARE), np.inf).min(axis=0)
    return np.where(np.isfinite(positive), positive, 1.0) / 2


def share_power(
    share: np.ndarray, floor: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray | np.floating, np.ndarray | np.floating, np.ndarray | np.floating]:
    """S(share; alpha) and its derivatives by the share and by alpha; the three arguments broadcast."""
    below = share < floor
    base = np.where(below, floor, share)
    log_base = np.log(base)
    power = np.exp(-alpha * log_base)
    depth = np.where(below, 1 - share / floor, 0.0)
    value = power * (1 + alpha * depth)
    return value, -alpha * power / base, power * depth - log_base * value


@dataclass(frozen=True)
class ShareCurves:
    """G and S of fixed shares, for many exponents: log of share or floor, and 1 - share / floor below the floor.

    Both of the shape (*batch, k) of the shares; ``base`` is exp(log_base).
    """

    log_base: Float[np.ndarray, "*batch k"]
    base: Float[np.ndarray, "*batch k"]
    depth: Float[np.ndarray, "*batch k"]

    @classmethod
    def of(cls, share: Float[np.ndarray, "*batch k"], floor: Float[np.ndarray, " k"]) -> ShareCurves:
        """The shares, and below which of them the tangent is followed."""
        base = np.maximum(share, floor)
        return cls(np.log(base), base, np.maximum(1 - share / floor, 0.0))

    def value(self, alpha: np.ndarray) -> np.ndarray:
        """G; ``alpha`` broadcasts against (*batch, k)."""
        alpha = _off_zero(alpha)
        power = np.exp(-alpha * self.log_base)
        return (power - 1) / alpha + power * self.depth

    def slope(self, alpha: np.ndarray) -> np.ndarray:
        """The derivative of G by the share."""
        return -np.exp(-_off_zero(alpha) * self.log_base) / self.base

    def value_and_by_alpha(self, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """G and its derivative by alpha."""
        inverse = 1 / _off_zero(alpha)
        # Most of the time of a fit is spent here: as few passes over the large array as there can be.
        power = np.exp(self.log_base * -_off_zero(alpha))
        curve = (power - 1) * inverse
        by_alpha = power * self.log_base
        by_alpha *= -(inverse + self.depth)
        by_alpha -= curve * inverse
        power *= self.depth
        curve += power
        return curve, by_alpha

    def power_and_by_alpha(self, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S and its derivative by alpha."""
        power = np.exp(self.log_base * -alpha)
        line = alpha * self.depth
        line += 1
        by_alpha = line * self.log_base
        np.subtract(self.depth, by_alpha, out=by_alpha)
        by_alpha *= power
        power *= line
        return power, by_alpha


def _off_zero(alpha: np.ndarray) -> np.ndarray:
    return np.where(np.abs(alpha) < _LEAST_ALPHA, _LEAST_ALPHA, alpha)
