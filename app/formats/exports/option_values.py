"""Checked values of the options of an export, and the names of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.formats.exports.base import ExportError, Option, Plan


def whole_number(plan: Plan, options: Mapping[str, Option], name: str) -> int:
    """An option that is a whole number, at least 0.

    Raises:
        ExportError: it is something else.
    """
    value = plan.options.get(name, options[name].default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExportError(f"option {name!r} is {value!r}; it must be a whole number from 0 on ({options[name].about})")
    return value


def text(plan: Plan, options: Mapping[str, Option], name: str) -> str:
    """An option that is text.

    Raises:
        ExportError: it is something else.
    """
    value = plan.options.get(name, options[name].default)
    if not isinstance(value, str):
        raise ExportError(f"option {name!r} is {value!r}; it must be text ({options[name].about})")
    return value


def one_of(plan: Plan, options: Mapping[str, Option], name: str, choices: Sequence[str]) -> str:
    """An option that is one of some words.

    Raises:
        ExportError: it is something else.
    """
    value = text(plan, options, name)
    if value not in choices:
        raise ExportError(f"option {name!r} is {value!r}; it must be one of {', '.join(choices)}")
    return value


def stage_file(plan: Plan, number: int, stem: str, suffix: str) -> str:
    """The name of the file of a stage, counted from 1; a plan with one stage needs no number."""
    return f"{stem}{suffix}" if len(plan.stages) == 1 else f"{stem}.stage-{number}{suffix}"
