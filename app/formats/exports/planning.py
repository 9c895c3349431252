"""From a recommendation and what a caller typed to the plan that a format writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.formats.exports.base import ExportDomain, ExportError, ExportFormat, Option, Plan, PlanStage
from app.formats.exports.header import quoted

# What every format takes.
COMMON = {"target_tokens": Option(0, "tokens of the run; needed where the recommendation does not know them")}
_LONGEST_TEXT = 2000
_LARGEST_NUMBER = 10**18
_ROUNDING = 1e-12
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class UnknownOption(ExportError):
    """The format does not take this option; :attr:`accepted` are those that it takes."""

    def __init__(self, name: str, accepted: Sequence[str]) -> None:
        self.name, self.accepted = name, tuple(accepted)
        super().__init__(f"there is no option {quoted(name)}; accepted: {', '.join(accepted)}")


def options_of(export_format: ExportFormat) -> dict[str, Option]:
    """Every option of a format, those of all formats first."""
    return COMMON | dict(export_format.options)


def kind_of(option: Option) -> type:
    """The type of the value of an option."""
    return option.kind or (str if option.default is None else type(option.default))


def read_options(export_format: ExportFormat, given: Mapping[str, str]) -> dict[str, Any]:
    """The options that were typed, as values.

    Raises:
        UnknownOption: a name that the format does not know.
        ExportError: a value of the wrong type.
    """
    options = options_of(export_format)
    for name in given:
        if name not in options:
            raise UnknownOption(name, list(options))
    return {name: _value(name, text, options[name]) for name, text in given.items()}


def with_defaults(export_format: ExportFormat, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all options.

    Raises:
        ExportError: naming an option whose value has the wrong type, or those without a default that were not given.
    """
    options = options_of(export_format)
    missing = [f"{name} ({option.about})" for name, option in options.items() if _lacks(name, option, values)]
    if missing:
        raise ExportError(f"format {export_format.name!r} needs {', '.join(missing)}")
    found = {name: values.get(name, option.default) for name, option in options.items()}
    for name, value in found.items():
        _check(name, value, kind_of(options[name]))
    return found


def plan_of(
    domains: Sequence[ExportDomain],
    stages: Sequence[tuple[int, int, Mapping[str, float]]],
    provenance: Mapping[str, str],
    options: Mapping[str, Any],
) -> Plan:
    """The plan of stages, each (from token, to token, weight of every domain).

    A weight that is worth less than one token of its stage is taken for the zero that a solver meant.

    Raises:
        ExportError: a stage without weights.
    """
    kept = [_without_zeros(*stage) for stage in stages]
    used = {name for stage in kept for name in stage.weights}
    everywhere = {domain.name for domain in domains if all(domain.name in stage.weights for stage in kept)}
    return Plan(
        tuple(domain for domain in domains if domain.name in used),
        tuple(kept),
        tuple(domain.name for domain in domains if domain.name not in everywhere),
        provenance,
        options,
    )


def _without_zeros(from_token: int, to_token: int, weights: Mapping[str, float]) -> PlanStage:
    tokens = to_token - from_token
    kept = {name: float(weight) for name, weight in weights.items() if weight * tokens >= 1}
    total = math.fsum(kept.values())
    if not kept:
        raise ExportError(f"the stage from token {from_token} to {to_token} gives no domain a whole token")
    # Dividing by a sum that is 1 but for rounding would change the last digits of every weight.
    if abs(total - 1) > _ROUNDING:
        kept = {name: weight / total for name, weight in kept.items()}
    return PlanStage(from_token, to_token, kept)


def _lacks(name: str, option: Option, values: Mapping[str, Any]) -> bool:
    return option.default is None and name not in values


def _value(name: str, text: str, option: Option) -> Any:
    kind = kind_of(option)
    try:
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise _wrong(name, text, kind) from None


def _check(name: str, value: Any, kind: type) -> None:
    """Refuse what another program would choke on: a wrong type, endless text, numbers beyond what JSON can carry."""
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER,
        float: isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER,
        str: isinstance(value, str) and len(value) <= _LONGEST_TEXT,
    }[kind]
    if not fits:
        raise _wrong(name, value, kind)


def _wrong(name: str, value: Any, kind: type) -> ExportError:
    accepted = {
        bool: "true or false",
        int: f"a whole number of at most {_LARGEST_NUMBER}",
        float: f"a number of at most {_LARGEST_NUMBER}",
        str: f"text of at most {_LONGEST_TEXT} characters",
    }[kind]
    return ExportError(f"option {quoted(name)} is {quoted(str(value)[:100])}; it must be {accepted}")
