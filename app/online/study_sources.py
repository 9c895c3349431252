"""Studies out of files: a JSON body, or the lists of a swarm folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from app.calls.errors import ClientError
from app.formats.csv_table import CsvTable, read_table
from app.formats.domain_list import DomainList, read_domains
from app.formats.target_list import read_targets
from app.formats.weight_columns import domains_of
from app.online.bodies import body_of, read_json
from app.schemas.studies import DomainIn, StudyCreate
from mixers.types import Targets

SWARM_FILES = ("runs.csv", "domains.csv", "targets.csv")
_UNKNOWN_UNIT = "unknown"


def study_body(source: Path, name: str | None, description: str | None) -> StudyCreate:
    """The study that a JSON file or a swarm folder describes, under the name of the folder unless one is given.

    Raises:
        FormatError, ClientError: naming the place. OSError: a file cannot be read.
    """
    given = {key: value for key, value in (("name", name), ("description", description)) if value is not None}
    if source.is_dir():
        fields = {"name": folder_name(source), **_fields_of_folder(source)}
    else:
        fields = read_json(source)
        if not isinstance(fields, dict):
            raise ClientError(f"{source} holds no JSON object; the body of a study has name, domains and targets")
    return body_of(StudyCreate, fields | given, str(source))


def folder_name(folder: Path) -> str:
    """What a study of this folder is called."""
    return folder.resolve().name


def swarm_files(folder: Path) -> list[Path]:
    """The files of a swarm folder that are there.

    Raises:
        ClientError: it holds no runs.
    """
    if not (folder / "runs.csv").is_file():
        raise ClientError(f"{folder} holds no runs.csv, so there are no runs to import")
    return [folder / name for name in SWARM_FILES if (folder / name).is_file()]


def read_domain_file(path: Path) -> list[DomainIn]:
    """The domains of a ``domains.csv``, or of a JSON list.

    Raises:
        FormatError, ClientError: naming the place.
    """
    if path.suffix != ".json":
        return [DomainIn.model_validate(domain) for domain in _domains(_listed(path))]
    told = read_json(path)
    if not isinstance(told, list):
        raise ClientError(f"{path} holds no JSON list; write [{{'name': ..., 'available_tokens': ...}}, ...]")
    return [body_of(DomainIn, one, f"{path}, {i}") for i, one in enumerate(told)]


def domain_paths(path: Path) -> dict[str, list[str]]:
    """Where a trainer finds the domains: column ``path`` of a ``domains.csv``, several separated by ``|``."""
    found = _listed(path).paths
    if not found:
        raise ClientError(f"{path} names no path; give it a column 'path' (several paths are separated by '|')")
    return {name: list(paths) for name, paths in found.items()}


def _listed(path: Path) -> DomainList:
    return read_domains(path, read_table(path).names("domain", "domain"))


def _fields_of_folder(folder: Path) -> dict[str, Any]:
    runs, lists = folder / "runs.csv", [folder / "domains.csv", folder / "targets.csv"]
    if runs.exists():
        table = read_table(runs)
        listed = read_domains(lists[0], domains_of(table))
    elif all(path.exists() for path in lists):
        table, listed = _columns_of(lists[1]), _listed(lists[0])
    else:
        raise ClientError(f"{folder} describes no study; it must hold runs.csv, or both domains.csv and targets.csv")
    targets, _, _ = read_targets(lists[1], table)
    constraints = {"min_weights": listed.min_weights, "max_weights": listed.max_weights}
    return {"domains": _domains(listed), "targets": _targets(targets), "constraints": constraints}


def _columns_of(targets: Path) -> CsvTable:
    """The columns that runs of these targets would have."""
    names = read_table(targets).names("target", "target")
    return CsvTable(targets, tuple(f"loss:{name}" for name in names), [], [])


def _domains(listed: DomainList) -> list[dict[str, Any]]:
    groups = {name: group for group, members in listed.groups.items() for name in members}
    columns = (listed.domains.names, listed.domains.prior.tolist(), listed.domains.available_tokens.tolist())
    return [
        {
            "name": name,
            "prior": prior,
            "available_tokens": int(tokens) if math.isfinite(tokens) and tokens >= 1 else None,
            "group": groups.get(name, ""),
            "mean_document_tokens": listed.mean_document_tokens.get(name),
        }
        for name, prior, tokens in zip(*columns, strict=True)
    ]


def _targets(targets: Targets) -> list[dict[str, Any]]:
    columns = (targets.names, targets.units, targets.maximised, targets.weights.tolist(), targets.families)
    return [
        {
            "name": name,
            "unit": unit or _UNKNOWN_UNIT,
            "direction": "maximize" if maximised else "minimize",
            "weight": weight,
            "family": family,
        }
        for name, unit, maximised, weight, family in zip(*columns, strict=True)
    ]
