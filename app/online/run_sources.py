"""Runs to queue: their settings from a file, their mixtures from a design, a table or plans of stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.calls.errors import ClientError
from app.client import Client
from app.formats.queries import read_queries
from app.mixture_options import MixtureOptions
from app.online.bodies import body_of, read_json
from app.schemas.runs import RunCreate, SuggestionCreate
from app.schemas.studies import StudyRead
from proxy_training.spec import ProxySettings


def read_settings(path: Path, preset: str | None) -> ProxySettings:
    """The settings of proxy runs in a JSON file; ``preset`` names the shape of the model where the file does not."""
    told = read_json(path)
    if preset is not None and isinstance(told, dict) and isinstance(told.get("model", {}), dict):
        told = told | {"model": told.get("model", {}) | {"preset": preset}}
    return body_of(ProxySettings, told, str(path))


def wanted_stages(files: list[Path], asked: MixtureOptions) -> list[dict[str, Any]]:
    """Label and stages of each run, one a file.

    Raises:
        ClientError: mixtures are asked for as well, or a file is no JSON.
    """
    if asked.mixtures is not None or asked.count is not None:
        raise ClientError("--stages says what runs are trained on; give neither --count nor --mixtures beside it")
    return [{"label": path.stem, "stages": read_json(path)} for path in files]


def wanted_mixtures(client: Client, study: StudyRead, asked: MixtureOptions) -> list[dict[str, Any]]:
    """Label and weights of each run: the rows of a table, or suggestions of a design.

    Raises:
        ClientError: neither is asked for, or both. FormatError: naming the place in the table.
    """
    if (asked.mixtures is None) == (asked.count is None):
        raise ClientError("give either --count, for mixtures of a design, or --mixtures, for those of a table")
    if asked.mixtures is None:
        assert asked.count is not None
        body = SuggestionCreate(count=asked.count, design=asked.design, seed=asked.seed)
        return [{"weights": suggestion.weights} for suggestion in client.suggest(study.id, body).suggestions]
    names = [domain.name for domain in study.domain_set.domains]
    rows = read_queries(asked.mixtures, names)
    return [
        {"label": run_id, "weights": dict(zip(names, weights, strict=True))}
        for run_id, weights in zip(rows.run_ids, rows.p.tolist(), strict=True)
    ]


def runs_to_queue(wanted: list[dict[str, Any]], shared: dict[str, Any], seeds: list[int]) -> list[RunCreate]:
    """Each mixture with each seed; ``shared`` are the fields that are the same in all.

    Raises:
        ClientError: naming what is wrong with a run.
    """
    return [
        body_of(RunCreate, {**shared, **one, "seed": seed}, f"run {one.get('label') or number}")
        for number, one in enumerate(wanted, start=1)
        for seed in seeds
    ]
