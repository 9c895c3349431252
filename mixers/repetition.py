"""What repeated tokens are worth: the effective data of Muennighoff et al. (2023, arXiv 2305.16264, Eq. 5).

A domain of U unique tokens that is seen e = n / U times counts as D_eff = n tokens up to one epoch and beyond it as

    D_eff = U + U R* (1 - exp(-(e - 1) / R*)),        R* about 15

so a run of R tokens wastes w_j(p) = (p_j R - D_eff,j) / R of its budget on domain j. D_eff is concave in p_j and has
slope 1 at one epoch, so w_j is convex and differentiable, and the cost

    price * sum_j w_j(p)

keeps a convex problem convex. The price is in units of the objective for a budget that is wasted as a whole: a price of
0.5 says that wasting 1 % of the training tokens is as bad as 0.005 of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw
from mixers.types import Scale

# Epochs after the first at which repeated tokens have lost 1 - 1/e of their value (Muennighoff et al., section 6.1).
R_STAR = 15.0
_TINY = 1e-300
# Relative step in D of the difference that prices a token.
_STEP = 1e-3


@dataclass(frozen=True)
class Repetition:
    """The price of repetition, the unique tokens U (k,) of each domain, and the tokens R of the run.

    A domain whose tokens are not known (infinite) is never repeated.
    """

    price: float
    available_tokens: Float[np.ndarray, " k"]
    target_tokens: float
    r_star: float = R_STAR

    def __post_init__(self) -> None:
        if not (self.price >= 0 and np.isfinite(self.price)):
            raise InvalidInput(f"the price of repetition is {self.price}; it must be 0 or more")
        if not (self.target_tokens > 0 and np.isfinite(self.target_tokens)):
            raise InvalidInput(f"target_tokens is {self.target_tokens}; it must be a positive number")

    def wasted(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """w_j: the share of the run's tokens that is wasted on each domain."""
        share, over = self._over(p)
        return np.maximum(over + share * self.r_star * np.expm1(-self._faded(share, over)), 0.0)

    def cost(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """price * sum_j w_j."""
        return np.asarray(self.price * self.wasted(p).sum(axis=-1))

    def gradient(self, p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """d cost / d p_j = price (1 - exp(-(e - 1) / R*)) beyond one epoch."""
        return -self.price * np.expm1(-self._faded(*self._over(p)))

    def curvature(self, p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The second derivatives; the cost is separable."""
        share, over = self._over(p)
        bend = np.exp(-self._faded(share, over)) / np.maximum(share * self.r_star, 1e-12)
        return self.price * np.where(over > 0, bend, 0.0)

    def value_per_token(self, p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """-d cost / d U_j: what one more unique token of each domain saves, in units of the objective."""
        share, over = self._over(p)
        faded = self._faded(share, over)
        # With u = U / R:  dw/du = -1 - R* (1 - exp(-f)) + (1 + f R*) exp(-f).
        gain = 1 - self.r_star * np.expm1(-faded) - (1 + faded * self.r_star) * np.exp(-faded)
        return np.where(over > 0, self.price * gain / self.target_tokens, 0.0)

    def _over(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U_j / R, with 1 where it is not known, and the share of the run beyond the first epoch."""
        share = np.minimum(self.available_tokens / self.target_tokens, 1.0)
        return share, np.maximum(p - share, 0.0)

    def _faded(self, share: np.ndarray, over: np.ndarray) -> np.ndarray:
        """(e - 1) / R*."""
        return over / np.maximum(share * self.r_star, _TINY)


def price_of_tokens(
    law: FittedLaw, weights: Float[np.ndarray, " t"], p: Float[np.ndarray, " k"], scale: Scale
) -> float | None:
    """-d F / d log D of the weighted mean at ``p``: a price at which a wasted share costs what a shorter run costs.

    None where the law does not know D, or D is not known, or more tokens do not help.
    """
    if not np.isfinite(scale.train_tokens).all():
        return None
    longer = Scale(scale.model_params, scale.train_tokens * np.exp(_STEP))
    shorter = Scale(scale.model_params, scale.train_tokens * np.exp(-_STEP))
    gain = (law.predict(p, shorter).mean - law.predict(p, longer).mean) @ (weights / weights.sum())
    price = float(gain) / (2 * _STEP)
    return price if price > 0 else None
