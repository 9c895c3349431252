"""Sources that tests write, and what the formats read from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.formats.imports import IMPORTS
from app.formats.imports.base import ImportedRun, LeftOut, Reading, Record, Source
from app.formats.imports.trackers import Trackers


def read(
    name: str, folder: Path, files: Mapping[str, str | bytes], trackers: Trackers | None = None, **options: Any
) -> Reading:
    """What the format reads from files of these contents."""
    paths: dict[str, Path] = {}
    for file, content in files.items():
        paths[file] = folder / file
        paths[file].parent.mkdir(parents=True, exist_ok=True)
        paths[file].write_bytes(content.encode() if isinstance(content, str) else content)
    chosen = IMPORTS[name]
    return chosen.read(Source(paths, trackers or Trackers()), chosen.options.model_validate(options))


def runs(reading: Reading) -> dict[str, ImportedRun]:
    """The finished runs by their ids."""
    return {record.external_id: record for record in reading.runs if isinstance(record, ImportedRun)}


def reasons(records: list[Record]) -> dict[str, tuple[str, str]]:
    """(reason, detail) of what was left out, by id."""
    return {
        record.external_id: (record.reason.value, record.detail) for record in records if isinstance(record, LeftOut)
    }
