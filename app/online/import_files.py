"""The files of an import: those that are named, and those in folders that are named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from app.calls.errors import ClientError

_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".zip"})


def expanded(paths: Iterable[Path]) -> list[Path]:
    """Every file, and of a folder the tables and JSON files in it.

    Raises:
        ClientError: a place that is not there, or a folder without such files.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise ClientError(f"there is no file {path}")
            found.append(path)
            continue
        inside = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
        if not inside:
            raise ClientError(f"the folder {path} holds no .csv, .json, .jsonl or .zip file")
        found += inside
    return found
