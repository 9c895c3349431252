"""Runs to queue: their settings from a file, their mixtures from a design or a table."""

from __future__ import annotations

from pathlib import Path

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


def wanted_mixtures(client: Client, study: StudyRead, asked: MixtureOptions) -> list[tuple[str, dict[str, float]]]:
    """(label, weights) of each run: the rows of a table, or suggestions of a design.

    Raises:
        ClientError: neither is asked for, or both. FormatError: naming the place in the table.
    """
    if (asked.mixtures is None) == (asked.count is None):
        raise ClientError("give either --count, for mixtures of a design, or --mixtures, for those of a table")
    if asked.mixtures is None:
        assert asked.count is not None
        body = SuggestionCreate(count=asked.count, design=asked.design, seed=asked.seed)
        return [("", suggestion.weights) for suggestion in client.suggest(study.id, body).suggestions]
    names = [domain.name for domain in study.domain_set.domains]
    rows = read_queries(asked.mixtures, names)
    return [
        (run_id, dict(zip(names, weights, strict=True)))
        for run_id, weights in zip(rows.run_ids, rows.p.tolist(), strict=True)
    ]


def runs_to_queue(
    mixtures: list[tuple[str, dict[str, float]]],
    settings: ProxySettings,
    seeds: list[int],
    purpose: str,
    priority: int,
) -> list[RunCreate]:
    """Each mixture with each seed."""
    return [
        RunCreate(weights=weights, settings=settings, seed=seed, label=label, purpose=purpose, priority=priority)
        for label, weights in mixtures
        for seed in seeds
    ]
