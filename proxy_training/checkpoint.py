"""Stacks on disk: saved whole, found again by what they train, resumed to the same numbers.

A checkpoint is one ``.npz`` without pickled objects: ``parameters``, ``first`` and ``second`` (K, P), and ``header``,
UTF-8 JSON with the specs, the step and what was measured so far. The data of a step follows from its number, so that
nothing else is needed for an exact resume. Any part of a saved stack can go on without the rest of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from proxy_training.spec import ProxySpec, Record, TrajectoryPoint
from proxy_training.whole_files import remove_parts, write_whole

_SUFFIX = ".npz"
_KEPT_SECONDS = 7 * 24 * 3600.0
_PART_SECONDS = 3600.0

log = logging.getLogger(__name__)


class MemberHeader(Record):
    """What is known of one member beside its numbers; seconds are its share of the stack's."""

    spec: ProxySpec
    trajectory: tuple[TrajectoryPoint, ...] = ()
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


class _Header(Record):
    format: Literal["mixwright-stack-1"] = "mixwright-stack-1"
    # Another version may draw or update otherwise: its stacks are not gone on with.
    version: str
    step: int
    members: tuple[MemberHeader, ...]


@dataclass(frozen=True)
class StackState:
    """K members after ``step`` steps; arrays are (K, P) in the order of ``members``."""

    step: int
    members: tuple[MemberHeader, ...]
    parameters: Float32[np.ndarray, "K P"]
    first: Float32[np.ndarray, "K P"]
    second: Float32[np.ndarray, "K P"]


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where stacks are kept, and how many seconds of training may be lost. Shorter stacks are never written."""

    checkpoints: Checkpoints
    every_seconds: float


class Checkpoints:
    """The saved stacks of one agent, in one folder. Two agents may share it: every write replaces a whole file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: StackState) -> Path:
        """Write ``state``, in place of an earlier one of the same runs.

        Raises:
            OSError: the disk is full or the folder is not writable; an earlier checkpoint is then as it was.
        """
        header = _Header(version=version("mixwright"), step=state.step, members=state.members)
        path = self._path([member.spec for member in state.members])
        text = np.frombuffer(header.model_dump_json().encode(), dtype=np.uint8)
        write_whole(
            path,
            lambda file: np.savez(
                file, header=text, parameters=state.parameters, first=state.first, second=state.second
            ),
        )
        return path

    def find(self, specs: Sequence[ProxySpec]) -> StackState | None:
        """The furthest saved state that holds every one of ``specs``, in their order."""
        best: StackState | None = None
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            state = _load(path, specs)
            if state is not None and (best is None or state.step > best.step):
                best = state
        return best

    def sweep(self) -> None:
        """Remove stacks that nobody has claimed again for a week, and what killed processes left half written."""
        now = time.time()
        remove_parts(self.folder, _PART_SECONDS, now)
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                if now - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another agent was faster

    def _path(self, specs: Sequence[ProxySpec]) -> Path:
        keys = sorted(_key(spec) for spec in specs)
        return self.folder / (hashlib.sha256("".join(keys).encode()).hexdigest()[:32] + _SUFFIX)


def _key(spec: ProxySpec) -> str:
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def _load(path: Path, specs: Sequence[ProxySpec]) -> StackState | None:
    """The rows of ``specs`` in the file; None when it lacks one, or cannot be read: the runs then start afresh."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            header = _Header.model_validate_json(saved["header"].tobytes())
            if header.version != version("mixwright"):
                return None
            place = {_key(member.spec): row for row, member in enumerate(header.members)}
            rows = [place.get(_key(spec), -1) for spec in specs]
            if min(rows) < 0:
                return None
            arrays = {name: saved[name][rows] for name in ("parameters", "first", "second")}
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        log.warning("Checkpoint %s cannot be read: %s", path, error, extra={"event": "checkpoint_unreadable"})
        return None
    return StackState(step=header.step, members=tuple(header.members[row] for row in rows), **arrays)
