"""Mixtures that need no run at all; the baselines beside every recommendation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mixers.epochs import epoch_caps, epoch_limits
from mixers.errors import InvalidInput
from mixers.simplex import FeasibleSet
from mixers.types import Domains


def natural(domains: Domains) -> Float[np.ndarray, " k"]:
    """The share of each domain in the available tokens, as the domain set states it."""
    return domains.prior.copy()


def uniform(domains: Domains) -> Float[np.ndarray, " k"]:
    """1 / k everywhere."""
    return np.full(len(domains), 1 / len(domains))


def temperature(domains: Domains, tau: float) -> Float[np.ndarray, " k"]:
    """p_j proportional to prior_j ** tau: tau = 1 is natural, tau = 0 uniform (mT5, arXiv 2010.11934)."""
    if not 0 <= tau <= 1:
        raise InvalidInput(f"tau is {tau}; it must lie in 0 .. 1")
    weights = np.where(domains.prior > 0, domains.prior, 0.0) ** tau
    return weights / weights.sum()


def unimax(
    domains: Domains, target_tokens: float, max_epochs: float, each: Mapping[str, float] | None = None
) -> Float[np.ndarray, " k"]:
    """Uniform as far as no domain is seen more than ``max_epochs`` times (UniMax, Chung et al. 2023, Algorithm 1).

    Domains in ``each`` have limits of their own. Filling the smallest domain first, as the paper does, equals
    water-filling of the uniform mixture onto the caps.
    """
    caps = epoch_caps(domains, target_tokens, epoch_limits(domains, max_epochs, each))
    return FeasibleSet(domains, np.zeros(len(domains)), caps).kl_project(uniform(domains))


def entropy(domains: Domains, entropies: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """p_j proportional to the entropy of the domain's text, measured per token on a sample of each domain.

    The conditional entropy H(next token | token) is the usual measure (entropy-driven, training-free mixtures).

    Raises:
        InvalidInput: an entropy that is negative or no number, or all of them 0.
    """
    for name, value in zip(domains.names, entropies, strict=True):
        if not (np.isfinite(value) and value >= 0):
            raise InvalidInput(f"the entropy of domain {name!r} is {value}; it must be a number of 0 or more")
    if entropies.sum() <= 0:
        raise InvalidInput("all entropies are 0; at least one must be positive")
    return entropies / entropies.sum()
