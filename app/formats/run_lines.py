"""Proxy runs as JSON lines: specs that are to be trained, and results that were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.formats.errors import FormatError
from proxy_training.spec import Named, NamedResult, NamedSpec, parse_lines


def read_run_lines(kind: type[Named], paths: Sequence[Path]) -> dict[str, Named]:
    """The records of all files by the names of their runs, in order.

    Raises:
        FormatError: naming file and line, or a run that two files hold.
        OSError: a file cannot be read.
    """
    found: dict[str, Named] = {}
    for path in paths:
        with path.open("rb") as file:
            try:
                records = parse_lines(kind, file, str(path))
            except ValueError as exc:
                raise FormatError(str(exc)) from exc
        for record in records:
            if record.run_id in found:
                raise FormatError(f"{path} names run {record.run_id!r}, which an earlier file names already")
            found[record.run_id] = record
    return found


def lines_of(records: Sequence[NamedSpec | NamedResult]) -> str:
    """The records as text, a line each."""
    return "".join(f"{record.model_dump_json()}\n" for record in records)
