"""Weights, domains and targets between their JSON form (dicts, directions) and the records of the mathematics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from app.errors import InvalidRequest, listed
from app.models import DomainSet, Target
from app.schemas.common import WEIGHT_SUM_TOLERANCE
from app.schemas.studies import DomainIn
from mixers.types import SUM_TOLERANCE, Domains, Targets


def domains_of(domain_set: DomainSet) -> Domains:
    """The domain set as the mathematics knows it."""
    return domains_from([DomainIn.model_validate(domain) for domain in domain_set.domains])


def domains_from(domains: Sequence[DomainIn]) -> Domains:
    """Domains whose priors are filled in."""
    return Domains(
        tuple(domain.name for domain in domains),
        np.array([domain.prior for domain in domains], dtype=float),
        np.array([math.inf if d.available_tokens is None else d.available_tokens for d in domains], dtype=float),
    )


def targets_of(targets: Sequence[Target]) -> Targets:
    """The targets of a study, in their order."""
    return Targets(
        tuple(target.name for target in targets),
        np.array([target.weight for target in targets]),
        tuple(target.family for target in targets),
        tuple(target.unit for target in targets),
        tuple(target.direction == "maximize" for target in targets),
    )


def parse_weights(weights: Mapping[str, float], names: Sequence[str], field: str) -> tuple[dict[str, float], bool]:
    """Weights over all ``names`` in their order, with sum 1; True where they were off by more than float rounding.

    A domain that is left out has weight 0.

    Raises:
        InvalidRequest: an unknown domain, or a sum too far from 1 for rounding to explain.
    """
    known = set(names)
    for name in weights:
        if name not in known:
            raise InvalidRequest.of(f"{field}.{name}", "no such domain", listed(names))
    total = sum(weights.values())
    if not abs(total - 1) <= WEIGHT_SUM_TOLERANCE:
        raise InvalidRequest.of(
            field, f"the weights sum to {total:.6g}", f"a sum of 1, give or take {WEIGHT_SUM_TOLERANCE}"
        )
    return {name: weights.get(name, 0.0) / total for name in names}, abs(total - 1) > SUM_TOLERANCE


def vector(weights: Mapping[str, float], names: Sequence[str]) -> Float[np.ndarray, " k"]:
    """Stored weights as an array of sum 1."""
    p = np.array([weights.get(name, 0.0) for name in names], dtype=float)
    return p / p.sum()


def named(p: Float[np.ndarray, " k"], names: Sequence[str]) -> dict[str, float]:
    """An array as ``{domain: weight}``."""
    return dict(zip(names, p.tolist(), strict=True))
