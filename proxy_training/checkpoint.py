"""Stacks on disk: saved whole, found again by what they train, resumed to the same numbers.

A checkpoint is one file, see ``stack_file.py``: a header with the specs, the step and what was measured so far, and
the arrays ``parameters``, ``first`` and ``second`` (K, P). The data of a step follows from its number and the weights,
so that nothing else is needed for an exact resume. Any part of a saved stack can go on without the rest of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Literal

import numpy as np
from jaxtyping import Float32

from proxy_training.precision import Precision
from proxy_training.sampler import WeightChange
from proxy_training.spec import ProxySpec, Record, TrajectoryPoint
from proxy_training.stack_file import read_array, read_header, sum_of_bits, write_stack
from proxy_training.whole_files import remove_parts, write_whole

_SUFFIX = ".stack"
_KEPT_SECONDS = 7 * 24 * 3600.0
_PART_SECONDS = 3600.0

log = logging.getLogger(__name__)


class MemberHeader(Record):
    """What is known of one member beside its numbers; seconds are its share of the stack's.

    ``changes`` are those of its weights that its spec does not know of.
    """

    spec: ProxySpec
    changes: tuple[WeightChange, ...] = ()
    trajectory: tuple[TrajectoryPoint, ...] = ()
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


class _Header(Record):
    format: Literal["mixwright-stack-2"] = "mixwright-stack-2"
    # Another version may draw or update otherwise: its stacks are not gone on with.
    version: str
    precision: Precision
    step: int
    members: tuple[MemberHeader, ...]
    params: int  # of a member
    sums_of_bits: tuple[int, int, int]


@dataclass(frozen=True)
class StackState:
    """K members after ``step`` steps in ``precision``; arrays are (K, P) in the order of ``members``."""

    step: int
    precision: Precision
    members: tuple[MemberHeader, ...]
    parameters: Float32[np.ndarray, "K P"]
    first: Float32[np.ndarray, "K P"]
    second: Float32[np.ndarray, "K P"]


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where stacks are kept, and how many seconds of training may be lost. Shorter stacks are never written.

    Stacks that take seconds to write are saved less often, so that saving costs no more than a twentieth of the time.
    """

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
        arrays = (state.parameters, state.first, state.second)
        header = _Header(
            version=version("mixwright"),
            precision=state.precision,
            step=state.step,
            members=state.members,
            params=state.parameters.shape[1],
            sums_of_bits=(sum_of_bits(arrays[0]), sum_of_bits(arrays[1]), sum_of_bits(arrays[2])),
        )
        path = self._path([member.spec for member in state.members])
        write_whole(path, lambda file: write_stack(file, header.model_dump_json(), arrays))
        return path

    def find(self, specs: Sequence[ProxySpec], precision: Precision) -> StackState | None:
        """The furthest saved state that holds every one of ``specs``, in their order.

        What another version or another ``precision`` saved is left out with a warning: the runs would not end with the
        losses of undisturbed ones.
        """
        wanted = [_key(spec) for spec in specs]
        holding: list[tuple[int, Path]] = []
        for path in self._files():
            with _readable(path):
                header = _header(path)
                if _rows(header).keys() >= set(wanted) and _fits(path, header, precision):
                    holding.append((header.step, path))
        for _, path in sorted(holding, reverse=True):
            with _readable(path):
                return _state(path, wanted)
        return None

    def forget(self, specs: Sequence[ProxySpec]) -> None:
        """Remove ``specs``, which have ended, from all saved stacks: a file goes with the last of its runs.

        A file that held others, too, is written again without them: large stacks are gigabytes, and their runs may
        end apart.
        """
        ended = {_key(spec) for spec in specs}
        for path in self._files():
            with _readable(path):
                header = _header(path)
                known = _rows(header).keys()
                left = [key for key in known if key not in ended]
                if len(left) == len(known):
                    continue
                if left and header.version == version("mixwright"):
                    self.save(_state(path, left))
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove stacks that nobody has claimed again for a week, and what killed processes left half written."""
        now = time.time()
        remove_parts(self.folder, _PART_SECONDS, now)
        for path in self._files():
            try:
                if now - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another agent was faster

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{_SUFFIX}"))

    def _path(self, specs: Sequence[ProxySpec]) -> Path:
        keys = sorted(_key(spec) for spec in specs)
        return self.folder / (hashlib.sha256("".join(keys).encode()).hexdigest()[:32] + _SUFFIX)


def _key(spec: ProxySpec) -> str:
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Pass over a file that cannot be read, with a warning: its runs then start afresh."""
    try:
        yield
    except FileNotFoundError:
        pass  # another agent was faster
    except (OSError, ValueError) as error:
        log.warning("Checkpoint %s cannot be read: %s", path, error, extra={"event": "checkpoint_unreadable"})


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        return _header_of(file)


def _header_of(file: IO[bytes]) -> _Header:
    return _Header.model_validate_json(read_header(file))


def _rows(header: _Header) -> dict[str, int]:
    """The row of every member, by its key."""
    return {_key(member.spec): row for row, member in enumerate(header.members)}


def _fits(path: Path, header: _Header, precision: Precision) -> bool:
    found, wanted = (header.version, header.precision), (version("mixwright"), precision)
    if found != wanted:
        log.warning(
            "Checkpoint %s is of version %s in %s and cannot go on in version %s in %s: its runs start afresh",
            path, *found, *wanted, extra={"event": "checkpoint_of_another_kind"},
        )  # fmt: skip
    return found == wanted


def _state(path: Path, keys: Sequence[str]) -> StackState:
    """The members with these keys; header and arrays of one file, though another agent may replace it meanwhile."""
    with path.open("rb") as file:
        header = _header_of(file)
        rows = [_rows(header)[key] for key in keys]
        parameters, first, second = (
            read_array(file, len(header.members), header.params, bits)[rows] for bits in header.sums_of_bits
        )
    members = tuple(header.members[row] for row in rows)
    return StackState(header.step, header.precision, members, parameters, first, second)
