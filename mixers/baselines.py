"""Mixtures that every recommendation stands beside: those that need no law, and the best one that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from jaxtyping import Float

from mixers.errors import Infeasible
from mixers.fidelity import objective_values
from mixers.priors import natural, temperature, uniform, unimax
from mixers.types import Domains, Observations, Scale

# The exponent of the tempered mixture, as in RegMix's prior.
TAU = 0.5
# UniMax without an epoch cap of the team's own: repeating up to 4 times is nearly free (Muennighoff et al. 2023).
UNIMAX_EPOCHS = 4.0

RECOMMENDED, CURRENT, BEST_MEASURED = "recommended", "current", "best_measured"


def standing_baselines(
    domains: Domains,
    target_tokens: float | None,
    max_epochs: float | None,
    max_epochs_each: Mapping[str, float] | None = None,
) -> dict[str, Float[np.ndarray, " k"]]:
    """``natural``, ``uniform``, ``temperature``, and ``unimax`` where the tokens of run and domains are known."""
    mixtures = {"natural": natural(domains), "uniform": uniform(domains), "temperature": temperature(domains, TAU)}
    if target_tokens is not None and np.isfinite(domains.available_tokens).any():
        # Where the domains cannot fill the run in that many epochs, there is no such mixture.
        with suppress(Infeasible):
            most = UNIMAX_EPOCHS if max_epochs is None else max_epochs
            mixtures["unimax"] = unimax(domains, target_tokens, most, max_epochs_each)
    return mixtures


def best_measured(runs: Observations, weights: Float[np.ndarray, " t"] | None = None) -> Float[np.ndarray, " k"] | None:
    """The mixture with the lowest measured weighted mean at the largest scale that has one; None when there is none.

    Repeats of one mixture are averaged first: the luckiest of several repeats is not the best mixture.

    Args:
        weights: importance of the targets; their own when left out.
    """
    value = objective_values(runs.losses, runs.targets.weights if weights is None else weights)
    group = runs.scale_groups
    for g in sorted(set(group.tolist()), reverse=True):
        rows = np.flatnonzero((group == g) & np.isfinite(value))
        if len(rows):
            mixtures, inverse = np.unique(np.round(runs.p[rows], 9), axis=0, return_inverse=True)
            inverse = inverse.reshape(-1)
            mean = np.bincount(inverse, value[rows]) / np.bincount(inverse)
            return mixtures[int(np.argmin(mean))] / mixtures[int(np.argmin(mean))].sum()
    return None


def largest_scale(runs: Observations) -> Scale:
    """The largest N among the runs and the largest D at that N; NaN where not known."""
    params = runs.model_params
    if np.isnan(params).all():
        rows = np.ones(len(runs), bool)
        top = np.nan
    else:
        top = float(np.nanmax(params))
        rows = params == top
    tokens = runs.train_tokens[rows]
    return Scale(np.float64(top), np.float64(np.nan if np.isnan(tokens).all() else np.nanmax(tokens)))
