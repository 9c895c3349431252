"""Runs and their results as files: JSON lines of specs in, JSON lines of results out, for work without a service.

A result is one line, written as soon as it is known. A line without its end was cut short when its writer was killed:
it is taken away, and its run is trained again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proxy_training.errors import ProxyError
from proxy_training.spec import NamedResult, NamedSpec, parse_lines


class RunFileError(ProxyError):
    """A file of specs or results cannot be read or written."""


def read_specs(path: Path) -> list[NamedSpec]:
    """The runs of a file.

    Raises:
        RunFileError: naming the line that is wrong.
    """
    try:
        with path.open("rb") as file:
            specs = parse_lines(NamedSpec, file, str(path))
    except OSError as exc:
        raise RunFileError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise RunFileError(str(exc)) from exc
    if not specs:
        raise RunFileError(f'{path} names no run; a line is {{"run_id": ..., "spec": {{...}}}}')
    return specs


class ResultsFile:
    """An open file of results that no other process writes to. ``known`` are the results that it holds."""

    def __init__(self, path: Path, handle: int, known: list[NamedResult]) -> None:
        self.path = path
        self.known = known
        self._handle = handle

    def unknown(self, runs: Sequence[NamedSpec], fidelity: str) -> list[NamedSpec]:
        """Those of ``runs`` that have no result here.

        Raises:
            RunFileError: a result here is of another fidelity, or that of another run of the same name.
        """
        for result in self.known:
            if result.fidelity != fidelity:
                raise RunFileError(
                    f"{self.path} holds run {result.run_id!r} as {result.fidelity}; name another file for {fidelity} "
                    "ones"
                )
        hashes = {result.run_id: result.spec_hash for result in self.known}
        for run in runs:
            if hashes.get(run.run_id, run.spec.hash) != run.spec.hash:
                raise RunFileError(
                    f"{self.path} has the result of another run {run.run_id!r}, of other weights, seed or settings; "
                    "name another file"
                )
        return [run for run in runs if run.run_id not in hashes]

    def add(self, result: NamedResult) -> None:
        """Append a result.

        Raises:
            RunFileError: the disk is full; the file is then as it was.
        """
        size = os.fstat(self._handle).st_size
        data = memoryview(result.model_dump_json().encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as exc:
            os.ftruncate(self._handle, size)
            raise RunFileError(f"the result could not be written to {self.path}: {exc.strerror}") from exc


@contextmanager
def open_results(path: Path) -> Iterator[ResultsFile]:
    """The file at ``path``, made when it is missing.

    Raises:
        RunFileError: it cannot be written, another process writes it, or a line is no result.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        raise RunFileError(f"{path} cannot be written: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RunFileError(f"another process writes to {path}; wait for it or name another file") from exc
        yield ResultsFile(path, handle, _read_results(path, handle))
    finally:
        os.close(handle)


def _read_results(path: Path, handle: int) -> list[NamedResult]:
    content = path.read_bytes()
    whole = content.rpartition(b"\n")[0]
    try:
        known = parse_lines(NamedResult, whole.split(b"\n"), str(path))
    except ValueError as exc:
        raise RunFileError(str(exc)) from exc
    if whole or content:
        os.ftruncate(handle, len(whole) + 1 if b"\n" in content else 0)
    return known
