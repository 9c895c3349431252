"""Runs of an MLflow server, by its REST interface (``POST /api/2.0/mlflow/runs/search``), page by page.

Params are the settings; the last value of each metric is its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from app.formats.imports.base import ImportFormat, LeftOut, Reading, Record, SkipReason, Source, reading_of
from app.formats.imports.target_words import RULE_IN_WORDS, guess_target
from app.formats.imports.tracker_fields import TrackerFields, tracker_run
from app.formats.imports.trackers import TrackerFailed, Trackers
from app.formats.remarks import note

_PAGE = 1000


class MlflowOptions(TrackerFields):
    url: str = Field(
        min_length=1, max_length=2000, description="address of the server, e.g. https://mlflow.example.org"
    )
    experiment_ids: tuple[str, ...] = Field(min_length=1, max_length=100)
    filter: str = Field(default="", max_length=5000, description="MLflow's own filter, e.g. tags.group = 'swarm'")
    max_runs: int = Field(default=100_000, ge=1, le=1_000_000)


class Mlflow(ImportFormat[MlflowOptions]):
    """Asked over the network; the server must be listed in the settings."""

    name = "mlflow"
    title = "MLflow: the finished runs of experiments, over the network"
    takes = "network"
    options = MlflowOptions

    def check(self, trackers: Trackers, options: MlflowOptions) -> None:
        trackers.check(options.url, "url")

    def read(self, source: Source, options: MlflowOptions) -> Reading:
        self.check(source.trackers, options)
        url = options.url.rstrip("/")
        runs = list(_search(source, url, options))
        return reading_of(
            f"{url}, experiments {', '.join(options.experiment_ids)}"[:500],
            lambda: (_record(run, options) for run in runs),
            guess_target,
            note(RULE_IN_WORDS),
        )


def _search(source: Source, url: str, options: MlflowOptions) -> Iterator[dict[str, Any]]:
    wanted: dict[str, Any] = {
        "experiment_ids": list(options.experiment_ids),
        "filter": options.filter,
        "run_view_type": "ACTIVE_ONLY",
        "max_results": min(_PAGE, options.max_runs),
        "order_by": ["attributes.start_time ASC"],
    }
    taken, tokens = 0, set[str]()
    while True:
        answer = source.trackers.post(f"{url}/api/2.0/mlflow/runs/search", wanted, source.trackers.mlflow_token)
        for run in _list(answer, "runs", url):
            if taken == options.max_runs:
                raise TrackerFailed(f"{url} has more than {taken} such runs; narrow the filter or raise max_runs")
            taken += 1
            yield run
        token = answer.get("next_page_token")
        if not token:
            return
        if not isinstance(token, str) or token in tokens:
            raise TrackerFailed(f"{url} gives the same page again and again")
        tokens.add(token)
        wanted["page_token"] = token


def _record(run: dict[str, Any], options: MlflowOptions) -> Record:
    info, data = _object(run, "info"), _object(run, "data")
    run_id = str(info.get("run_id") or info.get("run_uuid") or "")
    state = str(info.get("status") or "unknown")
    if state != "FINISHED":
        return LeftOut(run_id, SkipReason.NOT_FINISHED, state.lower()[:50])
    settings = {str(each.get("key")): each.get("value") for each in _entries(data, "params")}
    metrics = {str(each.get("key")): each.get("value") for each in _entries(data, "metrics")}
    return tracker_run(run_id, str(info.get("run_name") or ""), settings, metrics, options)


def _list(answer: dict[str, Any], key: str, url: str) -> list[dict[str, Any]]:
    found = answer.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise TrackerFailed(f"{url} does not answer as MLflow does: {key!r} is no list of objects")
    return found


def _object(run: dict[str, Any], key: str) -> dict[str, Any]:
    found = run.get(key)
    return found if isinstance(found, dict) else {}


def _entries(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = data.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
