"""Mixtures that need no run at all; the baselines beside every recommendation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.simplex import FeasibleSet, epoch_caps
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


def unimax(domains: Domains, target_tokens: float, max_epochs: float) -> Float[np.ndarray, " k"]:
    """Uniform as far as no domain is seen more than ``max_epochs`` times (UniMax, Chung et al. 2023, Algorithm 1).

    Filling the smallest domain first, as the paper does, equals water-filling of the uniform mixture onto the caps.
    """
    caps = epoch_caps(domains, target_tokens, max_epochs)
    return FeasibleSet(domains, np.zeros(len(domains)), caps).kl_project(uniform(domains))
