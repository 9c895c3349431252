"""Training tokens relative to a reference, for laws in which they enter as a power."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Below this spread of log tokens an exponent in them means nothing.
_LEAST_SPREAD = 1e-6


def reference_tokens(train_tokens: Float[np.ndarray, " n"]) -> float:
    """The geometric mean of the runs' tokens; 1 where some run does not tell them."""
    return float(np.exp(np.mean(np.log(train_tokens)))) if np.isfinite(train_tokens).all() else 1.0


def tokens_vary(train_tokens: Float[np.ndarray, " n"]) -> bool:
    """Whether all runs tell their tokens and these differ."""
    return bool(np.isfinite(train_tokens).all() and np.ptp(np.log(train_tokens)) > _LEAST_SPREAD)


def relative_tokens(train_tokens: Float[np.ndarray, "*batch"], reference: float) -> Float[np.ndarray, "*batch"]:
    """tokens / reference, and 1 where they are not known."""
    return np.where(np.isnan(train_tokens), 1.0, train_tokens / reference)
