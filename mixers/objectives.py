"""From predicted targets to the one number that is minimised, and to the limits that it is minimised under.

    F(p) = A(y(p))  +  lambda KL(p || prior)  +  price * wasted(p),      KL(p || q) = sum_j p_j log(p_j / q_j)
    A(y) = sum_i w_i y_i / sum_i w_i                                     the weighted mean, or
    A(y) = max_r (M y - o)_r + tie_break * the weighted mean             the worst excess over a reference
    subject to  (E y(p))_e <= b_e                                        no target or family worse than allowed

All coefficients are 0 or more, so that convex targets make a convex problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw
from mixers.repetition import Repetition
from mixers.types import Scale, Targets

# A prior without any mass on a domain would forbid it; the floor of Olmix's proposer.
PRIOR_FLOOR = 1e-12


@dataclass(frozen=True)
class WorstExcess:
    """max_r (M y - o)_r: rows of targets or families, each in its own unit, above its reference.

    Args:
        tie_break: weight of the mean, which decides among mixtures of the same worst row.
    """

    matrix: Float[np.ndarray, "r t"]
    offset: Float[np.ndarray, " r"]
    tie_break: float = 0.0

    def __post_init__(self) -> None:
        if (self.matrix < 0).any() or not self.tie_break >= 0:
            raise InvalidInput("the rows of a worst excess and its tie break must be 0 or more")


@dataclass(frozen=True)
class Limits:
    """E y <= b, with a name a row, such as ``target 'code'``. A witness is a mixture known to satisfy them."""

    matrix: Float[np.ndarray, "e t"]
    at_most: Float[np.ndarray, " e"]
    names: tuple[str, ...]
    witness: Float[np.ndarray, " k"] | None = None

    def __post_init__(self) -> None:
        if (self.matrix < 0).any() or not np.isfinite(self.at_most).all():
            raise InvalidInput("limits on targets need coefficients of 0 or more and finite values")


@dataclass(frozen=True)
class Objective:
    """What is minimised under a law at one scale.

    Args:
        weights: importance of each target, shape (t,); only their ratios matter.
        kl: lambda, in units of the targets; 0 for none.
        prior: shape (k,).
        worst: minimise the worst excess instead of the weighted mean.
    """

    law: FittedLaw
    scale: Scale
    weights: Float[np.ndarray, " t"]
    kl: float
    prior: Float[np.ndarray, " k"]
    worst: WorstExcess | None = None
    limits: Limits | None = None
    repetition: Repetition | None = None

    def __post_init__(self) -> None:
        if not (self.kl >= 0 and np.isfinite(self.kl)):
            raise InvalidInput(f"the KL weight is {self.kl}; it must be 0 or more")
        object.__setattr__(self, "weights", self.weights / self.weights.sum())

    def aggregate(self, y: Float[np.ndarray, "*batch t"]) -> Float[np.ndarray, "*batch"]:
        """A(y)."""
        if self.worst is None:
            return np.asarray(y @ self.weights)
        worst = (y @ self.worst.matrix.T - self.worst.offset).max(axis=-1)
        return np.asarray(worst + self.worst.tie_break * (y @ self.weights))

    def gradient_rows(self, y: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """A (sub)gradient of A at ``y``: the weights, or the row that is worst."""
        if self.worst is None:
            return self.weights
        return self.worst.matrix[int(np.argmax(self.worst.matrix @ y - self.worst.offset))] + (
            self.worst.tie_break * self.weights
        )

    def predicted(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """The law's part: A of the predicted targets, without pull and cost."""
        return self.aggregate(self.law.predict(p, self.scale).mean)

    def pull(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """lambda KL(p || prior)."""
        return np.asarray(self.kl * kl_divergence(p, self.prior))

    def extra(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """The pull, and the cost of repetition."""
        return self.pull(p) if self.repetition is None else np.asarray(self.pull(p) + self.repetition.cost(p))

    def value(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """F(p)."""
        return np.asarray(self.predicted(p) + self.extra(p))

    def excess(self, p: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
        """max_e (E y(p) - b)_e: above 0 where a limit is missed; -inf without limits."""
        if self.limits is None:
            return np.full(p.shape[:-1], -np.inf)
        y = self.law.predict(p, self.scale).mean
        return np.asarray((y @ self.limits.matrix.T - self.limits.at_most).max(axis=-1))

    def law_value_and_gradient(self, p: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        """The law's part of F and a (sub)gradient; only for smooth laws."""
        y, gradient = self.law.value_and_gradient(p, self.scale)
        return float(self.aggregate(y)), gradient.T @ self.gradient_rows(y)

    def extra_gradient(self, p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The gradient of pull and cost. Weights are floored far below those of the value: a solver that comes near 0
        needs the slope to go on growing as the second derivative says."""
        log_p = np.log(np.maximum(p, 1e-300))
        slope = self.kl * (log_p - np.log(np.maximum(self.prior, PRIOR_FLOOR)) + 1)
        return slope if self.repetition is None else slope + self.repetition.gradient(p)


def kl_divergence(p: Float[np.ndarray, "*batch k"], prior: Float[np.ndarray, " k"]) -> Float[np.ndarray, "*batch"]:
    """KL(p || prior) in nats; 0 log 0 = 0."""
    return np.asarray((p * log_ratio(p, prior)).sum(axis=-1))


def log_ratio(p: Float[np.ndarray, "*batch k"], prior: Float[np.ndarray, " k"]) -> Float[np.ndarray, "*batch k"]:
    """log(p_j / prior_j), both floored."""
    return np.log(np.maximum(p, PRIOR_FLOOR) / np.maximum(prior, PRIOR_FLOOR))


def family_names(targets: Targets) -> tuple[str, ...]:
    """The families in order of appearance. A target without one is a family by itself, under its own name."""
    return tuple(dict.fromkeys(family or name for family, name in zip(targets.families, targets.names, strict=True)))


def family_matrix(targets: Targets) -> Float[np.ndarray, "f t"]:
    """Rows that turn targets into the weighted mean of each family; equal shares where a family has no weight."""
    names = family_names(targets)
    of = [family or name for family, name in zip(targets.families, targets.names, strict=True)]
    member = np.array([[one == name for one in of] for name in names], dtype=float)
    weighted = member * targets.weights
    weighted = np.where(weighted.sum(axis=1, keepdims=True) > 0, weighted, member)
    return weighted / weighted.sum(axis=1, keepdims=True)


def family_weights(targets: Targets, named: Mapping[str, float]) -> Float[np.ndarray, " t"]:
    """Weights (t,) when each family counts by its own weight (1 where it is not named) and its targets by theirs.

    Raises:
        InvalidInput: a family that no target has, or a negative weight.
    """
    names = family_names(targets)
    for name, value in named.items():
        if name not in names:
            raise InvalidInput(f"there is no family {name!r}; known are {', '.join(names)}")
        if not (np.isfinite(value) and value >= 0):
            raise InvalidInput(f"the weight of family {name!r} is {value}; it must be 0 or more")
    weightless = (family_matrix(targets) @ targets.weights) <= 0  # followed, but not part of the objective
    counts = np.array([named.get(name, 0.0 if idle else 1.0) for name, idle in zip(names, weightless, strict=True)])
    if counts.sum() <= 0:
        raise InvalidInput("all families have weight 0; at least one must be positive")
    return (counts / counts.sum()) @ family_matrix(targets)
