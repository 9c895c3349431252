"""The options of ``mixwright recommend`` as the service takes them: what is given stands above what the study says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.formats.domain_values import read_mixture
from app.online.bodies import body_of
from app.option_texts import epoch_limits, frozen_weights, named_numbers, shares
from app.recommend_options import ConstraintOptions, ObjectiveOptions, RunOptions, Wish
from app.schemas.studies import StudyRead
from app.schemas.wishes import Constraints, Objective
from mixers.errors import InvalidInput

_STANDING = ("natural", "uniform", "adopted")
# Fields that are kept by name: an option changes the names that it gives.
_BY_NAME = (
    "max_epochs_each",
    "min_weights",
    "max_weights",
    "group_min",
    "group_max",
    "freeze",
    "family_weight",
    "not_worse_each",
)


def constraints_of(study: StudyRead, wish: Wish) -> Constraints | None:
    """The constraints of the study with those of the options; None where no option is one.

    Raises:
        MixError, ClientError: naming the option.
    """
    given = _run(study, wish.run) | _limits(study, wish)
    return _over(study.constraints, given, "the constraints")


def objective_of(study: StudyRead, wish: Wish) -> Objective | None:
    """The objective of the study with that of the options; None where no option is one.

    Raises:
        MixError, ClientError: naming the option.
    """
    asked = wish.objective
    given: dict[str, Any] = {
        "kl_to_prior": wish.run.kl,
        "family_weight": _family_weights(study, asked),
        "minimise_worst": asked.minimise_worst or None,
        "worst_by": asked.worst_by.value if asked.worst_by else None,
        "worst_in_spreads": asked.worst_in_spreads or None,
        "reference": asked.reference,
        "not_worse": asked.not_worse,
        "not_worse_each": _allowances(study, asked),
        "not_worse_than": asked.not_worse_than,
        "by_family": asked.by_family or None,
        "repetition_price": asked.repetition_price,
    }
    return _over(study.objective, given, "the objective")


def _over(present: Constraints | Objective, given: dict[str, Any], where: str) -> Any:
    told = {name: value for name, value in given.items() if value is not None and value != {}}
    if not told:
        return None
    fields = present.model_dump()
    for name, value in told.items():
        fields[name] = fields[name] | value if name in _BY_NAME else value
    return body_of(type(present), fields, where)


def _run(study: StudyRead, run: RunOptions) -> dict[str, Any]:
    tokens = run.target_tokens
    if tokens is not None and not 1 <= tokens <= 1e18:
        raise InvalidInput(f"--target-tokens is {tokens:g}; it must be a count of tokens")
    return {
        "target_tokens": None if tokens is None else int(tokens),
        "max_epochs": run.max_epochs,
        "max_epochs_each": epoch_limits(run.max_epochs_each, _domains(study)),
        "current": _current(study, run.current),
    }


def _current(study: StudyRead, asked: str | None) -> str | dict[str, float] | None:
    if asked is None or asked in _STANDING:
        return asked
    names = _domains(study)
    weights, _ = read_mixture(Path(asked), names)
    return dict(zip(names, weights.tolist(), strict=True))


def _limits(study: StudyRead, wish: Wish) -> dict[str, Any]:
    asked: ConstraintOptions = wish.constraints
    names = _domains(study)
    groups = [domain.group for domain in study.domain_set.domains if domain.group]
    groups = list(dict.fromkeys([*groups, *study.constraints.groups]))
    if (asked.group_min or asked.group_max) and not groups:
        raise InvalidInput("--group-min and --group-max need groups; the domains of the study have none")
    has_current = wish.run.current is not None or study.constraints.current is not None
    return {
        "min_weights": shares("--min", asked.min_weight, names, "domain"),
        "max_weights": shares("--max", asked.max_weight, names, "domain"),
        "group_min": shares("--group-min", asked.group_min, groups, "group"),
        "group_max": shares("--group-max", asked.group_max, groups, "group"),
        "freeze": frozen_weights(asked.freeze, names, has_current),
        "max_change": asked.max_change,
        "max_change_total": asked.max_change_total,
    }


def _domains(study: StudyRead) -> list[str]:
    return [domain.name for domain in study.domain_set.domains]


def _families(study: StudyRead) -> list[str]:
    return list(dict.fromkeys(target.family or target.name for target in study.targets))


def _family_weights(study: StudyRead, asked: ObjectiveOptions) -> dict[str, float]:
    return named_numbers("--family-weight", asked.family_weight, _families(study), "family", least=0.0)


def _allowances(study: StudyRead, asked: ObjectiveOptions) -> dict[str, float]:
    if asked.by_family or (asked.not_worse is None and study.objective.by_family):
        return named_numbers("--not-worse-each", asked.not_worse_each, _families(study), "family")
    targets = [target.name for target in study.targets]
    return named_numbers("--not-worse-each", asked.not_worse_each, targets, "target")
