"""The capacity-allocation law (Explaining Data Mixing Scaling Laws, arXiv 2606.08167).

A model divides its capacity N between the domains so that the loss of the mixture is least (water_filling.py), and a
domain's loss falls with the capacity and with the tokens that it was given:

    l_j(h, N, D) = c_j x_j*(h, N)^-b_j + A_j (D h_j)^-a_j

A target named after domain j has the loss E + l_j, as published. A target that is no domain is a sum of what domains
teach: E + sum_j W_j l_j with W >= 0. E >= 0 for losses; for negated metrics it may lie a few ranges below the data.

This law fits its targets together, unlike the others: the capacity that one domain gets depends on how much every other
one would gain from it, so each curve is part of all targets. A target that was measured seldom still has its own E and
curve only from its own runs. Not convex: where a domain first gets more than the least capacity H its loss has a kink.

N and D are relative to a reference (see scale_terms.py). An axis that does not vary in the runs is left out.

Of more than ``FIT_ROWS`` runs as many are used, spread evenly over the mixtures and the scales of each; targets that
few of them measured get more. 4k + 1 parameters are long known by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.folds import mixture_labels
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.capacity_curves import Curves
from mixers.laws.capacity_fit import PRIOR_STD, CapacityData, CapacityFit, fit_capacity
from mixers.laws.levels import Levels
from mixers.laws.noise import Noise, residual_std
from mixers.laws.parametric import OUTLIER, in_spread_units
from mixers.laws.scale_terms import ScaleAxes, predictive_std
from mixers.laws.shares import share_floor
from mixers.row_subsets import rows_for_targets
from mixers.types import Observations, Prediction, Scale

FIT_ROWS = 2048
# Of the runs that measured a target, so many are used at least, where there are as many.
_LEAST_ROWS = 256
# Numbers of a chunk of derivatives: 100,000 mixtures never stand in memory at once.
_CHUNK = 2_000_000


@dataclass(frozen=True)
class FittedCapacity(FittedLaw):
    """E (t,), W (t, k) and the curves; covariance (P, P) of the curves' parameters and the mean (t, P) over the runs
    of each target's derivatives by them (see Curves.by_parameters)."""

    law: ClassVar[str] = "capacity"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    constant: Float[np.ndarray, " t"]
    weights: Float[np.ndarray, "t k"]
    curves: Curves
    axes: ScaleAxes
    covariance: Float[np.ndarray, "m m"]
    middle: Float[np.ndarray, "t m"]
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.SMOOTH

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        batch = p.shape[:-1]
        rows = p.reshape(-1, p.shape[-1])
        ratio = self.axes.log_ratios(scale, batch).reshape(-1, 2)
        mean, variance = np.empty((len(rows), len(self.constant))), np.zeros((len(rows), len(self.constant)))
        size = max(1, _CHUNK // (len(self.constant) * len(self.covariance)))
        for first in range(0, len(rows), size):
            here = slice(first, first + size)
            points = self.curves.at(rows[here], ratio[here])
            mean[here] = self.constant + points.losses @ self.weights.T
            if self.axes.varies.any():  # else there is no way from the runs' scale to any other
                away = points.by_parameters(self.weights[None]) - self.middle
                variance[here] = np.maximum(((away @ self.covariance) * away).sum(axis=2), 0.0)
        mean, variance = mean.reshape(*batch, -1), variance.reshape(*batch, -1)
        return Prediction(mean, predictive_std(self.noise, p, variance))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means, and derivatives that include those of x*."""
        points = self.curves.at(p[None], self.axes.log_ratios(scale, ())[None])
        return self.constant + self.weights @ points.losses[0], points.by_shares(self.weights[None])[0]


@dataclass(frozen=True)
class Capacity(MixingLaw):
    """Capacity divided between the domains by what each gains from it."""

    name: ClassVar[str] = "capacity"
    summary: ClassVar[str] = "capacity and tokens shared out between the domains by water-filling (capacity allocation)"
    needs: ClassVar[Needs] = Needs(lambda k: k + 2, "each domain has a curve of its own")
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True
    # It costs as much as all others together, and made no combination better on any public table.
    combined: ClassVar[bool] = False

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedCapacity:
        del rng  # the starts are fixed
        self.check_enough(runs)
        runs = _thinned(runs)
        y, weight, spread = in_spread_units(runs.losses)
        axes = ScaleAxes.of(runs)
        ratio = axes.log_ratios(runs.scale, (len(runs),))
        floor, levels = share_floor(runs.p), Levels.of(y, weight)
        data = CapacityData(runs.p, ratio, floor, y, weight, spread, _own_domains(runs), levels)
        found = fit_capacity(data, np.argsort(runs.domains.names))
        lowest = (found.points.allocation.x / np.exp(ratio[:, :1])).min(axis=0) / 2
        covariance, middle, deviation = _doubt(data, found)
        return FittedCapacity(
            runs.domains.names,
            runs.targets.names,
            found.linear.constant * spread,
            found.linear.weights * spread[:, None],
            replace(found.points.curves, capacity_floor=lowest),
            axes,
            covariance,
            middle * spread[:, None],
            Noise.of(runs.p, deviation * spread),
        )


def _thinned(runs: Observations) -> Observations:
    """At most ``FIT_ROWS`` of the runs, more where targets were measured seldom."""
    if len(runs) <= FIT_ROWS:
        return runs
    log_scale = ScaleAxes.of(runs).log_ratios(runs.scale, (len(runs),))
    measured = ~np.isnan(runs.losses)
    return runs.rows(rows_for_targets(log_scale, mixture_labels(runs), measured, FIT_ROWS, _LEAST_ROWS))


def _own_domains(runs: Observations) -> Int[np.ndarray, " t"]:
    """The domain that each target is named after, whatever the case; -1 for none, or where another target has it."""
    names = {name.lower(): j for j, name in enumerate(runs.domains.names)}
    own = [names.pop(name.lower(), -1) for name in runs.targets.names]
    return np.array(own, dtype=np.int64)


def _doubt(data: CapacityData, found: CapacityFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of the parameters, mean derivatives (t, P) and residual standard deviations (t,), in spread units.

    Derivatives are taken from their mean over each target's runs, which is what its constant leaves to the others.
    """
    t, k = found.linear.weights.shape
    measured = data.weight > 0
    combined = np.where(data.own < 0, (found.linear.weights > 0).sum(axis=1), 0)
    residual = np.where(measured, np.clip(found.residual, -OUTLIER, OUTLIER), np.nan).T
    deviation = residual_std(residual, 1.0 + combined + len(found.theta) / t)
    information = np.diag(np.concatenate([np.repeat(PRIOR_STD[:4], k), PRIOR_STD[4:]]) ** -2.0)
    middle = np.empty((t, len(found.theta)))
    for i in range(t):
        slopes = found.points.by_parameters(found.linear.weights[None, i : i + 1])[:, 0]
        weight = found.weight[i]
        middle[i] = weight @ slopes / weight.sum()
        away = (slopes - middle[i]) * np.sqrt(weight)[:, None]
        information += away.T @ away / max(deviation[i], 1e-6) ** 2
    covariance = np.linalg.inv(information)
    return (covariance + covariance.T) / 2, middle, deviation
