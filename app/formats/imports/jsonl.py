"""One JSON object a line: what our own exports and simple scripts write.

    {"run_id": "r1", "mixture": {"web": 0.7, "code": 0.3}, "params": 1e7, "tokens": 3e9, "seed": 0,
     "losses": {"news": 2.1}, "metrics": {"arc/acc": {"value": 0.4, "stderr": 0.01}}}

``weights``, ``model_params`` and ``train_tokens`` are accepted for ``mixture``, ``params`` and ``tokens``; ``state``,
``label``, ``fidelity`` and ``tokenizer`` may be there, and a ``trajectory``: a list of what was measured on the way,
each with ``tokens`` and ``losses`` or ``metrics``. ``losses`` are minimised; the direction of ``metrics`` follows
from their names. A mixture that changes on the way is a list of stages, as ``mixture`` or as ``stages``:

    "stages": [{"from_token": 0, "to_token": 2e9, "weights": {"web": 1}}, {"from_token": 2e9, "to_token": 3e9, ...}]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.formats.errors import FormatError
from app.formats.fidelity_column import COLUMN, fidelity_of
from app.formats.imports.base import (
    FoundTarget,
    ImportedPoint,
    ImportedRun,
    ImportedStage,
    ImportFormat,
    LeftOut,
    Options,
    Reading,
    Record,
    SkipReason,
    Source,
    reading_of,
    source_name,
)
from app.formats.imports.run_fields import FINISHED, number
from app.formats.imports.target_words import RULE_IN_WORDS, guess_target
from app.formats.remarks import note
from app.schemas.run_fidelity import RunFidelity

MAX_LINE_BYTES = 16 * 2**20


class Jsonl(ImportFormat[Options]):
    """A run a line."""

    name = "jsonl"
    title = "JSON lines: one run a line, with run_id, mixture, params, tokens, losses or metrics"

    def read(self, source: Source, options: Options) -> Reading:
        del options
        losses: set[str] = set()
        trajectories = staged = 0

        def records() -> Iterator[Record]:
            nonlocal trajectories, staged
            trajectories = staged = 0
            for name, path in source.files.items():
                for place, fields in _objects(name, path):
                    losses.update(_mapping(fields, ("losses",), place))
                    trajectories += "trajectory" in fields
                    record = _record(fields, place)
                    staged += isinstance(record, ImportedRun) and len(record.stages) > 1
                    yield record

        def target(name: str) -> FoundTarget:
            guessed = guess_target(name)
            if name not in losses:
                return guessed
            unit = guessed.unit if guessed.direction == "minimize" else "unknown"
            return FoundTarget(name, unit, "minimize", stated=True)

        found = reading_of(source_name(list(source.files)), records, target, note(RULE_IN_WORDS))
        if staged:
            told = note(f"{staged} runs change their weights on the way: fits leave them out unless they are asked to")
            found = Reading(found.source, found.domains, found.targets, found.runs, found.remarks + told)
        if trajectories:
            told = note(
                f"{trajectories} runs tell a trajectory: it is stored with them; fits take its end, or all of its "
                "points when they are asked to"
            )
            found = Reading(found.source, found.domains, found.targets, found.runs, found.remarks + told)
        return found


def _objects(name: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of every line that is not blank."""
    found = False
    with path.open("rb") as file:
        line = 0
        while data := file.readline(MAX_LINE_BYTES + 1):
            line += 1
            place = f"{name}, line {line}"
            if len(data) > MAX_LINE_BYTES:
                raise FormatError(f"{place}: the line is longer than {MAX_LINE_BYTES} bytes")
            if line == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            if not data.strip():
                continue
            found = True
            yield place, _object(data, place)
    if not found:
        raise FormatError(f"{name}: the file is empty; each line must hold the JSON object of one run")


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise FormatError(f"{place}: the bytes are not UTF-8 text; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{place}, character {error.colno}: this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{place}: a number is too long, or the object too deep") from None
    if not isinstance(fields, dict):
        raise FormatError(f"{place}: this is no JSON object; each line must hold the object of one run")
    return fields


def _record(fields: dict[str, Any], place: str) -> Record:
    run_id = _first(fields, ("run_id", "id"))
    if not isinstance(run_id, str | int) or isinstance(run_id, bool):
        raise FormatError(f"{place}: there is no 'run_id', a text or a number")
    state = fields.get("state", "finished")
    if not isinstance(state, str) or state.lower() not in FINISHED:
        return LeftOut(str(run_id), SkipReason.NOT_FINISHED, str(state)[:50])
    mixture = _first(fields, ("stages", "mixture", "weights"))
    stages = _stages(mixture, place) if isinstance(mixture, list) else ()
    if stages is None:
        return LeftOut(str(run_id), SkipReason.WEIGHTS_MOVED, f"{place}: a stage lacks from_token or to_token")
    if mixture is None or mixture == []:
        return LeftOut(str(run_id), SkipReason.NO_WEIGHTS, f"{place}: there is no 'mixture'")
    values, stderrs = _measured(fields, place)
    return ImportedRun(
        external_id=str(run_id),
        place=place,
        values=values,
        weights=None if stages else _numbers(mixture, "mixture", place),
        stderrs=stderrs,
        model_params=_number(fields, ("params", "model_params"), place),
        train_tokens=_number(fields, ("tokens", "train_tokens"), place),
        seed=_number(fields, ("seed",), place),
        label=str(_first(fields, ("label", "name")) or ""),
        tokenizer=str(fields.get("tokenizer") or ""),
        fidelity=_fidelity(fields, place),
        trajectory=_trajectory(fields, place),
        stages=stages,
    )


def _stages(told: list[Any], place: str) -> tuple[ImportedStage, ...] | None:
    """None where a stage does not say which tokens it is of."""
    stages = []
    for i, stage in enumerate(told):
        where = f"{place}, field 'stages.{i}'"
        if not isinstance(stage, dict):
            raise FormatError(f"{where}: this must be an object with from_token, to_token and weights")
        begins, ends = (_number(stage, (name,), where) for name in ("from_token", "to_token"))
        if begins is None or ends is None:
            return None
        weights = _numbers(_first(stage, ("weights", "mixture")), "weights", where)
        stages.append(ImportedStage(begins, ends, weights))
    return tuple(stages)


def _trajectory(fields: dict[str, Any], place: str) -> tuple[ImportedPoint, ...]:
    told = fields.get("trajectory")
    if told is None:
        return ()
    if not isinstance(told, list):
        raise FormatError(f"{place}, field 'trajectory': this must be a list of objects with tokens and losses")
    points = []
    for i, point in enumerate(told):
        where = f"{place}, field 'trajectory.{i}'"
        if not isinstance(point, dict):
            raise FormatError(f"{where}: this must be an object with tokens and losses")
        tokens = _number(point, ("tokens", "train_tokens"), where)
        if tokens is None:
            raise FormatError(f"{where}: there is no 'tokens', after how many tokens of training it was measured")
        points.append(ImportedPoint(tokens, *_measured(point, where)))
    return tuple(points)


def _fidelity(fields: dict[str, Any], place: str) -> RunFidelity:
    try:
        return fidelity_of(str(fields.get(COLUMN) or ""))
    except FormatError as error:
        raise FormatError(f"{place}, field {COLUMN!r}: {error}") from None


def _measured(fields: dict[str, Any], place: str) -> tuple[dict[str, float], dict[str, float]]:
    values: dict[str, float] = {}
    stderrs: dict[str, float] = {}
    for group in ("losses", "metrics"):
        for name, told in _mapping(fields, (group,), place).items():
            inside = told if isinstance(told, dict) else {"value": told}
            value = inside.get("value")
            values[name] = _of(value, f"{group}.{name}", place) if value is not None else float("nan")
            if inside.get("stderr") is not None:
                stderrs[name] = _of(inside["stderr"], f"{group}.{name}.stderr", place)
    return values, stderrs


def _mapping(fields: dict[str, Any], names: tuple[str, ...], place: str) -> Mapping[str, Any]:
    told = _first(fields, names)
    if told is None:
        return {}
    if not isinstance(told, dict):
        raise FormatError(f"{place}, field {names[0]!r}: this must be an object")
    return told


def _numbers(told: Any, field: str, place: str) -> dict[str, float]:
    if not isinstance(told, dict):
        raise FormatError(f"{place}, field {field!r}: this must be an object of numbers, or a list of stages")
    return {name: _of(value, f"{field}.{name}", place) for name, value in told.items()}


def _number(fields: dict[str, Any], names: tuple[str, ...], place: str) -> float | None:
    told = _first(fields, names)
    return None if told is None else _of(told, names[0], place)


def _of(value: Any, field: str, place: str) -> float:
    read = number(value) if not isinstance(value, str) else None
    if read is None:
        raise FormatError(f"{place}, field {field!r}: {str(value)[:40]!r} is not a number")
    return read


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)
