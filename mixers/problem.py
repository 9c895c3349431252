"""What is asked of a recommendation, and the objective that it becomes once a law is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from mixers.agreement import objective_values
from mixers.baselines import BEST_MEASURED, CURRENT, best_measured, standing_baselines
from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw
from mixers.objectives import Limits, Objective, WorstExcess, family_matrix, family_names, family_weights
from mixers.repetition import Repetition
from mixers.simplex import FeasibleSet
from mixers.types import Domains, Observations, Scale, Targets, check_weights


class Level(StrEnum):
    """What is looked at one by one: each target, or the weighted mean of each family."""

    TARGETS = "targets"
    FAMILIES = "families"


@dataclass(frozen=True)
class MinimiseWorst:
    """Minimise the largest excess over the predicted values of a baseline, instead of the weighted mean.

    Args:
        reference: the name of the baseline. in_spreads: measure the excess of each row in standard deviations of its
            measured values at the largest scale of the runs, so that targets of different units compare.
    """

    reference: str = "natural"
    level: Level = Level.TARGETS
    in_spreads: bool = False


@dataclass(frozen=True)
class NotWorse:
    """No target (or family) may be predicted worse than a baseline by more than ``by``, in its own unit.

    Args:
        each: other allowances, by name of target or family.
    """

    baseline: str = "natural"
    by: float = 0.0
    level: Level = Level.TARGETS
    each: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """What is asked: the least objective at ``scale``, inside ``feasible``, near the prior.

    Args:
        kl_to_prior: weight of KL(p || prior), in units of the objective.
        target_tokens: tokens of the planned run, for the epochs; None when not known.
        max_epochs, max_epochs_each: the team's epoch caps, of all and of single domains, for UniMax; the caps
            themselves are part of ``feasible``.
        family_weights: importance of families; then each target counts by its share within its family.
        worst: minimise the worst excess instead of the weighted mean.
        not_worse: limits on targets or families.
        repetition_price: cost of wasting the whole budget on repeats, in units of the objective; needs target_tokens.
        current: the mixture in use, a baseline named ``current``.
        baselines: further mixtures to compare with, by name (such as ``entropy``).
    """

    domains: Domains
    targets: Targets
    feasible: FeasibleSet
    kl_to_prior: float
    scale: Scale
    target_tokens: float | None = None
    max_epochs: float | None = None
    max_epochs_each: Mapping[str, float] = field(default_factory=dict)
    family_weights: Mapping[str, float] | None = None
    worst: MinimiseWorst | None = None
    not_worse: NotWorse | None = None
    repetition_price: float = 0.0
    current: Float[np.ndarray, " k"] | None = None
    baselines: Mapping[str, Float[np.ndarray, " k"]] = field(default_factory=dict)

    @property
    def weights(self) -> Float[np.ndarray, " t"]:
        """Importance of each target, with the weights of the families worked in; their sum is 1."""
        weights = self.targets.weights
        if self.family_weights is not None:
            weights = family_weights(self.targets, self.family_weights)
        return weights / weights.sum()

    @property
    def repetition(self) -> Repetition | None:
        """The price of repetition; at a price of 0 where only the tokens are known, None where they are not."""
        if self.target_tokens is None:
            if self.repetition_price > 0:
                raise InvalidInput(
                    "a price of repetition needs target_tokens: how many tokens the target run trains on"
                )
            return None
        return Repetition(self.repetition_price, self.domains.available_tokens, self.target_tokens)


def comparison_mixtures(problem: Problem, runs: Observations | None) -> dict[str, Float[np.ndarray, " k"]]:
    """Every baseline of the problem by name."""
    mixtures = standing_baselines(problem.domains, problem.target_tokens, problem.max_epochs, problem.max_epochs_each)
    if problem.current is not None:
        mixtures[CURRENT] = problem.current
    for name, p in problem.baselines.items():
        check_weights(p, problem.domains.names)
        mixtures[name] = p
    best = None if runs is None or len(runs) == 0 else best_measured(runs, problem.weights)
    if best is not None:
        mixtures[BEST_MEASURED] = best
    return mixtures


def objective_of(
    fitted: FittedLaw,
    problem: Problem,
    runs: Observations | None = None,
    baselines: Mapping[str, Float[np.ndarray, " k"]] | None = None,
) -> Objective:
    """The objective under a fitted law. ``baselines`` are those of :func:`comparison_mixtures`.

    Raises:
        InvalidInput: a baseline or target that is not there, or a unit that the runs do not give.
    """
    known = comparison_mixtures(problem, runs) if baselines is None else baselines
    repetition = problem.repetition if problem.repetition_price > 0 else None
    return Objective(
        fitted,
        problem.scale,
        problem.weights,
        problem.kl_to_prior,
        problem.domains.prior,
        _worst(fitted, problem, runs, known),
        _limits(fitted, problem, known),
        repetition,
    )


def _rows(targets: Targets, level: Level) -> tuple[tuple[str, ...], np.ndarray]:
    if level is Level.FAMILIES:
        return family_names(targets), family_matrix(targets)
    return targets.names, np.eye(len(targets))


def _baseline(known: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in known:
        raise InvalidInput(f"there is no baseline {name!r}; known are {', '.join(known)}")
    return known[name]


def _worst(
    fitted: FittedLaw, problem: Problem, runs: Observations | None, known: Mapping[str, np.ndarray]
) -> WorstExcess | None:
    asked = problem.worst
    if asked is None:
        return None
    _, rows = _rows(problem.targets, asked.level)
    if asked.level is Level.TARGETS:  # a target of weight 0 is followed, not optimised
        rows = rows[problem.weights > 0]
    unit = _spreads(rows, runs) if asked.in_spreads else np.ones(len(rows))
    reference = fitted.predict(_baseline(known, asked.reference), problem.scale).mean
    matrix = rows / unit[:, None]
    return WorstExcess(matrix, matrix @ reference)


def _spreads(rows: np.ndarray, runs: Observations | None) -> np.ndarray:
    """Standard deviations of the rows at the largest scale, over the runs that measured every target of a row."""
    if runs is None or len(runs) == 0:
        raise InvalidInput("an excess in spreads needs measured runs")
    last = runs.losses[runs.scale_groups == runs.scale_groups.max()]
    spread = np.array([_deviation(objective_values(last, row)) for row in rows])
    if not (spread > 0).all():
        raise InvalidInput("a target does not vary over the runs of the largest scale: its excess has no unit")
    return spread


def _deviation(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.std()) if len(measured) else 0.0


def _limits(fitted: FittedLaw, problem: Problem, known: Mapping[str, np.ndarray]) -> Limits | None:
    asked = problem.not_worse
    if asked is None:
        return None
    names, rows = _rows(problem.targets, asked.level)
    for name, value in (*asked.each.items(), ("by", asked.by)):
        if name != "by" and name not in names:
            raise InvalidInput(f"there is no {asked.level.value[:-1]} {name!r} to limit; known are {', '.join(names)}")
        if not np.isfinite(value):
            raise InvalidInput(f"the allowance of {name!r} is {value}; it must be a finite number")
    allowed = np.array([asked.each.get(name, asked.by) for name in names], dtype=float)
    baseline = _baseline(known, asked.baseline)
    at_most = rows @ fitted.predict(baseline, problem.scale).mean + allowed
    kind = "family" if asked.level is Level.FAMILIES else "target"
    return Limits(rows, at_most, tuple(f"{kind} {name!r}" for name in names), baseline)
