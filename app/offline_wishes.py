"""From the options of ``mixwright recommend`` to a problem: every name and number is checked before a law is fitted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from app.demands import Aims, Demands, beyond_the_runs, pose_problem, unlimited_domains
from app.formats.domain_values import read_domain_values, read_mixture
from app.formats.errors import name_list
from app.formats.remarks import Remarks, warning
from app.formats.swarm_folder import Swarm
from app.formats.weight_columns import DEFAULT_TOLERANCE, SumTolerance
from app.option_texts import epoch_limits, frozen_weights, named_numbers, shares
from app.recommend_options import ConstraintOptions, ObjectiveOptions, RowsOf, RunOptions, Wish
from mixers.baselines import CURRENT
from mixers.errors import InvalidInput
from mixers.objectives import family_names
from mixers.priors import entropy, natural, uniform
from mixers.problem import Level, MinimiseWorst, NotWorse, Problem, comparison_mixtures
from mixers.types import Domains, Scale, Targets

ENTROPY = "entropy"
DEFAULT_KL = 0.05
_STANDING: dict[str, Callable[[Domains], Float[np.ndarray, " k"]]] = {"natural": natural, "uniform": uniform}


@dataclass(frozen=True)
class Question:
    """A wish that was checked against a swarm, as the mathematics takes it."""

    wish: Wish
    problem: Problem
    remarks: Remarks


def pose(swarm: Swarm, wish: Wish, scale: Scale, tolerance: SumTolerance = DEFAULT_TOLERANCE) -> Question:
    """The wish as a problem, inside of the bounds of ``domains.csv``.

    Raises:
        FormatError: a file of weights or entropies that is not as it must be.
        MixError: a name that is not known, a number that cannot be, or the constraints that cannot hold together.
    """
    domains, targets = swarm.runs.domains, swarm.runs.targets
    remarks = check_run(domains, wish.run) + _beyond(swarm, scale)
    _check_repetition(domains, wish)
    current, about_current = _current(domains, wish.run.current, tolerance)
    if wish.pareto and len(family_names(targets)) < 2:
        raise InvalidInput(f"--pareto needs at least two families of targets; there is only {family_names(targets)[0]}")
    aims = Aims(
        kl_to_prior=DEFAULT_KL if wish.run.kl is None else wish.run.kl,
        family_weight=_family_weights(targets, wish.objective),
        worst=_worst(wish.objective),
        not_worse=_not_worse(targets, wish.objective),
        repetition_price=wish.objective.repetition_price or 0.0,
        baselines=_entropy_baseline(domains, wish.run.entropies),
    )
    problem = pose_problem(domains, targets, _demands(swarm, wish.run, wish.constraints, current), aims, scale)
    _check_baselines(problem, swarm)
    return Question(wish, problem, remarks + about_current)


def check_run(domains: Domains, run: RunOptions) -> Remarks:
    """What there is to tell of the planned run and its caps.

    Raises:
        InvalidInput: naming the option that is wrong.
    """
    for label, value in (("--target-tokens", run.target_tokens), ("--max-epochs", run.max_epochs)):
        if value is not None and not 0 < value < np.inf:
            raise InvalidInput(f"{label} is {value:g}; it must be a positive number")
    if run.kl is not None and not 0 <= run.kl < np.inf:
        raise InvalidInput(f"--kl is {run.kl:g}; it must be 0 or more")
    return _check_epochs(domains, run)


def _check_epochs(domains: Domains, run: RunOptions) -> Remarks:
    each, unknown = epoch_limits(run.max_epochs_each, domains.names), unlimited_domains(domains)
    for label, given in (("--max-epochs", run.max_epochs), ("--max-epochs-each", each or None)):
        if given is not None and run.target_tokens is None:
            raise InvalidInput(f"{label} needs --target-tokens: how many tokens the target run trains on")
    if run.max_epochs is not None and len(unknown) == len(domains):
        raise InvalidInput("--max-epochs needs available_tokens in domains.csv: an epoch is one pass over them")
    if lost := [name for name in each if name in unknown]:
        raise InvalidInput(
            f"--max-epochs-each {lost[0]} needs the domain's available_tokens in domains.csv: an epoch is one pass "
            "over them"
        )
    if run.max_epochs is not None and unknown:
        return warning(f"the epoch cap does not bind {name_list(unknown, 5)}: available_tokens is not known there")
    return Remarks()


def _beyond(swarm: Swarm, scale: Scale) -> Remarks:
    remarks = Remarks()
    for sentence in beyond_the_runs(swarm.runs, scale):
        remarks += warning(sentence)
    return remarks


def _check_repetition(domains: Domains, wish: Wish) -> None:
    price = wish.objective.repetition_price
    if price is None:
        return
    if not 0 <= price < np.inf:
        raise InvalidInput(f"--repetition-price is {price:g}; it must be 0 or more")
    if wish.run.target_tokens is None:
        raise InvalidInput("--repetition-price needs --target-tokens: how many tokens the target run trains on")
    if np.isinf(domains.available_tokens).all():
        raise InvalidInput("--repetition-price needs available_tokens in domains.csv: what is seen twice is repeated")


def _current(
    domains: Domains, asked: str | None, tolerance: SumTolerance
) -> tuple[Float[np.ndarray, " k"] | None, Remarks]:
    if asked is None:
        return None, Remarks()
    if asked in _STANDING:
        return _STANDING[asked](domains), Remarks()
    return read_mixture(Path(asked), domains.names, tolerance)


def _entropy_baseline(domains: Domains, path: Path | None) -> dict[str, Float[np.ndarray, " k"]]:
    if path is None:
        return {}
    hint = "write the entropy of the domain's text, 0 or more"
    return {ENTROPY: entropy(domains, read_domain_values(path, "entropy", domains.names, hint))}


def _demands(
    swarm: Swarm, run: RunOptions, asked: ConstraintOptions, current: Float[np.ndarray, " k"] | None
) -> Demands:
    names, groups = swarm.runs.domains.names, swarm.groups
    for label, bound in (("--max-change", asked.max_change), ("--max-change-total", asked.max_change_total)):
        if bound is not None and current is None:
            raise InvalidInput(f"{label} needs --current: the mixture that changes are counted from")
        if bound is not None and not 0 <= bound < np.inf:
            raise InvalidInput(f"{label} is {bound:g}; it must be 0 or more")
    if (asked.group_min or asked.group_max) and not groups:
        raise InvalidInput("--group-min and --group-max need a column 'group' in domains.csv")
    return Demands(
        target_tokens=run.target_tokens,
        max_epochs=run.max_epochs,
        max_epochs_each=epoch_limits(run.max_epochs_each, names),
        min_weights=swarm.min_weights | shares("--min", asked.min_weight, names, "domain"),
        max_weights=swarm.max_weights | shares("--max", asked.max_weight, names, "domain"),
        groups=groups,
        group_min=shares("--group-min", asked.group_min, tuple(groups), "group"),
        group_max=shares("--group-max", asked.group_max, tuple(groups), "group"),
        freeze=frozen_weights(asked.freeze, names, current is not None),
        current=current,
        max_change=asked.max_change,
        max_change_total=asked.max_change_total,
    )


def _family_weights(targets: Targets, asked: ObjectiveOptions) -> dict[str, float]:
    return named_numbers("--family-weight", asked.family_weight, family_names(targets), "family", least=0.0)


def _worst(asked: ObjectiveOptions) -> MinimiseWorst | None:
    if asked.minimise_worst:
        level = Level((asked.worst_by or RowsOf.TARGETS).value)
        return MinimiseWorst(asked.reference or "natural", level, asked.worst_in_spreads)
    for label, given in (
        ("--worst-by", asked.worst_by),
        ("--reference", asked.reference),
        ("--worst-in-spreads", asked.worst_in_spreads or None),
    ):
        if given is not None:
            raise InvalidInput(f"{label} says how --minimise-worst counts; give that too")
    return None


def _not_worse(targets: Targets, asked: ObjectiveOptions) -> NotWorse | None:
    if asked.not_worse is None:
        for label, given in (
            ("--not-worse-than", asked.not_worse_than),
            ("--not-worse-each", asked.not_worse_each),
            ("--by-family", asked.by_family or None),
        ):
            if given:
                raise InvalidInput(f"{label} says how --not-worse is meant; give that too, such as --not-worse 0.01")
        return None
    if not math.isfinite(asked.not_worse):
        raise InvalidInput(f"--not-worse is {asked.not_worse:g}; it must be a finite number, such as 0.01")
    known, what = (family_names(targets), "family") if asked.by_family else (targets.names, "target")
    each = named_numbers("--not-worse-each", asked.not_worse_each, known, what)
    level = Level.FAMILIES if asked.by_family else Level.TARGETS
    return NotWorse(asked.not_worse_than or "natural", asked.not_worse, level, each)


def _check_baselines(problem: Problem, swarm: Swarm) -> None:
    """Refuse a baseline that is not there, before the law is fitted."""
    known = comparison_mixtures(problem, swarm.runs)
    wanted = (
        ("--reference", None if problem.worst is None else problem.worst.reference),
        ("--not-worse-than", None if problem.not_worse is None else problem.not_worse.baseline),
    )
    for label, name in wanted:
        if name is None or name in known:
            continue
        hint = "; --current says which mixture that is" if name == CURRENT else ""
        raise InvalidInput(f"{label} names the baseline {name!r}{hint}; known are {', '.join(known)}")
    _ = problem.weights  # all families may have got the weight 0
