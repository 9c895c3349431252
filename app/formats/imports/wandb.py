"""Runs of Weights & Biases: a JSON export, or the server asked through the package ``wandb`` where it is installed.

An export is a list of ``{"id", "name", "state", "config", "summary"}``, or one such object a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from app.formats.errors import FormatError
from app.formats.imports.base import (
    ImportFormat,
    LeftOut,
    Reading,
    Record,
    SkipReason,
    Source,
    reading_of,
    source_name,
)
from app.formats.imports.target_words import RULE_IN_WORDS, guess_target
from app.formats.imports.tracker_fields import TrackerFields, flatten, tracker_run
from app.formats.imports.trackers import TIMEOUT_SECONDS, TrackerFailed, Trackers
from app.formats.remarks import note
from mixers.errors import InvalidInput

MAX_EXPORT_BYTES = 128 * 2**20
_PAGE = 500


class WandbOptions(TrackerFields):
    """Without files, ``project`` names what is asked for."""

    project: str = Field(default="", max_length=300, pattern=r"^([^/]+/[^/]+)?$", description="entity/project")
    url: str = Field(default="https://api.wandb.ai", max_length=2000)
    filters: dict[str, Any] = Field(default={}, description='W&B\'s own filters, e.g. {"group": "swarm"}')
    max_runs: int = Field(default=100_000, ge=1, le=1_000_000)


class Wandb(ImportFormat[WandbOptions]):
    """Keyed by the id of a run, which is unique; its name is not."""

    name = "wandb"
    title = "Weights & Biases: the finished runs of a project, from a JSON export or over the network"
    takes = "either"
    options = WandbOptions

    def check(self, trackers: Trackers, options: WandbOptions) -> None:
        if not options.project:
            raise InvalidInput(
                "options.project: names no project; give entity/project, or send a JSON export as a file"
            )
        trackers.check(options.url, "url")
        _package()

    def read(self, source: Source, options: WandbOptions) -> Reading:
        if source.files:
            told = source_name(list(source.files))
            runs = [run for name, path in source.files.items() for run in _exported(name, path)]
        else:
            self.check(source.trackers, options)
            told = f"W&B project {options.project}"
            runs = _asked(source.trackers, options)
        return reading_of(told, lambda: (_record(run, options) for run in runs), guess_target, note(RULE_IN_WORDS))


def _record(run: Mapping[str, Any], options: WandbOptions) -> Record:
    run_id, state = str(run["id"]), str(run.get("state") or "unknown")
    if state.lower() != "finished":
        return LeftOut(run_id, SkipReason.NOT_FINISHED, state.lower()[:50])
    settings = dict(flatten(_object(run.get("config"))))
    # Names that begin with an underscore are W&B's own: _step, _runtime, _timestamp.
    summary = {name: value for name, value in flatten(_object(run.get("summary"))) if not name.startswith("_")}
    return tracker_run(run_id, str(run.get("name") or ""), settings, summary, options)


def _object(told: Any) -> Mapping[str, Any]:
    """Exports of the public API carry JSON inside of JSON."""
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            return {}
    return told if isinstance(told, dict) else {}


def _exported(name: str, path: Path) -> list[dict[str, Any]]:
    if path.stat().st_size > MAX_EXPORT_BYTES:
        raise FormatError(f"{name}: the export holds more than {MAX_EXPORT_BYTES} bytes; split it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(f"{name}: the bytes are not UTF-8 text; save the file as UTF-8") from None
    runs = _parsed(name, text)
    for i, run in enumerate(runs):
        if not isinstance(run, dict) or not isinstance(run.get("id"), str | int) or "state" not in run:
            raise FormatError(
                f"{name}, run {i + 1}: each run must be an object with 'id', 'state', 'config', 'summary'"
            )
    if not runs:
        raise FormatError(f"{name}: the export holds no run")
    return runs


def _parsed(name: str, text: str) -> list[Any]:
    """A list of runs, one run, or one run a line."""
    try:
        told = json.loads(text)
        return told if isinstance(told, list) else [told]
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith("{"):
            raise FormatError(f"{name}, line {error.lineno}: this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{name}: a number is too long, or the export too deep") from None
    runs = []
    for i, line in enumerate(text.splitlines()):
        if line.strip():
            try:
                runs.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{name}, line {i + 1}: this is not JSON: {error}") from None
    return runs


def _package() -> Any:
    try:
        return import_module("wandb")
    except ImportError:
        raise InvalidInput(
            "the package wandb is not installed on this server, so it cannot ask W&B; send a JSON export as a file"
        ) from None


def _asked(trackers: Trackers, options: WandbOptions) -> list[Mapping[str, Any]]:
    url, wandb = options.url.rstrip("/"), _package()
    try:
        api = wandb.Api(overrides={"base_url": url}, timeout=int(TIMEOUT_SECONDS), api_key=trackers.wandb_key or None)
        # Without lazy=False the settings of every run are fetched one by one.
        found = api.runs(options.project, filters=options.filters or None, per_page=_PAGE, lazy=False)
        runs: list[Mapping[str, Any]] = []
        for run in found:
            if len(runs) == options.max_runs:
                raise InvalidInput(f"{options.project} has more than {len(runs)} such runs; narrow options.filters")
            told = {"id": run.id, "name": run.name, "state": run.state}
            runs.append(told | {"config": dict(run.config), "summary": dict(run.summary)})
    except InvalidInput:
        raise
    except Exception as error:  # the package raises errors of several libraries, and its own
        raise TrackerFailed(f"{url} did not give the runs of {options.project}: {type(error).__name__}") from None
    return runs
