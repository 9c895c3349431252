"""Training tokens relative to a reference, for laws in which they enter as a power."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Below this spread of log tokens an exponent in them means nothing.
_LEAST_SPREAD = 1e-6


def reference_tokens(train_tokens: Float[np.ndarray, " n"]) -> float:
    """The geometric mean of the runs' tokens; 0, for none, where some run does not tell them or all have the same.

    Without a reference tokens count nowhere: runs of one token count say nothing about another.
    """
    logs = np.log(train_tokens)
    return float(np.exp(logs.mean())) if np.isfinite(logs).all() and np.ptp(logs) > _LEAST_SPREAD else 0.0


def relative_tokens(train_tokens: Float[np.ndarray, "*batch"], reference: float) -> Float[np.ndarray, "*batch"]:
    """tokens / reference, and 1 where they are not known or there is no reference."""
    if reference <= 0:
        return np.ones_like(train_tokens)
    return np.where(np.isnan(train_tokens), 1.0, train_tokens / reference)
