"""What is asked of a recommendation as the problem of the mathematics: one way for the command line and the service.

Names and numbers are checked where they come from: ``offline_wishes.py`` says which option is wrong,
``services/wishes.py`` which field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from mixers.baselines import largest_scale
from mixers.errors import Infeasible
from mixers.laws.base import FittedLaw
from mixers.pareto import ParetoFront, pareto_front
from mixers.problem import MinimiseWorst, NotWorse, Problem, objective_of
from mixers.simplex import FeasibleSet
from mixers.types import Domains, Observations, Scale, Targets


@dataclass(frozen=True)
class Demands:
    """Limits on the weights.

    Args:
        target_tokens: tokens of the planned run. max_epochs: how often it may see the tokens of a domain;
            max_epochs_each: other caps of single domains.
        groups: the domains of each named group; groups may overlap.
        freeze: fixed weights; None keeps the weight of ``current``.
        current: the mixture in use (k,). max_change: how far any one weight may move from it.
        max_change_total: how far all weights together may move: the sum of the absolute changes.
    """

    target_tokens: float | None = None
    max_epochs: float | None = None
    max_epochs_each: Mapping[str, float] = field(default_factory=dict)
    min_weights: Mapping[str, float] = field(default_factory=dict)
    max_weights: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group_min: Mapping[str, float] = field(default_factory=dict)
    group_max: Mapping[str, float] = field(default_factory=dict)
    freeze: Mapping[str, float | None] = field(default_factory=dict)
    current: Float[np.ndarray, " k"] | None = None
    max_change: float | None = None
    max_change_total: float | None = None


@dataclass(frozen=True)
class Aims:
    """What is minimised, under which limits on targets, and what else it is compared with.

    Args:
        target_weights: importance of targets instead of their own. family_weight: of families.
        baselines: further mixtures to compare with, by name.
    """

    kl_to_prior: float = 0.05
    target_weights: Mapping[str, float] = field(default_factory=dict)
    family_weight: Mapping[str, float] = field(default_factory=dict)
    worst: MinimiseWorst | None = None
    not_worse: NotWorse | None = None
    repetition_price: float = 0.0
    baselines: Mapping[str, Float[np.ndarray, " k"]] = field(default_factory=dict)


def feasible_set(domains: Domains, demands: Demands) -> FeasibleSet:
    """The mixtures that the demands allow.

    Raises:
        Infeasible: naming the constraints that cannot hold together, and by how much they miss.
    """
    total = demands.max_change_total
    capped = demands.max_epochs is not None or bool(demands.max_epochs_each)
    try:
        return FeasibleSet.from_constraints(
            domains,
            target_tokens=demands.target_tokens if capped else None,
            max_epochs=demands.max_epochs,
            max_epochs_each=demands.max_epochs_each,
            min_weights=demands.min_weights,
            max_weights=demands.max_weights,
            groups=demands.groups,
            min_groups=demands.group_min,
            max_groups=demands.group_max,
            frozen=demands.freeze,
            current=demands.current,
            max_change=demands.max_change,
            max_total_change=None if total is None else total / 2,  # the share that changes hands: half of the L1 norm
        )
    except Infeasible as error:
        if total is None:
            raise
        counted = f"a total change of {total:g} lets {total / 2:g} of the mixture change hands"
        raise Infeasible(f"{error} ({counted})") from error


def pose_problem(domains: Domains, targets: Targets, demands: Demands, aims: Aims, scale: Scale) -> Problem:
    """The problem of the best weights at ``scale``.

    Raises:
        Infeasible: no mixture satisfies all constraints together.
    """
    return Problem(
        domains=domains,
        targets=weighted_targets(targets, aims.target_weights),
        feasible=feasible_set(domains, demands),
        kl_to_prior=aims.kl_to_prior,
        scale=scale,
        target_tokens=demands.target_tokens,
        max_epochs=demands.max_epochs,
        max_epochs_each=demands.max_epochs_each,
        family_weights=aims.family_weight or None,
        worst=aims.worst,
        not_worse=aims.not_worse,
        repetition_price=aims.repetition_price,
        current=demands.current,
        baselines=aims.baselines,
    )


def trade_off(fitted: FittedLaw, problem: Problem, runs: Observations | None, rng: np.random.Generator) -> ParetoFront:
    """The mixtures along the trade-off between the families of the targets, under the constraints of the problem."""
    return pareto_front(objective_of(fitted, problem, runs), problem.targets, problem.feasible, rng)


def weighted_targets(targets: Targets, weights: Mapping[str, float]) -> Targets:
    """The targets with other weights where ``weights`` names them.

    Raises:
        InvalidInput: all of them weigh nothing.
    """
    if not weights:
        return targets
    own = zip(targets.names, targets.weights.tolist(), strict=True)
    return replace(targets, weights=np.array([weights.get(name, weight) for name, weight in own], dtype=float))


def scale_for(runs: Observations, model_params: float | None, train_tokens: float | None) -> Scale:
    """The scale to predict at: what was asked for, else the largest of the runs.

    With N asked for and D not, D is the largest of the runs of that N when there are any.
    """
    of_that_size = np.flatnonzero(runs.model_params == model_params) if model_params is not None else np.empty(0, int)
    largest = largest_scale(runs.rows(of_that_size) if len(of_that_size) else runs)
    return Scale(
        largest.model_params if model_params is None else np.asarray(model_params, float),
        largest.train_tokens if train_tokens is None else np.asarray(train_tokens, float),
    )


def beyond_the_runs(runs: Observations, scale: Scale) -> list[str]:
    """Sentences where the predictions are for a larger run than any that was measured."""
    axes = (
        ("model_params", scale.model_params, runs.model_params),
        ("train_tokens", scale.train_tokens, runs.train_tokens),
    )
    sentences = []
    for label, asked, measured in axes:
        known = measured[np.isfinite(measured)]
        if len(known) and asked > known.max():
            times = float(asked / known.max())
            sentences.append(
                f"predicted beyond the runs: {label} {float(asked):.4g} is {times:.3g} times their largest, and the "
                "intervals do not count what that may cost"
            )
    return sentences


def unlimited_domains(domains: Domains) -> list[str]:
    """The domains that an epoch cap cannot bind, because their available tokens are not known."""
    return [name for name, tokens in zip(domains.names, domains.available_tokens, strict=True) if np.isinf(tokens)]
