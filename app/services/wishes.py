"""From the constraints and the objective of a body to what the mathematics takes; every name is checked here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from app.demands import Aims, Demands, pose_problem, unlimited_domains, weighted_targets
from app.demands import feasible_set as demanded_set
from app.errors import InvalidRequest, listed
from app.schemas.studies import DomainIn
from app.schemas.wishes import Constraints, Objective
from app.services.mixtures import domains_from, parse_weights, vector
from mixers.errors import InvalidInput
from mixers.objectives import family_names
from mixers.priors import natural, uniform
from mixers.problem import Level, MinimiseWorst, NotWorse, Problem, comparison_mixtures
from mixers.simplex import FeasibleSet
from mixers.types import Domains, Observations, Scale, Targets

ADOPTED = "adopted"
_STANDING = {"natural": natural, "uniform": uniform}


def feasible_set(domains: Sequence[DomainIn], constraints: Constraints, field: str = "constraints") -> FeasibleSet:
    """The mixtures that the constraints allow.

    Changes from the adopted mixture bind nothing here: only a recommendation knows which one that is.

    Raises:
        InvalidRequest: a domain or group that is not there.
        Infeasible: no mixture satisfies all constraints together.
    """
    return demanded_set(domains_from(domains), demands_of(domains, constraints, field))


def check_wishes(domains: Sequence[DomainIn], targets: Targets, objective: Objective, constraints: Constraints) -> None:
    """Refuse what no recommendation of a study could be asked with.

    Raises:
        InvalidRequest: a name that is not there, or a number that another one needs.
        Infeasible: no mixture satisfies all constraints together.
    """
    feasible_set(domains, constraints)
    aims_of(domains_from(domains), targets, objective, constraints)


def problem_of(
    domains: Sequence[DomainIn], targets: Targets, objective: Objective, constraints: Constraints, scale: Scale
) -> Problem:
    """The problem that a recommendation solves.

    Raises:
        InvalidRequest: a name that is not there, or a number that another one needs.
        Infeasible: no mixture satisfies all constraints together.
    """
    demands = demands_of(domains, constraints)
    aims = aims_of(domains_from(domains), targets, objective, constraints)
    return pose_problem(domains_from(domains), targets, demands, aims, scale)


def demands_of(domains: Sequence[DomainIn], constraints: Constraints, field: str = "constraints") -> Demands:
    """The constraints with their groups, and with the current mixture as an array."""
    known = domains_from(domains)
    groups = _groups(domains, constraints, field)
    _check_names(f"{field}.min_weights", constraints.min_weights, known.names, "domain")
    _check_names(f"{field}.max_weights", constraints.max_weights, known.names, "domain")
    _check_names(f"{field}.freeze", constraints.freeze, known.names, "domain")
    _check_names(f"{field}.group_min", constraints.group_min, tuple(groups), "group")
    _check_names(f"{field}.group_max", constraints.group_max, tuple(groups), "group")
    _check_epochs(known, constraints, field)
    pending = constraints.current == ADOPTED
    freeze = {name: w for name, w in constraints.freeze.items() if not (pending and w is None)}
    return Demands(
        target_tokens=None if constraints.target_tokens is None else float(constraints.target_tokens),
        max_epochs=constraints.max_epochs,
        max_epochs_each=constraints.max_epochs_each,
        min_weights=constraints.min_weights,
        max_weights=constraints.max_weights,
        groups=groups,
        group_min=constraints.group_min,
        group_max=constraints.group_max,
        freeze=freeze,
        current=_current(known, constraints, field),
        max_change=None if pending else constraints.max_change,
        max_change_total=None if pending else constraints.max_change_total,
    )


def _check_epochs(domains: Domains, constraints: Constraints, field: str) -> None:
    """Refuse caps where the length of an epoch is not known."""
    unlimited, accepted = unlimited_domains(domains), "a cap where an epoch's length is known"
    if constraints.max_epochs is not None and len(unlimited) == len(domains):
        raise InvalidRequest.of(f"{field}.max_epochs", "no domain says its available_tokens", accepted)
    _check_names(f"{field}.max_epochs_each", constraints.max_epochs_each, domains.names, "domain")
    for name in constraints.max_epochs_each:
        if name in unlimited:
            where = f"{field}.max_epochs_each.{name}"
            raise InvalidRequest.of(where, "the domain does not say its available_tokens", accepted)


def _groups(domains: Sequence[DomainIn], constraints: Constraints, field: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for domain in domains:
        if domain.group:
            groups.setdefault(domain.group, []).append(domain.name)
    for name, members in constraints.groups.items():
        if name in groups:
            raise InvalidRequest.of(
                f"{field}.groups.{name}", "the domain set has a group of that name", "a name of its own"
            )
        _check_names(f"{field}.groups.{name}", members, [domain.name for domain in domains], "domain")
    return groups | constraints.groups


def _current(domains: Domains, constraints: Constraints, field: str) -> Float[np.ndarray, " k"] | None:
    given = constraints.current
    if given is None or given == ADOPTED:
        return None
    if isinstance(given, str):
        return _STANDING[given](domains)
    return vector(parse_weights(given, domains.names, f"{field}.current")[0], domains.names)


def aims_of(
    domains: Domains, targets: Targets, objective: Objective, constraints: Constraints, field: str = "objective"
) -> Aims:
    """The objective with its names checked.

    Raises:
        InvalidRequest: a target or family that is not there, weights that are all 0, or a price without tokens.
    """
    families = family_names(targets)
    _check_names(f"{field}.target_weights", objective.target_weights, targets.names, "target")
    _check_names(f"{field}.family_weight", objective.family_weight, families, "family")
    rows, what = (families, "family") if objective.by_family else (targets.names, "target")
    _check_names(f"{field}.not_worse_each", objective.not_worse_each, rows, what)
    if objective.repetition_price:
        _check_repetition(domains, constraints, f"{field}.repetition_price")
    try:
        weighted_targets(targets, objective.target_weights)
    except InvalidInput as exc:
        raise InvalidRequest.of(f"{field}.target_weights", str(exc)) from exc
    return Aims(
        kl_to_prior=objective.kl_to_prior,
        target_weights=objective.target_weights,
        family_weight=objective.family_weight,
        worst=_worst(objective),
        not_worse=_not_worse(objective),
        repetition_price=objective.repetition_price or 0.0,
    )


def _check_repetition(domains: Domains, constraints: Constraints, field: str) -> None:
    if constraints.target_tokens is None:
        raise InvalidRequest.of(field, "needs target_tokens in the constraints", "a price with target_tokens")
    if len(unlimited_domains(domains)) == len(domains):
        raise InvalidRequest.of(field, "no domain says its available_tokens", "a price where repeats can be counted")


def _worst(objective: Objective) -> MinimiseWorst | None:
    if not objective.minimise_worst:
        return None
    level = Level(objective.worst_by or "targets")
    return MinimiseWorst(objective.reference or "natural", level, objective.worst_in_spreads)


def _not_worse(objective: Objective) -> NotWorse | None:
    if objective.not_worse is None:
        return None
    level = Level.FAMILIES if objective.by_family else Level.TARGETS
    return NotWorse(objective.not_worse_than or "natural", objective.not_worse, level, objective.not_worse_each)


def check_baselines(problem: Problem, runs: Observations, field: str = "objective") -> None:
    """Refuse a baseline that is not there, or importance that is nowhere, before anything is computed.

    Raises:
        InvalidRequest: naming the field.
    """
    known = comparison_mixtures(problem, runs)
    wanted = (
        ("reference", problem.worst and problem.worst.reference),
        ("not_worse_than", problem.not_worse and problem.not_worse.baseline),
    )
    for name, baseline in wanted:
        if baseline is not None and baseline not in known:
            raise InvalidRequest.of(f"{field}.{name}", f"there is no baseline {baseline!r} here", ", ".join(known))
    try:
        _ = problem.weights
    except InvalidInput as exc:
        raise InvalidRequest.of(f"{field}.family_weight", str(exc)) from exc


def _check_names(field: str, named: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in named:
        if name not in known:
            raise InvalidRequest.of(f"{field}.{name}", f"no such {what}", listed(known) or f"there is no {what} yet")
