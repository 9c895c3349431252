"""Runs of experiment trackers: free-form settings and metrics, of which the caller says what is what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from app.formats.errors import FormatError
from app.formats.imports.base import ImportedRun, LeftOut, Options, Record, SkipReason
from app.formats.imports.run_fields import number


class TrackerFields(Options):
    """Where a run's settings hold its mixture and its size.

    Settings inside of settings are named with a dot: ``{"mixture": {"web": 0.7}}`` is ``mixture.web``. What a prefix
    leaves of a name is the domain or target; ``rename_domains`` and ``rename_targets`` of the import change it.
    """

    weights_prefix: str = Field(default="weights.", min_length=1, max_length=200)
    metrics_prefix: str = Field(default="", max_length=200, description="only metrics that begin so are looked at")
    metrics: tuple[str, ...] = Field(
        default=(), max_length=2000, description="only these metrics, by their full names; all when left out"
    )
    model_params_key: str = Field(default="model_params", max_length=200)
    train_tokens_key: str = Field(default="train_tokens", max_length=200)
    seed_key: str = Field(default="seed", max_length=200)
    tokenizer_key: str = Field(default="tokenizer", max_length=200)


def flatten(settings: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of settings inside of settings. W&B wraps values as ``{"value": ..., "desc": ...}``."""
    for name, value in settings.items():
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, dict) and depth < 20:
            yield from flatten(value, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", value


def tracker_run(
    run_id: str,
    label: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    fields: TrackerFields,
) -> Record:
    """A finished run, or why its settings do not tell enough. ``settings`` must be flat."""
    weights: dict[str, float] = {}
    for name, value in settings.items():
        if name.startswith(fields.weights_prefix):
            weight = number(value)
            if weight is None:
                return LeftOut(run_id, SkipReason.WRONG_WEIGHTS, f"{name[:80]} is {str(value)[:40]!r}, not a number")
            weights[name.removeprefix(fields.weights_prefix)] = weight
    if not weights:
        return LeftOut(run_id, SkipReason.NO_WEIGHTS, f"none of its settings begins with {fields.weights_prefix!r}")
    wanted = set(fields.metrics)
    values = {
        name.removeprefix(fields.metrics_prefix): value
        for name, told in metrics.items()
        if name.startswith(fields.metrics_prefix) and (not wanted or name in wanted)
        if (value := number(told)) is not None
    }
    try:
        params, tokens, seed = (
            _told(settings, key) for key in (fields.model_params_key, fields.train_tokens_key, fields.seed_key)
        )
    except FormatError as error:
        return LeftOut(run_id, SkipReason.WRONG_FIELD, str(error))
    tokenizer = str(settings.get(fields.tokenizer_key) or "")
    return ImportedRun(
        external_id=run_id,
        place=f"run {run_id}",
        values=values,
        weights=weights,
        model_params=params,
        train_tokens=tokens,
        seed=seed,
        label=label,
        tokenizer=tokenizer,
    )


def _told(settings: Mapping[str, Any], key: str) -> float | None:
    value = settings.get(key)
    if value is None or value == "":
        return None
    told = number(value)
    if told is None:
        raise FormatError(f"{key} is {str(value)[:40]!r}, not a number")
    return told
