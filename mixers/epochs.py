"""Epochs: a run of R tokens sees a domain of N_j tokens e_j = p_j R / N_j times."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.types import Domains


def epoch_caps(domains: Domains, target_tokens: float, max_epochs: float) -> Float[np.ndarray, " k"]:
    """The largest weight of each domain that repeats it at most ``max_epochs`` times; 1 where its size is unknown."""
    if not (target_tokens > 0 and np.isfinite(target_tokens)):
        raise InvalidInput(f"target_tokens is {target_tokens}; it must be a positive number")
    if not (max_epochs > 0 and np.isfinite(max_epochs)):
        raise InvalidInput(f"max_epochs is {max_epochs}; it must be a positive number")
    return np.minimum(1.0, max_epochs * domains.available_tokens / target_tokens)


def epochs(p: Float[np.ndarray, " k"], domains: Domains, target_tokens: float | None) -> Float[np.ndarray, " k"]:
    """How often each domain is seen: p_j R / N_j; NaN where the tokens of the run or of the domain are not known."""
    if target_tokens is None:
        return np.full(len(domains), np.nan)
    known = np.isfinite(domains.available_tokens)
    supply = np.where(known, np.maximum(domains.available_tokens, np.finfo(float).tiny), 1.0)
    return np.where(known, p * target_tokens / supply, np.nan)
