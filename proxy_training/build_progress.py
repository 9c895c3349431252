"""How far the building of a corpus has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class BuildProgress:
    """How far a build has come, counted in bytes of the files as they lie on disk."""

    domain: str
    read_bytes: int
    total_bytes: int


OnProgress = Callable[[BuildProgress], None]


class Meter:
    """Reports progress, which never goes back and never beyond the end, though a file may grow while it is read."""

    def __init__(self, total_bytes: int, on_progress: OnProgress | None) -> None:
        self._total_bytes = total_bytes
        self._on_progress = on_progress
        self._read_bytes = 0

    def report(self, domain: str, read_bytes: int) -> None:
        """``read_bytes`` of all files are done."""
        self._read_bytes = max(self._read_bytes, min(read_bytes, self._total_bytes))
        if self._on_progress is not None:
            self._on_progress(BuildProgress(domain, self._read_bytes, self._total_bytes))
