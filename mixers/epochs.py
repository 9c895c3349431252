"""Epochs: a run of R tokens sees a domain of N_j tokens e_j = p_j R / N_j times."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.types import Domains


def epoch_limits(
    domains: Domains, max_epochs: float | None, each: Mapping[str, float] | None = None
) -> Float[np.ndarray, " k"]:
    """How often each domain may be seen: by its entry in ``each``, else ``max_epochs``; infinite without either.

    Raises:
        InvalidInput: an unknown domain, or a limit that is not a positive number.
    """
    for label, value in (("max_epochs", max_epochs), *((f"max_epochs of {n!r}", e) for n, e in (each or {}).items())):
        if value is not None and not (value > 0 and np.isfinite(value)):
            raise InvalidInput(f"{label} is {value}; it must be a positive number")
    limits = np.full(len(domains), np.inf if max_epochs is None else float(max_epochs))
    for name, value in (each or {}).items():
        if name not in domains.names:
            raise InvalidInput(f"max_epochs names domain {name!r}; known are {', '.join(domains.names)}")
        limits[domains.names.index(name)] = value
    return limits


def epoch_caps(domains: Domains, target_tokens: float, limits: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The largest weight of each domain that keeps it within its limit; 1 where its size or limit is not known."""
    if not (target_tokens > 0 and np.isfinite(target_tokens)):
        raise InvalidInput(f"target_tokens is {target_tokens}; it must be a positive number")
    return np.minimum(1.0, most_tokens(domains, limits) / target_tokens)


def most_tokens(domains: Domains, limits: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The tokens that each domain can give within its limit of epochs; infinite where one of them is not known."""
    known = np.isfinite(limits) & np.isfinite(domains.available_tokens)
    return np.where(known, np.where(known, limits, 0.0) * np.where(known, domains.available_tokens, 0.0), np.inf)


def rounded_up(number: float) -> float:
    """To three decimals, never less than ``number``: what a sentence says would do must do."""
    return math.ceil(number * 1e3 - 1e-6) / 1e3


def epochs(p: Float[np.ndarray, " k"], domains: Domains, target_tokens: float | None) -> Float[np.ndarray, " k"]:
    """How often each domain is seen: p_j R / N_j; NaN where the tokens of the run or of the domain are not known."""
    if target_tokens is None:
        return np.full(len(domains), np.nan)
    known = np.isfinite(domains.available_tokens)
    supply = np.where(known, np.maximum(domains.available_tokens, np.finfo(float).tiny), 1.0)
    return np.where(known, p * target_tokens / supply, np.nan)
