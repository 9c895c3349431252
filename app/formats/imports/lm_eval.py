"""Results of lm-evaluation-harness (``results_<date>.json``): measurements of runs that the study has already.

Each file holds the metrics of one model under ``task -> "metric,filter"``. The target is called ``task/metric``, or
``task/metric,filter`` for another filter than ``none``. ``options.runs`` says which run a file belongs to; without it,
that is the folder that the file lies in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from app.formats.errors import FormatError
from app.formats.imports.base import (
    FoundTarget,
    ImportedRun,
    ImportFormat,
    Options,
    Reading,
    Record,
    Source,
    reading_of,
    source_name,
)
from app.formats.imports.run_fields import number
from app.formats.imports.target_words import RULE_IN_WORDS, guess_target
from app.formats.remarks import note
from mixers.errors import InvalidInput

MAX_FILE_BYTES = 64 * 2**20


class LmEvalOptions(Options):
    runs: dict[str, str] = Field(default={}, description="{file name: id of the run in the source of its import}")


class LmEval(ImportFormat[LmEvalOptions]):
    """It brings no mixtures, so it cannot make a study."""

    name = "lm-eval"
    title = "lm-evaluation-harness: results_*.json, measurements of runs that were imported before"
    options = LmEvalOptions

    def read(self, source: Source, options: LmEvalOptions) -> Reading:
        unknown = [name for name in options.runs if name not in source.files]
        if unknown:
            raise InvalidInput(
                f"options.runs: there is no file {unknown[0]!r}; the files are {source_name(list(source.files))}"
            )
        directions: dict[str, bool] = {}
        records = [
            _run(name, path, options, directions)
            for name, path in source.files.items()
            if PurePosixPath(name).name.endswith(".json")
        ]
        if not records:
            raise FormatError(f"there is no .json file; the files are {source_name(list(source.files))}")

        def target(name: str) -> FoundTarget:
            guessed = guess_target(name)
            if name not in directions:
                return guessed
            return FoundTarget(name, guessed.unit, "maximize" if directions[name] else "minimize", stated=True)

        def given() -> Iterator[Record]:
            return iter(records)

        return reading_of(source_name(list(source.files)), given, target, note(RULE_IN_WORDS))


def _run(name: str, path: Path, options: LmEvalOptions, directions: dict[str, bool]) -> ImportedRun:
    told = _load(name, path)
    results = told.get("results")
    if not isinstance(results, dict) or not all(isinstance(task, dict) for task in results.values()):
        raise FormatError(f"{name}: there is no 'results' object of tasks; this is no file of lm-evaluation-harness")
    values: dict[str, float] = {}
    stderrs: dict[str, float] = {}
    for task, measured in results.items():
        better = told.get("higher_is_better")
        higher = better.get(task) if isinstance(better, dict) else None
        for key, value in measured.items():
            metric, _, kind = key.partition(",")
            found = number(value) if not isinstance(value, str) else None
            if found is None:
                continue
            if metric.endswith("_stderr"):
                stderrs[_target(task, metric.removesuffix("_stderr"), kind)] = found
                continue
            target = _target(task, metric, kind)
            values[target] = found
            if isinstance(higher, dict) and isinstance(higher.get(metric), bool):
                directions[target] = higher[metric]
    return ImportedRun(_run_id(name, options), name, values, None, stderrs)


def _target(task: str, metric: str, kind: str) -> str:
    return f"{task}/{metric}" if kind in ("", "none") else f"{task}/{metric},{kind}"


def _run_id(name: str, options: LmEvalOptions) -> str:
    if name in options.runs:
        return options.runs[name]
    folder = PurePosixPath(name).parent.name
    if not folder:
        raise InvalidInput(
            f"{name}: nothing says which run these results are of; name it in options.runs, "
            "or send a zip in which each file lies in a folder called like its run"
        )
    return folder


def _load(name: str, path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FormatError(f"{name}: the file holds more than {MAX_FILE_BYTES} bytes; samples are not needed")
    try:
        told = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise FormatError(f"{name}: the bytes are not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{name}, line {error.lineno}: this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{name}: a number is too long, or the object too deep") from None
    if not isinstance(told, dict):
        raise FormatError(f"{name}: this is no JSON object; this is no file of lm-evaluation-harness")
    return told
